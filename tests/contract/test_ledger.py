"""What every ledger does with one job."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from ledgers import START, WIDE, Bench, ticket
from lipwright.errors import IllegalTransition, JobNotFinished, JobNotFound
from lipwright.jobs.model import Failure, Job, Stage, State

BROKEN = Failure(code="media_unreadable", message="clip.mp4: broken")


def test_a_submitted_job_waits_and_is_enqueued_once(bench: Bench):
    asked = ticket(webhook_url="https://example.org/hook", trace="00-ab-cd-01", priority=3)
    job, new = bench.ledger.submit(asked, WIDE)
    assert new
    assert job == Job(
        ticket=asked,
        sequence=job.sequence,
        state=State.IN_QUEUE,
        epoch=0,
        created_at=START,
    )
    assert bench.ledger.get(job.id) == job
    assert bench.work() == [(job.work_id, 0.0)]


def test_a_failing_enqueue_leaves_no_job_and_no_work(bench: Bench):
    bench.refusing.append(RuntimeError("the queue is full"))
    with pytest.raises(RuntimeError, match="the queue is full"):
        bench.ledger.submit(ticket(id="lost", idempotency_key="once"), WIDE)
    with pytest.raises(JobNotFound):
        bench.ledger.get("lost")
    assert bench.work() == []
    assert bench.ledger.counts()["jobs"] == {"in_queue": 0, "in_progress": 0}
    bench.refusing.clear()
    assert bench.submit(id="lost", idempotency_key="once").state is State.IN_QUEUE


def test_jobs_are_numbered_in_the_order_of_arrival_and_numbers_are_never_reused(bench: Bench):
    first, second = bench.submit(), bench.submit()
    bench.ledger.erase(second.id)
    bench.ledger.forget(second.id)
    third = bench.submit()
    assert first.sequence < second.sequence < third.sequence


def test_another_keys_job_is_as_absent_as_none(bench: Bench):
    job = bench.submit("mine")
    assert bench.ledger.get(job.id, "mine") == job
    with pytest.raises(JobNotFound) as foreign:
        bench.ledger.get(job.id, "yours")
    with pytest.raises(JobNotFound) as absent:
        bench.ledger.get("nothing")
    assert str(foreign.value).replace(job.id, "") == str(absent.value).replace("nothing", "")
    for call in (bench.ledger.cancel, bench.ledger.erase):
        with pytest.raises(JobNotFound):
            call(job.id, "yours")
    assert bench.ledger.get(job.id) == job


def test_a_claim_starts_the_job_and_raises_its_epoch(bench: Bench):
    job = bench.submit()
    bench.clock.advance(5)
    claimed = bench.ledger.claim(job.id, "slot-1")
    assert claimed == replace(
        job,
        state=State.IN_PROGRESS,
        epoch=1,
        worker="slot-1",
        started_at=START + timedelta(seconds=5),
    )
    assert bench.ledger.get(job.id) == claimed


def test_a_claim_of_what_is_gone_or_over_gets_nothing(bench: Bench):
    cancelled, ended, erased = bench.submit(), bench.ended(), bench.submit()
    bench.ledger.cancel(cancelled.id)
    bench.ledger.erase(erased.id)
    for job_id in (cancelled.id, ended.id, erased.id, "nothing"):
        assert bench.ledger.claim(job_id, "w") is None
    assert bench.ledger.get(cancelled.id).state is State.CANCELLED
    assert bench.ledger.get(ended.id) == ended


def test_progress_is_kept_as_it_was_told(bench: Bench):
    job = bench.running()
    stage = Stage(stage="render", done=5, total=10, fraction=0.5, fps=31.4, seconds_left=0.2)
    assert bench.ledger.beat(job.id, job.epoch, stage)
    assert bench.ledger.get(job.id).stage == stage


def test_a_good_end_keeps_the_output(bench: Bench):
    job = bench.running()
    bench.clock.advance(60)
    output = {"video": "jobs/x/video.mp4", "frames": 10, "warnings": ["über"], "style": {"a": 0.5}}
    assert bench.ledger.finish(job.id, job.epoch, output=output, failure=None)
    ended = bench.ledger.get(job.id)
    assert ended.state is State.SUCCEEDED
    assert ended.output == output
    assert ended.failure is None
    assert ended.finished_at == START + timedelta(seconds=60)
    assert ended.expires_at == START + timedelta(days=7, seconds=60)


def test_a_bad_end_keeps_the_reason(bench: Bench):
    job = bench.running()
    assert bench.ledger.finish(job.id, job.epoch, output=None, failure=BROKEN)
    ended = bench.ledger.get(job.id)
    assert (ended.state, ended.failure, ended.output) == (State.FAILED, BROKEN, {})


@pytest.mark.parametrize("odd", ["\udcff.mp4", "a\0b", "\ud800", "täke 🎬", "x" * 100_000])
def test_no_text_keeps_a_job_from_ending_or_being_looked_for(bench: Bench, odd: str):
    job = bench.running(input={"name": odd}, idempotency_key=odd, trace=odd)
    failure = Failure(code="media_unreadable", message=f"{odd}: broken")
    assert bench.ledger.finish(job.id, job.epoch, output=None, failure=failure)
    ended = bench.ledger.get(job.id)
    assert ended.state is State.FAILED
    assert ended.failure is not None
    assert ended.failure.message.endswith(": broken")
    assert ended.ticket.input == {"name": odd}
    with pytest.raises(JobNotFound):
        bench.ledger.get(odd)
    assert bench.ledger.page(odd, limit=1, ids=[odd]) == []


@pytest.mark.parametrize(("output", "failure"), [(None, None), ({}, BROKEN)])
def test_a_job_ends_one_way(bench: Bench, output, failure):
    job = bench.running()
    with pytest.raises(IllegalTransition):
        bench.ledger.finish(job.id, job.epoch, output=output, failure=failure)
    assert bench.ledger.get(job.id) == job


def test_a_late_worker_changes_nothing(bench: Bench):
    late = bench.running()
    present = bench.ledger.claim(late.id, "w2")
    assert present is not None
    assert present.epoch == late.epoch + 1
    assert not bench.ledger.beat(late.id, late.epoch, Stage(done=99))
    assert not bench.ledger.finish(late.id, late.epoch, output={"video": "late"}, failure=None)
    assert not bench.ledger.retry(late.id, late.epoch, BROKEN, 0.0)
    assert bench.ledger.get(late.id) == present
    assert bench.ledger.finish(late.id, present.epoch, output={"video": "good"}, failure=None)
    assert not bench.ledger.finish(late.id, present.epoch, output={"video": "2"}, failure=None)
    assert bench.ledger.get(late.id).output == {"video": "good"}


def test_a_worker_of_an_absent_job_is_told_so(bench: Bench):
    assert not bench.ledger.beat("nothing", 1, Stage())
    assert not bench.ledger.finish("nothing", 1, output={}, failure=None)
    assert not bench.ledger.retry("nothing", 1, BROKEN, 0.0)


def test_a_retry_goes_back_to_its_place_with_fresh_work(bench: Bench):
    job, other = bench.running(), bench.submit()
    bench.ledger.beat(job.id, job.epoch, Stage(stage="render", done=9))
    assert bench.ledger.retry(job.id, job.epoch, BROKEN, 20.0)
    again = bench.ledger.get(job.id)
    assert again == replace(
        job, state=State.IN_QUEUE, worker=None, started_at=None, stage=Stage(), epoch=1
    )
    assert bench.work() == [(f"{job.id}:0", 0.0), (other.work_id, 0.0), (f"{job.id}:1", 20.0)]
    assert bench.ledger.position(other) == 1
    claimed = bench.ledger.claim(job.id, "w2")
    assert claimed is not None
    assert claimed.epoch == 2


def test_an_attempt_that_was_spared_does_not_count(bench: Bench):
    job = bench.running()
    bench.ledger.retry(job.id, job.epoch, BROKEN, 0.0)
    second = bench.ledger.claim(job.id, "w1")
    assert second is not None
    assert second.attempts == 2
    bench.ledger.retry(job.id, second.epoch, BROKEN, 0.0, spared=True)
    third = bench.ledger.claim(job.id, "w1")
    assert third is not None
    assert (third.epoch, third.attempts) == (3, 2)


def test_a_retry_whose_work_cannot_be_enqueued_leaves_the_job_running(bench: Bench):
    job = bench.running()
    bench.refusing.append(RuntimeError("no"))
    with pytest.raises(RuntimeError, match="no"):
        bench.ledger.retry(job.id, job.epoch, BROKEN, 0.0)
    assert bench.ledger.get(job.id) == job


def test_a_queued_job_is_cancelled_once_and_its_work_dropped(bench: Bench):
    job = bench.submit()
    cancelled, by_this_call = bench.ledger.cancel(job.id)
    assert by_this_call
    assert cancelled.state is State.CANCELLED
    assert cancelled.finished_at == START
    assert bench.ledger.cancel(job.id) == (cancelled, False)
    assert bench.dropped == [job.work_id]


def test_a_running_or_ended_job_is_not_cancelled(bench: Bench):
    running, ended = bench.running(), bench.ended()
    assert bench.ledger.cancel(running.id) == (running, False)
    assert bench.ledger.cancel(ended.id) == (ended, False)
    assert bench.dropped == []


def test_a_retried_job_can_be_cancelled_and_its_present_work_is_dropped(bench: Bench):
    job = bench.running()
    bench.ledger.retry(job.id, job.epoch, BROKEN, 60.0)
    assert bench.ledger.cancel(job.id)[1]
    assert bench.dropped == [f"{job.id}:1"]
    assert bench.ledger.claim(job.id, "w") is None


def test_the_position_counts_what_goes_first(bench: Bench):
    slow, fast = bench.submit(priority=50), bench.submit(priority=1)
    normal = [bench.submit("another") for _ in range(3)]
    bench.running()
    positions = {job.id: bench.ledger.position(job) for job in (fast, *normal, slow)}
    assert list(positions.values()) == [0, 1, 2, 3, 4]
    bench.ledger.claim(fast.id, "w")
    bench.ledger.cancel(normal[0].id)
    assert [bench.ledger.position(job) for job in (*normal[1:], slow)] == [0, 1, 2]


def test_the_rank_orders_work_as_the_position_does(bench: Bench):
    jobs = [bench.submit(priority=priority) for priority in (100, 1, 10, 1, 100)]
    by_rank = sorted(jobs, key=lambda job: job.rank)
    assert [bench.ledger.position(job) for job in by_rank] == [0, 1, 2, 3, 4]
    assert all(0 < job.rank < 2**31 for job in jobs)


def test_pages_are_newest_first_and_lead_on(bench: Bench):
    jobs = [bench.submit() for _ in range(5)]
    bench.submit("another")
    first = bench.ledger.page("k1", limit=2)
    second = bench.ledger.page("k1", limit=2, before=first[-1].sequence)
    last = bench.ledger.page("k1", limit=2, before=second[-1].sequence)
    assert [job.id for job in first + second + last] == [job.id for job in reversed(jobs)]
    assert bench.ledger.page("k1", limit=2, before=last[-1].sequence) == []


def test_pages_can_be_narrowed_to_states_and_ids(bench: Bench):
    queued, running, ended = bench.submit(), bench.running(), bench.ended()
    foreign = bench.submit("another")

    def page(**fields):
        return [job.id for job in bench.ledger.page("k1", limit=10, **fields)]

    assert page(states=[State.IN_QUEUE]) == [queued.id]
    assert page(states=[State.SUCCEEDED, State.IN_PROGRESS]) == [ended.id, running.id]
    assert page(ids=[queued.id, ended.id, foreign.id, "nothing"]) == [ended.id, queued.id]
    assert page(ids=[queued.id, ended.id], states=[State.IN_QUEUE]) == [queued.id]
    assert page(ids=[queued.id, ended.id], before=ended.sequence) == [queued.id]
    assert page(ids=[f"absent{number}" for number in range(2_000)]) == []


def test_an_erased_job_is_gone_for_everybody(bench: Bench):
    job = bench.ended(webhook_url="https://example.org/hook")
    assert bench.ledger.erase(job.id) == job
    for call in (bench.ledger.get, bench.ledger.erase, bench.ledger.cancel):
        with pytest.raises(JobNotFound):
            call(job.id)
    assert bench.ledger.page("k1", limit=9) == bench.ledger.page("k1", limit=9, ids=[job.id]) == []
    assert bench.ledger.counts()["jobs"] == {"in_queue": 0, "in_progress": 0}
    assert list(bench.deliveries.of_job(job.id)) == []


def test_erasing_overwrites_what_the_job_said_and_leaves_a_trace_to_sweep(bench: Bench):
    job = bench.running(idempotency_key="secret", webhook_url="https://example.org/secret")
    secret = Failure(code="bad_input", message="secret")
    bench.ledger.finish(job.id, job.epoch, output=None, failure=secret)
    bench.ledger.erase(job.id)
    (trace,) = bench.ledger.expired()
    assert trace.id == job.id
    assert trace.epoch == job.epoch
    assert "secret" not in repr(trace)
    assert "example.org" not in repr(trace)
    bench.ledger.forget(job.id)
    assert bench.ledger.expired() == []


def test_a_queued_job_is_cancelled_by_erasing_it(bench: Bench):
    job, other = bench.submit(), bench.submit()
    assert bench.ledger.erase(job.id) == job
    assert bench.dropped == [job.work_id]
    assert bench.ledger.position(other) == 0
    assert bench.ledger.counts()["ended"] == {"cancelled": 1}


def test_a_running_job_cannot_be_erased(bench: Bench):
    job = bench.running()
    with pytest.raises(JobNotFinished):
        bench.ledger.erase(job.id)
    assert bench.ledger.get(job.id) == job


def test_silent_jobs_are_told_the_longest_silence_first(bench: Bench):
    first, second, third = bench.running(), bench.running(), bench.running()
    bench.submit()
    bench.clock.advance(10)
    bench.ledger.beat(first.id, first.epoch, Stage())
    bench.clock.advance(6)
    assert [job.id for job in bench.ledger.stale(15.0)] == [second.id, third.id]
    bench.ledger.claim(second.id, "w2")
    assert [job.id for job in bench.ledger.stale(15.0)] == [third.id]
    bench.clock.advance(10)
    assert [job.id for job in bench.ledger.stale(15.0, limit=1)] == [third.id]
    assert [job.id for job in bench.ledger.stale(15.0)] == [third.id, first.id]


def test_ended_jobs_expire_and_others_do_not(bench: Bench):
    queued, running, ended = bench.submit(), bench.running(), bench.ended()
    bench.clock.advance(7 * 86_400 - 0.001)
    assert bench.ledger.expired() == []
    bench.ledger.forget(ended.id)
    assert bench.ledger.get(ended.id) == ended
    bench.clock.advance(0.001)
    assert bench.ledger.expired() == [ended]
    for job in (queued, running, ended):
        bench.ledger.forget(job.id)
    with pytest.raises(JobNotFound):
        bench.ledger.get(ended.id)
    assert bench.ledger.get(queued.id) == queued
    assert bench.ledger.get(running.id) == running


def test_counts_tell_rows_now_and_ends_ever(bench: Bench):
    bench.submit(), bench.running()
    bench.clock.advance(30)
    good = bench.running(webhook_url="https://example.org/hook")
    output = {"timings": {"face": 1.5, "render": 2.5}, "frames": 120}
    bench.ledger.finish(good.id, good.epoch, output=output, failure=None)
    bad = bench.running()
    bench.ledger.retry(bad.id, bad.epoch, Failure(code="worker_died", message=""), 0.0)
    bad = bench.ledger.claim(bad.id, "w")
    assert bad is not None
    bench.ledger.finish(bad.id, bad.epoch, output=None, failure=BROKEN)
    bench.ledger.cancel(bench.submit().id)
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
    assert bench.ledger.counts() == expected
    bench.clock.advance(8 * 86_400)
    for job in bench.ledger.expired():
        bench.ledger.forget(job.id)
    after = bench.ledger.counts()
    assert after["jobs"] == {"in_queue": 1, "in_progress": 1}
    assert {name: after[name] for name in ("ended", "failures", "seconds", "frames")} == {
        name: expected[name] for name in ("ended", "failures", "seconds", "frames")
    }


def test_the_oldest_job_is_the_first_to_have_come_whatever_its_priority(bench: Bench):
    assert bench.ledger.counts()["oldest_seconds"] == 0
    slow = bench.submit(priority=100)
    bench.clock.advance(5)
    fast = bench.submit(priority=1)
    bench.clock.advance(5)
    assert bench.ledger.counts()["oldest_seconds"] == 10
    bench.ledger.claim(slow.id, "w")
    assert bench.ledger.counts()["oldest_seconds"] == 5
    bench.ledger.cancel(fast.id)
    assert bench.ledger.counts()["oldest_seconds"] == 0


def test_odd_facts_of_an_output_do_not_spoil_the_counts(bench: Bench):
    for output in ({"timings": "slow", "frames": "many"}, {"timings": {"face": None}}):
        job = bench.running()
        assert bench.ledger.finish(job.id, job.epoch, output=output, failure=None)
    counts = bench.ledger.counts()
    assert (counts["seconds"], counts["frames"]) == ({}, 0)
