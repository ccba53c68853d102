"""Every implementation of the ledger and its parts, behind one bench for the contract suites."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from lipwright.jobs.ledger.database import Database
from lipwright.jobs.ledger.deliveries import SqlDeliveries
from lipwright.jobs.ledger.keys import SqlKeys
from lipwright.jobs.ledger.memory import Memory
from lipwright.jobs.ledger.rules import Terms
from lipwright.jobs.ledger.sql import SqlLedger
from lipwright.jobs.ledger.uploads import SqlUploads
from lipwright.jobs.model import (
    Deliveries,
    Job,
    Key,
    Keys,
    Ledger,
    Limits,
    Ticket,
    Upload,
    Uploads,
)

START = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
WIDE = Limits(max_queued=10_000, submits_per_minute=100_000)
TERMS = Terms(retention_seconds=7 * 86_400, idempotency_seconds=86_400)

_ids = itertools.count(1)


@dataclass
class Clock:
    """A database's clock that only a test turns."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def milliseconds(self, _connection: sa.Connection) -> int:
        return round(self.now.timestamp() * 1000)


@dataclass
class Bench:
    """One implementation of all parts, its clock, and what it did to the work queue."""

    ledger: Ledger
    keys: Keys
    uploads: Uploads
    deliveries: Deliveries
    clock: Clock
    work: Callable[[], list[tuple[str, float]]]
    dropped: list[str] = field(default_factory=list)
    refusing: list[Exception] = field(default_factory=list)  #: what enqueue raises, if anything

    def submit(self, key_id: str = "k1", limits: Limits = WIDE, **fields: Any) -> Job:
        job, new = self.ledger.submit(ticket(key_id, **fields), limits)
        assert new
        return job

    def running(self, key_id: str = "k1", **fields: Any) -> Job:
        job = self.ledger.claim(self.submit(key_id, **fields).id, "w1")
        assert job is not None
        return job

    def ended(self, key_id: str = "k1", **fields: Any) -> Job:
        job = self.running(key_id, **fields)
        assert self.ledger.finish(job.id, job.epoch, output={}, failure=None)
        return self.ledger.get(job.id)

    def upload(self, key_id: str = "k1", *, hours: float = 24) -> Upload:
        return self.uploads.add(
            Upload(
                id=f"file{next(_ids)}",
                key_id=key_id,
                name="clip.mp4",
                size=3_000_000_000,
                sha256="0" * 64,
                created_at=START,
                expires_at=START + timedelta(hours=hours),
            )
        )

    def key(self, **fields: Any) -> Key:
        key, _secret = self.keys.create(f"key {next(_ids)}", **fields)
        return key

    def released(self) -> list[str]:
        """Return ids of the jobs whose work was enqueued, in order."""
        return [work_id.rpartition(":")[0] for work_id, _delay in self.work()]


def ticket(key_id: str = "k1", **fields: Any) -> Ticket:
    values: dict[str, Any] = {
        "id": f"job{next(_ids):06d}",
        "key_id": key_id,
        "model_id": "sync/sync/lipsync/v2/pro",
        "dialect": "runcomfy",
        "engine": "exemplar",
        "input": {"video_url": "https://example.org/täke.mp4", "sync_mode": "cut_off"},
        "work": {"video": "https://example.org/täke.mp4", "audio": "https://example.org/a.wav"},
        "fingerprint": "f" * 64,
        **fields,
    }
    return Ticket(**values)


@contextmanager
def open_memory(_folder: Path, terms: Terms = TERMS) -> Iterator[Bench]:
    clock, refusing, dropped = Clock(), [], []

    def enqueue(_job: Job, _delay_seconds: float) -> None:
        for error in refusing:
            raise error

    memory = Memory(terms=terms, clock=clock, enqueue=enqueue, drop=dropped.append)
    yield Bench(
        ledger=memory.ledger,
        keys=memory.keys,
        uploads=memory.uploads,
        deliveries=memory.deliveries,
        clock=clock,
        work=lambda: list(memory.work),
        dropped=dropped,
        refusing=refusing,
    )


@contextmanager
def open_sqlite(folder: Path, terms: Terms = TERMS) -> Iterator[Bench]:
    """A file of SQLite; its work queue is a table in the same file, as DBOS's is."""
    clock, refusing, dropped = Clock(), [], []
    database = Database(f"sqlite:///{folder / 'ledger.sqlite3'}", clock=clock.milliseconds)

    def enqueue(tx: sa.Connection, job: Job, delay_seconds: float) -> None:
        tx.exec_driver_sql("INSERT INTO work VALUES (?, ?)", (job.work_id, delay_seconds))
        for error in refusing:
            raise error

    def work() -> list[tuple[str, float]]:
        with database.read() as tx:
            rows = tx.exec_driver_sql("SELECT work_id, delay FROM work ORDER BY rowid")
            return [(work_id, delay) for work_id, delay in rows]

    with database.write() as tx:
        tx.exec_driver_sql("CREATE TABLE work (work_id TEXT UNIQUE, delay REAL)")
    try:
        yield Bench(
            ledger=SqlLedger(database, enqueue=enqueue, drop=dropped.append, terms=terms),
            keys=SqlKeys(database),
            uploads=SqlUploads(database),
            deliveries=SqlDeliveries(database),
            clock=clock,
            work=work,
            dropped=dropped,
            refusing=refusing,
        )
    finally:
        database.close()


IMPLEMENTATIONS = {"memory": open_memory, "sqlite": open_sqlite}
