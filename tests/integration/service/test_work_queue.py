"""The rows that the ledger's transactions leave in the tables of DBOS, and their order.

Running the work is tested with real processes in the acceptance tests.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from lipwright.jobs.ledger.database import Database, open_database
from lipwright.jobs.ledger.sql import SqlLedger
from lipwright.jobs.model import Failure, Job, JobSpec, SubmitLimits
from lipwright.jobs.queue import QUEUE, VERSION, WorkQueue, migrate_queue
from lipwright.jobs.sweeper import work_ids

WIDE = SubmitLimits(max_queued=1000, submits_per_minute=10_000)
BROKEN = Failure(code="worker_died", message="")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'lipwright.sqlite3'}"


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    with closing(open_database(url)) as database:
        migrate_queue(url)
        yield database


@pytest.fixture
def queue(url: str, database: Database) -> Iterator[WorkQueue]:
    with closing(WorkQueue(url)) as queue:
        yield queue


@pytest.fixture
def ledger(database: Database, queue: WorkQueue) -> SqlLedger:
    return SqlLedger(database, enqueue=queue.enqueue, cancel_work=queue.cancel)


def submit(ledger: SqlLedger, name: str, key: str = "k1", priority: int = 10) -> Job:
    spec = JobSpec(
        id=name,
        key_id=key,
        model_id="m",
        dialect="runcomfy",
        engine="e",
        input={},
        payload={},
        priority=priority,
    )
    return ledger.submit(spec, WIDE)[0]


def work(database: Database, table: str = "workflow_status") -> dict[str, Any]:
    """Return the rows of a table of the queue by work id."""
    with database.read() as tx:
        rows = tx.execute(sa.text(f"SELECT * FROM {table}")).mappings().all()
        return {row["workflow_uuid"]: dict(row) for row in rows}


def test_a_job_is_one_work_item_of_its_key(ledger, database):
    job = submit(ledger, "j1", key="k7")
    (row,) = work(database).values()
    assert row["workflow_uuid"] == job.work_id == "j1:0"
    assert (row["status"], row["queue_name"]) == ("ENQUEUED", QUEUE)
    assert (row["queue_partition_key"], row["application_version"]) == ("k7", VERSION)


def test_arguments_are_portable_json(ledger, database):
    submit(ledger, "j1")
    assert work(database)["j1:0"]["serialization"] == "portable_json"
    inputs = json.loads(work(database, "workflow_input")["j1:0"]["inputs"])
    assert inputs["positionalArgs"] == ["j1"]


def test_work_is_ordered_by_priority_then_arrival(ledger, database):
    names = [f"j{number}" for number in range(20)]
    for number, name in enumerate(names):
        submit(ledger, name, priority=1 if number == 13 else 10)
    ranks = {row["workflow_uuid"]: row["priority"] for row in work(database).values()}
    assert all(rank > 0 for rank in ranks.values()), "0 would run before everything"
    assert len(set(ranks.values())) == len(names)
    assert sorted(ranks, key=ranks.__getitem__) == [
        "j13:0",
        *(f"{name}:0" for name in names if name != "j13"),
    ]


def test_job_and_work_are_written_together_or_not_at_all(url, database, queue):
    def enqueue_then_fail(tx: sa.Connection, job: Job, delay: float) -> None:
        queue.enqueue(tx, job, delay)
        raise RuntimeError("the submitter fails")

    ledger = SqlLedger(database, enqueue=enqueue_then_fail, cancel_work=queue.cancel)
    with pytest.raises(RuntimeError):
        submit(ledger, "j1")
    assert work(database) == {}
    assert ledger.counts()["oldest_seconds"] == 0


def test_a_retry_is_a_new_delayed_work_item(ledger, database):
    job = submit(ledger, "j1")
    claimed = ledger.claim(job.id, "w1")
    assert claimed
    ledger.retry(job.id, claimed.epoch, BROKEN, 30.0)
    retried = work(database)["j1:1"]
    assert retried["status"] == "DELAYED"
    assert retried["delay_until_epoch_ms"] > work(database)["j1:0"]["created_at"] + 25_000
    assert retried["priority"] == work(database)["j1:0"]["priority"], "it keeps its rank"


def test_a_retry_without_delay_can_run_at_once(ledger, database):
    claimed = ledger.claim(submit(ledger, "j1").id, "w1")
    assert claimed
    ledger.retry("j1", claimed.epoch, BROKEN, 0.0)
    assert work(database)["j1:1"]["status"] == "ENQUEUED"


def test_the_work_of_a_cancelled_job_is_cancelled(ledger, database):
    submit(ledger, "j1")
    submit(ledger, "j2")
    assert ledger.cancel("j1")[1]
    states = {name: row["status"] for name, row in work(database).items()}
    assert states == {"j1:0": "CANCELLED", "j2:0": "ENQUEUED"}


def test_deleted_work_leaves_no_rows_and_unknown_ids_are_ignored(ledger, database, queue):
    claimed = ledger.claim(submit(ledger, "j1").id, "w1")
    assert claimed
    ledger.retry("j1", claimed.epoch, BROKEN, 0.0)
    submit(ledger, "j2")
    queue.delete([*work_ids(ledger.get("j1")), "never-there:0"])
    queue.cancel("never-there:0")
    assert set(work(database)) == {"j2:0"}
    assert set(work(database, "workflow_input")) == {"j2:0"}


def test_concurrent_migrations_succeed(tmp_path):
    url = f"sqlite:///{tmp_path / 'other.sqlite3'}"
    errors: list[Exception] = []

    def begin() -> None:
        try:
            open_database(url).close()
            migrate_queue(url)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=begin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
