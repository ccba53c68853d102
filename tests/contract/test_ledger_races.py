"""Concurrent use: nothing is done twice or lost, and no limit is exceeded."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from ledgers import WIDE, LedgerHarness, make_spec
from lipwright.errors import TooManyRequests
from lipwright.jobs.model import Job, State, SubmitLimits

JOBS = 300
ROUND = 5
THREADS = 6


def run_concurrently(*tasks: Callable[[], None]) -> None:
    """Run all tasks concurrently; raise the first error of any of them."""
    errors: list[BaseException] = []
    barrier = threading.Barrier(len(tasks))

    def run(task: Callable[[], None]) -> None:
        try:
            barrier.wait()
            task()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def test_cancel_against_claim_has_exactly_one_winner(harness: LedgerHarness):
    jobs = [harness.submit() for _ in range(JOBS)]
    executed: list[str] = []
    cancelled: list[str] = []
    begun = [threading.Event() for _ in range(0, JOBS, ROUND)]

    def rounds(step: int, parity: int) -> Iterator[Job]:
        """Yield the jobs in rounds; in every other one this side waits for the other to start."""
        for number, start in enumerate(range(0, JOBS, ROUND)):
            if number % 2 == parity:
                assert begun[number].wait(60)
            for job in jobs[start : start + ROUND][::step]:
                yield job
                begun[number].set()

    def work() -> None:
        for job in rounds(1, parity=0):
            claimed = harness.ledger.claim(job.id, "w")
            if claimed and claimed.epoch == 1:
                executed.append(job.id)
                assert harness.ledger.finish(job.id, 1, output={}, failure=None)

    def cancel(step: int) -> None:
        for job in rounds(step, parity=1):
            if harness.ledger.cancel(job.id)[1]:
                cancelled.append(job.id)

    run_concurrently(work, lambda: cancel(1), lambda: cancel(-1))
    assert sorted(executed + cancelled) == sorted(job.id for job in jobs)
    assert executed
    assert cancelled
    states = Counter(job.state for job in harness.ledger.list_jobs("k1", limit=JOBS))
    assert states == {State.SUCCEEDED: len(executed), State.CANCELLED: len(cancelled)}


def test_only_the_last_of_many_claims_can_finish_a_job(harness: LedgerHarness):
    job = harness.submit()
    epochs: list[int] = []

    def claim() -> None:
        for _ in range(20):
            claimed = harness.ledger.claim(job.id, "w")
            assert claimed is not None
            epochs.append(claimed.epoch)

    run_concurrently(*[claim] * THREADS)
    assert sorted(epochs) == list(range(1, 20 * THREADS + 1))
    finished = [harness.ledger.finish(job.id, epoch, output={}, failure=None) for epoch in epochs]
    assert finished.count(True) == 1


@pytest.mark.parametrize("limits", [SubmitLimits(max_queued=50, submits_per_minute=10**6)])
def test_concurrent_submits_do_not_exceed_a_limit(harness: LedgerHarness, limits):
    refused: list[TooManyRequests] = []

    def push() -> None:
        for _ in range(20):
            try:
                harness.submit(limits=limits)
            except TooManyRequests as error:
                refused.append(error)

    run_concurrently(*[push] * THREADS)
    assert len(harness.ledger.list_jobs("k1", limit=999)) == 50
    assert len(refused) == 20 * THREADS - 50
    assert len(harness.enqueued()) == 50


def test_sequences_are_unique_and_positions_a_permutation(harness: LedgerHarness):
    run_concurrently(*[lambda: [harness.submit() for _ in range(20)]] * THREADS)
    jobs = harness.ledger.list_jobs("k1", limit=999)
    assert len({job.sequence for job in jobs}) == 20 * THREADS
    assert sorted(map(harness.ledger.position, jobs)) == list(range(20 * THREADS))


def test_concurrent_workers_do_not_exceed_the_concurrency_of_a_key(harness: LedgerHarness):
    key = harness.key(concurrency=2)
    for _ in range(30):
        harness.submit(key.id)
    lock, running, most, done = threading.Lock(), 0, 0, set[str]()

    def work() -> None:
        nonlocal running, most
        while len(done) < 30:
            for job_id in harness.released():
                with lock:  # the queue gives a job to one worker
                    if job_id in done:
                        continue
                    done.add(job_id)
                    running += 1
                    most = max(most, running)
                job = harness.ledger.claim(job_id, "w")
                assert job is not None
                with lock:
                    running -= 1
                assert harness.ledger.finish(job_id, job.epoch, output={}, failure=None)

    run_concurrently(*[work] * 4)
    assert most <= 2
    assert harness.ledger.counts()["ended"] == {"succeeded": 30}


def test_each_webhook_call_goes_to_one_sender(harness: LedgerHarness):
    for _ in range(60):
        harness.ended(webhook_url="https://example.org/hook")
    sent: list[str] = []

    def send() -> None:
        while calls := harness.deliveries.claim_due(7, 30.0):
            for call in calls:
                sent.append(call.id)
                harness.deliveries.mark_delivered(call.id)

    run_concurrently(*[send] * 4)
    assert len(sent) == len(set(sent)) == 60


def test_concurrent_creates_of_one_key_name_succeed_once(harness: LedgerHarness):
    made: list[str] = []

    def create() -> None:
        try:
            made.append(harness.keys.create("ci")[0].id)
        except Exception as error:
            assert "'ci'" in str(error)  # noqa: PT017 - whichever comes second

    run_concurrently(*[create] * THREADS)
    assert len(made) == 1


def test_a_concurrent_upload_is_either_in_use_or_swept(harness: LedgerHarness):
    uploads = [harness.upload(hours=1) for _ in range(40)]
    harness.clock.advance(3599.999)
    held: list[str] = []
    gone: list[str] = []

    def submit() -> None:
        for upload in uploads:
            work = {"video": f"file:{upload.id}"}
            try:
                harness.ledger.submit(make_spec(payload=work), WIDE)
            except OSError:
                continue
            held.append(upload.id)

    def sweep() -> None:
        harness.clock.advance(0.001)
        for _ in range(10):
            for upload in harness.uploads.claim_expired(limit=5):
                harness.uploads.delete(upload.id)
                gone.append(upload.id)

    run_concurrently(submit, sweep)
    assert not set(held) & set(gone)
    for file_id in held:
        assert harness.uploads.get(file_id, "k1")
