"""Return free memory to the system."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache


def release_free_memory() -> None:
    """Return free heap memory to the system, where the C library supports it.

    glibc keeps freed blocks of up to 32 MB for later requests, which rarely fit: without this call
    a process stays as large as its largest stage.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Callable[[int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
