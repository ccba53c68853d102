"""The work queue: DBOS hands out what the ledger has released. The only file that imports it.

The ledger is the truth; the queue only brings a job to one slot, again and again until the slot
has said its last word. What a piece of work leaves behind is never read. Two private doors of DBOS
are used (pinned below 3.5): recovering the work of a dead executor, and choosing whose turn it is.
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

from lipwright.jobs.model import RANKS, Job

APPLICATION = "lipwright"
VERSION = "1"  # of the work's arguments; raise it only when old work cannot be done any more
QUEUE = "render"
WORK = "carry_out"
UNLIMITED = 1_000_000  # jobs of one key at once: how many may run is the ledger's to say
NOTE_SECONDS = 2.0  # for DBOS to note what has ended
LOOK_SECONDS = 0.02  # between looks whether it has
CRASHED = 70  # exit status

_log = logging.getLogger(__name__)


def prepare(database: str) -> None:
    """Make or migrate the tables of the queue; any number of processes may do so at once.

    Args:
        database: its SQLAlchemy URL.
    """
    _quiet()
    DBOS.migrate(database)


class WorkQueue:
    """The door through which the ledger puts work into the queue.

    Args:
        database: its SQLAlchemy URL, the ledger's own.
    """

    def __init__(self, database: str) -> None:
        _quiet()
        self._engine = _open(database)
        self._client = DBOSClient(
            system_database_engine=self._engine,
            serializer=DBOSPortableJSONSerializer(),
            application_name=APPLICATION,
            lazy=True,
        )

    def enqueue(self, tx: sa.Connection, job: Job, delay_seconds: float) -> None:
        """Put a job's present piece of work into the queue, in the ledger's own transaction."""
        options: EnqueueOptions = {
            "workflow_name": WORK,
            "queue_name": QUEUE,
            "workflow_id": job.work_id,
            "app_version": VERSION,
            # Unset would go before everything else, and DBOS's own clock is too coarse to order by.
            "priority": job.rank,
            "queue_partition_key": job.ticket.key_id,
            "serialization_type": WorkflowSerializationFormat.PORTABLE,
        }
        if delay_seconds > 0:
            options["delay_seconds"] = delay_seconds
        self._client.enqueue_in_transaction(tx, options, job.id)

    def drop(self, work_id: str) -> None:
        """Take work out of the queue again; only to save a look: the ledger would refuse it."""
        self._client.cancel_workflow(work_id)

    def forget(self, work_ids: Iterable[str]) -> None:
        """Delete what DBOS keeps of pieces of work; those it does not know are fine."""
        self._client.delete_workflows(list(work_ids))

    def close(self) -> None:
        """Let go of the database; twice is fine."""
        self._client.destroy()
        self._engine.dispose()


class Turns:
    """Whose turn it is: the best priority first, and keys of the same priority one by one."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._count = 0

    def choose(self, heads: Mapping[str, int], running: Mapping[str, int]) -> str | None:
        """Return the key that goes next and note its turn; None when nobody waits.

        Args:
            heads: rank of the first waiting job of each key.
            running: how many jobs of a key run now.
        """

        def place(key: str) -> tuple[int, int, int, int]:
            rank = heads[key]
            return rank // RANKS, running.get(key, 0), self._last.get(key, 0), rank

        if not heads:
            return None
        chosen = min(heads, key=place)
        self._count += 1
        self._last[chosen] = self._count
        return chosen


class Executor:
    """Runs the work of one slot, one piece at a time. One per process: DBOS is global."""

    def __init__(
        self, database: str, name: str, carry_out: Callable[[str], None], *, poll_seconds: float
    ) -> None:
        _quiet()
        self._engine = _open(database)
        self._name, self._poll_seconds = name, poll_seconds
        self._turns, self._paused = Turns(), threading.Event()
        self._hands = ThreadPoolExecutor(1, thread_name_prefix="work")
        self._dbos = DBOS(config=self._config(database, name))
        self._register(carry_out)

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

    def _register(self, carry_out: Callable[[str], None]) -> None:
        def do(job_id: str, work_id: str) -> None:
            if not self._replaced(job_id, work_id):
                carry_out(job_id)

        @DBOS.step(name="render")
        async def render(job_id: str, work_id: str) -> None:
            # A thread of its own: DBOS's own cancel and shutdown cannot tear the work apart.
            await asyncio.wrap_future(self._hands.submit(_surely, do, job_id, work_id))

        # One step that claims, renders and finishes: a step that is remembered must own no claim.
        @DBOS.workflow(name=WORK, max_recovery_attempts=None)
        async def work(job_id: str) -> None:
            await render(job_id, str(DBOS.workflow_id))

    def launch(self) -> None:
        """Begin: what this slot left when it died goes back into the queue, then all follows."""
        DBOS.listen_queues([QUEUE])
        DBOS.launch()
        system = self._dbos._sys_db
        every = system.get_queue_partitions

        def partitions(queue_name: str) -> list[str]:
            return self._next() if queue_name == QUEUE else every(queue_name)

        system.get_queue_partitions = partitions  # type: ignore[method-assign]
        DBOS.register_queue(
            QUEUE,
            worker_concurrency=1,
            partition_concurrency=UNLIMITED,
            polling_interval_sec=self._poll_seconds,
            on_conflict="always_update",
        )

    def _next(self) -> list[str]:
        """Return the partition, that is the key, to take work from: one or none."""
        if self._paused.is_set():
            return []
        heads: dict[str, int] = {}
        running: dict[str, int] = {}
        for key, status, count, first in self._waiting():
            if status == "ENQUEUED":
                heads[key] = first
            else:
                running[key] = count
        chosen = self._turns.choose(heads, running)
        return [] if chosen is None else [chosen]

    def _waiting(self) -> Iterator[tuple[str, str, int, int]]:
        """Yield key, ENQUEUED or PENDING, how many, and the lowest rank of them."""
        system = self._dbos._sys_db
        work = system.tables.workflow_status.c
        known: list[sa.ColumnElement[str]] = [
            sa.literal_column(f"'{status}'") for status in ("ENQUEUED", "PENDING")
        ]
        query = (
            sa.select(
                work.queue_partition_key, work.status, sa.func.count(), sa.func.min(work.priority)
            )
            .where(work.queue_name == QUEUE, work.status.in_(known))
            .where(work.application_version == VERSION)
            .group_by(work.queue_partition_key, work.status)
        )
        with system.engine.connect() as connection:
            for row in connection.execute(query).all():
                yield row[0], row[1], row[2], row[3]

    def _replaced(self, job_id: str, work_id: str) -> bool:
        """Whether the job was given new work since: this piece died after it had said so."""
        pieces = DBOS.list_workflows(
            workflow_id_prefix=f"{job_id}:", load_input=False, load_output=False
        )
        mine = int(work_id.rpartition(":")[2])  # nothing is found when the sweeper was here
        return any(int(piece.workflow_id.rpartition(":")[2]) > mine for piece in pieces)

    def pause(self) -> None:
        """Take no more work."""
        self._paused.set()

    def owners(self) -> set[str]:
        """Return the names of the executors that have unfinished work, dead or alive."""
        pieces = DBOS.list_workflows(
            status="PENDING", queue_name=QUEUE, load_input=False, load_output=False
        )
        return {piece.executor_id for piece in pieces if piece.executor_id}

    def recover(self, names: Sequence[str]) -> None:
        """Put the work of dead executors back into the queue."""
        DBOS._recover_pending_workflows(list(names))

    def close(self) -> None:
        """Take no more work, and wait a moment until what has just ended is noted as such.

        The process is to end then, by ``os._exit``: DBOS's own shutdown naps for seconds, and
        none of it is needed. Work that is still running stays this slot's, to be recovered.
        """
        self.pause()
        end = time.monotonic() + NOTE_SECONDS
        while self._name in self.owners() and time.monotonic() < end:
            time.sleep(LOOK_SECONDS)


def _surely(do: Callable[[str, str], None], job_id: str, work_id: str) -> None:
    """Do a piece of work or die: work that ended early would leave its job running for ever.

    The work of a dead process is recovered, and the ledger counts how often that happened.
    """
    try:
        do(job_id, work_id)
    except BaseException:
        _log.critical("job broke its worker", exc_info=True, extra={"request_id": job_id})
        logging.shutdown()
        os._exit(CRASHED)


def _open(database: str) -> sa.Engine:
    """Open the database as DBOS needs it: SQLite writers queue up, and wait long enough."""
    engine = sa.create_engine(database)
    if engine.dialect.name == "sqlite":

        @sa.event.listens_for(engine, "connect")
        def prepare_connection(connection: Any, _record: Any) -> None:
            connection.isolation_level = "IMMEDIATE"
            connection.execute("PRAGMA busy_timeout=30000")
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute("PRAGMA synchronous=NORMAL")  # the ledger says what must last

    return engine


def _quiet() -> None:
    """Let DBOS log through our handlers, and only what matters."""
    log = logging.getLogger("dbos")
    if not log.handlers:
        log.addHandler(logging.NullHandler())
    log.setLevel(logging.WARNING)
