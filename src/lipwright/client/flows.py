"""The logic of both clients as generators without I/O (sans-I/O).

A flow yields effects such as "send this request" or "sleep" and receives their results. The modules
``blocking`` and ``asynchronous`` perform the effects; all other logic is here, once.
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
from lipwright.client.address import ServiceAddress, is_url
from lipwright.client.calls import ApiCall, ApiRequest, ApiResponse
from lipwright.client.sse import SseParser
from lipwright.client.upload import FileBody, OnBytes
from lipwright.client.values import (
    JobPage,
    JobResult,
    JobState,
    JobStatus,
    JsonFields,
    UploadedFile,
)
from lipwright.errors import JobNotFinished, LipwrightError, ServiceUnavailable, TooManyRequests
from lipwright.options import SyncOptions

RETRY_SECONDS = (0.5, 1.0, 2.0)  # pause before each retry
#: Pauses while waiting for a job: outlasts a restart of the service of one minute.
PERSISTENT_RETRY_SECONDS = (*RETRY_SECONDS, *[2.0] * 28)
MAX_RETRY_AFTER = 30.0  # seconds; a longer Retry-After is left to the caller
FIRST_POLL, MAX_POLL = 0.25, 2.0  # seconds between two polls of a job

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class SendRequest:
    """Send a request. Result: its ApiResponse; raises ServiceUnavailable."""

    request: ApiRequest


@dataclass(frozen=True, kw_only=True)
class OpenStream:
    """Send a request and keep its response open. Result: an ApiResponse without a body."""

    request: ApiRequest


@dataclass(frozen=True)
class ReadChunk:
    """Read from the open response. Result: bytes, None at its end."""


@dataclass(frozen=True)
class Sleep:
    """Sleep. Result: None."""

    seconds: float


@dataclass(frozen=True)
class GetTime:
    """Read the monotonic clock. Result: seconds."""


@dataclass(frozen=True)
class EmitValue:
    """Yield a value to the caller. Result: None."""

    value: Any


Effect = SendRequest | OpenStream | ReadChunk | Sleep | GetTime | EmitValue
Flow = Generator[Effect, Any, T]


class NotConnected(ServiceUnavailable):
    """The service cannot be reached; nothing was sent."""


def execute(call: ApiCall[T], *, persistent: bool = False) -> Flow[T]:
    """Make a call, retry it where that is safe, and return its parsed response.

    Args:
        call: the call.
        persistent: retry for about a minute instead of a few seconds.
    """
    pauses = iter(PERSISTENT_RETRY_SECONDS if persistent else RETRY_SECONDS)
    while True:
        try:
            response: ApiResponse = yield SendRequest(request=call.request)
            error = calls.error_from_response(response)
        except ServiceUnavailable as unavailable:
            error = unavailable
        if error is None:
            return call.parse(calls.parse_response(response))
        pause = next(pauses, None)
        if pause is None or not may_retry(call, error):
            raise error
        requested = error.retry_after if isinstance(error, TooManyRequests) else 0.0
        yield Sleep(max(pause, requested))


def may_retry(call: ApiCall[Any], error: LipwrightError) -> bool:
    """Whether it is safe to send a call again after *error*."""
    if isinstance(error, TooManyRequests):
        return error.retry_after <= MAX_RETRY_AFTER  # the service did nothing
    return isinstance(error, NotConnected) or (error.retryable and call.idempotent)


@dataclass(frozen=True, kw_only=True)
class SubmitArguments:
    """The arguments of a submit call."""

    video: str | Path
    audio: str | Path
    options: SyncOptions
    model_id: str = calls.DEFAULT_MODEL
    seed: int | None = None
    webhook_url: str | None = None
    idempotency_key: str | None = None  #: None: a random one
    on_bytes: OnBytes | None = None  #: called with the progress of each upload


def submit(service: ServiceAddress, arguments: SubmitArguments) -> Flow[str]:
    """Upload local files, submit the job and return its id."""
    service.model_url(arguments.model_id)  # refuses an invalid id before files are uploaded
    bodies = {
        source: body
        for source in (arguments.video, arguments.audio)
        if (body := _upload_body(source, arguments.on_bytes))
    }
    urls = {}
    for source, body in bodies.items():
        file: UploadedFile = yield from execute(calls.upload(service, body))
        urls[source] = file.url
    call = calls.submit(
        service,
        urls.get(arguments.video) or str(arguments.video),
        urls.get(arguments.audio) or str(arguments.audio),
        model_id=arguments.model_id,
        options=arguments.options,
        seed=arguments.seed,
        webhook_url=arguments.webhook_url,
        idempotency_key=arguments.idempotency_key or secrets.token_hex(16),
    )
    return (yield from execute(call))


def upload(
    service: ServiceAddress, path: Path, on_bytes: OnBytes | None = None
) -> Flow[UploadedFile]:
    """Upload one file."""
    body = FileBody.from_path(path, secrets.token_hex(16), on_bytes)
    return (yield from execute(calls.upload(service, body)))


def _upload_body(source: str | Path, on_bytes: OnBytes | None) -> FileBody | None:
    """Return the body that uploads a local file, None for a URL."""
    if isinstance(source, str) and is_url(source):
        return None
    return FileBody.from_path(Path(source), secrets.token_hex(16), on_bytes)


def wait(service: ServiceAddress, job_id: str, timeout_s: float | None) -> Flow[JobResult]:
    """Wait until a job has ended and return its result.

    Raises:
        JobNotFinished: the timeout has passed.
    """
    started_at: float = yield GetTime()
    pause = FIRST_POLL
    while True:
        result: JobResult = yield from execute(calls.result(service, job_id), persistent=True)
        if result.state.final:
            return result
        if timeout_s is not None:
            left = timeout_s - ((yield GetTime()) - started_at)
            if left <= 0:
                raise JobNotFinished(
                    f"job {job_id} is {result.state} after {timeout_s:g} s: it continues, ask later"
                )
            pause = min(pause, left)
        yield Sleep(pause)
        pause = min(pause * 1.5, MAX_POLL)


def follow(service: ServiceAddress, job_id: str) -> Flow[None]:
    """Emit each new status of a job until it has ended, from its event stream or by polling."""
    last: JobStatus | None = None
    try_stream = True
    while last is None or not last.state.final:
        if try_stream:
            try_stream, last = yield from _follow_stream(service, job_id, last)
        if last is not None and last.state.final:
            return
        status: JobStatus = yield from execute(calls.status(service, job_id), persistent=True)
        if last is None or (status.state, status.position) != (last.state, last.position):
            yield EmitValue(status)
            last = status
        if not status.state.final:
            yield Sleep(MAX_POLL)


def _follow_stream(
    service: ServiceAddress, job_id: str, last: JobStatus | None
) -> Flow[tuple[bool, JobStatus | None]]:
    """Emit the statuses of the event stream.

    Returns:
        Whether the stream may be opened again, and the last status.
    """
    with contextlib.suppress(ServiceUnavailable):  # the stream broke: the caller polls
        response: ApiResponse = yield OpenStream(request=calls.events(service, job_id))
        if response.status != 200:
            return response.status in calls.RETRYABLE_STATUSES, last
        if not response.headers.get("content-type", "").startswith("text/event-stream"):
            return False, last
        parser = SseParser()
        while (chunk := (yield ReadChunk())) is not None:
            for status in _parse_statuses(parser, chunk):
                if status != last:
                    yield EmitValue(status)
                last = status
                if status.state.final:
                    return True, last
    return True, last


def _parse_statuses(parser: SseParser, chunk: bytes) -> Iterator[JobStatus]:
    for message in parser.feed(chunk):
        try:
            value = json.loads(message.data)
        except ValueError as cause:
            raise ServiceUnavailable("the service sends events that are not JSON") from cause
        yield calls.parse_status(JsonFields.from_value(value))


def download(service: ServiceAddress, url: str) -> Flow[None]:
    """Emit each chunk of a result with the total length, None if it is unknown."""
    response: ApiResponse = yield OpenStream(request=calls.download(service, url))
    if response.status != 200:
        raise ServiceUnavailable(
            f"the result cannot be downloaded ({response.status}): its URL may have expired, get "
            "the result again"
        )
    text = response.headers.get("content-length", "")
    total = int(text) if text.isascii() and text.isdecimal() else None
    while (chunk := (yield ReadChunk())) is not None:
        yield EmitValue((chunk, total))


def page(
    service: ServiceAddress, *, limit: int, cursor: str | None, state: JobState | None
) -> Flow[JobPage]:
    """Return a page of the jobs of this key."""
    return (yield from execute(calls.jobs(service, limit=limit, cursor=cursor, state=state)))


def video_of(result: JobResult) -> str:
    """Return the URL of the video of a succeeded job.

    Raises:
        LipwrightError: the job did not succeed.
        ServiceUnavailable: the result has no video.
    """
    if (url := result.raise_for_state().video) is None:
        raise ServiceUnavailable(f"the result of job {result.id} has no video: get it again")
    return url
