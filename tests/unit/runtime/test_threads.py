"""How many threads a job may use."""

from __future__ import annotations

import os

import numpy  # noqa: F401 -- brings the algebra
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


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be chosen here")
def test_only_cores_that_may_be_used_count():
    mine = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(mine)})
        assert available_cores() == 1
    finally:
        os.sched_setaffinity(0, mine)


def algebra_threads() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_linear_algebra_has_one_thread_until_the_last_block_ends():
    before = algebra_threads()
    first, second = single_threaded_blas(), single_threaded_blas()
    with first:
        second.__enter__()
    assert algebra_threads() == {1}
    second.__exit__(None, None, None)
    assert algebra_threads() == before
