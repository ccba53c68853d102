"""Every implementation of the ledger and its parts, behind one harness for the contract tests."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from lipwright.jobs.ledger.base import ApiKeys, Deliveries, Ledger, Uploads
from lipwright.jobs.ledger.database import Database
from lipwright.jobs.ledger.deliveries import SqlDeliveries
from lipwright.jobs.ledger.keys import SqlApiKeys
from lipwright.jobs.ledger.memory import MemoryBackend
from lipwright.jobs.ledger.rules import LedgerPolicy
from lipwright.jobs.ledger.sql import SqlLedger
from lipwright.jobs.ledger.uploads import SqlUploads
from lipwright.jobs.model import ApiKey, Job, JobSpec, SubmitLimits, Upload

START = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
WIDE = SubmitLimits(max_queued=10_000, submits_per_minute=100_000)
POLICY = LedgerPolicy(retention_seconds=7 * 86_400, idempotency_seconds=86_400)

_ids = itertools.count(1)


@dataclass
class Clock:
    """A database clock that only a test advances."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def to_milliseconds(self, _connection: sa.Connection) -> int:
        return round(self.now.timestamp() * 1000)


@dataclass
class LedgerHarness:
    """One implementation of all parts, its clock and its calls to the work queue."""

    ledger: Ledger
    keys: ApiKeys
    uploads: Uploads
    deliveries: Deliveries
    clock: Clock
    enqueued: Callable[[], list[tuple[str, float]]]
    cancelled_work: list[str] = field(default_factory=list)
    enqueue_errors: list[Exception] = field(default_factory=list)  #: raised by enqueue, if any

    def submit(self, key_id: str = "k1", limits: SubmitLimits = WIDE, **fields: Any) -> Job:
        job, new = self.ledger.submit(make_spec(key_id, **fields), limits)
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

    def key(self, **fields: Any) -> ApiKey:
        key, _secret = self.keys.create(f"key {next(_ids)}", **fields)
        return key

    def released(self) -> list[str]:
        """Return the ids of the jobs whose work was enqueued, in order."""
        return [work_id.rpartition(":")[0] for work_id, _delay in self.enqueued()]


def make_spec(key_id: str = "k1", **fields: Any) -> JobSpec:
    values: dict[str, Any] = {
        "id": f"job{next(_ids):06d}",
        "key_id": key_id,
        "model_id": "sync/sync/lipsync/v2/pro",
        "dialect": "runcomfy",
        "engine": "exemplar",
        "input": {"video_url": "https://example.org/täke.mp4", "sync_mode": "cut_off"},
        "payload": {"video": "https://example.org/täke.mp4", "audio": "https://example.org/a.wav"},
        "fingerprint": "f" * 64,
        **fields,
    }
    return JobSpec(**values)


@contextmanager
def open_memory(_folder: Path, policy: LedgerPolicy = POLICY) -> Iterator[LedgerHarness]:
    clock, enqueue_errors, cancelled_work = Clock(), [], []

    def enqueue(_job: Job, _delay_seconds: float) -> None:
        for error in enqueue_errors:
            raise error

    memory = MemoryBackend(
        policy=policy, clock=clock, enqueue=enqueue, cancel_work=cancelled_work.append
    )
    yield LedgerHarness(
        ledger=memory.ledger,
        keys=memory.keys,
        uploads=memory.uploads,
        deliveries=memory.deliveries,
        clock=clock,
        enqueued=lambda: list(memory.work),
        cancelled_work=cancelled_work,
        enqueue_errors=enqueue_errors,
    )


@contextmanager
def open_sqlite(folder: Path, policy: LedgerPolicy = POLICY) -> Iterator[LedgerHarness]:
    """A SQLite file; its work queue is a table in the same file, like that of DBOS."""
    clock, enqueue_errors, cancelled_work = Clock(), [], []
    database = Database(f"sqlite:///{folder / 'ledger.sqlite3'}", clock=clock.to_milliseconds)

    def enqueue(tx: sa.Connection, job: Job, delay_seconds: float) -> None:
        tx.exec_driver_sql("INSERT INTO work VALUES (?, ?)", (job.work_id, delay_seconds))
        for error in enqueue_errors:
            raise error

    def enqueued() -> list[tuple[str, float]]:
        with database.read() as tx:
            rows = tx.exec_driver_sql("SELECT work_id, delay FROM work ORDER BY rowid")
            return [(work_id, delay) for work_id, delay in rows]

    with database.write() as tx:
        tx.exec_driver_sql("CREATE TABLE work (work_id TEXT UNIQUE, delay REAL)")
    try:
        yield LedgerHarness(
            ledger=SqlLedger(
                database, enqueue=enqueue, cancel_work=cancelled_work.append, policy=policy
            ),
            keys=SqlApiKeys(database),
            uploads=SqlUploads(database),
            deliveries=SqlDeliveries(database),
            clock=clock,
            enqueued=enqueued,
            cancelled_work=cancelled_work,
            enqueue_errors=enqueue_errors,
        )
    finally:
        database.close()


IMPLEMENTATIONS = {"memory": open_memory, "sqlite": open_sqlite}
