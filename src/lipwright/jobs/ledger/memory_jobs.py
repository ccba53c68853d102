"""The ledger in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from lipwright.errors import (
    IdempotencyConflict,
    JobNotFinished,
    JobNotFound,
    SourceUnreachable,
)
from lipwright.jobs.ledger import rules
from lipwright.jobs.ledger.memory_tables import Entry, Store, Tables, available
from lipwright.jobs.ledger.rules import Account
from lipwright.jobs.model import Delivery, Failure, Job, Limits, Stage, State, Ticket


class MemoryLedger:
    """The :class:`lipwright.jobs.model.Ledger` in memory."""

    def __init__(self, store: Store | None = None) -> None:
        self._store = store or Store()

    # -- requests -------------------------------------------------------------------------------
    def submit(self, ticket: Ticket, limits: Limits) -> tuple[Job, bool]:
        """See Ledger.submit."""
        with self._store.transaction() as tables:
            if known := self._replayed(tables, ticket):
                return known, False
            now = self._store.now()
            account = rules.admit(_account(tables, ticket.key_id), limits, _ms_of(now))
            parked = account.room(self._concurrency(tables, ticket.key_id)) == 0
            for file_id in sorted(rules.files_of(ticket.work)):
                if not available(tables, file_id, ticket.key_id, now):
                    raise SourceUnreachable(rules.lost(file_id))
            tables.sequence += 1
            job = Job(
                ticket=ticket,
                sequence=tables.sequence,
                state=State.IN_QUEUE,
                epoch=0,
                created_at=now,
            )
            tables.jobs[job.id] = Entry(job, parked=parked)
            tables.accounts[ticket.key_id] = account.moved(queued=1, released=int(not parked))
            if ticket.idempotency_key is not None:
                until = now + timedelta(seconds=self._store.terms.idempotency_seconds)
                place = (ticket.key_id, ticket.idempotency_key)
                tables.replays[place] = (job.id, ticket.fingerprint, until)
            if not parked:
                self._store.enqueue(job, 0.0)
        return job, True

    def get(self, job_id: str, key_id: str | None = None) -> Job:
        """See Ledger.get."""
        with self._store.look() as tables:
            return _find(tables, job_id, key_id).job

    def position(self, job: Job) -> int:
        """See Ledger.position."""
        place = (job.ticket.priority, job.sequence)
        with self._store.look() as tables:
            queued = (entry.job for entry in tables.jobs.values() if _queued(entry))
            return sum((other.ticket.priority, other.sequence) < place for other in queued)

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
        with self._store.look() as tables:
            jobs = [entry.job for entry in tables.jobs.values() if not entry.erased]
        chosen = [
            job
            for job in jobs
            if job.ticket.key_id == key_id
            and (before is None or job.sequence < before)
            and (not states or job.state in states)
            and (not ids or job.id in ids)
        ]
        return sorted(chosen, key=lambda job: job.sequence, reverse=True)[:limit]

    def cancel(self, job_id: str, key_id: str | None = None) -> tuple[Job, bool]:
        """See Ledger.cancel."""
        with self._store.transaction() as tables:
            entry = _find(tables, job_id, key_id)
            if not _queued(entry):
                return entry.job, False
            ended = self._end(tables, entry, State.CANCELLED, {"ended:cancelled": 1})
        if not entry.parked:
            self._store.drop(entry.job.work_id)
        return ended, True

    def erase(self, job_id: str, key_id: str | None = None) -> Job:
        """See Ledger.erase."""
        with self._store.transaction() as tables:
            entry = _find(tables, job_id, key_id)
            if entry.job.state is State.IN_PROGRESS:
                raise JobNotFinished(rules.running(job_id))
            if _queued(entry):
                self._end(tables, entry, State.CANCELLED, {"ended:cancelled": 1})
            _blank(tables, job_id, self._store.now())
        if _queued(entry) and not entry.parked:
            self._store.drop(entry.job.work_id)
        return entry.job

    # -- who carries it out ---------------------------------------------------------------------
    def claim(self, job_id: str, worker: str) -> Job | None:
        """See Ledger.claim."""
        with self._store.transaction() as tables:
            entry = tables.jobs.get(job_id)
            if entry is None or entry.job.state.final:
                return None
            now = self._store.now()
            job = replace(
                entry.job,
                state=State.IN_PROGRESS,
                epoch=entry.job.epoch + 1,
                worker=worker,
                started_at=now,
                stage=Stage(),
            )
            tables.jobs[job_id] = Entry(job, beat_at=now)
            if _queued(entry):
                account = _account(tables, job.ticket.key_id)
                moved = account.moved(queued=-1, released=int(entry.parked))
                tables.accounts[account.key_id] = moved
        return job

    def beat(self, job_id: str, epoch: int, stage: Stage) -> bool:
        """See Ledger.beat."""
        with self._store.transaction() as tables:
            entry = _held(tables, job_id, epoch)
            if entry is None:
                return False
            tables.jobs[job_id] = Entry(replace(entry.job, stage=stage), beat_at=self._store.now())
        return True

    def finish(
        self, job_id: str, epoch: int, *, output: Mapping[str, Any] | None, failure: Failure | None
    ) -> bool:
        """See Ledger.finish."""
        rules.check_end(output, failure)
        with self._store.transaction() as tables:
            entry = _held(tables, job_id, epoch)
            if entry is None:
                return False
            state = State.FAILED if failure else State.SUCCEEDED
            tallies = rules.tallies_of(output, failure)
            self._end(tables, entry, state, tallies, output=dict(output or {}), failure=failure)
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
        with self._store.transaction() as tables:
            entry = _held(tables, job_id, epoch)
            if entry is None:
                return False
            job = replace(
                entry.job,
                state=State.IN_QUEUE,
                spared=entry.job.spared + spared,
                worker=None,
                started_at=None,
                stage=Stage(),
            )
            tables.jobs[job_id] = Entry(job)
            account = _account(tables, job.ticket.key_id)
            tables.accounts[account.key_id] = account.moved(queued=1)
            _tally(tables, {f"retries:{failure.code}": 1})
            self._store.enqueue(job, delay_seconds)
        return True

    def stale(self, lease_seconds: float, limit: int = 100) -> list[Job]:
        """See Ledger.stale."""
        since = self._store.now() - timedelta(seconds=lease_seconds)
        with self._store.look() as tables:
            silent = [
                (entry.beat_at, entry.job.sequence, entry.job)
                for entry in tables.jobs.values()
                if entry.beat_at is not None and entry.beat_at < since
            ]
        return [job for _, _, job in sorted(silent, key=lambda item: item[:2])][:limit]

    # -- what remains ---------------------------------------------------------------------------
    def expired(self, limit: int = 100) -> list[Job]:
        """See Ledger.expired."""
        now = self._store.now()
        with self._store.look() as tables:
            over = [
                (entry.job.expires_at, entry.job.sequence, entry.job)
                for entry in tables.jobs.values()
                if entry.job.expires_at is not None and entry.job.expires_at <= now
            ]
        return [job for _, _, job in sorted(over, key=lambda item: item[:2])][:limit]

    def forget(self, job_id: str) -> None:
        """See Ledger.forget."""
        with self._store.transaction() as tables:
            entry = tables.jobs.get(job_id)
            expires_at = entry.job.expires_at if entry else None
            if expires_at is not None and expires_at <= self._store.now():
                del tables.jobs[job_id]
                _unlink(tables, job_id)

    def release(self) -> int:
        """See Ledger.release."""
        with self._store.transaction() as tables:
            keys = {entry.job.ticket.key_id for entry in tables.jobs.values() if entry.parked}
            return sum(self._release(tables, key_id) for key_id in keys)

    def counts(self) -> Mapping[str, Any]:
        """See Ledger.counts."""
        with self._store.look() as tables:
            entries = list(tables.jobs.values())
            calls = [call.state for call, _ in tables.deliveries.values()]
            tallies = rules.counts_of(tables.tallies)
        first = min((entry.job.created_at for entry in entries if _queued(entry)), default=None)
        waited = self._store.now() - first if first else timedelta()
        return {
            **tallies,
            "jobs": {
                str(state): sum(entry.job.state is state for entry in entries)
                for state in (State.IN_QUEUE, State.IN_PROGRESS)
            },
            "deliveries": _by_kind(calls),
            "oldest_seconds": waited.total_seconds(),
        }

    # -- steps within a transaction ---------------------------------------------------------------
    def _replayed(self, tables: Tables, ticket: Ticket) -> Job | None:
        if ticket.idempotency_key is None:
            return None
        known = tables.replays.get((ticket.key_id, ticket.idempotency_key))
        if known is None or known[2] <= self._store.now():
            return None
        if known[1] != ticket.fingerprint:
            raise IdempotencyConflict(rules.reused(ticket.idempotency_key))
        return _find(tables, known[0], ticket.key_id).job

    def _end(
        self,
        tables: Tables,
        entry: Entry,
        state: State,
        tallies: Mapping[str, float],
        **values: Any,
    ) -> Job:
        now = self._store.now()
        expiry = now + timedelta(seconds=self._store.terms.retention_seconds)
        job = replace(entry.job, state=state, finished_at=now, expires_at=expiry, **values)
        tables.jobs[job.id] = Entry(job)
        if job.ticket.webhook_url is not None:
            call = Delivery(
                id=rules.new_delivery_id(),
                job_id=job.id,
                url=job.ticket.webhook_url,
                state="pending",
                attempts=0,
                next_at=now,
            )
            tables.deliveries[call.id] = (call, now)
        _tally(tables, tallies)
        account = _account(tables, job.ticket.key_id)
        tables.accounts[account.key_id] = account.moved(
            queued=-int(_queued(entry)), released=-int(not entry.parked)
        )
        self._release(tables, account.key_id)
        return job

    def _release(self, tables: Tables, key_id: str) -> int:
        room = _account(tables, key_id).room(self._concurrency(tables, key_id))
        waiting = [
            entry.job
            for entry in tables.jobs.values()
            if entry.parked and entry.job.ticket.key_id == key_id
        ]
        chosen = sorted(waiting, key=lambda job: (job.ticket.priority, job.sequence))[:room]
        for job in chosen:
            tables.jobs[job.id] = Entry(job)
            self._store.enqueue(job, 0.0)
        account = _account(tables, key_id)
        tables.accounts[key_id] = account.moved(released=len(chosen))
        return len(chosen)

    def _concurrency(self, tables: Tables, key_id: str) -> int | None:
        own = tables.keys[key_id][0].concurrency if key_id in tables.keys else None
        return own or self._store.terms.concurrency


def _find(tables: Tables, job_id: str, key_id: str | None) -> Entry:
    entry = tables.jobs.get(job_id)
    if entry is None or entry.erased or key_id not in (None, entry.job.ticket.key_id):
        raise JobNotFound(rules.absent(job_id))
    return entry


def _held(tables: Tables, job_id: str, epoch: int) -> Entry | None:
    entry = tables.jobs.get(job_id)
    running = entry is not None and entry.job.state is State.IN_PROGRESS
    return entry if entry and running and entry.job.epoch == epoch else None


def _queued(entry: Entry) -> bool:
    return entry.job.state is State.IN_QUEUE


def _account(tables: Tables, key_id: str) -> Account:
    return tables.accounts.get(key_id) or Account(key_id=key_id)


def _tally(tables: Tables, added: Mapping[str, float]) -> None:
    for name, amount in added.items():
        tables.tallies[name] = tables.tallies.get(name, 0) + amount


def _blank(tables: Tables, job_id: str, now: datetime) -> None:
    """Overwrite what an erased job said."""
    job = tables.jobs[job_id].job
    ticket = replace(
        job.ticket,
        input={},
        work={},
        webhook_url=None,
        idempotency_key=None,
        fingerprint="",
        trace=None,
    )
    failure = replace(job.failure, message="") if job.failure else None
    blank = replace(job, ticket=ticket, output={}, stage=Stage(), failure=failure, expires_at=now)
    tables.jobs[job_id] = Entry(blank, erased=True)
    _unlink(tables, job_id)


def _unlink(tables: Tables, job_id: str) -> None:
    """Delete what belongs to a job."""
    calls = tables.deliveries.items()
    tables.deliveries = {name: item for name, item in calls if item[0].job_id != job_id}
    replays = tables.replays.items()
    tables.replays = {place: item for place, item in replays if item[0] != job_id}


def _by_kind(values: Sequence[str]) -> dict[str, int]:
    return {value: values.count(value) for value in sorted(set(values))}


def _ms_of(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
