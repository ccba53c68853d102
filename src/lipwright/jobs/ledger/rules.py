"""What every ledger holds to, whatever it stores into (pure)."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from lipwright.errors import IllegalTransition, InvalidOptions, QuotaExceeded, TooManyRequests
from lipwright.jobs.model import PRIORITIES, Failure, Limits, Space

if TYPE_CHECKING:
    from lipwright.settings import Settings

MINUTE = 60_000_000_000  # nanoseconds
FULL_RETRY_SECONDS = 5.0  # a full queue has room again when a job ends; nobody knows when
FILE = "file:"  # before the id of an upload, in the work of a ticket
SECRET_PREFIX = "lw_"
MAX_NAME = 64  # characters of a key's name
MAX_ERROR = 1000  # characters kept of what a webhook's receiver said


@dataclass(frozen=True, kw_only=True)
class Terms:
    """How long things are kept, and how many jobs of one key run at once."""

    retention_seconds: float = 7 * 86_400.0
    idempotency_seconds: float = 86_400.0
    concurrency: int | None = None  #: of a key without a number of its own; None: unlimited

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the terms of a deployment."""
        return cls(
            retention_seconds=settings.retention_seconds,
            idempotency_seconds=settings.idempotency_seconds,
            concurrency=settings.concurrency_per_key or None,
        )


@dataclass(frozen=True, kw_only=True)
class Account:
    """What a key has in the ledger now."""

    key_id: str
    due: int = 0  #: nanoseconds since 1970; the bucket of submits is full again by then
    queued: int = 0  #: jobs that wait, released or not
    released: int = 0  #: jobs that run, or wait in the work queue

    def moved(self, *, queued: int = 0, released: int = 0) -> Self:
        """Return it after so many more (or fewer) jobs."""
        return replace(self, queued=self.queued + queued, released=self.released + released)

    def room(self, concurrency: int | None) -> int | None:
        """Return how many more jobs may be released; None: as many as there are."""
        return None if concurrency is None else max(0, concurrency - self.released)


def admit(account: Account, limits: Limits, now_ms: int) -> Account:
    """Let one more job in, and return the account with the submit booked.

    Submits are a bucket of ``submits_per_minute`` that fills evenly within a minute, kept as the
    one moment at which it is full again. Whole nanoseconds: sums of floats would drift.

    Raises:
        TooManyRequests: the bucket is empty, or too many jobs wait.
    """
    now = now_ms * 1_000_000
    due = max(account.due, now) + MINUTE // limits.submits_per_minute
    if (late := due - now - MINUTE) > 0:
        raise TooManyRequests(
            f"more than {limits.submits_per_minute} jobs a minute were submitted with this key; "
            "wait as long as Retry-After says",
            retry_after=-(-late // 1_000_000) / 1000,
        )
    if account.queued >= limits.max_queued:
        raise TooManyRequests(
            f"{account.queued} jobs of this key are waiting, the limit is {limits.max_queued}; "
            "wait until some have ended, or cancel some",
            retry_after=FULL_RETRY_SECONDS,
        )
    return replace(account, due=due)


def milliseconds(span: float | timedelta) -> int:
    """Return a time span, given in seconds or as such, in whole milliseconds."""
    seconds = span.total_seconds() if isinstance(span, timedelta) else span
    return round(seconds * 1000)


def files_of(work: Mapping[str, Any]) -> frozenset[str]:
    """Return the ids of the uploads that a piece of work names."""
    values = (value for value in work.values() if isinstance(value, str))
    return frozenset(value.removeprefix(FILE) for value in values if value.startswith(FILE))


def check_end(output: Mapping[str, Any] | None, failure: Failure | None) -> None:
    """Check that a job ends one way.

    Raises:
        IllegalTransition: both or neither are given.
    """
    if (output is None) == (failure is None):
        raise IllegalTransition("a job ends with an output or with a failure: give one of them")


def tallies_of(output: Mapping[str, Any] | None, failure: Failure | None) -> dict[str, float]:
    """Return what the end of a job adds to the counts: ``<group>:<label>`` -> amount."""
    if failure is not None:
        return {"ended:failed": 1, f"failures:{failure.code}": 1}
    result = output or {}
    added: dict[str, float] = {"ended:succeeded": 1}
    timings = result.get("timings")
    for stage, seconds in timings.items() if isinstance(timings, Mapping) else ():
        if isinstance(seconds, int | float):
            added[f"seconds:{stage}"] = float(seconds)
    if isinstance(frames := result.get("frames"), int):
        added["frames:"] = frames
    return added


def counts_of(tallies: Mapping[str, float]) -> dict[str, Any]:
    """Return tallies by group, as ``Ledger.counts`` tells them."""
    counts: dict[str, Any] = {"ended": {}, "failures": {}, "retries": {}, "seconds": {}}
    for name, amount in tallies.items():
        group, _, label = name.partition(":")
        if group in counts:
            counts[group][label] = amount if group == "seconds" else int(amount)
    return {**counts, "frames": int(tallies.get("frames:", 0))}


def new_secret() -> str:
    """Return a fresh secret of a key: 256 random bits."""
    return SECRET_PREFIX + secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """Return what is stored of a secret. No salt or stretching: it is random, not a password."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def new_key_id() -> str:
    """Return a fresh id of a key."""
    return f"key_{secrets.token_hex(6)}"


def new_delivery_id() -> str:
    """Return a fresh ``webhook-id``."""
    return f"msg_{secrets.token_hex(16)}"


def lost(file_id: str) -> str:
    """Return the message for an upload that cannot be had."""
    return f"upload {file_id} is not here or has expired; upload the file again"


def check_space(used: Space, most: Space, size: int) -> None:
    """Refuse one more upload of so many bytes when there is no space for it.

    Raises:
        QuotaExceeded: there is none.
    """
    if used.files + 1 > most.files or used.size + size > most.size:
        raise QuotaExceeded(
            f"the uploads of this key take up {used.size} bytes in {used.files} files, one more of "
            f"{size} bytes would be over the quota of {most.size} bytes in {most.files} files: "
            "erase some with DELETE /v1/files/ID, or wait until they expire"
        )


def unknown(id_or_name: str) -> str:
    """Return the message for a key that there is not."""
    return f"no active API key is called {id_or_name!r}; 'lipwright keys list' shows them"


def taken(name: str) -> str:
    """Return the message for a name of a key that is taken."""
    return f"an active API key is called {name!r}; take another name, or revoke that key first"


def absent(job_id: str) -> str:
    """Return the message for a job that there is not."""
    return f"there is no job {job_id}, or it has expired; check the id"


def running(job_id: str) -> str:
    """Return the message for a job that cannot be erased."""
    return f"job {job_id} is running; it can be erased when it has ended"


def reused(idempotency_key: str) -> str:
    """Return the message for an idempotency key that came with another body."""
    return (
        f"idempotency key {idempotency_key!r} was used with another body; "
        "use a new one for a new request"
    )


def check_key(
    name: str,
    priority: int,
    concurrency: int | None,
    submits_per_minute: int | None,
    max_queued: int | None,
) -> None:
    """Check the name and the numbers of a key.

    Raises:
        InvalidOptions: one of them does not fit.
    """
    if not (0 < len(name) <= MAX_NAME and name.isprintable() and name == name.strip()):
        raise InvalidOptions(
            f"key name {name!r} does not fit: use 1 to {MAX_NAME} printable characters, "
            "without spaces around"
        )
    if priority not in PRIORITIES:
        raise InvalidOptions(
            f"priority {priority} does not fit: use {PRIORITIES[0]} (first) to {PRIORITIES[-1]}"
        )
    numbers = {
        "concurrency": concurrency,
        "submits_per_minute": submits_per_minute,
        "max_queued": max_queued,
    }
    for field, number in numbers.items():
        if number is not None and number < 1:
            raise InvalidOptions(f"{field} {number} does not fit: use 1 or more")
