"""The ledger and DBOS in one file: job and work are written together or not at all."""

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


class QueueHarness:
    """A ledger over the real work queue."""

    def __init__(self, folder: Path) -> None:
        url = f"sqlite:///{folder / 'lipwright.sqlite3'}"
        self.database: Database = open_database(url)
        migrate_queue(url)
        self.queue = WorkQueue(url)
        self.fail_after_enqueue = False
        self.ledger = SqlLedger(
            self.database,
            enqueue=self.enqueue,
            cancel_work=self.queue.cancel,
            policy=LedgerPolicy(concurrency=2),
        )

    def enqueue(self, tx: sa.Connection, job: Job, delay_seconds: float) -> None:
        self.queue.enqueue(tx, job, delay_seconds)
        if self.fail_after_enqueue:
            raise RuntimeError("after the work was written")

    def submit(self, job_id: str, priority: int = 10) -> Job:
        spec = JobSpec(
            id=job_id,
            key_id="k",
            model_id="m",
            dialect="runcomfy",
            engine="passthrough",
            input={},
            payload={},
            priority=priority,
        )
        return self.ledger.submit(spec, WIDE)[0]

    def work(self) -> dict[str, str]:
        """Return the status of each work item in DBOS, in its order."""
        with self.database.read() as tx:
            rows = tx.exec_driver_sql(
                "SELECT workflow_uuid, status FROM workflow_status ORDER BY priority"
            )
            return {name: state for name, state in rows}


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[QueueHarness]:
    harness = QueueHarness(tmp_path)
    yield harness
    harness.queue.close()
    harness.database.close()


def test_a_job_and_its_work_appear_together(harness: QueueHarness):
    harness.submit("a")
    assert harness.work() == {"a:0": "ENQUEUED"}


def test_a_failure_after_the_work_was_written_leaves_neither(harness: QueueHarness):
    harness.fail_after_enqueue = True
    with pytest.raises(RuntimeError, match="after the work"):
        harness.submit("a")
    with pytest.raises(JobNotFound):
        harness.ledger.get("a")
    assert harness.work() == {}


def test_work_is_ordered_by_position(harness: QueueHarness):
    slow, fast = harness.submit("slow", 50), harness.submit("fast", 1)
    assert list(harness.work()) == [fast.work_id, slow.work_id]
    assert [harness.ledger.position(job) for job in (fast, slow)] == [0, 1]


def test_a_delayed_retry_creates_delayed_work(harness: QueueHarness):
    harness.submit("a")
    claimed = harness.ledger.claim("a", "w")
    assert claimed is not None
    harness.ledger.retry("a", claimed.epoch, Failure(code="worker_died", message=""), 3600.0)
    assert harness.work() == {"a:0": "ENQUEUED", "a:1": "DELAYED"}


def test_cancelling_cancels_the_work_and_releases_the_next_job(harness: QueueHarness):
    for name in "abc":
        harness.submit(name)
    assert harness.work() == {"a:0": "ENQUEUED", "b:0": "ENQUEUED"}
    assert harness.ledger.cancel("a")[1]
    assert harness.work() == {"a:0": "CANCELLED", "b:0": "ENQUEUED", "c:0": "ENQUEUED"}


def test_deleting_work_removes_all_items_of_a_job(harness: QueueHarness):
    harness.submit("a")
    claimed = harness.ledger.claim("a", "w")
    assert claimed is not None
    harness.ledger.retry("a", claimed.epoch, Failure(code="worker_died", message=""), 0.0)
    harness.submit("b")
    harness.queue.delete(work_ids(harness.ledger.erase("a")))
    assert harness.work() == {"b:0": "ENQUEUED"}
