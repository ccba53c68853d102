"""How many threads a job may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from lipwright.errors import InvalidOptions

VARIABLE = "LIPWRIGHT_THREADS"

_lock = Lock()
_blocks = 0  # that limit linear algebra now
_limits: Any = None  # what gives it its threads back


def thread_count(asked: int | None = None) -> int:
    """Return how many threads to use: as asked, as the environment says, or one per core.

    Raises:
        InvalidOptions: it is no whole number from 1 on.
    """
    text = os.environ.get(VARIABLE, "") if asked is None else str(asked)
    if not text:
        return available_cores()
    if not text.isdecimal() or int(text) < 1:
        source = VARIABLE if asked is None else "threads"
        raise InvalidOptions(f"cannot use {source} = {text!r}: give a whole number from 1 on")
    return int(text)


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Let linear algebra compute in one thread, in this process, for the time of a call or block.

    Its matrices are small here, and the threads of OpenBLAS go on spinning after each product: they
    would take a core from the stages that share the machine. Blocks may overlap; the last one to
    end gives the threads back.
    """
    from threadpoolctl import threadpool_limits

    global _blocks, _limits
    with _lock:
        if not _blocks:
            _limits = threadpool_limits(limits=1, user_api="blas")
        _blocks += 1
    try:
        yield
    finally:
        with _lock:
            _blocks -= 1
            if not _blocks:
                _limits.restore_original_limits()


def available_cores() -> int:
    """Return how many cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
