"""What every store of webhook calls does."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ledgers import START, Bench
from lipwright.jobs.model import Delivery, Failure, Job

URL = "https://example.org/hook"


def end(bench: Bench, how: str) -> Job:
    job = bench.submit(webhook_url=URL)
    if how == "cancel":
        bench.ledger.cancel(job.id)
        return job
    claimed = bench.ledger.claim(job.id, "w")
    assert claimed is not None
    failure = Failure(code="bad_input", message="") if how == "fail" else None
    bench.ledger.finish(job.id, 1, output=None if failure else {}, failure=failure)
    return job


@pytest.mark.parametrize("how", ["succeed", "fail", "cancel"])
def test_every_end_makes_one_call(bench: Bench, how):
    job = end(bench, how)
    (call,) = bench.deliveries.of_job(job.id)
    assert call == Delivery(
        id=call.id, job_id=job.id, url=URL, state="pending", attempts=0, next_at=START
    )
    assert not bench.ledger.finish(job.id, 1, output={}, failure=None)
    bench.ledger.cancel(job.id)
    assert list(bench.deliveries.of_job(job.id)) == [call]


def test_what_does_not_end_a_job_makes_no_call(bench: Bench):
    job = bench.running(webhook_url=URL)
    bench.ledger.retry(job.id, job.epoch, Failure(code="worker_died", message=""), 0.0)
    assert list(bench.deliveries.of_job(job.id)) == []
    silent = bench.ended()
    assert list(bench.deliveries.of_job(silent.id)) == []
    assert list(bench.deliveries.due(9, 30.0)) == []


def test_a_call_is_given_to_one_sender_until_its_lease_ends(bench: Bench):
    job = end(bench, "succeed")
    bench.clock.advance(3)
    (leased,) = bench.deliveries.due(9, 30.0)
    assert (leased.job_id, leased.attempts, leased.age_seconds) == (job.id, 1, 3.0)
    assert leased.next_at == START + timedelta(seconds=33)
    assert list(bench.deliveries.due(9, 30.0)) == []
    bench.clock.advance(30)
    (again,) = bench.deliveries.due(9, 30.0)
    assert (again.id, again.attempts, again.age_seconds) == (leased.id, 2, 33.0)


def test_calls_come_in_batches_the_first_due_first(bench: Bench):
    jobs = []
    for _ in range(3):
        jobs.append(end(bench, "succeed"))
        bench.clock.advance(1)
    assert [call.job_id for call in bench.deliveries.due(2, 30.0)] == [job.id for job in jobs[:2]]
    assert [call.job_id for call in bench.deliveries.due(2, 30.0)] == [jobs[2].id]


def test_a_delivered_call_is_over(bench: Bench):
    job = end(bench, "succeed")
    (call,) = bench.deliveries.due(9, 30.0)
    bench.deliveries.delivered(call.id)
    bench.deliveries.again(call.id, "a late sender", 0.0)
    bench.deliveries.dead(call.id, "a late sender")
    bench.clock.advance(60)
    assert list(bench.deliveries.due(9, 30.0)) == []
    (seen,) = bench.deliveries.of_job(job.id)
    assert (seen.state, seen.attempts, seen.next_at, seen.last_error) == (
        "delivered",
        1,
        None,
        None,
    )


def test_a_failed_call_is_made_again_after_its_delay(bench: Bench):
    job = end(bench, "succeed")
    (call,) = bench.deliveries.due(9, 30.0)
    bench.deliveries.again(call.id, "HTTP 503", 120.0)
    (seen,) = bench.deliveries.of_job(job.id)
    assert (seen.state, seen.last_error) == ("pending", "HTTP 503")
    assert seen.next_at == START + timedelta(seconds=120)
    bench.clock.advance(119.999)
    assert list(bench.deliveries.due(9, 30.0)) == []
    bench.clock.advance(0.001)
    assert [call.attempts for call in bench.deliveries.due(9, 30.0)] == [2]


def test_a_call_that_is_given_up_stays_visible(bench: Bench):
    job = end(bench, "succeed")
    (call,) = bench.deliveries.due(9, 30.0)
    bench.deliveries.dead(call.id, "x" * 100_000)
    bench.clock.advance(60)
    assert list(bench.deliveries.due(9, 30.0)) == []
    (seen,) = bench.deliveries.of_job(job.id)
    assert (seen.state, seen.next_at) == ("dead", None)
    assert seen.last_error is not None
    assert 0 < len(seen.last_error) <= 1000
    assert bench.ledger.counts()["deliveries"] == {"dead": 1}


def test_calls_go_with_their_job(bench: Bench):
    job = end(bench, "succeed")
    bench.clock.advance(8 * 86_400)
    bench.ledger.forget(job.id)
    assert list(bench.deliveries.of_job(job.id)) == []
    assert list(bench.deliveries.due(9, 30.0)) == []


def test_a_call_of_nobody_is_ignored(bench: Bench):
    bench.deliveries.delivered("nothing")
    bench.deliveries.again("nothing", "", 1.0)
    bench.deliveries.dead("nothing", "")
    assert list(bench.deliveries.of_job("nothing")) == []
