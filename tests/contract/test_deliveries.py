"""The contract of webhook deliveries, for every implementation."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ledgers import START, LedgerHarness
from lipwright.jobs.model import Delivery, Failure, Job

URL = "https://example.org/hook"


def end(harness: LedgerHarness, how: str) -> Job:
    job = harness.submit(webhook_url=URL)
    if how == "cancel":
        harness.ledger.cancel(job.id)
        return job
    claimed = harness.ledger.claim(job.id, "w")
    assert claimed is not None
    failure = Failure(code="bad_input", message="") if how == "fail" else None
    harness.ledger.finish(job.id, 1, output=None if failure else {}, failure=failure)
    return job


@pytest.mark.parametrize("how", ["succeed", "fail", "cancel"])
def test_every_end_of_a_job_creates_one_delivery(harness: LedgerHarness, how):
    job = end(harness, how)
    (call,) = harness.deliveries.list_for_job(job.id)
    assert call == Delivery(
        id=call.id, job_id=job.id, url=URL, state="pending", attempts=0, next_at=START
    )
    assert not harness.ledger.finish(job.id, 1, output={}, failure=None)
    harness.ledger.cancel(job.id)
    assert list(harness.deliveries.list_for_job(job.id)) == [call]


def test_a_retry_or_a_job_without_a_webhook_creates_no_delivery(harness: LedgerHarness):
    job = harness.running(webhook_url=URL)
    harness.ledger.retry(job.id, job.epoch, Failure(code="worker_died", message=""), 0.0)
    assert list(harness.deliveries.list_for_job(job.id)) == []
    silent = harness.ended()
    assert list(harness.deliveries.list_for_job(silent.id)) == []
    assert list(harness.deliveries.claim_due(9, 30.0)) == []


def test_a_delivery_is_leased_to_one_sender(harness: LedgerHarness):
    job = end(harness, "succeed")
    harness.clock.advance(3)
    (leased,) = harness.deliveries.claim_due(9, 30.0)
    assert (leased.job_id, leased.attempts, leased.age_seconds) == (job.id, 1, 3.0)
    assert leased.next_at == START + timedelta(seconds=33)
    assert list(harness.deliveries.claim_due(9, 30.0)) == []
    harness.clock.advance(30)
    (again,) = harness.deliveries.claim_due(9, 30.0)
    assert (again.id, again.attempts, again.age_seconds) == (leased.id, 2, 33.0)


def test_deliveries_are_claimed_in_batches_earliest_due_first(harness: LedgerHarness):
    jobs = []
    for _ in range(3):
        jobs.append(end(harness, "succeed"))
        harness.clock.advance(1)
    assert [call.job_id for call in harness.deliveries.claim_due(2, 30.0)] == [
        job.id for job in jobs[:2]
    ]
    assert [call.job_id for call in harness.deliveries.claim_due(2, 30.0)] == [jobs[2].id]


def test_a_delivered_delivery_is_final(harness: LedgerHarness):
    job = end(harness, "succeed")
    (call,) = harness.deliveries.claim_due(9, 30.0)
    harness.deliveries.mark_delivered(call.id)
    harness.deliveries.reschedule(call.id, "a late sender", 0.0)
    harness.deliveries.mark_dead(call.id, "a late sender")
    harness.clock.advance(60)
    assert list(harness.deliveries.claim_due(9, 30.0)) == []
    (seen,) = harness.deliveries.list_for_job(job.id)
    assert (seen.state, seen.attempts, seen.next_at, seen.last_error) == (
        "delivered",
        1,
        None,
        None,
    )


def test_a_rescheduled_delivery_is_due_after_its_delay(harness: LedgerHarness):
    job = end(harness, "succeed")
    (call,) = harness.deliveries.claim_due(9, 30.0)
    harness.deliveries.reschedule(call.id, "HTTP 503", 120.0)
    (seen,) = harness.deliveries.list_for_job(job.id)
    assert (seen.state, seen.last_error) == ("pending", "HTTP 503")
    assert seen.next_at == START + timedelta(seconds=120)
    harness.clock.advance(119.999)
    assert list(harness.deliveries.claim_due(9, 30.0)) == []
    harness.clock.advance(0.001)
    assert [call.attempts for call in harness.deliveries.claim_due(9, 30.0)] == [2]


def test_a_dead_delivery_stays_visible(harness: LedgerHarness):
    job = end(harness, "succeed")
    (call,) = harness.deliveries.claim_due(9, 30.0)
    harness.deliveries.mark_dead(call.id, "x" * 100_000)
    harness.clock.advance(60)
    assert list(harness.deliveries.claim_due(9, 30.0)) == []
    (seen,) = harness.deliveries.list_for_job(job.id)
    assert (seen.state, seen.next_at) == ("dead", None)
    assert seen.last_error is not None
    assert 0 < len(seen.last_error) <= 1000
    assert harness.ledger.counts()["deliveries"] == {"dead": 1}


def test_deliveries_are_purged_with_their_job(harness: LedgerHarness):
    job = end(harness, "succeed")
    harness.clock.advance(8 * 86_400)
    harness.ledger.purge(job.id)
    assert list(harness.deliveries.list_for_job(job.id)) == []
    assert list(harness.deliveries.claim_due(9, 30.0)) == []


def test_an_unknown_delivery_is_ignored(harness: LedgerHarness):
    harness.deliveries.mark_delivered("nothing")
    harness.deliveries.reschedule("nothing", "", 1.0)
    harness.deliveries.mark_dead("nothing", "")
    assert list(harness.deliveries.list_for_job("nothing")) == []
