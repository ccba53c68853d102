"""What every ledger grants a key: replays, rates, numbers, turns."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from ledgers import IMPLEMENTATIONS, TERMS, WIDE, Bench, ticket
from lipwright.errors import IdempotencyConflict, TooManyRequests
from lipwright.jobs.ledger.rules import Terms
from lipwright.jobs.model import Failure, Limits, State

BROKEN = Failure(code="bad_input", message="broken")


# -- idempotency --------------------------------------------------------------------------------
def test_the_same_request_is_answered_with_the_same_job(bench: Bench):
    job = bench.submit(idempotency_key="once")
    replay = bench.ledger.submit(ticket(idempotency_key="once"), WIDE)
    assert replay == (job, False)
    claimed = bench.ledger.claim(job.id, "w")
    assert bench.ledger.submit(ticket(idempotency_key="once"), WIDE) == (claimed, False)
    assert len(bench.work()) == 1


def test_another_body_under_the_same_idempotency_key_is_a_conflict(bench: Bench):
    bench.submit(idempotency_key="once")
    with pytest.raises(IdempotencyConflict, match="'once'"):
        bench.ledger.submit(ticket(idempotency_key="once", fingerprint="0" * 64), WIDE)
    assert len(bench.ledger.page("k1", limit=9)) == 1


def test_idempotency_keys_of_different_api_keys_are_different(bench: Bench):
    mine = bench.submit("mine", idempotency_key="once")
    yours = bench.submit("yours", idempotency_key="once", fingerprint="0" * 64)
    assert mine.id != yours.id


def test_an_idempotency_key_is_forgotten_after_a_day(bench: Bench):
    job = bench.submit(idempotency_key="once")
    bench.clock.advance(86_400 - 0.001)
    assert bench.ledger.submit(ticket(idempotency_key="once"), WIDE) == (job, False)
    bench.clock.advance(0.001)
    fresh = bench.submit(idempotency_key="once", fingerprint="0" * 64)
    assert fresh.id != job.id


def test_an_erased_job_is_not_replayed(bench: Bench):
    job = bench.submit(idempotency_key="once")
    bench.ledger.erase(job.id)
    assert bench.submit(idempotency_key="once", fingerprint="0" * 64).id != job.id


def test_a_replay_costs_nothing_and_passes_full_limits(bench: Bench):
    tight = Limits(max_queued=1, submits_per_minute=1)
    job = bench.submit(limits=tight, idempotency_key="once")
    for _ in range(5):
        assert bench.ledger.submit(ticket(idempotency_key="once"), tight) == (job, False)


def test_concurrent_duplicates_make_one_job(bench: Bench):
    answers = []
    barrier = threading.Barrier(8)

    def submit() -> None:
        barrier.wait()
        answers.append(bench.ledger.submit(ticket(idempotency_key="once"), WIDE))

    threads = [threading.Thread(target=submit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({job.id for job, _new in answers}) == 1
    assert Counter(new for _job, new in answers) == {True: 1, False: 7}
    assert len(bench.ledger.page("k1", limit=9)) == len(bench.work()) == 1


# -- rates ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("per_minute", [1, 7, 60, 150])
def test_a_minutes_worth_may_come_at_once_and_no_more(bench: Bench, per_minute):
    limits = Limits(max_queued=10_000, submits_per_minute=per_minute)
    for _ in range(per_minute):
        bench.submit(limits=limits)
    with pytest.raises(TooManyRequests, match=f"more than {per_minute} jobs a minute"):
        bench.submit(limits=limits)
    bench.submit("another", limits=limits)
    bench.clock.advance(60)
    for _ in range(per_minute):
        bench.submit(limits=limits)


def test_retry_after_is_the_first_millisecond_that_is_granted(bench: Bench):
    limits = Limits(max_queued=10_000, submits_per_minute=7)
    for _ in range(7):
        bench.submit(limits=limits)
    for _ in range(20):
        with pytest.raises(TooManyRequests) as refused:
            bench.submit(limits=limits)
        bench.clock.advance(refused.value.retry_after - 0.001)
        with pytest.raises(TooManyRequests) as almost:
            bench.submit(limits=limits)
        assert almost.value.retry_after == 0.001
        bench.clock.advance(0.001)
        bench.submit(limits=limits)


def test_a_refused_submit_does_not_use_up_the_rate(bench: Bench):
    full = Limits(max_queued=1, submits_per_minute=2)
    job = bench.submit(limits=full)
    for _ in range(3):
        with pytest.raises(TooManyRequests, match="limit is 1"):
            bench.submit(limits=full)
    bench.ledger.claim(job.id, "w")
    bench.submit(limits=full)


# -- numbers --------------------------------------------------------------------------------------
def test_only_waiting_jobs_count_against_the_queue(bench: Bench):
    limits = Limits(max_queued=2, submits_per_minute=1000)
    first, second = bench.submit(limits=limits), bench.submit(limits=limits)
    with pytest.raises(TooManyRequests) as refused:
        bench.submit(limits=limits)
    assert refused.value.retry_after > 0
    bench.submit("another", limits=limits)

    claimed = bench.ledger.claim(first.id, "w")
    assert claimed is not None
    third = bench.submit(limits=limits)
    bench.ledger.retry(first.id, claimed.epoch, BROKEN, 0.0)  # a third one waits again
    bench.ledger.cancel(second.id)
    with pytest.raises(TooManyRequests):
        bench.submit(limits=limits)
    bench.ledger.erase(third.id)
    bench.submit(limits=limits)


# -- turns ----------------------------------------------------------------------------------------
def test_without_a_concurrency_all_jobs_are_released_at_once(bench: Bench):
    jobs = [bench.submit() for _ in range(5)]
    assert bench.released() == [job.id for job in jobs]


def test_a_key_has_no_more_jobs_released_than_may_run(bench: Bench):
    key = bench.key(concurrency=2)
    jobs = [bench.submit(key.id) for _ in range(4)]
    assert bench.released() == [job.id for job in jobs[:2]]
    assert bench.ledger.position(jobs[3]) == 3
    free = bench.submit("another")
    assert bench.released() == [jobs[0].id, jobs[1].id, free.id]


@pytest.mark.parametrize("end", ["succeed", "fail", "cancel", "erase"])
def test_whatever_ends_a_job_releases_the_next_of_its_key(bench: Bench, end):
    key = bench.key(concurrency=1)
    first, second, third = (bench.submit(key.id) for _ in range(3))
    if end in ("succeed", "fail"):
        job = bench.ledger.claim(first.id, "w")
        assert job is not None
        assert bench.released() == [first.id]
        good = end == "succeed"
        output, failure = ({}, None) if good else (None, BROKEN)
        bench.ledger.finish(first.id, job.epoch, output=output, failure=failure)
    else:
        getattr(bench.ledger, end)(first.id)
    assert bench.released() == [first.id, second.id]
    bench.ledger.cancel(third.id)
    assert third.work_id not in bench.dropped


def test_a_job_in_back_off_keeps_its_turn(bench: Bench):
    key = bench.key(concurrency=1)
    first, second = bench.submit(key.id), bench.submit(key.id)
    claimed = bench.ledger.claim(first.id, "w")
    assert claimed is not None
    bench.ledger.retry(first.id, claimed.epoch, BROKEN, 30.0)
    assert bench.released() == [first.id, first.id]
    bench.ledger.cancel(first.id)
    assert bench.released() == [first.id, first.id, second.id]


def test_released_jobs_come_by_priority_then_arrival(bench: Bench):
    key = bench.key(concurrency=1)
    first = bench.submit(key.id)
    slow, fast, fast_too = (bench.submit(key.id, priority=number) for number in (50, 1, 1))
    for job in (first, fast, fast_too):
        bench.ledger.cancel(job.id)
    assert bench.released() == [first.id, fast.id, fast_too.id, slow.id]


def test_a_release_that_cannot_be_enqueued_undoes_the_end(bench: Bench):
    key = bench.key(concurrency=1)
    first = bench.submit(key.id)
    bench.submit(key.id)
    bench.refusing.append(RuntimeError("no"))
    with pytest.raises(RuntimeError, match="no"):
        bench.ledger.cancel(first.id)
    assert bench.ledger.get(first.id).state is State.IN_QUEUE
    assert bench.dropped == []


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_the_deployments_concurrency_holds_for_keys_without_their_own(name, tmp_path):
    with IMPLEMENTATIONS[name](tmp_path, Terms(concurrency=1)) as bench:
        bench.submit("plain"), bench.submit("plain")
        wide = bench.key(concurrency=3)
        for _ in range(4):
            bench.submit(wide.id)
        assert len(bench.released()) == 1 + 3


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_waiting_jobs_are_released_when_the_limits_have_grown(name, tmp_path):
    with IMPLEMENTATIONS[name](tmp_path, Terms(concurrency=1)) as bench:
        jobs = [bench.submit() for _ in range(3)]
        assert bench.ledger.release() == 0
        grown = type(bench.ledger)
        if name == "memory":
            bench.ledger._store.terms = TERMS
        else:
            before = bench.ledger
            bench.ledger = grown(
                before._database, enqueue=before._enqueue, drop=before._drop, terms=TERMS
            )
        assert bench.ledger.release() == 2
        assert bench.released() == [job.id for job in jobs]
        assert bench.ledger.release() == 0
