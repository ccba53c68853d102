"""Environment variables of the Python API and the command line; the service has settings."""

from __future__ import annotations

import os

from lipwright.errors import InvalidOptions
from lipwright.runtime.device import Device

THREADS = "LIPWRIGHT_THREADS"
DEVICE = "LIPWRIGHT_DEVICE"
FETCH_ALLOW = "LIPWRIGHT_FETCH_ALLOW"
MAX_FETCH_BYTES = "LIPWRIGHT_MAX_FETCH_BYTES"
PARENT_PIPE = "LIPWRIGHT_PARENT_PIPE"  # set by cli/isolation.py in its children only


def threads() -> int | None:
    """Return the number of threads that ``LIPWRIGHT_THREADS`` requests; None if it is not set.

    Raises:
        InvalidOptions: it is no whole number from 1 on.
    """
    return _positive(THREADS)


def device() -> str | None:
    """Return the device that ``LIPWRIGHT_DEVICE`` requests; None if it is not set.

    Raises:
        InvalidOptions: it is no known device.
    """
    text = os.environ.get(DEVICE) or None
    if text is not None and text not in set(Device):
        known = ", ".join(Device)
        raise InvalidOptions(f"cannot use {DEVICE} = {text!r}: use one of {known}")
    return text


def fetch_allow() -> list[str]:
    """Return the private hosts that ``LIPWRIGHT_FETCH_ALLOW`` lists; the service reads it, too."""
    return os.environ.get(FETCH_ALLOW, "").replace(",", " ").split()


def max_fetch_bytes() -> int | None:
    """Return the largest download that ``LIPWRIGHT_MAX_FETCH_BYTES`` allows; None: not set.

    Raises:
        InvalidOptions: it is no whole number from 1 on.
    """
    return _positive(MAX_FETCH_BYTES)


def _positive(name: str) -> int | None:
    text = os.environ.get(name, "")
    if not text:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise InvalidOptions(f"cannot use {name} = {text!r}: give a whole number from 1 on")
    return int(text)
