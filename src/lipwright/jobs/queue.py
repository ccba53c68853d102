"""The work queue: DBOS hands out the jobs that the ledger has released.

Only this module imports DBOS. The ledger is the source of truth; the queue only delivers a job to
one slot, repeatedly until the worker acknowledges it. The results of work items are never read. Two
private interfaces of DBOS are used (pinned below 3.5): recovering the work of a dead executor, and
choosing the API key whose job runs next.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import sqlalchemy as sa
from dbos import (
    DBOS,
    DBOSClient,
    DBOSConfig,
    DBOSPortableJSONSerializer,
    EnqueueOptions,
    WorkflowSerializationFormat,
)

from lipwright.jobs.model import RANKS_PER_PRIORITY, Job

APPLICATION = "lipwright"
VERSION = "1"  # of the work's arguments; raise it only when older work can no longer run
QUEUE = "render"
WORKFLOW = "carry_out"
UNLIMITED = 1_000_000  # running jobs of one key: the ledger enforces the limit
ACKNOWLEDGE_SECONDS = 2.0  # for DBOS to record that work has ended
POLL_SECONDS = 0.02  # between checks whether it has
CRASHED = 70  # exit status

_log = logging.getLogger(__name__)


def migrate_queue(database: str) -> None:
    """Create or migrate the tables of the queue; safe to call from several processes at once.

    Args:
        database: its SQLAlchemy URL.
    """
    _configure_logging()
    DBOS.migrate(database)


class WorkQueue:
    """The queue as the ledger uses it: enqueue, cancel and delete work items.

    Args:
        database: the SQLAlchemy URL of the ledger's database.
    """

    def __init__(self, database: str) -> None:
        _configure_logging()
        self._engine = _create_engine(database)
        self._client = DBOSClient(
            system_database_engine=self._engine,
            serializer=DBOSPortableJSONSerializer(),
            application_name=APPLICATION,
            lazy=True,
        )

    def enqueue(self, tx: sa.Connection, job: Job, delay_seconds: float) -> None:
        """Enqueue a job's current work item within the ledger's transaction."""
        options: EnqueueOptions = {
            "workflow_name": WORKFLOW,
            "queue_name": QUEUE,
            "workflow_id": job.work_id,
            "app_version": VERSION,
            # Work without a priority would run before all other work, and DBOS's own clock is too
            # coarse to order by.
            "priority": job.rank,
            "queue_partition_key": job.spec.key_id,
            "serialization_type": WorkflowSerializationFormat.PORTABLE,
        }
        if delay_seconds > 0:
            options["delay_seconds"] = delay_seconds
        self._client.enqueue_in_transaction(tx, options, job.id)

    def cancel(self, work_id: str) -> None:
        """Remove a work item from the queue; an optimisation: the ledger refuses its claim."""
        self._client.cancel_workflow(work_id)

    def delete(self, work_ids: Iterable[str]) -> None:
        """Delete DBOS's records of work items; unknown ids are ignored."""
        self._client.delete_workflows(list(work_ids))

    def close(self) -> None:
        """Close the database connections; calling it twice is allowed."""
        self._client.destroy()
        self._engine.dispose()


class FairScheduler:
    """Chooses the next API key: best priority first, then round robin among equal keys."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._count = 0

    def choose(self, first_ranks: Mapping[str, int], running: Mapping[str, int]) -> str | None:
        """Return the key whose job runs next and record its turn; None if no job waits.

        Args:
            first_ranks: rank of the first waiting job of each key.
            running: number of running jobs of each key.
        """

        def order(key: str) -> tuple[int, int, int, int]:
            rank = first_ranks[key]
            return rank // RANKS_PER_PRIORITY, running.get(key, 0), self._last.get(key, 0), rank

        if not first_ranks:
            return None
        chosen = min(first_ranks, key=order)
        self._count += 1
        self._last[chosen] = self._count
        return chosen


class Executor:
    """Runs the work of one slot, one item at a time. One per process, because DBOS is global."""

    def __init__(
        self, database: str, name: str, run_job: Callable[[str], None], *, poll_seconds: float
    ) -> None:
        _configure_logging()
        self._engine = _create_engine(database)
        self._name, self._poll_seconds = name, poll_seconds
        self._scheduler, self._paused = FairScheduler(), threading.Event()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="work")
        self._dbos = DBOS(config=self._config(database, name))
        self._register(run_job)

    def _config(self, database: str, name: str) -> DBOSConfig:
        return {
            "name": APPLICATION,
            "system_database_url": database,
            "system_database_engine": self._engine,
            "application_version": VERSION,
            "executor_id": name,
            "serializer": DBOSPortableJSONSerializer(),
            "run_migrations": False,
            "log_level": "WARNING",
        }

    def _register(self, run_job: Callable[[str], None]) -> None:
        def run(job_id: str, work_id: str) -> None:
            if not self._is_superseded(job_id, work_id):
                run_job(job_id)

        @DBOS.step(name="render")
        async def render(job_id: str, work_id: str) -> None:
            # In a thread of its own, which DBOS's cancel and shutdown cannot interrupt.
            await asyncio.wrap_future(self._pool.submit(_run_or_exit, run, job_id, work_id))

        # One step claims, renders and finishes: a step that DBOS memoises must not own the claim.
        @DBOS.workflow(name=WORKFLOW, max_recovery_attempts=None)
        async def work(job_id: str) -> None:
            await render(job_id, str(DBOS.workflow_id))

    def launch(self) -> None:
        """Start: recover work that this slot left when it died, then take work from the queue."""
        DBOS.listen_queues([QUEUE])
        DBOS.launch()
        system = self._dbos._sys_db
        all_partitions = system.get_queue_partitions

        def partitions(queue_name: str) -> list[str]:
            return self._next() if queue_name == QUEUE else all_partitions(queue_name)

        system.get_queue_partitions = partitions  # type: ignore[method-assign]
        DBOS.register_queue(
            QUEUE,
            worker_concurrency=1,
            partition_concurrency=UNLIMITED,
            polling_interval_sec=self._poll_seconds,
            on_conflict="always_update",
        )

    def _next(self) -> list[str]:
        """Return the partition (the API key) to take work from: one or none."""
        if self._paused.is_set():
            return []
        first_ranks: dict[str, int] = {}
        running: dict[str, int] = {}
        for key, status, count, first in self._work_by_key():
            if status == "ENQUEUED":
                first_ranks[key] = first
            else:
                running[key] = count
        chosen = self._scheduler.choose(first_ranks, running)
        return [] if chosen is None else [chosen]

    def _work_by_key(self) -> Iterator[tuple[str, str, int, int]]:
        """Yield key, status (ENQUEUED or PENDING), count and lowest rank of the work items."""
        system = self._dbos._sys_db
        work = system.tables.workflow_status.c
        statuses: list[sa.ColumnElement[str]] = [
            sa.literal_column(f"'{status}'") for status in ("ENQUEUED", "PENDING")
        ]
        query = (
            sa.select(
                work.queue_partition_key, work.status, sa.func.count(), sa.func.min(work.priority)
            )
            .where(work.queue_name == QUEUE, work.status.in_(statuses))
            .where(work.application_version == VERSION)
            .group_by(work.queue_partition_key, work.status)
        )
        with system.engine.connect() as connection:
            for row in connection.execute(query).all():
                yield row[0], row[1], row[2], row[3]

    def _is_superseded(self, job_id: str, work_id: str) -> bool:
        """Return whether the job has newer work: this item's worker died after a retry."""
        items = DBOS.list_workflows(
            workflow_id_prefix=f"{job_id}:", load_input=False, load_output=False
        )
        epoch = int(work_id.rpartition(":")[2])  # the list is empty if the sweeper was faster
        return any(int(item.workflow_id.rpartition(":")[2]) > epoch for item in items)

    def pause(self) -> None:
        """Take no more work from the queue."""
        self._paused.set()

    def pending_executors(self) -> set[str]:
        """Return the names of the executors that have unfinished work, dead or alive."""
        items = DBOS.list_workflows(
            status="PENDING", queue_name=QUEUE, load_input=False, load_output=False
        )
        return {item.executor_id for item in items if item.executor_id}

    def recover(self, names: Sequence[str]) -> None:
        """Put the unfinished work of dead executors back into the queue."""
        DBOS._recover_pending_workflows(list(names))

    def close(self) -> None:
        """Take no more work, and wait briefly until DBOS has recorded work that just ended.

        The caller then ends the process with ``os._exit``: DBOS's own shutdown sleeps for seconds
        and is not needed. Work that is still running remains assigned to this slot, which recovers
        it at its next start.
        """
        self.pause()
        deadline = time.monotonic() + ACKNOWLEDGE_SECONDS
        while self._name in self.pending_executors() and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)


def _run_or_exit(run: Callable[[str, str], None], job_id: str, work_id: str) -> None:
    """Run a work item, or exit the process: a failed item would leave its job running forever.

    The work of a dead process is recovered, and the ledger counts how often that happened.
    """
    try:
        run(job_id, work_id)
    except BaseException:
        _log.critical("the job crashed its worker", exc_info=True, extra={"job_id": job_id})
        logging.shutdown()
        os._exit(CRASHED)


def _create_engine(database: str) -> sa.Engine:
    """Return an engine with the settings that DBOS needs: SQLite writers wait for each other."""
    engine = sa.create_engine(database)
    if engine.dialect.name == "sqlite":

        @sa.event.listens_for(engine, "connect")
        def prepare_connection(connection: Any, _record: Any) -> None:
            connection.isolation_level = "IMMEDIATE"
            connection.execute("PRAGMA busy_timeout=30000")
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute("PRAGMA synchronous=NORMAL")  # the ledger syncs what must be durable

    return engine


def _configure_logging() -> None:
    """Make DBOS log through our handlers, at level warning."""
    log = logging.getLogger("dbos")
    if not log.handlers:
        log.addHandler(logging.NullHandler())
    log.setLevel(logging.WARNING)
