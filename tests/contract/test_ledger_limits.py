"""The contract of idempotency, rate limits and concurrency, for every implementation."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from ledgers import IMPLEMENTATIONS, POLICY, WIDE, LedgerHarness, make_spec
from lipwright.errors import IdempotencyConflict, TooManyRequests
from lipwright.jobs.ledger.rules import LedgerPolicy
from lipwright.jobs.model import Failure, State, SubmitLimits

BROKEN = Failure(code="bad_input", message="broken")


# -- idempotency --------------------------------------------------------------------------------
def test_a_repeated_idempotency_key_returns_the_same_job(harness: LedgerHarness):
    job = harness.submit(idempotency_key="once")
    replay = harness.ledger.submit(make_spec(idempotency_key="once"), WIDE)
    assert replay == (job, False)
    claimed = harness.ledger.claim(job.id, "w")
    assert harness.ledger.submit(make_spec(idempotency_key="once"), WIDE) == (claimed, False)
    assert len(harness.enqueued()) == 1


def test_another_body_under_the_same_idempotency_key_is_a_conflict(harness: LedgerHarness):
    harness.submit(idempotency_key="once")
    with pytest.raises(IdempotencyConflict, match="'once'"):
        harness.ledger.submit(make_spec(idempotency_key="once", fingerprint="0" * 64), WIDE)
    assert len(harness.ledger.list_jobs("k1", limit=9)) == 1


def test_idempotency_keys_of_different_api_keys_are_different(harness: LedgerHarness):
    mine = harness.submit("mine", idempotency_key="once")
    yours = harness.submit("yours", idempotency_key="once", fingerprint="0" * 64)
    assert mine.id != yours.id


def test_an_idempotency_key_expires_after_a_day(harness: LedgerHarness):
    job = harness.submit(idempotency_key="once")
    harness.clock.advance(86_400 - 0.001)
    assert harness.ledger.submit(make_spec(idempotency_key="once"), WIDE) == (job, False)
    harness.clock.advance(0.001)
    fresh = harness.submit(idempotency_key="once", fingerprint="0" * 64)
    assert fresh.id != job.id


def test_an_erased_job_is_not_replayed(harness: LedgerHarness):
    job = harness.submit(idempotency_key="once")
    harness.ledger.erase(job.id)
    assert harness.submit(idempotency_key="once", fingerprint="0" * 64).id != job.id


def test_a_replay_is_not_rate_limited(harness: LedgerHarness):
    tight = SubmitLimits(max_queued=1, submits_per_minute=1)
    job = harness.submit(limits=tight, idempotency_key="once")
    for _ in range(5):
        assert harness.ledger.submit(make_spec(idempotency_key="once"), tight) == (job, False)


def test_concurrent_duplicates_make_one_job(harness: LedgerHarness):
    answers = []
    barrier = threading.Barrier(8)

    def submit() -> None:
        barrier.wait()
        answers.append(harness.ledger.submit(make_spec(idempotency_key="once"), WIDE))

    threads = [threading.Thread(target=submit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({job.id for job, _new in answers}) == 1
    assert Counter(new for _job, new in answers) == {True: 1, False: 7}
    assert len(harness.ledger.list_jobs("k1", limit=9)) == len(harness.enqueued()) == 1


# -- rate limits ----------------------------------------------------------------------------------
@pytest.mark.parametrize("per_minute", [1, 7, 60, 150])
def test_a_burst_of_one_minute_is_admitted_and_no_more(harness: LedgerHarness, per_minute):
    limits = SubmitLimits(max_queued=10_000, submits_per_minute=per_minute)
    for _ in range(per_minute):
        harness.submit(limits=limits)
    with pytest.raises(TooManyRequests, match=f"more than {per_minute} jobs a minute"):
        harness.submit(limits=limits)
    harness.submit("another", limits=limits)
    harness.clock.advance(60)
    for _ in range(per_minute):
        harness.submit(limits=limits)


def test_retry_after_is_exact_to_the_millisecond(harness: LedgerHarness):
    limits = SubmitLimits(max_queued=10_000, submits_per_minute=7)
    for _ in range(7):
        harness.submit(limits=limits)
    for _ in range(20):
        with pytest.raises(TooManyRequests) as refused:
            harness.submit(limits=limits)
        harness.clock.advance(refused.value.retry_after - 0.001)
        with pytest.raises(TooManyRequests) as almost:
            harness.submit(limits=limits)
        assert almost.value.retry_after == 0.001
        harness.clock.advance(0.001)
        harness.submit(limits=limits)


def test_a_refused_submit_does_not_use_up_the_rate(harness: LedgerHarness):
    full = SubmitLimits(max_queued=1, submits_per_minute=2)
    job = harness.submit(limits=full)
    for _ in range(3):
        with pytest.raises(TooManyRequests, match="limit is 1"):
            harness.submit(limits=full)
    harness.ledger.claim(job.id, "w")
    harness.submit(limits=full)


# -- queue length ---------------------------------------------------------------------------------
def test_only_queued_jobs_count_against_max_queued(harness: LedgerHarness):
    limits = SubmitLimits(max_queued=2, submits_per_minute=1000)
    first, second = harness.submit(limits=limits), harness.submit(limits=limits)
    with pytest.raises(TooManyRequests) as refused:
        harness.submit(limits=limits)
    assert refused.value.retry_after > 0
    harness.submit("another", limits=limits)

    claimed = harness.ledger.claim(first.id, "w")
    assert claimed is not None
    third = harness.submit(limits=limits)
    harness.ledger.retry(first.id, claimed.epoch, BROKEN, 0.0)  # a third one waits again
    harness.ledger.cancel(second.id)
    with pytest.raises(TooManyRequests):
        harness.submit(limits=limits)
    harness.ledger.erase(third.id)
    harness.submit(limits=limits)


# -- concurrency ----------------------------------------------------------------------------------
def test_jobs_of_a_key_without_concurrency_are_released_at_once(harness: LedgerHarness):
    jobs = [harness.submit() for _ in range(5)]
    assert harness.released() == [job.id for job in jobs]


def test_at_most_concurrency_jobs_of_a_key_are_released(harness: LedgerHarness):
    key = harness.key(concurrency=2)
    jobs = [harness.submit(key.id) for _ in range(4)]
    assert harness.released() == [job.id for job in jobs[:2]]
    assert harness.ledger.position(jobs[3]) == 3
    free = harness.submit("another")
    assert harness.released() == [jobs[0].id, jobs[1].id, free.id]


@pytest.mark.parametrize("end", ["succeed", "fail", "cancel", "erase"])
def test_every_end_of_a_job_releases_the_next_of_its_key(harness: LedgerHarness, end):
    key = harness.key(concurrency=1)
    first, second, third = (harness.submit(key.id) for _ in range(3))
    if end in ("succeed", "fail"):
        job = harness.ledger.claim(first.id, "w")
        assert job is not None
        assert harness.released() == [first.id]
        good = end == "succeed"
        output, failure = ({}, None) if good else (None, BROKEN)
        harness.ledger.finish(first.id, job.epoch, output=output, failure=failure)
    else:
        getattr(harness.ledger, end)(first.id)
    assert harness.released() == [first.id, second.id]
    harness.ledger.cancel(third.id)
    assert third.work_id not in harness.cancelled_work


def test_a_retried_job_stays_released(harness: LedgerHarness):
    key = harness.key(concurrency=1)
    first, second = harness.submit(key.id), harness.submit(key.id)
    claimed = harness.ledger.claim(first.id, "w")
    assert claimed is not None
    harness.ledger.retry(first.id, claimed.epoch, BROKEN, 30.0)
    assert harness.released() == [first.id, first.id]
    harness.ledger.cancel(first.id)
    assert harness.released() == [first.id, first.id, second.id]


def test_held_jobs_are_released_by_priority_then_arrival(harness: LedgerHarness):
    key = harness.key(concurrency=1)
    first = harness.submit(key.id)
    slow, fast, fast_too = (harness.submit(key.id, priority=number) for number in (50, 1, 1))
    for job in (first, fast, fast_too):
        harness.ledger.cancel(job.id)
    assert harness.released() == [first.id, fast.id, fast_too.id, slow.id]


def test_a_release_that_cannot_be_enqueued_rolls_back_the_cancel(harness: LedgerHarness):
    key = harness.key(concurrency=1)
    first = harness.submit(key.id)
    harness.submit(key.id)
    harness.enqueue_errors.append(RuntimeError("no"))
    with pytest.raises(RuntimeError, match="no"):
        harness.ledger.cancel(first.id)
    assert harness.ledger.get(first.id).state is State.IN_QUEUE
    assert harness.cancelled_work == []


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_keys_without_concurrency_use_the_default_of_the_deployment(name, tmp_path):
    with IMPLEMENTATIONS[name](tmp_path, LedgerPolicy(concurrency=1)) as harness:
        harness.submit("plain"), harness.submit("plain")
        wide = harness.key(concurrency=3)
        for _ in range(4):
            harness.submit(wide.id)
        assert len(harness.released()) == 1 + 3


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_held_jobs_are_released_after_the_limit_is_raised(name, tmp_path):
    with IMPLEMENTATIONS[name](tmp_path, LedgerPolicy(concurrency=1)) as harness:
        jobs = [harness.submit() for _ in range(3)]
        assert harness.ledger.release_held() == 0
        grown = type(harness.ledger)
        if name == "memory":
            harness.ledger._database.policy = POLICY
        else:
            before = harness.ledger
            harness.ledger = grown(
                before._database,
                enqueue=before._enqueue,
                cancel_work=before._cancel_work,
                policy=POLICY,
            )
        assert harness.ledger.release_held() == 2
        assert harness.released() == [job.id for job in jobs]
        assert harness.ledger.release_held() == 0
