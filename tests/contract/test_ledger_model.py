"""Whatever is done in whatever order, the database does what the ledger in memory does."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ledgers import START, Bench, open_memory, open_sqlite, ticket
from lipwright.errors import LipwrightError
from lipwright.jobs.ledger import accounting as book
from lipwright.jobs.ledger.rules import Terms
from lipwright.jobs.model import Failure, Limits, Stage, State, Upload

STEPS = 150
LIMITS = Limits(max_queued=5, submits_per_minute=20)
FAILURE = Failure(code="worker_died", message="killed")
FILES = ["f0", "f1"]
KEYS = ["k1", "k2"]

Step = Callable[[Bench], Any]


class Walk:
    """Chooses what to do next; what it chose is in ``story``."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.jobs: list[str] = ["nothing"]
        self.story: list[str] = []

    def step(self, seen: Bench) -> Step:
        """Return the next thing to do with both ledgers, given how one of them is now."""
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

    def tell(self, text: str, step: Step) -> Step:
        self.story.append(text)
        return step

    def picked(self, seen: Bench, state: State | None = None) -> tuple[str, int]:
        """Return a job, mostly one in that state, and the epoch that a worker believes in."""
        jobs = [job for key in KEYS for job in seen.ledger.page(key, limit=99)]
        fitting = [job for job in jobs if job.state is state]
        if not jobs or self.random.random() < 0.2:
            return self.random.choice(self.jobs), self.random.randint(0, 3)
        job = self.random.choice(fitting or jobs)
        return job.id, job.epoch - (self.random.random() < 0.1)

    def owner(self) -> str | None:
        return self.random.choice([None, None, None, *KEYS])

    def submit(self, _seen: Bench) -> Step:
        file = self.random.choice([None, None, *FILES])
        asked = ticket(
            self.random.choice(KEYS),
            id=f"j{len(self.jobs)}",
            priority=self.random.choice([1, 10]),
            idempotency_key=self.random.choice([None, None, None, "a"]),
            fingerprint=self.random.choice(["x", "x", "x", "y"]),
            work={"video": f"file:{file}"} if file else {},
            webhook_url=self.random.choice([None, "https://example.org/hook"]),
        )
        self.jobs.append(asked.id)
        return self.tell(f"submit {asked}", lambda bench: bench.ledger.submit(asked, LIMITS))

    def claim(self, seen: Bench) -> Step:
        name, _ = self.picked(seen, State.IN_QUEUE)
        return self.tell(f"claim {name}", lambda bench: bench.ledger.claim(name, "w"))

    def beat(self, seen: Bench) -> Step:
        name, epoch = self.picked(seen, State.IN_PROGRESS)
        stage = Stage(stage="render", done=len(self.story))
        return self.tell(
            f"beat {name} {epoch}", lambda bench: bench.ledger.beat(name, epoch, stage)
        )

    def finish(self, seen: Bench) -> Step:
        name, epoch = self.picked(seen, State.IN_PROGRESS)
        failure = self.random.choice([None, FAILURE])
        output = None if failure else {"frames": 3, "timings": {"face": 0.5}}
        return self.tell(
            f"finish {name} {epoch} {failure}",
            lambda bench: bench.ledger.finish(name, epoch, output=output, failure=failure),
        )

    def retry(self, seen: Bench) -> Step:
        name, epoch = self.picked(seen, State.IN_PROGRESS)
        spared = self.random.random() < 0.3
        return self.tell(
            f"retry {name} {epoch} {spared}",
            lambda bench: bench.ledger.retry(name, epoch, FAILURE, 10.0, spared=spared),
        )

    def cancel(self, seen: Bench) -> Step:
        (name, _), owner = self.picked(seen, State.IN_QUEUE), self.owner()
        return self.tell(f"cancel {name} {owner}", lambda bench: bench.ledger.cancel(name, owner))

    def erase(self, seen: Bench) -> Step:
        (name, _), owner = self.picked(seen), self.owner()
        return self.tell(f"erase {name} {owner}", lambda bench: bench.ledger.erase(name, owner))

    def forget(self, seen: Bench) -> Step:
        name, _ = self.picked(seen)
        return self.tell(f"forget {name}", lambda bench: bench.ledger.forget(name))

    def sweep(self, _seen: Bench) -> Step:
        def sweep(bench: Bench) -> list[str]:
            jobs = [job.id for job in bench.ledger.expired()]
            uploads = [upload.id for upload in bench.uploads.expired()]
            for job_id in jobs:
                bench.ledger.forget(job_id)
            for file_id in uploads:
                bench.uploads.drop(file_id)
            return sorted(jobs + uploads)

        return self.tell("sweep", sweep)

    def upload(self, _seen: Bench) -> Step:
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

        def replace_it(bench: Bench) -> bool:
            bench.uploads.drop(file)  # unless a job holds it
            there = any(_has(bench, file, owner) for owner in KEYS)
            if not there:
                bench.uploads.add(upload)
            return there

        return self.tell(f"upload {file} {key}", replace_it)

    def send(self, _seen: Bench) -> Step:
        heard = self.random.random() < 0.5

        def send(bench: Bench) -> list[str]:
            calls = bench.deliveries.due(5, 5.0)
            for call in calls:
                if heard:
                    bench.deliveries.delivered(call.id)
                else:
                    bench.deliveries.again(call.id, "HTTP 500", 20.0)
            return sorted(call.job_id for call in calls)

        return self.tell(f"send {heard}", send)

    def wait(self, _seen: Bench) -> Step:
        seconds = self.random.choice([0.001, 3.0, 7.5, 30.0])
        return self.tell(f"wait {seconds}", lambda bench: bench.clock.advance(seconds))


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the jobs of a walk fill several blocks of the backlog."""
    monkeypatch.setattr(book, "BLOCK", 4)


@pytest.mark.parametrize("concurrency", [None, 1, 2])
@pytest.mark.parametrize("seed", [1, 2])
def test_both_ledgers_answer_alike(tmp_path: Path, seed: int, concurrency: int | None):
    terms = Terms(retention_seconds=100, idempotency_seconds=50, concurrency=concurrency)
    walk, kinds = Walk(seed), Counter[str]()
    with open_memory(tmp_path, terms) as memory, open_sqlite(tmp_path, terms) as database:
        for _ in range(STEPS):
            step = walk.step(memory)
            expected = outcome(step, memory)
            assert outcome(step, database) == expected, "\n".join(walk.story)
            assert sights(database, walk) == sights(memory, walk), "\n".join(walk.story)
            check_accounts(memory, database)
            kinds[f"{walk.story[-1].split()[0]} {expected[0]}"] += 1
    # the walk went somewhere: everything was done, and most of it was also refused at some time
    assert min(kinds[f"{name} answer"] for name in ("submit", "cancel", "erase", "retry")) >= 3
    assert kinds["submit error"] >= 1


def outcome(step: Step, bench: Bench) -> tuple[str, Any]:
    try:
        return "answer", step(bench)
    except LipwrightError as error:
        return "error", (type(error), str(error), getattr(error, "retry_after", None))


def sights(bench: Bench, walk: Walk) -> list[Any]:
    """Return all that can be seen of a ledger."""
    pages = [bench.ledger.page(key, limit=99) for key in KEYS]
    queued = [job for page in pages for job in page if job.state is State.IN_QUEUE]
    positions = [bench.ledger.position(job) for job in queued]
    assert sorted(positions) == list(range(len(queued)))
    calls = [call for name in walk.jobs for call in bench.deliveries.of_job(name)]
    return [
        *pages,
        positions,
        [replace(call, id="") for call in calls],
        bench.ledger.counts(),
        {job.id for job in bench.ledger.stale(30.0)},
        [_has(bench, file, key) for file in FILES for key in KEYS],
        bench.work(),
        bench.dropped,
    ]


def check_accounts(memory: Bench, database: Bench) -> None:
    """Check that the accounts, kept beside the jobs, are what the jobs add up to."""
    tables = memory.ledger._store.tables
    for key, account in tables.accounts.items():
        with database.ledger._database.write() as tx:
            assert book.account(tx, key) == account
        entries = [entry for entry in tables.jobs.values() if entry.job.ticket.key_id == key]
        queued = [entry for entry in entries if entry.job.state is State.IN_QUEUE]
        running = [entry for entry in entries if entry.job.state is State.IN_PROGRESS]
        assert account.queued == len(queued)
        assert account.released == len(running) + sum(not entry.parked for entry in queued)


def _has(bench: Bench, file_id: str, key_id: str) -> bool:
    try:
        return bench.uploads.get(file_id, key_id).key_id == key_id
    except LipwrightError:
        return False
