"""Environment variables of the Python API and the command line; the service has settings."""

from __future__ import annotations

import os

from lipwright.errors import InvalidOptions
from lipwright.runtime.device import Device

THREADS = "LIPWRIGHT_THREADS"
DEVICE = "LIPWRIGHT_DEVICE"
PARENT_PIPE = "LIPWRIGHT_PARENT_PIPE"  # set by cli/isolation.py in its children only


def threads() -> int | None:
    """Return the number of threads that ``LIPWRIGHT_THREADS`` requests; None if it is not set.

    Raises:
        InvalidOptions: it is no whole number from 1 on.
    """
    text = os.environ.get(THREADS, "")
    if not text:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise InvalidOptions(f"cannot use {THREADS} = {text!r}: give a whole number from 1 on")
    return int(text)


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
