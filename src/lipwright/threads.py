"""How many threads a job may use."""

from __future__ import annotations

import os

from lipwright.errors import InvalidOptions

VARIABLE = "LIPWRIGHT_THREADS"


def bound(asked: int | None = None) -> int:
    """Return how many threads to use: as asked, as the environment says, or one per core.

    Raises:
        InvalidOptions: it is no whole number from 1 on.
    """
    text = os.environ.get(VARIABLE, "") if asked is None else str(asked)
    if not text:
        return cores()
    if not text.isdecimal() or int(text) < 1:
        source = VARIABLE if asked is None else "threads"
        raise InvalidOptions(f"cannot use {source} = {text!r}: give a whole number from 1 on")
    return int(text)


def cores() -> int:
    """Return how many cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
