"""The contract of the ledger for one job, for every implementation."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from ledgers import START, WIDE, LedgerHarness, make_spec
from lipwright.errors import IllegalTransition, JobNotFinished, JobNotFound
from lipwright.jobs.model import Failure, Job, JobProgress, State

BROKEN = Failure(code="media_unreadable", message="clip.mp4: broken")


def test_a_submitted_job_is_queued_and_enqueued_once(harness: LedgerHarness):
    spec = make_spec(webhook_url="https://example.org/hook", trace="00-ab-cd-01", priority=3)
    job, new = harness.ledger.submit(spec, WIDE)
    assert new
    assert job == Job(
        spec=spec,
        sequence=job.sequence,
        state=State.IN_QUEUE,
        epoch=0,
        created_at=START,
    )
    assert harness.ledger.get(job.id) == job
    assert harness.enqueued() == [(job.work_id, 0.0)]


def test_a_failing_enqueue_leaves_no_job_and_no_work(harness: LedgerHarness):
    harness.enqueue_errors.append(RuntimeError("the queue is full"))
    with pytest.raises(RuntimeError, match="the queue is full"):
        harness.ledger.submit(make_spec(id="lost", idempotency_key="once"), WIDE)
    with pytest.raises(JobNotFound):
        harness.ledger.get("lost")
    assert harness.enqueued() == []
    assert harness.ledger.counts()["jobs"] == {"in_queue": 0, "in_progress": 0}
    harness.enqueue_errors.clear()
    assert harness.submit(id="lost", idempotency_key="once").state is State.IN_QUEUE


def test_sequences_follow_arrival_and_are_never_reused(
    harness: LedgerHarness,
):
    first, second = harness.submit(), harness.submit()
    harness.ledger.erase(second.id)
    harness.ledger.purge(second.id)
    third = harness.submit()
    assert first.sequence < second.sequence < third.sequence


def test_a_job_of_another_key_is_not_found(harness: LedgerHarness):
    job = harness.submit("mine")
    assert harness.ledger.get(job.id, "mine") == job
    with pytest.raises(JobNotFound) as foreign:
        harness.ledger.get(job.id, "yours")
    with pytest.raises(JobNotFound) as absent:
        harness.ledger.get("nothing")
    assert str(foreign.value).replace(job.id, "") == str(absent.value).replace("nothing", "")
    for call in (harness.ledger.cancel, harness.ledger.erase):
        with pytest.raises(JobNotFound):
            call(job.id, "yours")
    assert harness.ledger.get(job.id) == job


def test_a_claim_starts_the_job_and_increments_its_epoch(harness: LedgerHarness):
    job = harness.submit()
    harness.clock.advance(5)
    claimed = harness.ledger.claim(job.id, "slot-1")
    assert claimed == replace(
        job,
        state=State.IN_PROGRESS,
        epoch=1,
        worker="slot-1",
        started_at=START + timedelta(seconds=5),
    )
    assert harness.ledger.get(job.id) == claimed


def test_a_job_that_ended_or_is_unknown_cannot_be_claimed(harness: LedgerHarness):
    cancelled, ended, erased = harness.submit(), harness.ended(), harness.submit()
    harness.ledger.cancel(cancelled.id)
    harness.ledger.erase(erased.id)
    for job_id in (cancelled.id, ended.id, erased.id, "nothing"):
        assert harness.ledger.claim(job_id, "w") is None
    assert harness.ledger.get(cancelled.id).state is State.CANCELLED
    assert harness.ledger.get(ended.id) == ended


def test_a_heartbeat_stores_the_progress(harness: LedgerHarness):
    job = harness.running()
    progress = JobProgress(
        stage="render", done=5, total=10, fraction=0.5, fps=31.4, seconds_left=0.2
    )
    assert harness.ledger.heartbeat(job.id, job.epoch, progress)
    assert harness.ledger.get(job.id).progress == progress


def test_finishing_with_an_output_stores_it(harness: LedgerHarness):
    job = harness.running()
    harness.clock.advance(60)
    output = {"video": "jobs/x/video.mp4", "frames": 10, "warnings": ["über"], "style": {"a": 0.5}}
    assert harness.ledger.finish(job.id, job.epoch, output=output, failure=None)
    ended = harness.ledger.get(job.id)
    assert ended.state is State.SUCCEEDED
    assert ended.output == output
    assert ended.failure is None
    assert ended.finished_at == START + timedelta(seconds=60)
    assert ended.expires_at == START + timedelta(days=7, seconds=60)


def test_finishing_with_a_failure_stores_it(harness: LedgerHarness):
    job = harness.running()
    assert harness.ledger.finish(job.id, job.epoch, output=None, failure=BROKEN)
    ended = harness.ledger.get(job.id)
    assert (ended.state, ended.failure, ended.output) == (State.FAILED, BROKEN, {})


@pytest.mark.parametrize("odd", ["\udcff.mp4", "a\0b", "\ud800", "täke 🎬", "x" * 100_000])
def test_unusual_text_does_not_prevent_a_job_from_ending_or_being_found(
    harness: LedgerHarness, odd: str
):
    job = harness.running(input={"name": odd}, idempotency_key=odd, trace=odd)
    failure = Failure(code="media_unreadable", message=f"{odd}: broken")
    assert harness.ledger.finish(job.id, job.epoch, output=None, failure=failure)
    ended = harness.ledger.get(job.id)
    assert ended.state is State.FAILED
    assert ended.failure is not None
    assert ended.failure.message.endswith(": broken")
    assert ended.spec.input == {"name": odd}
    with pytest.raises(JobNotFound):
        harness.ledger.get(odd)
    assert harness.ledger.list_jobs(odd, limit=1, ids=[odd]) == []


@pytest.mark.parametrize(("output", "failure"), [(None, None), ({}, BROKEN)])
def test_a_job_ends_with_either_an_output_or_a_failure(harness: LedgerHarness, output, failure):
    job = harness.running()
    with pytest.raises(IllegalTransition):
        harness.ledger.finish(job.id, job.epoch, output=output, failure=failure)
    assert harness.ledger.get(job.id) == job


def test_a_worker_with_an_older_epoch_changes_nothing(harness: LedgerHarness):
    late = harness.running()
    present = harness.ledger.claim(late.id, "w2")
    assert present is not None
    assert present.epoch == late.epoch + 1
    assert not harness.ledger.heartbeat(late.id, late.epoch, JobProgress(done=99))
    assert not harness.ledger.finish(late.id, late.epoch, output={"video": "late"}, failure=None)
    assert not harness.ledger.retry(late.id, late.epoch, BROKEN, 0.0)
    assert harness.ledger.get(late.id) == present
    assert harness.ledger.finish(late.id, present.epoch, output={"video": "good"}, failure=None)
    assert not harness.ledger.finish(late.id, present.epoch, output={"video": "2"}, failure=None)
    assert harness.ledger.get(late.id).output == {"video": "good"}


def test_updates_of_an_unknown_job_return_false(harness: LedgerHarness):
    assert not harness.ledger.heartbeat("nothing", 1, JobProgress())
    assert not harness.ledger.finish("nothing", 1, output={}, failure=None)
    assert not harness.ledger.retry("nothing", 1, BROKEN, 0.0)


def test_a_retried_job_keeps_its_position_and_gets_new_work(harness: LedgerHarness):
    job, other = harness.running(), harness.submit()
    harness.ledger.heartbeat(job.id, job.epoch, JobProgress(stage="render", done=9))
    assert harness.ledger.retry(job.id, job.epoch, BROKEN, 20.0)
    again = harness.ledger.get(job.id)
    assert again == replace(
        job, state=State.IN_QUEUE, worker=None, started_at=None, progress=JobProgress(), epoch=1
    )
    assert harness.enqueued() == [(f"{job.id}:0", 0.0), (other.work_id, 0.0), (f"{job.id}:1", 20.0)]
    assert harness.ledger.position(other) == 1
    claimed = harness.ledger.claim(job.id, "w2")
    assert claimed is not None
    assert claimed.epoch == 2


def test_an_uncounted_attempt_does_not_count(harness: LedgerHarness):
    job = harness.running()
    harness.ledger.retry(job.id, job.epoch, BROKEN, 0.0)
    second = harness.ledger.claim(job.id, "w1")
    assert second is not None
    assert second.attempts == 2
    harness.ledger.retry(job.id, second.epoch, BROKEN, 0.0, uncounted=True)
    third = harness.ledger.claim(job.id, "w1")
    assert third is not None
    assert (third.epoch, third.attempts) == (3, 2)


def test_a_retry_whose_work_cannot_be_enqueued_leaves_the_job_running(harness: LedgerHarness):
    job = harness.running()
    harness.enqueue_errors.append(RuntimeError("no"))
    with pytest.raises(RuntimeError, match="no"):
        harness.ledger.retry(job.id, job.epoch, BROKEN, 0.0)
    assert harness.ledger.get(job.id) == job


def test_a_queued_job_is_cancelled_once_with_its_work(harness: LedgerHarness):
    job = harness.submit()
    cancelled, by_this_call = harness.ledger.cancel(job.id)
    assert by_this_call
    assert cancelled.state is State.CANCELLED
    assert cancelled.finished_at == START
    assert harness.ledger.cancel(job.id) == (cancelled, False)
    assert harness.cancelled_work == [job.work_id]


def test_a_running_or_ended_job_is_not_cancelled(harness: LedgerHarness):
    running, ended = harness.running(), harness.ended()
    assert harness.ledger.cancel(running.id) == (running, False)
    assert harness.ledger.cancel(ended.id) == (ended, False)
    assert harness.cancelled_work == []


def test_cancelling_a_retried_job_cancels_its_current_work(harness: LedgerHarness):
    job = harness.running()
    harness.ledger.retry(job.id, job.epoch, BROKEN, 60.0)
    assert harness.ledger.cancel(job.id)[1]
    assert harness.cancelled_work == [f"{job.id}:1"]
    assert harness.ledger.claim(job.id, "w") is None


def test_the_position_counts_jobs_ahead_by_priority_and_arrival(harness: LedgerHarness):
    slow, fast = harness.submit(priority=50), harness.submit(priority=1)
    normal = [harness.submit("another") for _ in range(3)]
    harness.running()
    positions = {job.id: harness.ledger.position(job) for job in (fast, *normal, slow)}
    assert list(positions.values()) == [0, 1, 2, 3, 4]
    harness.ledger.claim(fast.id, "w")
    harness.ledger.cancel(normal[0].id)
    assert [harness.ledger.position(job) for job in (*normal[1:], slow)] == [0, 1, 2]


def test_ranks_order_jobs_as_positions_do(harness: LedgerHarness):
    jobs = [harness.submit(priority=priority) for priority in (100, 1, 10, 1, 100)]
    by_rank = sorted(jobs, key=lambda job: job.rank)
    assert [harness.ledger.position(job) for job in by_rank] == [0, 1, 2, 3, 4]
    assert all(0 < job.rank < 2**31 for job in jobs)


def test_pages_are_newest_first_and_continue_before_a_sequence(harness: LedgerHarness):
    jobs = [harness.submit() for _ in range(5)]
    harness.submit("another")
    first = harness.ledger.list_jobs("k1", limit=2)
    second = harness.ledger.list_jobs("k1", limit=2, before=first[-1].sequence)
    last = harness.ledger.list_jobs("k1", limit=2, before=second[-1].sequence)
    assert [job.id for job in first + second + last] == [job.id for job in reversed(jobs)]
    assert harness.ledger.list_jobs("k1", limit=2, before=last[-1].sequence) == []


def test_pages_can_be_filtered_by_states_and_ids(harness: LedgerHarness):
    queued, running, ended = harness.submit(), harness.running(), harness.ended()
    foreign = harness.submit("another")

    def page(**fields):
        return [job.id for job in harness.ledger.list_jobs("k1", limit=10, **fields)]

    assert page(states=[State.IN_QUEUE]) == [queued.id]
    assert page(states=[State.SUCCEEDED, State.IN_PROGRESS]) == [ended.id, running.id]
    assert page(ids=[queued.id, ended.id, foreign.id, "nothing"]) == [ended.id, queued.id]
    assert page(ids=[queued.id, ended.id], states=[State.IN_QUEUE]) == [queued.id]
    assert page(ids=[queued.id, ended.id], before=ended.sequence) == [queued.id]
    assert page(ids=[f"absent{number}" for number in range(2_000)]) == []


def test_an_erased_job_is_not_found_anywhere(harness: LedgerHarness):
    job = harness.ended(webhook_url="https://example.org/hook")
    assert harness.ledger.erase(job.id) == job
    for call in (harness.ledger.get, harness.ledger.erase, harness.ledger.cancel):
        with pytest.raises(JobNotFound):
            call(job.id)
    assert (
        harness.ledger.list_jobs("k1", limit=9)
        == harness.ledger.list_jobs("k1", limit=9, ids=[job.id])
        == []
    )
    assert harness.ledger.counts()["jobs"] == {"in_queue": 0, "in_progress": 0}
    assert list(harness.deliveries.list_for_job(job.id)) == []


def test_erasing_blanks_the_row_and_leaves_it_for_the_sweeper(harness: LedgerHarness):
    job = harness.running(idempotency_key="secret", webhook_url="https://example.org/secret")
    secret = Failure(code="bad_input", message="secret")
    harness.ledger.finish(job.id, job.epoch, output=None, failure=secret)
    harness.ledger.erase(job.id)
    (trace,) = harness.ledger.list_expired()
    assert trace.id == job.id
    assert trace.epoch == job.epoch
    assert "secret" not in repr(trace)
    assert "example.org" not in repr(trace)
    harness.ledger.purge(job.id)
    assert harness.ledger.list_expired() == []


def test_a_queued_job_is_cancelled_by_erasing_it(harness: LedgerHarness):
    job, other = harness.submit(), harness.submit()
    assert harness.ledger.erase(job.id) == job
    assert harness.cancelled_work == [job.work_id]
    assert harness.ledger.position(other) == 0
    assert harness.ledger.counts()["ended"] == {"cancelled": 1}


def test_a_running_job_cannot_be_erased(harness: LedgerHarness):
    job = harness.running()
    with pytest.raises(JobNotFinished):
        harness.ledger.erase(job.id)
    assert harness.ledger.get(job.id) == job


def test_stale_jobs_are_listed_longest_silence_first(harness: LedgerHarness):
    first, second, third = harness.running(), harness.running(), harness.running()
    harness.submit()
    harness.clock.advance(10)
    harness.ledger.heartbeat(first.id, first.epoch, JobProgress())
    harness.clock.advance(6)
    assert [job.id for job in harness.ledger.list_stale(15.0)] == [second.id, third.id]
    harness.ledger.claim(second.id, "w2")
    assert [job.id for job in harness.ledger.list_stale(15.0)] == [third.id]
    harness.clock.advance(10)
    assert [job.id for job in harness.ledger.list_stale(15.0, limit=1)] == [third.id]
    assert [job.id for job in harness.ledger.list_stale(15.0)] == [third.id, first.id]


def test_only_ended_jobs_expire(harness: LedgerHarness):
    queued, running, ended = harness.submit(), harness.running(), harness.ended()
    harness.clock.advance(7 * 86_400 - 0.001)
    assert harness.ledger.list_expired() == []
    harness.ledger.purge(ended.id)
    assert harness.ledger.get(ended.id) == ended
    harness.clock.advance(0.001)
    assert harness.ledger.list_expired() == [ended]
    for job in (queued, running, ended):
        harness.ledger.purge(job.id)
    with pytest.raises(JobNotFound):
        harness.ledger.get(ended.id)
    assert harness.ledger.get(queued.id) == queued
    assert harness.ledger.get(running.id) == running


def test_counts_cover_current_states_and_past_ends(harness: LedgerHarness):
    harness.submit(), harness.running()
    harness.clock.advance(30)
    good = harness.running(webhook_url="https://example.org/hook")
    output = {"timings": {"face": 1.5, "render": 2.5}, "frames": 120}
    harness.ledger.finish(good.id, good.epoch, output=output, failure=None)
    bad = harness.running()
    harness.ledger.retry(bad.id, bad.epoch, Failure(code="worker_died", message=""), 0.0)
    bad = harness.ledger.claim(bad.id, "w")
    assert bad is not None
    harness.ledger.finish(bad.id, bad.epoch, output=None, failure=BROKEN)
    harness.ledger.cancel(harness.submit().id)
    expected = {
        "jobs": {"in_queue": 1, "in_progress": 1},
        "ended": {"succeeded": 1, "failed": 1, "cancelled": 1},
        "failures": {"media_unreadable": 1},
        "retries": {"worker_died": 1},
        "seconds": {"face": 1.5, "render": 2.5},
        "frames": 120,
        "deliveries": {"pending": 1},
        "oldest_seconds": 30.0,
    }
    assert harness.ledger.counts() == expected
    harness.clock.advance(8 * 86_400)
    for job in harness.ledger.list_expired():
        harness.ledger.purge(job.id)
    after = harness.ledger.counts()
    assert after["jobs"] == {"in_queue": 1, "in_progress": 1}
    assert {name: after[name] for name in ("ended", "failures", "seconds", "frames")} == {
        name: expected[name] for name in ("ended", "failures", "seconds", "frames")
    }


def test_the_oldest_queued_job_is_found_across_priorities(harness: LedgerHarness):
    assert harness.ledger.counts()["oldest_seconds"] == 0
    slow = harness.submit(priority=100)
    harness.clock.advance(5)
    fast = harness.submit(priority=1)
    harness.clock.advance(5)
    assert harness.ledger.counts()["oldest_seconds"] == 10
    harness.ledger.claim(slow.id, "w")
    assert harness.ledger.counts()["oldest_seconds"] == 5
    harness.ledger.cancel(fast.id)
    assert harness.ledger.counts()["oldest_seconds"] == 0


def test_malformed_timings_and_frames_are_not_counted(harness: LedgerHarness):
    for output in ({"timings": "slow", "frames": "many"}, {"timings": {"face": None}}):
        job = harness.running()
        assert harness.ledger.finish(job.id, job.epoch, output=output, failure=None)
    counts = harness.ledger.counts()
    assert (counts["seconds"], counts["frames"]) == ({}, 0)
