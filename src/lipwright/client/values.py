"""What the service says of a job, as frozen values (pure)."""

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

MAX_SHOWN = 500  # characters of a message from the service


class JobState(StrEnum):
    """Where a job is."""

    IN_QUEUE = "in_queue"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"  #: ended; the result says how
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether nothing follows."""
        return self not in (JobState.IN_QUEUE, JobState.IN_PROGRESS)


@dataclass(frozen=True, kw_only=True)
class JobStatus:
    """One moment of a job."""

    id: str
    state: JobState
    position: int | None = None  #: how many jobs go before it, while it waits
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
        """Return it as the error that a local job would have raised."""
        return error_of(self.code, self.message)


@dataclass(frozen=True, kw_only=True)
class JobResult:
    """How a job ended."""

    id: str
    state: JobState
    model_id: str = ""
    video: str | None = None  #: URL that works for a while; ask again for a fresh one
    image: str | None = None  #: URL of a still of it
    created_at: datetime | None = None
    finished_at: datetime | None = None
    failure: JobFailure | None = None

    def raise_for_state(self) -> JobResult:
        """Return the result of a job that succeeded.

        Raises:
            LipwrightError: the job failed; the class says why, as it would have here.
            Cancelled: it was cancelled.
            JobNotFinished: it has not ended yet.
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
    """Some of the jobs of this API key, newest first."""

    jobs: tuple[JobResult, ...]
    cursor: str | None = None  #: asks for the next page; None: this is the last one


@dataclass(frozen=True, kw_only=True)
class UploadedFile:
    """A file that was put into the service."""

    id: str
    url: str  #: to be used as video or audio of a job
    size: int  #: bytes
    expires_at: datetime | None = None


@dataclass(frozen=True)
class Fields:
    """The JSON object of an answer, read by name and type; what does not fit is an error."""

    values: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(cls, value: object) -> Fields:
        """Return the fields of a JSON object.

        Raises:
            ServiceUnavailable: it is none.
        """
        if not isinstance(value, dict):
            raise _strange("an object is missing")
        return cls(value)

    def text(self, name: str) -> str:
        """Return a text that must be there."""
        value = self.values.get(name)
        if not isinstance(value, str):
            raise _strange(f"the text {name!r} is missing")
        return value

    def maybe_text(self, name: str) -> str | None:
        """Return a text, or None."""
        return None if self.values.get(name) is None else self.text(name)

    def number(self, name: str) -> float | None:
        """Return a number, or None."""
        value = self.values.get(name)
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
            return value
        raise _strange(f"{name!r} is no number")

    def count(self, name: str) -> int | None:
        """Return a whole number, or None."""
        value = self.number(name)
        return None if value is None else int(value)

    def time(self, name: str) -> datetime | None:
        """Return a moment, or None."""
        value = self.maybe_text(name)
        try:
            return None if value is None else datetime.fromisoformat(value)
        except ValueError as cause:
            raise _strange(f"{name!r} is no time") from cause

    def state(self, name: str) -> JobState:
        """Return a state that must be there."""
        try:
            return JobState(self.text(name))
        except ValueError as cause:
            raise _strange(f"{name!r} is no state of a job") from cause

    def object(self, name: str) -> Fields:
        """Return an object inside; an empty one when it is not there."""
        return Fields.of(self.values.get(name) or {})


def error_of(code: str, message: str) -> LipwrightError:
    """Return the error of that code; the message is cleaned, as it comes from outside."""
    if code not in BY_CODE:
        return JobError(f"{shown(code)}: {shown(message)}")
    return BY_CODE[code](shown(message))


def shown(text: str) -> str:
    """Return a text from outside as one that may be printed: short, no control characters."""
    clean = "".join(c if c.isprintable() else " " for c in text)
    return clean if len(clean) <= MAX_SHOWN else f"{clean[:MAX_SHOWN]}…"


def _strange(what: str) -> ServiceUnavailable:
    return ServiceUnavailable(
        f"the service gave an answer that is not Lipwright's, {what}: check LIPWRIGHT_URL"
    )
