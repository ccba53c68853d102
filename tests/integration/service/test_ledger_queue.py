"""The ledger and DBOS in one file: a job and its work appear together, or neither does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from lipwright.errors import JobNotFound
from lipwright.jobs.ledger.database import Database, open_database
from lipwright.jobs.ledger.rules import LedgerPolicy
from lipwright.jobs.ledger.sql import SqlLedger
from lipwright.jobs.model import Failure, Job, JobSpec, SubmitLimits
from lipwright.jobs.queue import WorkQueue, migrate_queue
from lipwright.jobs.sweeper import work_ids

WIDE = SubmitLimits(max_queued=100, submits_per_minute=10_000)


class Desk:
    """A ledger over the real work queue."""

    def __init__(self, folder: Path) -> None:
        url = f"sqlite:///{folder / 'lipwright.sqlite3'}"
        self.database: Database = open_database(url)
        migrate_queue(url)
        self.queue = WorkQueue(url)
        self.broken = False
        self.ledger = SqlLedger(
            self.database,
            enqueue=self.enqueue,
            drop=self.queue.cancel,
            policy=LedgerPolicy(concurrency=2),
        )

    def enqueue(self, tx: sa.Connection, job: Job, delay_seconds: float) -> None:
        self.queue.enqueue(tx, job, delay_seconds)
        if self.broken:
            raise RuntimeError("after the work was written")

    def submit(self, job_id: str, priority: int = 10) -> Job:
        ticket = JobSpec(
            id=job_id,
            key_id="k",
            model_id="m",
            dialect="runcomfy",
            engine="passthrough",
            input={},
            payload={},
            priority=priority,
        )
        return self.ledger.submit(ticket, WIDE)[0]

    def work(self) -> dict[str, str]:
        """Return the state of each piece of work, as DBOS keeps it, in its order."""
        with self.database.read() as tx:
            rows = tx.exec_driver_sql(
                "SELECT workflow_uuid, status FROM workflow_status ORDER BY priority"
            )
            return {name: state for name, state in rows}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.queue.close()
    desk.database.close()


def test_a_job_and_its_work_appear_together(desk: Desk):
    desk.submit("a")
    assert desk.work() == {"a:0": "ENQUEUED"}


def test_a_failure_after_the_work_was_written_leaves_neither(desk: Desk):
    desk.broken = True
    with pytest.raises(RuntimeError, match="after the work"):
        desk.submit("a")
    with pytest.raises(JobNotFound):
        desk.ledger.get("a")
    assert desk.work() == {}


def test_work_is_ordered_by_position(desk: Desk):
    slow, fast = desk.submit("slow", 50), desk.submit("fast", 1)
    assert list(desk.work()) == [fast.work_id, slow.work_id]
    assert [desk.ledger.position(job) for job in (fast, slow)] == [0, 1]


def test_a_delayed_retry_creates_delayed_work(desk: Desk):
    desk.submit("a")
    claimed = desk.ledger.claim("a", "w")
    assert claimed is not None
    desk.ledger.retry("a", claimed.epoch, Failure(code="worker_died", message=""), 3600.0)
    assert desk.work() == {"a:0": "ENQUEUED", "a:1": "DELAYED"}


def test_cancelling_cancels_the_work_and_releases_the_next_job(desk: Desk):
    for name in "abc":
        desk.submit(name)
    assert desk.work() == {"a:0": "ENQUEUED", "b:0": "ENQUEUED"}
    assert desk.ledger.cancel("a")[1]
    assert desk.work() == {"a:0": "CANCELLED", "b:0": "ENQUEUED", "c:0": "ENQUEUED"}


def test_deleting_work_removes_all_items_of_a_job(desk: Desk):
    desk.submit("a")
    claimed = desk.ledger.claim("a", "w")
    assert claimed is not None
    desk.ledger.retry("a", claimed.epoch, Failure(code="worker_died", message=""), 0.0)
    desk.submit("b")
    desk.queue.delete(work_ids(desk.ledger.erase("a")))
    assert desk.work() == {"b:0": "ENQUEUED"}
