"""What the clients do, step by step, without doing it: pure generators.

A flow yields effects (send this, sleep, read on) and is sent what came of them. ``blocking`` and
``asynchronous`` carry effects out, each in its own way; everything else is written once, here.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from lipwright.client import calls
from lipwright.client.address import Service, is_url
from lipwright.client.calls import Answer, Call, Request
from lipwright.client.sse import Parser
from lipwright.client.upload import FileBody, OnBytes
from lipwright.client.values import Fields, JobPage, JobResult, JobState, JobStatus, UploadedFile
from lipwright.errors import JobNotFinished, LipwrightError, ServiceUnavailable, TooManyRequests
from lipwright.options import SyncOptions

RETRY_SECONDS = (0.5, 1.0, 2.0)  # pauses before each repetition
PATIENT_SECONDS = (*RETRY_SECONDS, *[2.0] * 28)  # of who waits for a job: a minute's restart passes
MAX_PATIENCE = 30.0  # seconds; a service that asks for a longer pause is taken at its word
FIRST_POLL, MAX_POLL = 0.25, 2.0  # seconds between two looks at a job

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Send:
    """Send a request; comes back with its Answer, or raises ServiceUnavailable."""

    request: Request


@dataclass(frozen=True, kw_only=True)
class Open:
    """Send a request and leave its body to be read; comes back with an Answer without one."""

    request: Request


@dataclass(frozen=True)
class Read:
    """Read on in the body; comes back with bytes, None at its end."""


@dataclass(frozen=True)
class Sleep:
    """Wait so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Now:
    """Ask the time; comes back with seconds that never run backward."""


@dataclass(frozen=True)
class Emit:
    """Hand a value to the caller."""

    value: Any


Effect = Send | Open | Read | Sleep | Now | Emit
Flow = Generator[Effect, Any, T]


class NotReached(ServiceUnavailable):
    """Nothing was sent: the service could not be reached."""


def ask(call: Call[T], *, patient: bool = False) -> Flow[T]:
    """Make a call, again after a pause where that is safe, and return what it says."""
    pauses = iter(PATIENT_SECONDS if patient else RETRY_SECONDS)
    while True:
        try:
            answer: Answer = yield Send(request=call.request)
            error = calls.fault(answer)
        except ServiceUnavailable as broken:
            error = broken
        if error is None:
            return call.read(calls.read(answer))
        pause = next(pauses, None)
        if pause is None or not may_repeat(call, error):
            raise error
        wanted = error.retry_after if isinstance(error, TooManyRequests) else 0.0
        yield Sleep(max(pause, wanted))


def may_repeat(call: Call[Any], error: LipwrightError) -> bool:
    """Whether a call may be sent again after *error* without any harm."""
    if isinstance(error, TooManyRequests):
        return error.retry_after <= MAX_PATIENCE  # it was refused, so nothing was done
    return isinstance(error, NotReached) or (error.retryable and call.repeatable)


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a job is to do."""

    video: str | Path
    audio: str | Path
    options: SyncOptions
    model_id: str = calls.DEFAULT_MODEL
    seed: int | None = None
    webhook_url: str | None = None
    idempotency_key: str | None = None  #: None: made for this submit
    on_bytes: OnBytes | None = None  #: hears how far each upload is


def submit(service: Service, wish: Wish) -> Flow[str]:
    """Upload what is local, hand the job in, return its id."""
    service.model(wish.model_id)  # complain before anything large is sent
    bodies = {s: body for s in (wish.video, wish.audio) if (body := _body(s, wish.on_bytes))}
    urls = {}
    for source, body in bodies.items():
        file: UploadedFile = yield from ask(calls.upload(service, body))
        urls[source] = file.url
    call = calls.submit(
        service,
        urls.get(wish.video) or str(wish.video),
        urls.get(wish.audio) or str(wish.audio),
        model_id=wish.model_id,
        options=wish.options,
        seed=wish.seed,
        webhook_url=wish.webhook_url,
        idempotency_key=wish.idempotency_key or secrets.token_hex(16),
    )
    return (yield from ask(call))


def upload(service: Service, path: Path, on_bytes: OnBytes | None = None) -> Flow[UploadedFile]:
    """Put one file into the service."""
    body = FileBody.of(path, secrets.token_hex(16), on_bytes)
    return (yield from ask(calls.upload(service, body)))


def _body(source: str | Path, on_bytes: OnBytes | None) -> FileBody | None:
    """Return how a source is uploaded, None when it is a URL."""
    if isinstance(source, str) and is_url(source):
        return None
    return FileBody.of(Path(source), secrets.token_hex(16), on_bytes)


def wait(service: Service, job_id: str, timeout_s: float | None) -> Flow[JobResult]:
    """Return the result of a job when it has ended, well or badly."""
    began: float = yield Now()
    pause = FIRST_POLL
    while True:
        result: JobResult = yield from ask(calls.result(service, job_id), patient=True)
        if result.state.final:
            return result
        if timeout_s is not None:
            left = timeout_s - ((yield Now()) - began)
            if left <= 0:
                raise JobNotFinished(
                    f"job {job_id} is {result.state} after {timeout_s:g} s: it goes on, ask later"
                )
            pause = min(pause, left)
        yield Sleep(pause)
        pause = min(pause * 1.5, MAX_POLL)


def follow(service: Service, job_id: str) -> Flow[None]:
    """Emit each new status of a job until it has ended: from its stream, or by asking."""
    last: JobStatus | None = None
    streams = True
    while last is None or not last.state.final:
        if streams:
            streams, last = yield from _listen(service, job_id, last)
        if last is not None and last.state.final:
            return
        status: JobStatus = yield from ask(calls.status(service, job_id), patient=True)
        if last is None or (status.state, status.position) != (last.state, last.position):
            yield Emit(status)
            last = status
        if not status.state.final:
            yield Sleep(MAX_POLL)


def _listen(
    service: Service, job_id: str, last: JobStatus | None
) -> Flow[tuple[bool, JobStatus | None]]:
    """Emit what the stream tells; return whether it is worth another try, and the last status."""
    with contextlib.suppress(ServiceUnavailable):  # the stream broke: asking goes on from here
        answer: Answer = yield Open(request=calls.events(service, job_id))
        if answer.status != 200:
            return answer.status in calls.PASSING, last
        if not answer.headers.get("content-type", "").startswith("text/event-stream"):
            return False, last
        parser = Parser()
        while (piece := (yield Read())) is not None:
            for status in _told(parser, piece):
                if status != last:
                    yield Emit(status)
                last = status
                if status.state.final:
                    return True, last
    return True, last


def _told(parser: Parser, piece: bytes) -> Iterator[JobStatus]:
    for message in parser.feed(piece):
        try:
            value = json.loads(message.data)
        except ValueError as cause:
            raise ServiceUnavailable("the service sends events that are not JSON") from cause
        yield calls.status_of(Fields.of(value))


def download(service: Service, url: str) -> Flow[None]:
    """Emit the bytes of a result, each piece with how many there are in all (None: not known)."""
    answer: Answer = yield Open(request=calls.download(service, url))
    if answer.status != 200:
        raise ServiceUnavailable(
            f"the result cannot be downloaded ({answer.status}): its URL may have expired, ask for "
            "the result again"
        )
    text = answer.headers.get("content-length", "")
    total = int(text) if text.isascii() and text.isdecimal() else None
    while (piece := (yield Read())) is not None:
        yield Emit((piece, total))


def page(
    service: Service, *, limit: int, cursor: str | None, state: JobState | None
) -> Flow[JobPage]:
    """List jobs of this key."""
    return (yield from ask(calls.jobs(service, limit=limit, cursor=cursor, state=state)))


def video_of(result: JobResult) -> str:
    """Return the URL of the video of a job that succeeded.

    Raises:
        LipwrightError: it did not.
        ServiceUnavailable: the service names no video.
    """
    if (url := result.raise_for_state().video) is None:
        raise ServiceUnavailable(f"the service names no video of job {result.id}: ask it again")
    return url
