"""Memory that is free again goes back to the system."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache


def release_free_memory() -> None:
    """Return what is free on the heap to the system, where the C library can.

    glibc keeps freed arrays of up to 32 MB for later ones, which seldom fit into their place: a
    process would go on looking as large as its largest stage was.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Callable[[int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
