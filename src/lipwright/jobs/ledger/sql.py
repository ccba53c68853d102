"""The ledger in a SQL database: every transition is one transaction.

Every transition first locks the account of the job's key. SQLite has one writer anyway; on
PostgreSQL the lock serialises the transitions of one key, so limits are exact and locks are always
taken in the same order.
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
from lipwright.jobs.ledger import accounting, rules
from lipwright.jobs.ledger.database import Database
from lipwright.jobs.ledger.rows import Row, job_from_row, new_job_row
from lipwright.jobs.ledger.rules import Account, LedgerPolicy
from lipwright.jobs.ledger.schema import (
    ENDED,
    HELD,
    RUNNING,
    counters,
    deliveries,
    idempotency_keys,
    job_uploads,
    jobs,
    uploads,
)
from lipwright.jobs.model import Failure, Job, JobProgress, JobSpec, State, SubmitLimits

Enqueue = Callable[[sa.Connection, Job, float], None]
CancelWork = Callable[[str], None]

IDS_PER_STATEMENT = 500  # SQLite allows 32,766 values

_log = logging.getLogger(__name__)
_c = jobs.c
_NOT_ERASED = sa.not_(_c.erased)
_BY_ID = sa.select(jobs).where(_c.id == sa.bindparam("job_id"), _NOT_ERASED)
_BY_IDS = sa.select(jobs).where(
    _c.key_id == sa.bindparam("key_id"), _c.id.in_(sa.bindparam("ids", expanding=True)), _NOT_ERASED
)
_PAGE = (
    sa.select(jobs)
    .where(
        _c.key_id == sa.bindparam("key_id"),
        _c.state == sa.bindparam("page_state"),
        _c.sequence < sa.bindparam("before"),
        _NOT_ERASED,
    )
    .order_by(_c.sequence.desc())
    .limit(sa.bindparam("count"))
)
_MAX_SEQUENCE = 2**62  # above every sequence
_UPDATE_HEARTBEAT = (
    jobs.update()
    .where(_c.id == sa.bindparam("job_id"), _c.epoch == sa.bindparam("claimed_epoch"), RUNNING)
    .values(beat_at=sa.bindparam("now"), stage=sa.bindparam("progress", type_=sa.JSON))
)
_AVAILABLE_UPLOADS = sa.select(uploads.c.id).where(
    uploads.c.id.in_(sa.bindparam("ids", expanding=True)),
    uploads.c.key_id == sa.bindparam("key_id"),
    uploads.c.expires_at > sa.bindparam("now"),
    sa.not_(uploads.c.going),
)


class SqlLedger:
    """The :class:`lipwright.jobs.ledger.base.Ledger` of a database.

    Args:
        database: where the tables are.
        enqueue: puts work into the queue, in the transaction of the given connection, after a
            delay in seconds.
        cancel_work: removes the work item with that ``work_id`` from the queue. It may fail,
            because the ledger refuses a claim of a cancelled job.
        policy: retention times and the default concurrency.
    """

    def __init__(
        self,
        database: Database,
        *,
        enqueue: Enqueue,
        cancel_work: CancelWork,
        policy: LedgerPolicy | None = None,
    ) -> None:
        self._database = database
        self._enqueue = enqueue
        self._cancel_work = cancel_work
        self._policy = policy or LedgerPolicy()

    # -- requests -------------------------------------------------------------------------------
    def submit(self, spec: JobSpec, limits: SubmitLimits) -> tuple[Job, bool]:
        """See Ledger.submit."""
        with self._database.write(durable=True) as tx:
            now = self._database.now(tx)
            account = accounting.lock_account(tx, spec.key_id)
            if existing := _find_replay(tx, spec, now):
                return existing, False
            account = rules.admit(account, limits, now)
            held = account.release_capacity(self._concurrency(tx, spec.key_id)) == 0
            job = _insert_job(tx, spec, now, held=held)
            _insert_idempotency_key(
                tx, spec, now + rules.to_milliseconds(self._policy.idempotency_seconds)
            )
            _link_uploads(tx, spec, now)
            accounting.adjust_backlog(tx, spec.priority, job.sequence, 1)
            accounting.save_account(tx, account.adjusted(queued=1, released=0 if held else 1))
            if not held:
                self._enqueue(tx, job, 0.0)
        return job, True

    def get(self, job_id: str, key_id: str | None = None) -> Job:
        """See Ledger.get."""
        with self._database.read() as tx:
            return job_from_row(_find_row(tx, job_id, key_id))

    def position(self, job: Job) -> int:
        """See Ledger.position."""
        with self._database.read() as tx:
            return accounting.queue_position(tx, job.spec.priority, job.sequence)

    def list_jobs(
        self,
        key_id: str,
        *,
        limit: int,
        before: int | None = None,
        states: Sequence[State] = (),
        ids: Sequence[str] = (),
    ) -> list[Job]:
        """See Ledger.list_jobs."""
        before = _MAX_SEQUENCE if before is None else before
        wanted = set(states or State)
        with self._database.read() as tx:
            if ids:
                rows = _select_by_ids(tx, key_id, sorted(set(ids)))
            else:
                # One query per state: the index returns each in order, even a rare one.
                rows = [
                    row
                    for state in wanted
                    for row in _select_page(tx, key_id, state, before, limit)
                ]
        matching = [row for row in rows if row.sequence < before and row.state in wanted]
        newest = sorted(matching, key=lambda row: row.sequence, reverse=True)
        return [job_from_row(row) for row in newest[:limit]]

    def cancel(self, job_id: str, key_id: str | None = None) -> tuple[Job, bool]:
        """See Ledger.cancel."""
        with self._database.write(durable=True) as tx:
            row, account = _lock_job(tx, job_id, key_id)
            if row.state != State.IN_QUEUE:
                return job_from_row(row), False
            ended = self._end(tx, row, account, State.CANCELLED, {"ended:cancelled": 1})
        self._cancel_work_of(row)
        return ended, True

    def erase(self, job_id: str, key_id: str | None = None) -> Job:
        """See Ledger.erase."""
        with self._database.write(durable=True) as tx:
            row, account = _lock_job(tx, job_id, key_id)
            if row.state == State.IN_PROGRESS:
                raise JobNotFinished(rules.job_running_message(job_id))
            if row.state == State.IN_QUEUE:
                self._end(tx, row, account, State.CANCELLED, {"ended:cancelled": 1})
            _blank_out(tx, job_id, self._database.now(tx))
        if row.state == State.IN_QUEUE:
            self._cancel_work_of(row)
        return job_from_row(row)

    # -- workers --------------------------------------------------------------------------------
    def claim(self, job_id: str, worker: str) -> Job | None:
        """See Ledger.claim."""
        with self._database.write() as tx:
            locked = _lock_job_if_present(tx, job_id)
            if locked is None or State(locked[0].state).final:
                return None
            row, account = locked
            now = self._database.now(tx)
            job = _update(
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
                accounting.adjust_backlog(tx, row.priority, row.sequence, -1)
                accounting.save_account(
                    tx, account.adjusted(queued=-1, released=1 if row.parked else 0)
                )
        return job

    def heartbeat(self, job_id: str, epoch: int, progress: JobProgress) -> bool:
        """See Ledger.heartbeat."""
        with self._database.write() as tx:
            values = {"job_id": job_id, "claimed_epoch": epoch, "progress": asdict(progress)}
            now = self._database.now(tx)
            return tx.execute(_UPDATE_HEARTBEAT, {**values, "now": now}).rowcount == 1

    def finish(
        self, job_id: str, epoch: int, *, output: Mapping[str, Any] | None, failure: Failure | None
    ) -> bool:
        """See Ledger.finish."""
        rules.check_outcome(output, failure)
        with self._database.write() as tx:
            locked = _lock_claimed_job(tx, job_id, epoch)
            if locked is None:
                return False
            row, account = locked
            self._end(
                tx,
                row,
                account,
                State.FAILED if failure else State.SUCCEEDED,
                rules.counter_increments(output, failure),
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
        uncounted: bool = False,
    ) -> bool:
        """See Ledger.retry."""
        with self._database.write() as tx:
            locked = _lock_claimed_job(tx, job_id, epoch)
            if locked is None:
                return False
            row, account = locked
            job = _update(
                tx,
                job_id,
                state=State.IN_QUEUE,
                spared=row.spared + uncounted,
                worker=None,
                started_at=None,
                beat_at=None,
                stage={},
            )
            accounting.add_counters(tx, {f"retries:{failure.code}": 1})
            accounting.adjust_backlog(tx, row.priority, row.sequence, 1)
            # It stays released, so it keeps its turn.
            accounting.save_account(tx, account.adjusted(queued=1))
            self._enqueue(tx, job, delay_seconds)
        return True

    def list_stale(self, lease_seconds: float, limit: int = 100) -> list[Job]:
        """See Ledger.list_stale."""
        with self._database.read() as tx:
            deadline = self._database.now(tx) - rules.to_milliseconds(lease_seconds)
            stale = sa.select(jobs).where(RUNNING, _c.beat_at < deadline)
            rows = tx.execute(stale.order_by(_c.beat_at).limit(limit))
            return [job_from_row(row) for row in rows]

    # -- retention ------------------------------------------------------------------------------
    def list_expired(self, limit: int = 100) -> list[Job]:
        """See Ledger.list_expired."""
        with self._database.read() as tx:
            expired = sa.select(jobs).where(ENDED, _c.expires_at <= self._database.now(tx))
            rows = tx.execute(expired.order_by(_c.expires_at).limit(limit))
            return [job_from_row(row) for row in rows]

    def purge(self, job_id: str) -> None:
        """See Ledger.purge."""
        with self._database.write() as tx:
            expired = _c.expires_at <= self._database.now(tx)
            tx.execute(jobs.delete().where(_c.id == job_id, ENDED, expired))

    def release_held(self) -> int:
        """See Ledger.release_held."""
        keys_with_held_jobs = sa.select(_c.key_id).where(HELD).distinct()
        with self._database.read() as tx:
            key_ids = tx.execute(keys_with_held_jobs).scalars().all()
        if not key_ids:
            return 0
        with self._database.write() as tx:
            return sum(self._release(tx, accounting.lock_account(tx, key_id)) for key_id in key_ids)

    def counts(self) -> Mapping[str, Any]:
        """See Ledger.counts."""
        with self._database.read() as tx:
            oldest = accounting.oldest_queued_at(tx)
            waited = 0 if oldest is None else self._database.now(tx) - oldest
            # Every running job has a heartbeat; the condition makes SQLite use the partial index.
            running = sa.select(sa.func.count()).where(RUNNING, _c.beat_at > 0)
            return {
                **rules.group_counters(
                    {name: amount for name, amount in tx.execute(sa.select(counters))}
                ),
                "jobs": {
                    str(State.IN_QUEUE): accounting.count_queued(tx),
                    str(State.IN_PROGRESS): tx.execute(running).scalar_one(),
                },
                "deliveries": _count_deliveries(tx),
                "oldest_seconds": waited / 1000,
            }

    # -- steps within a transaction ---------------------------------------------------------------
    def _end(
        self,
        tx: sa.Connection,
        row: Row,
        account: Account,
        state: State,
        increments: Mapping[str, float],
        **values: Any,
    ) -> Job:
        """Move a job to a final state, and release the next held job of its key."""
        now = self._database.now(tx)
        expiry = now + rules.to_milliseconds(self._policy.retention_seconds)
        times = {"finished_at": now, "expires_at": expiry}
        job = _update(tx, row.id, state=state, parked=False, beat_at=None, **times, **values)
        tx.execute(job_uploads.delete().where(job_uploads.c.job_id == row.id))
        if row.webhook_url is not None:
            accounting.insert_delivery(tx, row.id, row.webhook_url, now)
        accounting.add_counters(tx, increments)
        if row.state == State.IN_QUEUE:
            accounting.adjust_backlog(tx, row.priority, row.sequence, -1)
            account = account.adjusted(queued=-1)
        self._release(tx, account.adjusted(released=0 if row.parked else -1))
        return job

    def _release(self, tx: sa.Connection, account: Account) -> int:
        """Enqueue held jobs of a key up to its concurrency, and save the account."""
        capacity = account.release_capacity(self._concurrency(tx, account.key_id))
        held = sa.select(jobs).where(HELD, _c.key_id == account.key_id)
        first = held.order_by(_c.priority, _c.sequence).limit(capacity)
        rows = tx.execute(first).all()
        for row in rows:
            self._enqueue(tx, _update(tx, row.id, parked=False), 0.0)
        accounting.save_account(tx, account.adjusted(released=len(rows)))
        return len(rows)

    def _concurrency(self, tx: sa.Connection, key_id: str) -> int | None:
        return accounting.key_concurrency(tx, key_id) or self._policy.concurrency

    def _cancel_work_of(self, row: Row) -> None:
        """Remove a cancelled job's work from the queue; a claim of it would fail anyway."""
        if row.parked:
            return
        try:
            self._cancel_work(job_from_row(row).work_id)
        except Exception:
            _log.warning(
                "the work of a cancelled job stays in the queue",
                exc_info=True,
                extra={"job_id": row.id},
            )


def _find_row(tx: sa.Connection, job_id: str, key_id: str | None) -> Row:
    row = tx.execute(_BY_ID, {"job_id": job_id}).first()
    if row is None or key_id not in (None, row.key_id):
        raise JobNotFound(rules.job_not_found_message(job_id))
    return row


def _lock_job(tx: sa.Connection, job_id: str, key_id: str | None) -> tuple[Row, Account]:
    """Lock the account of a job, then read the job."""
    account = accounting.lock_account(tx, _find_row(tx, job_id, key_id).key_id)
    return _find_row(tx, job_id, key_id), account


def _lock_job_if_present(tx: sa.Connection, job_id: str) -> tuple[Row, Account] | None:
    try:
        return _lock_job(tx, job_id, None)
    except JobNotFound:
        return None


def _lock_claimed_job(tx: sa.Connection, job_id: str, epoch: int) -> tuple[Row, Account] | None:
    locked = _lock_job_if_present(tx, job_id)
    if locked is None or locked[0].state != State.IN_PROGRESS or locked[0].epoch != epoch:
        return None
    return locked


def _update(tx: sa.Connection, job_id: str, **values: Any) -> Job:
    return job_from_row(
        tx.execute(jobs.update().where(_c.id == job_id).values(**values).returning(jobs)).one()
    )


def _insert_job(tx: sa.Connection, spec: JobSpec, now: int, *, held: bool) -> Job:
    return job_from_row(
        tx.execute(jobs.insert().returning(jobs), new_job_row(spec, now, held=held)).one()
    )


def _find_replay(tx: sa.Connection, spec: JobSpec, now: int) -> Job | None:
    """Return the job that was submitted with this idempotency key, until the key expires."""
    if spec.idempotency_key is None:
        return None
    tx.execute(idempotency_keys.delete().where(idempotency_keys.c.expires_at <= now))
    stored = tx.execute(
        sa.select(idempotency_keys.c.job_id, idempotency_keys.c.fingerprint).where(
            idempotency_keys.c.key_id == spec.key_id,
            idempotency_keys.c.idempotency_key == spec.idempotency_key,
        )
    ).first()
    if stored is None:
        return None
    if stored.fingerprint != spec.fingerprint:
        raise IdempotencyConflict(rules.idempotency_conflict_message(spec.idempotency_key))
    return job_from_row(_find_row(tx, stored.job_id, spec.key_id))


def _insert_idempotency_key(tx: sa.Connection, spec: JobSpec, expires_at: int) -> None:
    if spec.idempotency_key is None:
        return
    values = {
        "key_id": spec.key_id,
        "idempotency_key": spec.idempotency_key,
        "job_id": spec.id,
        "fingerprint": spec.fingerprint,
        "expires_at": expires_at,
    }
    tx.execute(idempotency_keys.insert(), values)


def _link_uploads(tx: sa.Connection, spec: JobSpec, now: int) -> None:
    """Mark the uploads that a job names as in use until it has ended."""
    ids = sorted(rules.upload_ids(spec.payload))
    if not ids:
        return
    values = {"ids": ids, "key_id": spec.key_id, "now": now}
    available = set(tx.execute(_AVAILABLE_UPLOADS, values).scalars())
    if missing := [file_id for file_id in ids if file_id not in available]:
        raise SourceUnreachable(rules.upload_not_found_message(missing[0]))
    tx.execute(job_uploads.insert(), [{"file_id": file_id, "job_id": spec.id} for file_id in ids])


def _blank_out(tx: sa.Connection, job_id: str, now: int) -> None:
    """Overwrite the contents of an erased job; its row stays until its files are deleted."""
    _update(
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
    for table in (deliveries, idempotency_keys):
        tx.execute(table.delete().where(table.c.job_id == job_id))


def _select_by_ids(tx: sa.Connection, key_id: str, ids: Sequence[str]) -> list[Row]:
    rows: list[Row] = []
    for start in range(0, len(ids), IDS_PER_STATEMENT):
        values = {"key_id": key_id, "ids": ids[start : start + IDS_PER_STATEMENT]}
        rows += tx.execute(_BY_IDS, values)
    return rows


def _select_page(
    tx: sa.Connection, key_id: str, state: State, before: int, limit: int
) -> Sequence[Row]:
    values = {"key_id": key_id, "page_state": state, "before": before, "count": limit}
    return tx.execute(_PAGE, values).all()


def _count_deliveries(tx: sa.Connection) -> dict[str, int]:
    state = deliveries.c.state
    by_state = sa.select(state, sa.func.count()).group_by(state)
    return {name: number for name, number in tx.execute(by_state)}
