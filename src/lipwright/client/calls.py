"""Each call of the HTTP API: how its request is built and its answer read (pure)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

from lipwright.client.address import Service
from lipwright.client.upload import FileBody
from lipwright.client.values import (
    Fields,
    JobFailure,
    JobPage,
    JobResult,
    JobState,
    JobStatus,
    UploadedFile,
    error_of,
    shown,
)
from lipwright.errors import (
    AccessDenied,
    InputError,
    InvalidOptions,
    JobError,
    JobNotFound,
    LimitExceeded,
    LipwrightError,
    ServiceUnavailable,
    TooManyRequests,
)
from lipwright.options import SyncOptions
from lipwright.version import __version__

DEFAULT_MODEL = "sync/sync/lipsync/v2/pro"
PASSING = (429, 502, 503, 504)  # statuses after which the same call may succeed
BY_STATUS: Mapping[int, type[LipwrightError]] = {
    400: InvalidOptions,
    401: AccessDenied,
    403: AccessDenied,
    404: JobNotFound,
    413: LimitExceeded,
    422: InputError,
    429: TooManyRequests,
}  #: for answers that name no code of ours; all others: ServiceUnavailable or JobError

PHRASES = {int(status): status.phrase for status in HTTPStatus}

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is sent."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  #: the key is in there
    body: bytes | FileBody = field(default=b"", repr=False)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What comes back."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)  #: names in lower case
    body: bytes = b""


@dataclass(frozen=True, kw_only=True)
class Call(Generic[T]):
    """One call: what is sent, how the answer is read, and whether it may be sent twice."""

    request: Request
    read: Callable[[Fields], T]
    repeatable: bool = True


def submit(
    service: Service,
    video_url: str,
    audio_url: str,
    *,
    model_id: str,
    options: SyncOptions,
    seed: int | None,
    webhook_url: str | None,
    idempotency_key: str,
) -> Call[str]:
    """Hand in a job; the answer is its id. The idempotency key makes it safe to repeat."""
    body = {
        "video_url": video_url,
        "audio_url": audio_url,
        "sync_mode": options.mode.value,
        **_own_options(options, seed, webhook_url),
    }
    request = Request(
        method="POST",
        url=service.model(model_id),
        headers={
            **_headers(service),
            "Content-Type": "application/json",
            "Idempotency-Key": idempotency_key,
        },
        body=json.dumps(body).encode(),
    )
    return Call(request=request, read=lambda fields: fields.text("request_id"))


def _own_options(options: SyncOptions, seed: int | None, webhook: str | None) -> dict[str, Any]:
    """Return the options beyond RunComfy's contract, or nothing: a plain job stays plain."""
    pick = options.speaker
    given = {
        "speaker": [pick.x, pick.y, pick.seconds] if pick else None,
        "allow_no_face": options.allow_no_face or None,
        "intensity": None if options.intensity == SyncOptions().intensity else options.intensity,
        "restore": None if options.restore == SyncOptions().restore else options.restore.value,
        "size": options.size.value if options.size else None,
        "crf": options.crf,
        "seed": seed,
        "webhook_url": webhook,
    }
    own = {name: value for name, value in given.items() if value is not None}
    return {"lipwright": own} if own else {}


def upload(service: Service, body: FileBody) -> Call[UploadedFile]:
    """Put a file into the service."""
    request = Request(
        method="POST",
        url=service.call("files"),
        headers={**_headers(service), "Content-Type": body.content_type},
        body=body,
    )
    return Call(request=request, read=_uploaded, repeatable=False)


def status(service: Service, job_id: str) -> Call[JobStatus]:
    """Ask where a job is."""
    return Call(request=_get(service, service.job(job_id, "status")), read=status_of)


def result(service: Service, job_id: str) -> Call[JobResult]:
    """Ask how a job ended."""
    return Call(request=_get(service, service.job(job_id, "result")), read=result_of)


def cancel(service: Service, job_id: str) -> Call[bool]:
    """Cancel a job that waits; the answer is whether it is cancelled now."""
    url = service.job(job_id, "cancel")
    request = Request(method="POST", url=url, headers=_headers(service))
    # The state, not the outcome: when this call is repeated, the first one may have done it.
    return Call(request=request, read=lambda f: f.state("status") is JobState.CANCELLED)


def erase(service: Service, job_id: str) -> Call[None]:
    """Forget a job and its files."""
    request = Request(method="DELETE", url=service.job(job_id), headers=_headers(service))
    return Call(request=request, read=lambda _: None, repeatable=False)


def jobs(
    service: Service, *, limit: int, cursor: str | None, state: JobState | None
) -> Call[JobPage]:
    """List the jobs of this key."""
    wish = {"limit": limit, "cursor": cursor, "status": state and state.value}
    query = urlencode({name: value for name, value in wish.items() if value is not None})
    return Call(request=_get(service, service.call(f"requests?{query}")), read=_page)


def events(service: Service, job_id: str) -> Request:
    """Return the request that opens the stream of events of a job."""
    headers = {**_headers(service), "Accept": "text/event-stream"}
    return Request(method="GET", url=service.job(job_id, "events"), headers=headers)


def download(service: Service, url: str) -> Request:
    """Return the request for a result; its URL is signed, so the key stays here."""
    return Request(method="GET", url=service.check_download(url), headers=_agent())


def read(answer: Answer) -> Fields:
    """Return the fields of a good answer.

    Raises:
        ServiceUnavailable: it is no JSON object.
    """
    try:
        value = json.loads(answer.body or b"{}")
    except ValueError as cause:
        raise ServiceUnavailable(
            "the service answered something that is not JSON: check LIPWRIGHT_URL"
        ) from cause
    return Fields.of(value)


def fault(answer: Answer) -> LipwrightError | None:
    """Return the error that an answer means, None for a good one."""
    if 200 <= answer.status < 300:
        return None
    if answer.status < 400:
        return InvalidOptions(
            f"the service answered with a redirect ({answer.status}): set LIPWRIGHT_URL to where "
            "it leads"
        )
    code, message = _told(answer.body)
    error = error_of(code, message) if code else _by_status(answer.status, message)
    if isinstance(error, TooManyRequests):
        error.retry_after = retry_after(answer)
    return error


def retry_after(answer: Answer) -> float:
    """Return the pause that the service asks for, seconds."""
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdecimal() and len(text) < 7 else 1.0


def status_of(fields: Fields) -> JobStatus:
    """Read where a job is, from ``/status`` or an event."""
    return JobStatus(
        id=fields.text("request_id"),
        state=fields.state("status"),
        position=fields.count("queue_position"),
        stage=shown(fields.maybe_text("stage") or ""),
        done=fields.count("done") or 0,
        total=fields.count("total"),
        fraction=min(max(fields.number("fraction") or 0.0, 0.0), 1.0),
        fps=fields.number("fps"),
        seconds_left=fields.number("seconds_left"),
    )


def result_of(fields: Fields) -> JobResult:
    """Read how a job ended, from ``/result`` or a row of the list."""
    output, failure = fields.object("output"), fields.object("error")
    return JobResult(
        id=fields.text("request_id"),
        state=fields.state("status"),
        model_id=shown(fields.maybe_text("model_id") or ""),
        video=output.maybe_text("video"),
        image=output.maybe_text("image"),
        created_at=fields.time("created_at"),
        finished_at=fields.time("finished_at"),
        failure=JobFailure(code=failure.text("code"), message=shown(failure.text("message")))
        if failure.values
        else None,
    )


def _page(fields: Fields) -> JobPage:
    rows = fields.values.get("requests")
    if not isinstance(rows, list):
        raise ServiceUnavailable("the service listed no requests: check LIPWRIGHT_URL")
    return JobPage(
        jobs=tuple(result_of(Fields.of(row)) for row in rows),
        cursor=fields.maybe_text("next_cursor"),
    )


def _uploaded(fields: Fields) -> UploadedFile:
    return UploadedFile(
        id=fields.text("file_id"),
        url=fields.text("url"),
        size=fields.count("size") or 0,
        expires_at=fields.time("expires_at"),
    )


def _told(body: bytes) -> tuple[str, str]:
    """Return code and message of an error in our words, empty where it is somebody else's."""
    try:
        fields = Fields.of(json.loads(body))
        detail = fields.values.get("detail")
        first = Fields.of(detail[0]) if isinstance(detail, list) and detail else Fields({})
        return first.maybe_text("type") or "", fields.maybe_text("error_message") or ""
    except (ValueError, ServiceUnavailable):
        return "", ""


def _by_status(status: int, message: str) -> LipwrightError:
    text = f"the service answered {status} ({PHRASES.get(status, 'unknown status')})"
    text = f"{text}: {shown(message)}" if message else text
    if status in BY_STATUS:
        return BY_STATUS[status](text)
    return ServiceUnavailable(f"{text}: try again later") if status in PASSING else JobError(text)


def _get(service: Service, url: str) -> Request:
    return Request(method="GET", url=url, headers=_headers(service))


def _headers(service: Service) -> dict[str, str]:
    return {**_agent(), "Accept": "application/json", "Authorization": f"Bearer {service.api_key}"}


def _agent() -> dict[str, str]:
    return {"User-Agent": f"lipwright/{__version__}"}
