"""Random operations have the same effects on the SQL ledger and on the ledger in memory."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ledgers import START, LedgerHarness, make_spec, open_memory, open_sqlite
from lipwright.errors import LipwrightError
from lipwright.jobs.ledger import accounting
from lipwright.jobs.ledger.rules import LedgerPolicy
from lipwright.jobs.model import Failure, JobProgress, State, SubmitLimits, Upload

STEPS = 150
LIMITS = SubmitLimits(max_queued=5, submits_per_minute=20)
FAILURE = Failure(code="worker_died", message="killed")
FILES = ["f0", "f1"]
KEYS = ["k1", "k2"]

Step = Callable[[LedgerHarness], Any]


class Walk:
    """Chooses random operations and records them in ``history``."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.jobs: list[str] = ["nothing"]
        self.history: list[str] = []

    def step(self, seen: LedgerHarness) -> Step:
        """Return the next operation for both ledgers, given the state of one of them."""
        choices = {
            self.submit: 6,
            self.claim: 6,
            self.finish: 4,
            self.retry: 3,
            self.beat: 2,
            self.cancel: 3,
            self.erase: 2,
            self.sweep: 1,
            self.forget: 1,
            self.upload: 2,
            self.send: 2,
            self.wait: 3,
        }
        (chosen,) = self.random.choices(list(choices), list(choices.values()))
        return chosen(seen)

    def record(self, text: str, step: Step) -> Step:
        self.history.append(text)
        return step

    def pick_job(self, seen: LedgerHarness, state: State | None = None) -> tuple[str, int]:
        """Return a job, mostly one in that state, and the epoch of a current or former worker."""
        jobs = [job for key in KEYS for job in seen.ledger.list_jobs(key, limit=99)]
        fitting = [job for job in jobs if job.state is state]
        if not jobs or self.random.random() < 0.2:
            return self.random.choice(self.jobs), self.random.randint(0, 3)
        job = self.random.choice(fitting or jobs)
        return job.id, job.epoch - (self.random.random() < 0.1)

    def owner(self) -> str | None:
        return self.random.choice([None, None, None, *KEYS])

    def submit(self, _seen: LedgerHarness) -> Step:
        file = self.random.choice([None, None, *FILES])
        spec = make_spec(
            self.random.choice(KEYS),
            id=f"j{len(self.jobs)}",
            priority=self.random.choice([1, 10]),
            idempotency_key=self.random.choice([None, None, None, "a"]),
            fingerprint=self.random.choice(["x", "x", "x", "y"]),
            payload={"video": f"file:{file}"} if file else {},
            webhook_url=self.random.choice([None, "https://example.org/hook"]),
        )
        self.jobs.append(spec.id)
        return self.record(f"submit {spec}", lambda harness: harness.ledger.submit(spec, LIMITS))

    def claim(self, seen: LedgerHarness) -> Step:
        name, _ = self.pick_job(seen, State.IN_QUEUE)
        return self.record(f"claim {name}", lambda harness: harness.ledger.claim(name, "w"))

    def beat(self, seen: LedgerHarness) -> Step:
        name, epoch = self.pick_job(seen, State.IN_PROGRESS)
        stage = JobProgress(stage="render", done=len(self.history))
        return self.record(
            f"beat {name} {epoch}", lambda harness: harness.ledger.heartbeat(name, epoch, stage)
        )

    def finish(self, seen: LedgerHarness) -> Step:
        name, epoch = self.pick_job(seen, State.IN_PROGRESS)
        failure = self.random.choice([None, FAILURE])
        output = None if failure else {"frames": 3, "timings": {"face": 0.5}}
        return self.record(
            f"finish {name} {epoch} {failure}",
            lambda harness: harness.ledger.finish(name, epoch, output=output, failure=failure),
        )

    def retry(self, seen: LedgerHarness) -> Step:
        name, epoch = self.pick_job(seen, State.IN_PROGRESS)
        spared = self.random.random() < 0.3
        return self.record(
            f"retry {name} {epoch} {spared}",
            lambda harness: harness.ledger.retry(name, epoch, FAILURE, 10.0, uncounted=spared),
        )

    def cancel(self, seen: LedgerHarness) -> Step:
        (name, _), owner = self.pick_job(seen, State.IN_QUEUE), self.owner()
        return self.record(
            f"cancel {name} {owner}", lambda harness: harness.ledger.cancel(name, owner)
        )

    def erase(self, seen: LedgerHarness) -> Step:
        (name, _), owner = self.pick_job(seen), self.owner()
        return self.record(
            f"erase {name} {owner}", lambda harness: harness.ledger.erase(name, owner)
        )

    def forget(self, seen: LedgerHarness) -> Step:
        name, _ = self.pick_job(seen)
        return self.record(f"forget {name}", lambda harness: harness.ledger.purge(name))

    def sweep(self, _seen: LedgerHarness) -> Step:
        def sweep(harness: LedgerHarness) -> list[str]:
            jobs = [job.id for job in harness.ledger.list_expired()]
            uploads = [upload.id for upload in harness.uploads.claim_expired()]
            for job_id in jobs:
                harness.ledger.purge(job_id)
            for file_id in uploads:
                harness.uploads.delete(file_id)
            return sorted(jobs + uploads)

        return self.record("sweep", sweep)

    def upload(self, _seen: LedgerHarness) -> Step:
        file, key = self.random.choice(FILES), self.random.choice(KEYS)
        upload = Upload(
            id=file,
            key_id=key,
            name=file,
            size=1,
            sha256="",
            created_at=START,
            expires_at=START + timedelta(seconds=60),
        )

        def replace_it(harness: LedgerHarness) -> bool:
            harness.uploads.delete(file)  # unless a job uses it
            exists = any(_has(harness, file, owner) for owner in KEYS)
            if not exists:
                harness.uploads.add(upload)
            return exists

        return self.record(f"upload {file} {key}", replace_it)

    def send(self, _seen: LedgerHarness) -> Step:
        delivered = self.random.random() < 0.5

        def send(harness: LedgerHarness) -> list[str]:
            calls = harness.deliveries.claim_due(5, 5.0)
            for call in calls:
                if delivered:
                    harness.deliveries.mark_delivered(call.id)
                else:
                    harness.deliveries.reschedule(call.id, "HTTP 500", 20.0)
            return sorted(call.job_id for call in calls)

        return self.record(f"send {delivered}", send)

    def wait(self, _seen: LedgerHarness) -> Step:
        seconds = self.random.choice([0.001, 3.0, 7.5, 30.0])
        return self.record(f"wait {seconds}", lambda harness: harness.clock.advance(seconds))


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the jobs of a walk fill several blocks of the backlog."""
    monkeypatch.setattr(accounting, "BLOCK", 4)


@pytest.mark.parametrize("concurrency", [None, 1, 2])
@pytest.mark.parametrize("seed", [1, 2])
def test_sql_and_memory_ledgers_behave_the_same(tmp_path: Path, seed: int, concurrency: int | None):
    policy = LedgerPolicy(retention_seconds=100, idempotency_seconds=50, concurrency=concurrency)
    walk, kinds = Walk(seed), Counter[str]()
    with open_memory(tmp_path, policy) as memory, open_sqlite(tmp_path, policy) as database:
        for _ in range(STEPS):
            step = walk.step(memory)
            expected = outcome(step, memory)
            assert outcome(step, database) == expected, "\n".join(walk.history)
            assert visible_state(database, walk) == visible_state(memory, walk), "\n".join(
                walk.history
            )
            check_accounts(memory, database)
            kinds[f"{walk.history[-1].split()[0]} {expected[0]}"] += 1
    # The walk covers every operation, and most of them also fail at some time.
    assert min(kinds[f"{name} answer"] for name in ("submit", "cancel", "erase", "retry")) >= 3
    assert kinds["submit error"] >= 1


def outcome(step: Step, harness: LedgerHarness) -> tuple[str, Any]:
    try:
        return "answer", step(harness)
    except LipwrightError as error:
        return "error", (type(error), str(error), getattr(error, "retry_after", None))


def visible_state(harness: LedgerHarness, walk: Walk) -> list[Any]:
    """Return everything that a caller can see of a ledger."""
    pages = [harness.ledger.list_jobs(key, limit=99) for key in KEYS]
    queued = [job for page in pages for job in page if job.state is State.IN_QUEUE]
    positions = [harness.ledger.position(job) for job in queued]
    assert sorted(positions) == list(range(len(queued)))
    calls = [call for name in walk.jobs for call in harness.deliveries.list_for_job(name)]
    return [
        *pages,
        positions,
        [replace(call, id="") for call in calls],
        harness.ledger.counts(),
        {job.id for job in harness.ledger.list_stale(30.0)},
        [_has(harness, file, key) for file in FILES for key in KEYS],
        harness.enqueued(),
        harness.cancelled_work,
    ]


def check_accounts(memory: LedgerHarness, database: LedgerHarness) -> None:
    """Check that the accounts match the jobs."""
    tables = memory.ledger._database.tables
    for key, account in tables.accounts.items():
        with database.ledger._database.write() as tx:
            assert accounting.lock_account(tx, key) == account
        entries = [entry for entry in tables.jobs.values() if entry.job.spec.key_id == key]
        queued = [entry for entry in entries if entry.job.state is State.IN_QUEUE]
        running = [entry for entry in entries if entry.job.state is State.IN_PROGRESS]
        assert account.queued == len(queued)
        assert account.released == len(running) + sum(not entry.held for entry in queued)


def _has(harness: LedgerHarness, file_id: str, key_id: str) -> bool:
    try:
        return harness.uploads.get(file_id, key_id).key_id == key_id
    except LipwrightError:
        return False
