"""Many at once: nothing is done twice, nothing is lost, no limit is passed."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from ledgers import WIDE, Bench, ticket
from lipwright.errors import TooManyRequests
from lipwright.jobs.model import Job, Limits, State

JOBS = 300
ROUND = 5
THREADS = 6


def together(*tasks: Callable[[], None]) -> None:
    """Run all tasks at once; raise what one of them raised."""
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


def test_cancel_against_claim_has_exactly_one_winner(bench: Bench):
    jobs = [bench.submit() for _ in range(JOBS)]
    executed: list[str] = []
    cancelled: list[str] = []
    begun = [threading.Event() for _ in range(0, JOBS, ROUND)]

    def rounds(step: int, parity: int) -> Iterator[Job]:
        """Yield the jobs in rounds; in every other one this side lets the other begin."""
        for number, start in enumerate(range(0, JOBS, ROUND)):
            if number % 2 == parity:
                assert begun[number].wait(60)
            for job in jobs[start : start + ROUND][::step]:
                yield job
                begun[number].set()

    def work() -> None:
        for job in rounds(1, parity=0):
            claimed = bench.ledger.claim(job.id, "w")
            if claimed and claimed.epoch == 1:
                executed.append(job.id)
                assert bench.ledger.finish(job.id, 1, output={}, failure=None)

    def cancel(step: int) -> None:
        for job in rounds(step, parity=1):
            if bench.ledger.cancel(job.id)[1]:
                cancelled.append(job.id)

    together(work, lambda: cancel(1), lambda: cancel(-1))
    assert sorted(executed + cancelled) == sorted(job.id for job in jobs)
    assert executed
    assert cancelled
    states = Counter(job.state for job in bench.ledger.page("k1", limit=JOBS))
    assert states == {State.SUCCEEDED: len(executed), State.CANCELLED: len(cancelled)}


def test_of_many_claims_of_one_job_the_last_one_holds_it(bench: Bench):
    job = bench.submit()
    epochs: list[int] = []

    def claim() -> None:
        for _ in range(20):
            claimed = bench.ledger.claim(job.id, "w")
            assert claimed is not None
            epochs.append(claimed.epoch)

    together(*[claim] * THREADS)
    assert sorted(epochs) == list(range(1, 20 * THREADS + 1))
    finished = [bench.ledger.finish(job.id, epoch, output={}, failure=None) for epoch in epochs]
    assert finished.count(True) == 1


@pytest.mark.parametrize("limits", [Limits(max_queued=50, submits_per_minute=10**6)])
def test_no_limit_is_passed_by_pushing(bench: Bench, limits):
    refused: list[TooManyRequests] = []

    def push() -> None:
        for _ in range(20):
            try:
                bench.submit(limits=limits)
            except TooManyRequests as error:
                refused.append(error)

    together(*[push] * THREADS)
    assert len(bench.ledger.page("k1", limit=999)) == 50
    assert len(refused) == 20 * THREADS - 50
    assert len(bench.work()) == 50


def test_sequences_are_unique_and_positions_a_permutation(bench: Bench):
    together(*[lambda: [bench.submit() for _ in range(20)]] * THREADS)
    jobs = bench.ledger.page("k1", limit=999)
    assert len({job.sequence for job in jobs}) == 20 * THREADS
    assert sorted(map(bench.ledger.position, jobs)) == list(range(20 * THREADS))


def test_a_keys_jobs_never_run_in_greater_number_than_they_may(bench: Bench):
    key = bench.key(concurrency=2)
    for _ in range(30):
        bench.submit(key.id)
    lock, running, most, done = threading.Lock(), 0, 0, set[str]()

    def work() -> None:
        nonlocal running, most
        while len(done) < 30:
            for job_id in bench.released():
                with lock:  # the queue gives a job to one worker
                    if job_id in done:
                        continue
                    done.add(job_id)
                    running += 1
                    most = max(most, running)
                job = bench.ledger.claim(job_id, "w")
                assert job is not None
                with lock:
                    running -= 1
                assert bench.ledger.finish(job_id, job.epoch, output={}, failure=None)

    together(*[work] * 4)
    assert most <= 2
    assert bench.ledger.counts()["ended"] == {"succeeded": 30}


def test_each_webhook_call_goes_to_one_sender(bench: Bench):
    for _ in range(60):
        bench.ended(webhook_url="https://example.org/hook")
    sent: list[str] = []

    def send() -> None:
        while calls := bench.deliveries.due(7, 30.0):
            for call in calls:
                sent.append(call.id)
                bench.deliveries.delivered(call.id)

    together(*[send] * 4)
    assert len(sent) == len(set(sent)) == 60


def test_a_key_name_is_given_once(bench: Bench):
    made: list[str] = []

    def create() -> None:
        try:
            made.append(bench.keys.create("ci")[0].id)
        except Exception as error:
            assert "'ci'" in str(error)  # noqa: PT017 - whichever comes second

    together(*[create] * THREADS)
    assert len(made) == 1


def test_an_upload_is_either_held_or_swept(bench: Bench):
    uploads = [bench.upload(hours=1) for _ in range(40)]
    bench.clock.advance(3599.999)
    held: list[str] = []
    gone: list[str] = []

    def submit() -> None:
        for upload in uploads:
            work = {"video": f"file:{upload.id}"}
            try:
                bench.ledger.submit(ticket(work=work), WIDE)
            except OSError:
                continue
            held.append(upload.id)

    def sweep() -> None:
        bench.clock.advance(0.001)
        for _ in range(10):
            for upload in bench.uploads.expired(limit=5):
                bench.uploads.drop(upload.id)
                gone.append(upload.id)

    together(submit, sweep)
    assert not set(held) & set(gone)
    for file_id in held:
        assert bench.uploads.get(file_id, "k1")
