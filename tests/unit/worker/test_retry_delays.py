"""Delays before another attempt at a job and before the restart of a worker."""

from __future__ import annotations

from lipwright.errors import MediaUnreadable, PublishFailed, StorageFull, WorkerDied
from lipwright.worker.job_runner import MAX_RETRY_SECONDS, JobPolicy
from lipwright.worker.supervisor import RESTART_DELAYS, restart_delay


def test_only_retryable_errors_are_retried():
    policy = JobPolicy(max_attempts=2, retry_seconds=10.0)
    assert policy.retry_delay(MediaUnreadable(), 1) is None
    assert policy.retry_delay(PublishFailed(), 1) == 10.0
    assert policy.retry_delay(StorageFull(), 1) == 10.0
    assert policy.retry_delay(WorkerDied(), 2) == 20.0
    assert policy.retry_delay(WorkerDied(), 3) is None
    assert JobPolicy(max_attempts=99).retry_delay(WorkerDied(), 50) == MAX_RETRY_SECONDS
    assert JobPolicy(max_attempts=0).retry_delay(WorkerDied(), 1) is None


def test_the_restart_delay_grows_up_to_a_maximum():
    first, longest = RESTART_DELAYS
    assert [restart_delay(n) for n in (0, 1, 2, 3)] == [first, first, 2 * first, 4 * first]
    assert restart_delay(1000) == longest
