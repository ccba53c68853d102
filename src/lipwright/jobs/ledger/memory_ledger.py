"""The ledger in memory; see `memory`."""

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
from lipwright.jobs.ledger.memory_database import Entry, MemoryDatabase, Tables, is_available
from lipwright.jobs.ledger.rules import Account
from lipwright.jobs.model import Delivery, Failure, Job, JobProgress, JobSpec, State, SubmitLimits


class MemoryLedger:
    """The :class:`lipwright.jobs.ledger.base.Ledger` in memory."""

    def __init__(self, database: MemoryDatabase | None = None) -> None:
        self._database = database or MemoryDatabase()

    # -- requests -------------------------------------------------------------------------------
    def submit(self, spec: JobSpec, limits: SubmitLimits) -> tuple[Job, bool]:
        """See Ledger.submit."""
        with self._database.transaction() as tables:
            if existing := self._find_replay(tables, spec):
                return existing, False
            now = self._database.now()
            account = rules.admit(_account(tables, spec.key_id), limits, _to_milliseconds(now))
            held = account.release_capacity(self._concurrency(tables, spec.key_id)) == 0
            for file_id in sorted(rules.upload_ids(spec.payload)):
                if not is_available(tables, file_id, spec.key_id, now):
                    raise SourceUnreachable(rules.upload_not_found_message(file_id))
            tables.sequence += 1
            job = Job(
                spec=spec,
                sequence=tables.sequence,
                state=State.IN_QUEUE,
                epoch=0,
                created_at=now,
            )
            tables.jobs[job.id] = Entry(job, held=held)
            tables.accounts[spec.key_id] = account.adjusted(queued=1, released=int(not held))
            if spec.idempotency_key is not None:
                until = now + timedelta(seconds=self._database.policy.idempotency_seconds)
                key = (spec.key_id, spec.idempotency_key)
                tables.idempotency_keys[key] = (job.id, spec.fingerprint, until)
            if not held:
                self._database.enqueue(job, 0.0)
        return job, True

    def get(self, job_id: str, key_id: str | None = None) -> Job:
        """See Ledger.get."""
        with self._database.read() as tables:
            return _find(tables, job_id, key_id).job

    def position(self, job: Job) -> int:
        """See Ledger.position."""
        order = (job.spec.priority, job.sequence)
        with self._database.read() as tables:
            queued = (entry.job for entry in tables.jobs.values() if _is_queued(entry))
            return sum((other.spec.priority, other.sequence) < order for other in queued)

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
        with self._database.read() as tables:
            jobs = [entry.job for entry in tables.jobs.values() if not entry.erased]
        matching = [
            job
            for job in jobs
            if job.spec.key_id == key_id
            and (before is None or job.sequence < before)
            and (not states or job.state in states)
            and (not ids or job.id in ids)
        ]
        return sorted(matching, key=lambda job: job.sequence, reverse=True)[:limit]

    def cancel(self, job_id: str, key_id: str | None = None) -> tuple[Job, bool]:
        """See Ledger.cancel."""
        with self._database.transaction() as tables:
            entry = _find(tables, job_id, key_id)
            if not _is_queued(entry):
                return entry.job, False
            ended = self._end(tables, entry, State.CANCELLED, {"ended:cancelled": 1})
        if not entry.held:
            self._database.cancel_work(entry.job.work_id)
        return ended, True

    def erase(self, job_id: str, key_id: str | None = None) -> Job:
        """See Ledger.erase."""
        with self._database.transaction() as tables:
            entry = _find(tables, job_id, key_id)
            if entry.job.state is State.IN_PROGRESS:
                raise JobNotFinished(rules.job_running_message(job_id))
            if _is_queued(entry):
                self._end(tables, entry, State.CANCELLED, {"ended:cancelled": 1})
            _blank_out(tables, job_id, self._database.now())
        if _is_queued(entry) and not entry.held:
            self._database.cancel_work(entry.job.work_id)
        return entry.job

    # -- workers --------------------------------------------------------------------------------
    def claim(self, job_id: str, worker: str) -> Job | None:
        """See Ledger.claim."""
        with self._database.transaction() as tables:
            entry = tables.jobs.get(job_id)
            if entry is None or entry.job.state.final:
                return None
            now = self._database.now()
            job = replace(
                entry.job,
                state=State.IN_PROGRESS,
                epoch=entry.job.epoch + 1,
                worker=worker,
                started_at=now,
                progress=JobProgress(),
            )
            tables.jobs[job_id] = Entry(job, beat_at=now)
            if _is_queued(entry):
                account = _account(tables, job.spec.key_id)
                account = account.adjusted(queued=-1, released=int(entry.held))
                tables.accounts[account.key_id] = account
        return job

    def heartbeat(self, job_id: str, epoch: int, progress: JobProgress) -> bool:
        """See Ledger.heartbeat."""
        with self._database.transaction() as tables:
            entry = _claimed(tables, job_id, epoch)
            if entry is None:
                return False
            tables.jobs[job_id] = Entry(
                replace(entry.job, progress=progress), beat_at=self._database.now()
            )
        return True

    def finish(
        self, job_id: str, epoch: int, *, output: Mapping[str, Any] | None, failure: Failure | None
    ) -> bool:
        """See Ledger.finish."""
        rules.check_outcome(output, failure)
        with self._database.transaction() as tables:
            entry = _claimed(tables, job_id, epoch)
            if entry is None:
                return False
            state = State.FAILED if failure else State.SUCCEEDED
            counters = rules.counter_increments(output, failure)
            self._end(tables, entry, state, counters, output=dict(output or {}), failure=failure)
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
        with self._database.transaction() as tables:
            entry = _claimed(tables, job_id, epoch)
            if entry is None:
                return False
            job = replace(
                entry.job,
                state=State.IN_QUEUE,
                uncounted=entry.job.uncounted + uncounted,
                worker=None,
                started_at=None,
                progress=JobProgress(),
            )
            tables.jobs[job_id] = Entry(job)
            account = _account(tables, job.spec.key_id)
            tables.accounts[account.key_id] = account.adjusted(queued=1)
            _add_counters(tables, {f"retries:{failure.code}": 1})
            self._database.enqueue(job, delay_seconds)
        return True

    def list_stale(self, lease_seconds: float, limit: int = 100) -> list[Job]:
        """See Ledger.list_stale."""
        deadline = self._database.now() - timedelta(seconds=lease_seconds)
        with self._database.read() as tables:
            stale = [
                (entry.beat_at, entry.job.sequence, entry.job)
                for entry in tables.jobs.values()
                if entry.beat_at is not None and entry.beat_at < deadline
            ]
        return [job for _, _, job in sorted(stale, key=lambda item: item[:2])][:limit]

    # -- retention ------------------------------------------------------------------------------
    def list_expired(self, limit: int = 100) -> list[Job]:
        """See Ledger.list_expired."""
        now = self._database.now()
        with self._database.read() as tables:
            expired = [
                (entry.job.expires_at, entry.job.sequence, entry.job)
                for entry in tables.jobs.values()
                if entry.job.expires_at is not None and entry.job.expires_at <= now
            ]
        return [job for _, _, job in sorted(expired, key=lambda item: item[:2])][:limit]

    def purge(self, job_id: str) -> None:
        """See Ledger.purge."""
        with self._database.transaction() as tables:
            entry = tables.jobs.get(job_id)
            expires_at = entry.job.expires_at if entry else None
            if expires_at is not None and expires_at <= self._database.now():
                del tables.jobs[job_id]
                _delete_dependents(tables, job_id)

    def release_held(self) -> int:
        """See Ledger.release_held."""
        with self._database.transaction() as tables:
            keys = {entry.job.spec.key_id for entry in tables.jobs.values() if entry.held}
            return sum(self._release(tables, key_id) for key_id in keys)

    def counts(self) -> Mapping[str, Any]:
        """See Ledger.counts."""
        with self._database.read() as tables:
            entries = list(tables.jobs.values())
            delivery_states = [call.state for call, _ in tables.deliveries.values()]
            counters = rules.group_counters(tables.counters)
        oldest = min((entry.job.created_at for entry in entries if _is_queued(entry)), default=None)
        waited = self._database.now() - oldest if oldest else timedelta()
        return {
            **counters,
            "jobs": {
                str(state): sum(entry.job.state is state for entry in entries)
                for state in (State.IN_QUEUE, State.IN_PROGRESS)
            },
            "deliveries": _count_by_value(delivery_states),
            "oldest_seconds": waited.total_seconds(),
        }

    # -- steps within a transaction ---------------------------------------------------------------
    def _find_replay(self, tables: Tables, spec: JobSpec) -> Job | None:
        if spec.idempotency_key is None:
            return None
        stored = tables.idempotency_keys.get((spec.key_id, spec.idempotency_key))
        if stored is None or stored[2] <= self._database.now():
            return None
        if stored[1] != spec.fingerprint:
            raise IdempotencyConflict(rules.idempotency_conflict_message(spec.idempotency_key))
        return _find(tables, stored[0], spec.key_id).job

    def _end(
        self,
        tables: Tables,
        entry: Entry,
        state: State,
        counters: Mapping[str, float],
        **values: Any,
    ) -> Job:
        now = self._database.now()
        expiry = now + timedelta(seconds=self._database.policy.retention_seconds)
        job = replace(entry.job, state=state, finished_at=now, expires_at=expiry, **values)
        tables.jobs[job.id] = Entry(job)
        if job.spec.webhook_url is not None:
            call = Delivery(
                id=rules.new_delivery_id(),
                job_id=job.id,
                url=job.spec.webhook_url,
                state="pending",
                attempts=0,
                next_at=now,
            )
            tables.deliveries[call.id] = (call, now)
        _add_counters(tables, counters)
        account = _account(tables, job.spec.key_id)
        tables.accounts[account.key_id] = account.adjusted(
            queued=-int(_is_queued(entry)), released=-int(not entry.held)
        )
        self._release(tables, account.key_id)
        return job

    def _release(self, tables: Tables, key_id: str) -> int:
        capacity = _account(tables, key_id).release_capacity(self._concurrency(tables, key_id))
        held = [
            entry.job
            for entry in tables.jobs.values()
            if entry.held and entry.job.spec.key_id == key_id
        ]
        chosen = sorted(held, key=lambda job: (job.spec.priority, job.sequence))[:capacity]
        for job in chosen:
            tables.jobs[job.id] = Entry(job)
            self._database.enqueue(job, 0.0)
        account = _account(tables, key_id)
        tables.accounts[key_id] = account.adjusted(released=len(chosen))
        return len(chosen)

    def _concurrency(self, tables: Tables, key_id: str) -> int | None:
        own = tables.keys[key_id][0].concurrency if key_id in tables.keys else None
        return own or self._database.policy.concurrency


def _find(tables: Tables, job_id: str, key_id: str | None) -> Entry:
    entry = tables.jobs.get(job_id)
    if entry is None or entry.erased or key_id not in (None, entry.job.spec.key_id):
        raise JobNotFound(rules.job_not_found_message(job_id))
    return entry


def _claimed(tables: Tables, job_id: str, epoch: int) -> Entry | None:
    entry = tables.jobs.get(job_id)
    running = entry is not None and entry.job.state is State.IN_PROGRESS
    return entry if entry and running and entry.job.epoch == epoch else None


def _is_queued(entry: Entry) -> bool:
    return entry.job.state is State.IN_QUEUE


def _account(tables: Tables, key_id: str) -> Account:
    return tables.accounts.get(key_id) or Account(key_id=key_id)


def _add_counters(tables: Tables, increments: Mapping[str, float]) -> None:
    for name, amount in increments.items():
        tables.counters[name] = tables.counters.get(name, 0) + amount


def _blank_out(tables: Tables, job_id: str, now: datetime) -> None:
    """Overwrite the contents of an erased job."""
    job = tables.jobs[job_id].job
    spec = replace(
        job.spec,
        input={},
        payload={},
        webhook_url=None,
        idempotency_key=None,
        fingerprint="",
        trace=None,
    )
    failure = replace(job.failure, message="") if job.failure else None
    blank = replace(
        job, spec=spec, output={}, progress=JobProgress(), failure=failure, expires_at=now
    )
    tables.jobs[job_id] = Entry(blank, erased=True)
    _delete_dependents(tables, job_id)


def _delete_dependents(tables: Tables, job_id: str) -> None:
    """Delete the deliveries and idempotency keys of a job."""
    deliveries, replays = tables.deliveries.items(), tables.idempotency_keys.items()
    tables.deliveries = {name: item for name, item in deliveries if item[0].job_id != job_id}
    tables.idempotency_keys = {key: item for key, item in replays if item[0] != job_id}


def _count_by_value(values: Sequence[str]) -> dict[str, int]:
    return {value: values.count(value) for value in sorted(set(values))}


def _to_milliseconds(time: datetime) -> int:
    return round(time.timestamp() * 1000)
