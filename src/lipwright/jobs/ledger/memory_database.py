"""The tables behind the in-memory ledger, and transactions on them, one at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from lipwright.jobs.ledger import rules
from lipwright.jobs.ledger.rules import Account, LedgerPolicy
from lipwright.jobs.model import ApiKey, Delivery, Job, Upload


def _system_clock() -> datetime:
    return datetime.now(UTC)


def _ignore(work_id: str) -> None:
    """Cancel nothing."""


@dataclass(frozen=True)
class Entry:
    """The row of a job."""

    job: Job
    held: bool = False  #: queued, but not released to the work queue
    erased: bool = False
    beat_at: datetime | None = None


@dataclass
class Tables:
    """The tables of a database; values are frozen, so shallow copies are snapshots."""

    jobs: dict[str, Entry] = field(default_factory=dict)
    accounts: dict[str, Account] = field(default_factory=dict)
    idempotency_keys: dict[tuple[str, str], tuple[str, str, datetime]] = field(default_factory=dict)
    counters: dict[str, float] = field(default_factory=dict)
    keys: dict[str, tuple[ApiKey, str]] = field(default_factory=dict)
    uploads: dict[str, tuple[Upload, bool]] = field(default_factory=dict)
    deliveries: dict[str, tuple[Delivery, datetime]] = field(default_factory=dict)
    work: tuple[tuple[str, float], ...] = ()
    sequence: int = 0

    def copy(self) -> dict[str, Any]:
        """Return a snapshot of all tables, by name."""
        return {
            name: dict(value) if isinstance(value, dict) else value
            for name, value in vars(self).items()
        }


class MemoryDatabase:
    """Shared state with one transaction at a time, in place of a database.

    Args:
        policy: retention times and the default concurrency.
        clock: returns the time in UTC; a test may set it.
        enqueue: called with a job and a delay in seconds within the transaction; if it raises,
            the transaction is rolled back.
        cancel_work: called with the ``work_id`` of a cancelled job.
    """

    def __init__(
        self,
        *,
        policy: LedgerPolicy | None = None,
        clock: Callable[[], datetime] = _system_clock,
        enqueue: Callable[[Job, float], None] | None = None,
        cancel_work: Callable[[str], None] = _ignore,
    ) -> None:
        self.policy = policy or LedgerPolicy()
        self.tables = Tables()
        self.cancel_work = cancel_work
        self._clock = clock
        self._on_enqueue = enqueue
        self._lock = threading.RLock()

    @property
    def work(self) -> Sequence[tuple[str, float]]:
        """All work enqueued so far: ``work_id`` and delay in seconds."""
        return self.tables.work

    @contextmanager
    def transaction(self) -> Iterator[Tables]:
        """Yield the tables; all changes are rolled back if the caller raises."""
        with self._lock:
            before = self.tables.copy()
            try:
                yield self.tables
            except BaseException:
                vars(self.tables).update(before)
                raise

    @contextmanager
    def read(self) -> Iterator[Tables]:
        """Yield the tables for reading."""
        with self._lock:
            yield self.tables

    def now(self) -> datetime:
        """Return the time in whole milliseconds, the resolution of a database."""
        return truncate_to_milliseconds(self._clock())

    def enqueue(self, job: Job, delay_seconds: float) -> None:
        """Append a job's work to the list, within the current transaction."""
        self.tables.work += ((job.work_id, delay_seconds),)
        if self._on_enqueue:
            self._on_enqueue(job, delay_seconds)


def is_in_use(tables: Tables, file_id: str) -> bool:
    """Return whether a job that has not ended names an upload."""
    return any(
        file_id in rules.upload_ids(entry.job.spec.payload)
        for entry in tables.jobs.values()
        if not entry.job.state.final
    )


def is_available(tables: Tables, file_id: str, key_id: str, now: datetime | None) -> bool:
    """Return whether a key may use an upload; with *now* None, whether or not it has expired."""
    upload, deleting = tables.uploads.get(file_id, (None, True))
    if upload is None or deleting or upload.key_id != key_id:
        return False
    return now is None or upload.expires_at > now


def truncate_to_milliseconds(time: datetime) -> datetime:
    """Return a time in whole milliseconds, the resolution of a database."""
    return time.replace(microsecond=time.microsecond // 1000 * 1000)
