"""What the parts in memory share: tables, and one transaction on them at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from lipwright.jobs.ledger import rules
from lipwright.jobs.ledger.rules import Account, Terms
from lipwright.jobs.model import Delivery, Job, Key, Upload


def _system_clock() -> datetime:
    return datetime.now(UTC)


def _ignore(work_id: str) -> None:
    """Drop nothing."""


@dataclass(frozen=True)
class Entry:
    """What the ledger keeps of a job."""

    job: Job
    parked: bool = False
    erased: bool = False
    beat_at: datetime | None = None


@dataclass
class Tables:
    """What a database would keep; values are frozen, so shallow copies are snapshots."""

    jobs: dict[str, Entry] = field(default_factory=dict)
    accounts: dict[str, Account] = field(default_factory=dict)
    replays: dict[tuple[str, str], tuple[str, str, datetime]] = field(default_factory=dict)
    tallies: dict[str, float] = field(default_factory=dict)
    keys: dict[str, tuple[Key, str]] = field(default_factory=dict)
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


class Store:
    """What a database is to the ledger: shared state, one transaction at a time.

    Args:
        clock: the time in UTC; a test may turn it.
        enqueue: called with a job and a delay in seconds within the transaction; when it raises,
            the transaction leaves nothing behind.
        drop: called with the ``work_id`` of a cancelled job.
    """

    def __init__(
        self,
        *,
        terms: Terms | None = None,
        clock: Callable[[], datetime] = _system_clock,
        enqueue: Callable[[Job, float], None] | None = None,
        drop: Callable[[str], None] = _ignore,
    ) -> None:
        self.terms = terms or Terms()
        self.tables = Tables()
        self.drop = drop
        self._clock = clock
        self._on_enqueue = enqueue
        self._lock = threading.RLock()

    @property
    def work(self) -> Sequence[tuple[str, float]]:
        """What was enqueued so far: ``work_id`` and delay in seconds."""
        return self.tables.work

    @contextmanager
    def transaction(self) -> Iterator[Tables]:
        """Yield the tables; all that was changed is undone when the caller raises."""
        with self._lock:
            before = self.tables.copy()
            try:
                yield self.tables
            except BaseException:
                vars(self.tables).update(before)
                raise

    @contextmanager
    def look(self) -> Iterator[Tables]:
        """Yield the tables to read."""
        with self._lock:
            yield self.tables

    def now(self) -> datetime:
        """Return the time, in the milliseconds that a database keeps."""
        return rounded(self._clock())

    def enqueue(self, job: Job, delay_seconds: float) -> None:
        """Put a job's work into the list, within the present transaction."""
        self.tables.work += ((job.work_id, delay_seconds),)
        if self._on_enqueue:
            self._on_enqueue(job, delay_seconds)


def is_held(tables: Tables, file_id: str) -> bool:
    """Return whether a job that has not ended names an upload."""
    return any(
        file_id in rules.files_of(entry.job.ticket.work)
        for entry in tables.jobs.values()
        if not entry.job.state.final
    )


def available(tables: Tables, file_id: str, key_id: str, now: datetime | None) -> bool:
    """Return whether a key may use an upload; at no time in particular when a job holds it."""
    upload, going = tables.uploads.get(file_id, (None, True))
    if upload is None or going or upload.key_id != key_id:
        return False
    return now is None or upload.expires_at > now


def rounded(moment: datetime) -> datetime:
    """Return a time in the whole milliseconds that a database keeps."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
