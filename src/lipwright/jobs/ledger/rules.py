"""Rules shared by every ledger implementation: limits, checks, identifiers and messages (pure)."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from lipwright.errors import IllegalTransition, InvalidOptions, QuotaExceeded, TooManyRequests
from lipwright.jobs.model import PRIORITIES, Failure, SubmitLimits, UploadUsage

if TYPE_CHECKING:
    from lipwright.settings import Settings

MINUTE_NS = 60_000_000_000  # nanoseconds
QUEUE_FULL_RETRY_SECONDS = 5.0  # a guess: when the next job ends is unknown
UPLOAD_SCHEME = "file:"  # prefix of an upload id in a job's payload
SECRET_PREFIX = "lw_"
MAX_KEY_NAME = 64  # characters of an API key's name
MAX_DELIVERY_ERROR = 1000  # characters stored of a webhook error


@dataclass(frozen=True, kw_only=True)
class LedgerPolicy:
    """Retention times, and the default concurrency of an API key."""

    retention_seconds: float = 7 * 86_400.0
    idempotency_seconds: float = 86_400.0
    #: running jobs of a key that has no concurrency of its own; None: unlimited
    concurrency: int | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return the policy of a deployment."""
        return cls(
            retention_seconds=settings.retention_seconds,
            idempotency_seconds=settings.idempotency_seconds,
            concurrency=settings.concurrency_per_key or None,
        )


@dataclass(frozen=True, kw_only=True)
class Account:
    """Rate-limiter state and job counts of one API key."""

    key_id: str
    #: nanoseconds since 1970 at which the bucket of submits is full again
    bucket_full_at: int = 0
    queued: int = 0  #: queued jobs, released or held
    released: int = 0  #: jobs that run or wait in the work queue

    def adjusted(self, *, queued: int = 0, released: int = 0) -> Self:
        """Return a copy with these amounts added to the counts; they may be negative."""
        return replace(self, queued=self.queued + queued, released=self.released + released)

    def release_capacity(self, concurrency: int | None) -> int | None:
        """Return how many more jobs may be released; None means unlimited."""
        return None if concurrency is None else max(0, concurrency - self.released)


def admit(account: Account, limits: SubmitLimits, now_ms: int) -> Account:
    """Admit one more job and return the account with the submit charged.

    The rate limiter is a token bucket of ``submits_per_minute`` that refills evenly over a minute.
    Its only state is the time at which it is full again (the generic cell rate algorithm), in whole
    nanoseconds, because sums of floats would drift.

    Raises:
        TooManyRequests: the bucket is empty, or too many jobs are queued.
    """
    now = now_ms * 1_000_000
    full_at = max(account.bucket_full_at, now) + MINUTE_NS // limits.submits_per_minute
    if (excess := full_at - now - MINUTE_NS) > 0:
        raise TooManyRequests(
            f"more than {limits.submits_per_minute} jobs a minute were submitted with this key; "
            "wait for the time in Retry-After",
            retry_after=-(-excess // 1_000_000) / 1000,
        )
    if account.queued >= limits.max_queued:
        raise TooManyRequests(
            f"{account.queued} jobs of this key are queued, the limit is {limits.max_queued}; "
            "wait until some have ended, or cancel some",
            retry_after=QUEUE_FULL_RETRY_SECONDS,
        )
    return replace(account, bucket_full_at=full_at)


def to_milliseconds(span: float | timedelta) -> int:
    """Return a time span, in seconds or as a timedelta, in whole milliseconds."""
    seconds = span.total_seconds() if isinstance(span, timedelta) else span
    return round(seconds * 1000)


def upload_ids(payload: Mapping[str, Any]) -> frozenset[str]:
    """Return the ids of the uploads that a job's payload names."""
    values = (value for value in payload.values() if isinstance(value, str))
    return frozenset(
        value.removeprefix(UPLOAD_SCHEME) for value in values if value.startswith(UPLOAD_SCHEME)
    )


def check_outcome(output: Mapping[str, Any] | None, failure: Failure | None) -> None:
    """Check that a job ends with either an output or a failure.

    Raises:
        IllegalTransition: both or neither are given.
    """
    if (output is None) == (failure is None):
        raise IllegalTransition("a job ends with an output or with a failure: give one of them")


def counter_increments(
    output: Mapping[str, Any] | None, failure: Failure | None
) -> dict[str, float]:
    """Return what the end of a job adds to the counters: ``<group>:<label>`` -> amount."""
    if failure is not None:
        return {"ended:failed": 1, f"failures:{failure.code}": 1}
    result = output or {}
    increments: dict[str, float] = {"ended:succeeded": 1}
    timings = result.get("timings")
    for stage, seconds in timings.items() if isinstance(timings, Mapping) else ():
        if isinstance(seconds, int | float):
            increments[f"seconds:{stage}"] = float(seconds)
    if isinstance(frames := result.get("frames"), int):
        increments["frames:"] = frames
    return increments


def group_counters(counters: Mapping[str, float]) -> dict[str, Any]:
    """Return the counters by group, in the form of ``Ledger.counts``."""
    counts: dict[str, Any] = {"ended": {}, "failures": {}, "retries": {}, "seconds": {}}
    for name, amount in counters.items():
        group, _, label = name.partition(":")
        if group in counts:
            counts[group][label] = amount if group == "seconds" else int(amount)
    return {**counts, "frames": int(counters.get("frames:", 0))}


def new_secret() -> str:
    """Return a new API key secret: 256 random bits."""
    return SECRET_PREFIX + secrets.token_urlsafe(32)


def hash_secret(secret: str) -> str:
    """Return the stored hash of a secret.

    Neither salt nor key stretching: the secret is random, not a password.
    """
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def new_key_id() -> str:
    """Return a new API key id."""
    return f"key_{secrets.token_hex(6)}"


def new_delivery_id() -> str:
    """Return a new ``webhook-id``."""
    return f"msg_{secrets.token_hex(16)}"


def check_quota(usage: UploadUsage, quota: UploadUsage, size: int) -> None:
    """Check that one more upload of *size* bytes fits the quota.

    Raises:
        QuotaExceeded: it does not fit.
    """
    if usage.files + 1 > quota.files or usage.size + size > quota.size:
        raise QuotaExceeded(
            f"the uploads of this key take up {usage.size} bytes in {usage.files} files, one more "
            f"of {size} bytes would be over the quota of {quota.size} bytes in {quota.files} "
            "files: erase some with DELETE /v1/files/ID, or wait until they expire"
        )


def check_key(
    name: str,
    priority: int,
    concurrency: int | None,
    submits_per_minute: int | None,
    max_queued: int | None,
) -> None:
    """Check the name and the limits of an API key.

    Raises:
        InvalidOptions: the name is not valid or a number is out of range.
    """
    if not (0 < len(name) <= MAX_KEY_NAME and name.isprintable() and name == name.strip()):
        raise InvalidOptions(
            f"key name {name!r} is not valid: use 1 to {MAX_KEY_NAME} printable characters, "
            "without leading or trailing spaces"
        )
    if priority not in PRIORITIES:
        raise InvalidOptions(
            f"priority {priority} is out of range: use {PRIORITIES[0]} (first) to {PRIORITIES[-1]}"
        )
    limits = {
        "concurrency": concurrency,
        "submits_per_minute": submits_per_minute,
        "max_queued": max_queued,
    }
    for field, limit in limits.items():
        if limit is not None and limit < 1:
            raise InvalidOptions(f"{field} {limit} is out of range: use 1 or more")


def upload_not_found_message(file_id: str) -> str:
    """Return the message for an upload that does not exist or has expired."""
    return f"upload {file_id} does not exist or has expired; upload the file again"


def key_not_found_message(id_or_name: str) -> str:
    """Return the message for an unknown or revoked API key."""
    return f"no active API key is called {id_or_name!r}; 'lipwright keys list' shows them"


def name_taken_message(name: str) -> str:
    """Return the message for an API key name that is in use."""
    return f"an active API key is called {name!r}; choose another name, or revoke that key first"


def job_not_found_message(job_id: str) -> str:
    """Return the message for a job that does not exist."""
    return f"there is no job {job_id}, or it has expired; check the id"


def job_running_message(job_id: str) -> str:
    """Return the message for a running job, which cannot be erased."""
    return f"job {job_id} is running; it can be erased when it has ended"


def idempotency_conflict_message(idempotency_key: str) -> str:
    """Return the message for an idempotency key that was used with another body."""
    return (
        f"idempotency key {idempotency_key!r} was used with another body; "
        "use a new one for a new request"
    )
