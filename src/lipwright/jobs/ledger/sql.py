"""The ledger in a SQL database: every transition is one transaction.

Every transition first takes the account of the job's key. SQLite has one writer anyway; on
PostgreSQL that makes the transitions of one key follow each other, so that limits are exact and
locks are always taken in the same order.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from lipwright.errors import (
    IdempotencyConflict,
    JobNotFinished,
    JobNotFound,
    SourceUnreachable,
)
from lipwright.jobs.ledger import accounting as book
from lipwright.jobs.ledger import rules
from lipwright.jobs.ledger.database import Database
from lipwright.jobs.ledger.rows import Row, job_of, row_of
from lipwright.jobs.ledger.rules import Account, Terms
from lipwright.jobs.ledger.schema import (
    ENDED,
    PARKED,
    RUNNING,
    deliveries,
    holds,
    jobs,
    replays,
    tallies,
    uploads,
)
from lipwright.jobs.model import Failure, Job, Limits, Stage, State, Ticket

Enqueue = Callable[[sa.Connection, Job, float], None]
Drop = Callable[[str], None]

MAX_IDS = 500  # in one statement; SQLite takes 32,766 values

_log = logging.getLogger(__name__)
_c = jobs.c
_LIVE = sa.not_(_c.erased)
_BY_ID = sa.select(jobs).where(_c.id == sa.bindparam("job_id"), _LIVE)
_BY_IDS = sa.select(jobs).where(
    _c.key_id == sa.bindparam("key_id"), _c.id.in_(sa.bindparam("ids", expanding=True)), _LIVE
)
_PAGE = (
    sa.select(jobs)
    .where(
        _c.key_id == sa.bindparam("key_id"),
        _c.state == sa.bindparam("page_state"),
        _c.sequence < sa.bindparam("before"),
        _LIVE,
    )
    .order_by(_c.sequence.desc())
    .limit(sa.bindparam("count"))
)
_END = 2**62  # after every sequence
_BEAT = (
    jobs.update()
    .where(_c.id == sa.bindparam("job_id"), _c.epoch == sa.bindparam("held"), RUNNING)
    .values(beat_at=sa.bindparam("now"), stage=sa.bindparam("progress", type_=sa.JSON))
)
_UPLOADED = sa.select(uploads.c.id).where(
    uploads.c.id.in_(sa.bindparam("ids", expanding=True)),
    uploads.c.key_id == sa.bindparam("key_id"),
    uploads.c.expires_at > sa.bindparam("now"),
    sa.not_(uploads.c.going),
)


class SqlLedger:
    """The :class:`lipwright.jobs.model.Ledger` of a database.

    Args:
        enqueue: puts work into the queue, in the transaction of the given connection, after a
            delay in seconds.
        drop: takes the work of that ``work_id`` out of the queue again; it may fail, for the
            ledger then refuses the claim.
    """

    def __init__(
        self, database: Database, *, enqueue: Enqueue, drop: Drop, terms: Terms | None = None
    ) -> None:
        self._database = database
        self._enqueue = enqueue
        self._drop = drop
        self._terms = terms or Terms()

    # -- requests -------------------------------------------------------------------------------
    def submit(self, ticket: Ticket, limits: Limits) -> tuple[Job, bool]:
        """See Ledger.submit."""
        with self._database.write(durable=True) as tx:
            now = self._database.now(tx)
            account = book.account(tx, ticket.key_id)
            if known := _replayed(tx, ticket, now):
                return known, False
            account = rules.admit(account, limits, now)
            room = account.room(self._concurrency(tx, ticket.key_id))
            job = _insert(tx, ticket, now, parked=room == 0)
            _remember(tx, ticket, now + rules.milliseconds(self._terms.idempotency_seconds))
            _hold(tx, ticket, now)
            book.queued(tx, ticket.priority, job.sequence, 1)
            book.keep(tx, account.moved(queued=1, released=0 if room == 0 else 1))
            if room != 0:
                self._enqueue(tx, job, 0.0)
        return job, True

    def get(self, job_id: str, key_id: str | None = None) -> Job:
        """See Ledger.get."""
        with self._database.read() as tx:
            return job_of(_find(tx, job_id, key_id))

    def position(self, job: Job) -> int:
        """See Ledger.position."""
        with self._database.read() as tx:
            return book.position(tx, job.ticket.priority, job.sequence)

    def page(
        self,
        key_id: str,
        *,
        limit: int,
        before: int | None = None,
        states: Sequence[State] = (),
        ids: Sequence[str] = (),
    ) -> list[Job]:
        """See Ledger.page."""
        before = _END if before is None else before
        wanted = set(states or State)
        with self._database.read() as tx:
            if ids:
                rows = _by_ids(tx, key_id, sorted(set(ids)))
            else:
                # State by state: the index then gives each in order, however rare it is.
                rows = [row for state in wanted for row in _rows(tx, key_id, state, before, limit)]
        chosen = [row for row in rows if row.sequence < before and row.state in wanted]
        newest = sorted(chosen, key=lambda row: row.sequence, reverse=True)
        return [job_of(row) for row in newest[:limit]]

    def cancel(self, job_id: str, key_id: str | None = None) -> tuple[Job, bool]:
        """See Ledger.cancel."""
        with self._database.write(durable=True) as tx:
            row, account = _take(tx, job_id, key_id)
            if row.state != State.IN_QUEUE:
                return job_of(row), False
            ended = self._end(tx, row, account, State.CANCELLED, {"ended:cancelled": 1})
        self._drop_quietly(row)
        return ended, True

    def erase(self, job_id: str, key_id: str | None = None) -> Job:
        """See Ledger.erase."""
        with self._database.write(durable=True) as tx:
            row, account = _take(tx, job_id, key_id)
            if row.state == State.IN_PROGRESS:
                raise JobNotFinished(rules.running(job_id))
            if row.state == State.IN_QUEUE:
                self._end(tx, row, account, State.CANCELLED, {"ended:cancelled": 1})
            _blank(tx, job_id, self._database.now(tx))
        if row.state == State.IN_QUEUE:
            self._drop_quietly(row)
        return job_of(row)

    # -- who carries it out ---------------------------------------------------------------------
    def claim(self, job_id: str, worker: str) -> Job | None:
        """See Ledger.claim."""
        with self._database.write() as tx:
            there = _take_if_there(tx, job_id)
            if there is None or State(there[0].state).final:
                return None
            row, account = there
            now = self._database.now(tx)
            taken = _change(
                tx,
                job_id,
                state=State.IN_PROGRESS,
                parked=False,
                epoch=row.epoch + 1,
                worker=worker,
                started_at=now,
                beat_at=now,
                stage={},
            )
            if row.state == State.IN_QUEUE:
                book.queued(tx, row.priority, row.sequence, -1)
                book.keep(tx, account.moved(queued=-1, released=1 if row.parked else 0))
        return taken

    def beat(self, job_id: str, epoch: int, stage: Stage) -> bool:
        """See Ledger.beat."""
        with self._database.write() as tx:
            values = {"job_id": job_id, "held": epoch, "progress": asdict(stage)}
            now = self._database.now(tx)
            return tx.execute(_BEAT, {**values, "now": now}).rowcount == 1

    def finish(
        self, job_id: str, epoch: int, *, output: Mapping[str, Any] | None, failure: Failure | None
    ) -> bool:
        """See Ledger.finish."""
        rules.check_end(output, failure)
        with self._database.write() as tx:
            held = _take_if_held(tx, job_id, epoch)
            if held is None:
                return False
            row, account = held
            self._end(
                tx,
                row,
                account,
                State.FAILED if failure else State.SUCCEEDED,
                rules.tallies_of(output, failure),
                output=dict(output or {}),
                failure_code=failure.code if failure else None,
                failure_message=failure.message if failure else None,
            )
        return True

    def retry(
        self,
        job_id: str,
        epoch: int,
        failure: Failure,
        delay_seconds: float,
        *,
        spared: bool = False,
    ) -> bool:
        """See Ledger.retry."""
        with self._database.write() as tx:
            held = _take_if_held(tx, job_id, epoch)
            if held is None:
                return False
            row, account = held
            job = _change(
                tx,
                job_id,
                state=State.IN_QUEUE,
                spared=row.spared + spared,
                worker=None,
                started_at=None,
                beat_at=None,
                stage={},
            )
            book.tally(tx, {f"retries:{failure.code}": 1})
            book.queued(tx, row.priority, row.sequence, 1)
            book.keep(tx, account.moved(queued=1))  # it stays released: its turn is kept
            self._enqueue(tx, job, delay_seconds)
        return True

    def stale(self, lease_seconds: float, limit: int = 100) -> list[Job]:
        """See Ledger.stale."""
        with self._database.read() as tx:
            since = self._database.now(tx) - rules.milliseconds(lease_seconds)
            silent = sa.select(jobs).where(RUNNING, _c.beat_at < since)
            return [job_of(row) for row in tx.execute(silent.order_by(_c.beat_at).limit(limit))]

    # -- what remains ---------------------------------------------------------------------------
    def expired(self, limit: int = 100) -> list[Job]:
        """See Ledger.expired."""
        with self._database.read() as tx:
            over = sa.select(jobs).where(ENDED, _c.expires_at <= self._database.now(tx))
            return [job_of(row) for row in tx.execute(over.order_by(_c.expires_at).limit(limit))]

    def forget(self, job_id: str) -> None:
        """See Ledger.forget."""
        with self._database.write() as tx:
            over = _c.expires_at <= self._database.now(tx)
            tx.execute(jobs.delete().where(_c.id == job_id, ENDED, over))

    def release(self) -> int:
        """See Ledger.release."""
        parked = sa.select(_c.key_id).where(PARKED).distinct()
        with self._database.read() as tx:
            keys = tx.execute(parked).scalars().all()
        if not keys:
            return 0
        with self._database.write() as tx:
            return sum(self._release(tx, book.account(tx, key_id)) for key_id in keys)

    def counts(self) -> Mapping[str, Any]:
        """See Ledger.counts."""
        with self._database.read() as tx:
            first = book.oldest(tx)
            waited = 0 if first is None else self._database.now(tx) - first
            # all of them have a heartbeat; said so that SQLite takes the index of these few
            running = sa.select(sa.func.count()).where(RUNNING, _c.beat_at > 0)
            return {
                **rules.counts_of(
                    {name: amount for name, amount in tx.execute(sa.select(tallies))}
                ),
                "jobs": {
                    str(State.IN_QUEUE): book.waiting(tx),
                    str(State.IN_PROGRESS): tx.execute(running).scalar_one(),
                },
                "deliveries": _calls(tx),
                "oldest_seconds": waited / 1000,
            }

    # -- steps within a transaction ---------------------------------------------------------------
    def _end(
        self,
        tx: sa.Connection,
        row: Row,
        account: Account,
        state: State,
        tally: Mapping[str, float],
        **values: Any,
    ) -> Job:
        """Move a job to a final state, and let the next one of its key go."""
        now = self._database.now(tx)
        expiry = now + rules.milliseconds(self._terms.retention_seconds)
        times = {"finished_at": now, "expires_at": expiry}
        job = _change(tx, row.id, state=state, parked=False, beat_at=None, **times, **values)
        tx.execute(holds.delete().where(holds.c.job_id == row.id))
        if row.webhook_url is not None:
            book.deliver(tx, row.id, row.webhook_url, now)
        book.tally(tx, tally)
        if row.state == State.IN_QUEUE:
            book.queued(tx, row.priority, row.sequence, -1)
            account = account.moved(queued=-1)
        self._release(tx, account.moved(released=0 if row.parked else -1))
        return job

    def _release(self, tx: sa.Connection, account: Account) -> int:
        """Enqueue parked jobs of a key as far as its concurrency lets; book the account."""
        room = account.room(self._concurrency(tx, account.key_id))
        parked = sa.select(jobs).where(PARKED, _c.key_id == account.key_id)
        first = parked.order_by(_c.priority, _c.sequence).limit(room)
        rows = tx.execute(first).all()
        for row in rows:
            self._enqueue(tx, _change(tx, row.id, parked=False), 0.0)
        book.keep(tx, account.moved(released=len(rows)))
        return len(rows)

    def _concurrency(self, tx: sa.Connection, key_id: str) -> int | None:
        return book.concurrency(tx, key_id) or self._terms.concurrency

    def _drop_quietly(self, row: Row) -> None:
        """Take a cancelled job's work out of the queue; a claim of it would fail anyway."""
        if row.parked:
            return
        try:
            self._drop(job_of(row).work_id)
        except Exception:
            _log.warning("work of cancelled job %s stays in the queue", row.id, exc_info=True)


def _find(tx: sa.Connection, job_id: str, key_id: str | None) -> Row:
    row = tx.execute(_BY_ID, {"job_id": job_id}).first()
    if row is None or key_id not in (None, row.key_id):
        raise JobNotFound(rules.absent(job_id))
    return row


def _take(tx: sa.Connection, job_id: str, key_id: str | None) -> tuple[Row, Account]:
    """Lock the account of a job, then read the job."""
    account = book.account(tx, _find(tx, job_id, key_id).key_id)
    return _find(tx, job_id, key_id), account


def _take_if_there(tx: sa.Connection, job_id: str) -> tuple[Row, Account] | None:
    try:
        return _take(tx, job_id, None)
    except JobNotFound:
        return None


def _take_if_held(tx: sa.Connection, job_id: str, epoch: int) -> tuple[Row, Account] | None:
    there = _take_if_there(tx, job_id)
    if there is None or there[0].state != State.IN_PROGRESS or there[0].epoch != epoch:
        return None
    return there


def _change(tx: sa.Connection, job_id: str, **values: Any) -> Job:
    return job_of(
        tx.execute(jobs.update().where(_c.id == job_id).values(**values).returning(jobs)).one()
    )


def _insert(tx: sa.Connection, ticket: Ticket, now: int, *, parked: bool) -> Job:
    return job_of(
        tx.execute(jobs.insert().returning(jobs), row_of(ticket, now, parked=parked)).one()
    )


def _replayed(tx: sa.Connection, ticket: Ticket, now: int) -> Job | None:
    """Return the job of an idempotency key that is still remembered."""
    if ticket.idempotency_key is None:
        return None
    tx.execute(replays.delete().where(replays.c.expires_at <= now))
    known = tx.execute(
        sa.select(replays.c.job_id, replays.c.fingerprint).where(
            replays.c.key_id == ticket.key_id,
            replays.c.idempotency_key == ticket.idempotency_key,
        )
    ).first()
    if known is None:
        return None
    if known.fingerprint != ticket.fingerprint:
        raise IdempotencyConflict(rules.reused(ticket.idempotency_key))
    return job_of(_find(tx, known.job_id, ticket.key_id))


def _remember(tx: sa.Connection, ticket: Ticket, expires_at: int) -> None:
    if ticket.idempotency_key is None:
        return
    values = {
        "key_id": ticket.key_id,
        "idempotency_key": ticket.idempotency_key,
        "job_id": ticket.id,
        "fingerprint": ticket.fingerprint,
        "expires_at": expires_at,
    }
    tx.execute(replays.insert(), values)


def _hold(tx: sa.Connection, ticket: Ticket, now: int) -> None:
    """Keep the uploads that a job names for as long as it needs them."""
    ids = sorted(rules.files_of(ticket.work))
    if not ids:
        return
    values = {"ids": ids, "key_id": ticket.key_id, "now": now}
    there = set(tx.execute(_UPLOADED, values).scalars())
    if missing := [file_id for file_id in ids if file_id not in there]:
        raise SourceUnreachable(rules.lost(missing[0]))
    tx.execute(holds.insert(), [{"file_id": file_id, "job_id": ticket.id} for file_id in ids])


def _blank(tx: sa.Connection, job_id: str, now: int) -> None:
    """Overwrite what an erased job said; its row stays until its files are surely gone."""
    _change(
        tx,
        job_id,
        erased=True,
        expires_at=now,
        input={},
        work={},
        output={},
        stage={},
        webhook_url=None,
        idempotency_key=None,
        fingerprint="",
        trace=None,
        failure_message=sa.case((_c.failure_code.is_not(None), "")),
    )
    for table in (deliveries, replays):
        tx.execute(table.delete().where(table.c.job_id == job_id))


def _by_ids(tx: sa.Connection, key_id: str, ids: Sequence[str]) -> list[Row]:
    pieces = [ids[start : start + MAX_IDS] for start in range(0, len(ids), MAX_IDS)]
    return [row for ids in pieces for row in tx.execute(_BY_IDS, {"key_id": key_id, "ids": ids})]


def _rows(tx: sa.Connection, key_id: str, state: State, before: int, limit: int) -> Sequence[Row]:
    values = {"key_id": key_id, "page_state": state, "before": before, "count": limit}
    return tx.execute(_PAGE, values).all()


def _calls(tx: sa.Connection) -> dict[str, int]:
    state = deliveries.c.state
    counted = sa.select(state, sa.func.count()).group_by(state)
    return {name: number for name, number in tx.execute(counted)}
