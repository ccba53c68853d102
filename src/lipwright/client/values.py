"""The values that the clients return, and reading them from JSON; no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from lipwright.errors import (
    BY_CODE,
    Cancelled,
    JobError,
    JobNotFinished,
    LipwrightError,
    ServiceUnavailable,
)

MAX_MESSAGE = 500  # characters of a message from the service


class JobState(StrEnum):
    """The state of a job."""

    IN_QUEUE = "in_queue"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"  #: succeeded or failed; the result says which
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether the job has ended."""
        return self not in (JobState.IN_QUEUE, JobState.IN_PROGRESS)


@dataclass(frozen=True, kw_only=True)
class JobStatus:
    """The status of a job at one moment."""

    id: str
    state: JobState
    position: int | None = None  #: jobs ahead of it while it is queued
    stage: str = ""  #: ``fetch``, ``track``, ``hear``, ``study``, ``paint`` or ``publish``
    done: int = 0  #: frames of the stage
    total: int | None = None
    fraction: float = 0.0  #: 0 to 1 over the whole job
    fps: float | None = None  #: frames per second
    seconds_left: float | None = None


@dataclass(frozen=True, kw_only=True)
class JobFailure:
    """Why a job failed."""

    code: str  #: of a LipwrightError
    message: str

    def error(self) -> LipwrightError:
        """Return the error that a local job would have raised."""
        return error_from_code(self.code, self.message)


@dataclass(frozen=True, kw_only=True)
class JobResult:
    """The result of a job."""

    id: str
    state: JobState
    model_id: str = ""
    video: str | None = None  #: URL that expires; get the result again for a new one
    image: str | None = None  #: URL of a poster frame
    created_at: datetime | None = None
    finished_at: datetime | None = None
    warnings: tuple[str, ...] = ()  #: what was not done as requested, or not at all
    failure: JobFailure | None = None

    def raise_for_state(self) -> JobResult:
        """Return the result of a job that succeeded.

        Raises:
            LipwrightError: the job failed; the same class as of a local job.
            Cancelled: the job was cancelled.
            JobNotFinished: the job has not ended yet.
        """
        if self.failure is not None:
            raise self.failure.error()
        if self.state is JobState.CANCELLED:
            raise Cancelled(f"job {self.id} was cancelled")
        if not self.state.final:
            raise JobNotFinished(f"job {self.id} is {self.state}: wait for it")
        return self


@dataclass(frozen=True, kw_only=True)
class JobPage:
    """A page of the jobs of this API key, newest first."""

    jobs: tuple[JobResult, ...]
    cursor: str | None = None  #: of the next page; None: this is the last page


@dataclass(frozen=True, kw_only=True)
class UploadedFile:
    """A file uploaded to the service."""

    id: str
    url: str  #: to submit as video or audio of a job
    size: int  #: bytes
    expires_at: datetime | None = None


@dataclass(frozen=True)
class JsonFields:
    """The JSON object of a response, read by name and type.

    The methods raise ServiceUnavailable where a field is missing or has another type.
    """

    values: Mapping[str, Any] = field(repr=False)

    @classmethod
    def from_value(cls, value: object) -> JsonFields:
        """Return the fields of a JSON object.

        Raises:
            ServiceUnavailable: *value* is not an object.
        """
        if not isinstance(value, dict):
            raise _unexpected("an object is missing")
        return cls(value)

    def text(self, name: str) -> str:
        """Return a required string."""
        value = self.values.get(name)
        if not isinstance(value, str):
            raise _unexpected(f"the text {name!r} is missing")
        return value

    def optional_text(self, name: str) -> str | None:
        """Return a string, or None."""
        return None if self.values.get(name) is None else self.text(name)

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of strings, empty if it is missing."""
        values = self.values.get(name) or []
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise _unexpected(f"{name!r} is not a list of texts")
        return tuple(values)

    def number(self, name: str) -> float | None:
        """Return a number, or None."""
        value = self.values.get(name)
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
            return value
        raise _unexpected(f"{name!r} is not a number")

    def integer(self, name: str) -> int | None:
        """Return an integer, or None."""
        value = self.number(name)
        return None if value is None else int(value)

    def time(self, name: str) -> datetime | None:
        """Return a time, or None."""
        value = self.optional_text(name)
        try:
            return None if value is None else datetime.fromisoformat(value)
        except ValueError as cause:
            raise _unexpected(f"{name!r} is not a time") from cause

    def state(self, name: str) -> JobState:
        """Return a required state."""
        try:
            return JobState(self.text(name))
        except ValueError as cause:
            raise _unexpected(f"{name!r} is not a state of a job") from cause

    def object(self, name: str) -> JsonFields:
        """Return a nested object, empty if it is missing."""
        return JsonFields.from_value(self.values.get(name) or {})


def error_from_code(code: str, message: str) -> LipwrightError:
    """Return the error with that code and the sanitized message."""
    if code not in BY_CODE:
        return JobError(f"{sanitize(code)}: {sanitize(message)}")
    return BY_CODE[code](sanitize(message))


def sanitize(text: str) -> str:
    """Return a text of the service fit for a terminal: short, without control characters."""
    clean = "".join(c if c.isprintable() else " " for c in text)
    return clean if len(clean) <= MAX_MESSAGE else f"{clean[:MAX_MESSAGE]}…"


def _unexpected(what: str) -> ServiceUnavailable:
    return ServiceUnavailable(
        f"the response is not from a Lipwright service, {what}: check LIPWRIGHT_URL"
    )
