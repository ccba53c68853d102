"""The number of threads that a job may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from lipwright.errors import InvalidOptions

_lock = Lock()
_blocks = 0  # open blocks of `single_threaded_blas`
_limits: Any = None  # restores the threads of BLAS


def thread_count(requested: int | None = None) -> int:
    """Return the number of threads to use: the requested one, or one per core.

    Raises:
        InvalidOptions: *requested* is below 1.
    """
    if requested is None:
        return available_cores()
    if requested < 1:
        raise InvalidOptions(f"cannot use threads = {requested}: give a whole number from 1 on")
    return requested


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Limit linear algebra of this process to one thread, during a block or a decorated call.

    Its matrices are small here, and the threads of OpenBLAS keep spinning after each product: they
    would take a core from the stages beside them. Blocks may overlap; the end of the last one
    restores the limit.
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
    """Return the number of cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
