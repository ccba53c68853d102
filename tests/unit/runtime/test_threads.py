"""The number of threads that a job uses."""

from __future__ import annotations

import os

import numpy  # noqa: F401 -- loads the BLAS library
import pytest
from threadpoolctl import threadpool_info

from lipwright.errors import InvalidOptions
from lipwright.runtime.threads import available_cores, single_threaded_blas, thread_count


def test_the_default_is_one_thread_per_core():
    assert thread_count() == available_cores() >= 1
    assert thread_count(2) == 2


def test_zero_threads_are_refused():
    with pytest.raises(InvalidOptions, match="threads"):
        thread_count(0)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs CPU affinity")
def test_only_cores_of_this_process_are_counted():
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert available_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)


def blas_threads() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_blas_has_one_thread_until_the_last_block_ends():
    before = blas_threads()
    first, second = single_threaded_blas(), single_threaded_blas()
    with first:
        second.__enter__()
    assert blas_threads() == {1}
    second.__exit__(None, None, None)
    assert blas_threads() == before
