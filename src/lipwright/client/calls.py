"""The calls of the HTTP API: builds their requests and parses their responses; no I/O."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

from lipwright.client.address import ServiceAddress
from lipwright.client.upload import FileBody
from lipwright.client.values import (
    JobFailure,
    JobPage,
    JobResult,
    JobState,
    JobStatus,
    JsonFields,
    UploadedFile,
    error_from_code,
    sanitize,
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
RETRYABLE_STATUSES = (429, 502, 503, 504)  # the same call may succeed later
BY_STATUS: Mapping[int, type[LipwrightError]] = {
    400: InvalidOptions,
    401: AccessDenied,
    403: AccessDenied,
    404: JobNotFound,
    413: LimitExceeded,
    422: InputError,
    429: TooManyRequests,
}  #: for responses without a code of ours; all others: ServiceUnavailable or JobError

STATUS_PHRASES = {int(status): status.phrase for status in HTTPStatus}

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class ApiRequest:
    """An HTTP request."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  #: contains the API key
    body: bytes | FileBody = field(default=b"", repr=False)


@dataclass(frozen=True, kw_only=True)
class ApiResponse:
    """An HTTP response."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)  #: names in lower case
    body: bytes = b""


@dataclass(frozen=True, kw_only=True)
class ApiCall(Generic[T]):
    """One call of the API: its request, its response parser, and whether retries are safe."""

    request: ApiRequest
    parse: Callable[[JsonFields], T]
    idempotent: bool = True


def submit(
    service: ServiceAddress,
    video_url: str,
    audio_url: str,
    *,
    model_id: str,
    options: SyncOptions,
    seed: int | None,
    webhook_url: str | None,
    idempotency_key: str,
) -> ApiCall[str]:
    """Submit a job and return its id. The idempotency key makes retries safe."""
    body = {
        "video_url": video_url,
        "audio_url": audio_url,
        "sync_mode": options.mode.value,
        **_own_options(options, seed, webhook_url),
    }
    request = ApiRequest(
        method="POST",
        url=service.model_url(model_id),
        headers={
            **_headers(service),
            "Content-Type": "application/json",
            "Idempotency-Key": idempotency_key,
        },
        body=json.dumps(body).encode(),
    )
    return ApiCall(request=request, parse=lambda fields: fields.text("request_id"))


def _own_options(options: SyncOptions, seed: int | None, webhook: str | None) -> dict[str, Any]:
    """Return the options beyond RunComfy's contract that differ from their defaults."""
    given = {**options.to_json(remote=True, defaults=False), "seed": seed, "webhook_url": webhook}
    given.pop("mode", None)  # `sync_mode` in the contract
    own = {name: value for name, value in given.items() if value is not None}
    return {"lipwright": own} if own else {}


def upload(service: ServiceAddress, body: FileBody) -> ApiCall[UploadedFile]:
    """Upload a file."""
    request = ApiRequest(
        method="POST",
        url=service.endpoint("files"),
        headers={**_headers(service), "Content-Type": body.content_type},
        body=body,
    )
    return ApiCall(request=request, parse=_parse_upload, idempotent=False)


def status(service: ServiceAddress, job_id: str) -> ApiCall[JobStatus]:
    """Return the status of a job."""
    return ApiCall(request=_get(service, service.job_url(job_id, "status")), parse=parse_status)


def result(service: ServiceAddress, job_id: str) -> ApiCall[JobResult]:
    """Return the result of a job."""
    return ApiCall(request=_get(service, service.job_url(job_id, "result")), parse=parse_result)


def cancel(service: ServiceAddress, job_id: str) -> ApiCall[bool]:
    """Cancel a queued job and return whether it is cancelled."""
    url = service.job_url(job_id, "cancel")
    request = ApiRequest(method="POST", url=url, headers=_headers(service))
    # The state, not the outcome: on a retry, the first attempt may have cancelled the job.
    return ApiCall(request=request, parse=lambda f: f.state("status") is JobState.CANCELLED)


def erase(service: ServiceAddress, job_id: str) -> ApiCall[None]:
    """Erase a job and its files."""
    request = ApiRequest(method="DELETE", url=service.job_url(job_id), headers=_headers(service))
    return ApiCall(request=request, parse=lambda _: None, idempotent=False)


def jobs(
    service: ServiceAddress, *, limit: int, cursor: str | None, state: JobState | None
) -> ApiCall[JobPage]:
    """List the jobs of this key."""
    arguments = {"limit": limit, "cursor": cursor, "status": state and state.value}
    query = urlencode({name: value for name, value in arguments.items() if value is not None})
    return ApiCall(request=_get(service, service.endpoint(f"requests?{query}")), parse=_parse_page)


def events(service: ServiceAddress, job_id: str) -> ApiRequest:
    """Return the request for the event stream of a job."""
    headers = {**_headers(service), "Accept": "text/event-stream"}
    return ApiRequest(method="GET", url=service.job_url(job_id, "events"), headers=headers)


def download(service: ServiceAddress, url: str) -> ApiRequest:
    """Return the request for a result, without the API key: the URL is signed."""
    return ApiRequest(method="GET", url=service.check_download(url), headers=_user_agent())


def parse_response(response: ApiResponse) -> JsonFields:
    """Return the fields of a successful response.

    Raises:
        ServiceUnavailable: it is not a JSON object.
    """
    try:
        value = json.loads(response.body or b"{}")
    except ValueError as cause:
        raise ServiceUnavailable(
            "the response of the service is not JSON: check LIPWRIGHT_URL"
        ) from cause
    return JsonFields.from_value(value)


def error_from_response(response: ApiResponse) -> LipwrightError | None:
    """Return the error of a response, None for a successful one."""
    if 200 <= response.status < 300:
        return None
    if response.status < 400:
        return InvalidOptions(
            f"the service responded with a redirect ({response.status}): set LIPWRIGHT_URL to its "
            "target"
        )
    code, message = _parse_error(response.body)
    error = error_from_code(code, message) if code else _error_from_status(response.status, message)
    if isinstance(error, TooManyRequests):
        error.retry_after = retry_after(response)
    return error


def retry_after(response: ApiResponse) -> float:
    """Return the value of ``Retry-After``, seconds."""
    text = response.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdecimal() and len(text) < 7 else 1.0


def parse_status(fields: JsonFields) -> JobStatus:
    """Return the status in a response of ``/status`` or an event."""
    return JobStatus(
        id=fields.text("request_id"),
        state=fields.state("status"),
        position=fields.integer("queue_position"),
        stage=sanitize(fields.optional_text("stage") or ""),
        done=fields.integer("done") or 0,
        total=fields.integer("total"),
        fraction=min(max(fields.number("fraction") or 0.0, 0.0), 1.0),
        fps=fields.number("fps"),
        seconds_left=fields.number("seconds_left"),
    )


def parse_result(fields: JsonFields) -> JobResult:
    """Return the result in a response of ``/result`` or a row of the list."""
    output, failure = fields.object("output"), fields.object("error")
    return JobResult(
        id=fields.text("request_id"),
        state=fields.state("status"),
        model_id=sanitize(fields.optional_text("model_id") or ""),
        video=output.optional_text("video"),
        image=output.optional_text("image"),
        created_at=fields.time("created_at"),
        finished_at=fields.time("finished_at"),
        warnings=tuple(map(sanitize, fields.texts("warnings"))),
        failure=JobFailure(code=failure.text("code"), message=sanitize(failure.text("message")))
        if failure.values
        else None,
    )


def _parse_page(fields: JsonFields) -> JobPage:
    rows = fields.values.get("requests")
    if not isinstance(rows, list):
        raise ServiceUnavailable("the response has no list of requests: check LIPWRIGHT_URL")
    return JobPage(
        jobs=tuple(parse_result(JsonFields.from_value(row)) for row in rows),
        cursor=fields.optional_text("next_cursor"),
    )


def _parse_upload(fields: JsonFields) -> UploadedFile:
    return UploadedFile(
        id=fields.text("file_id"),
        url=fields.text("url"),
        size=fields.integer("size") or 0,
        expires_at=fields.time("expires_at"),
    )


def _parse_error(body: bytes) -> tuple[str, str]:
    """Return code and message of an error of this service, empty for any other body."""
    try:
        fields = JsonFields.from_value(json.loads(body))
        detail = fields.values.get("detail")
        details = detail if isinstance(detail, list) else []
        first = JsonFields.from_value(details[0] if details else {})
        return first.optional_text("type") or "", fields.optional_text("error_message") or ""
    except (ValueError, ServiceUnavailable):
        return "", ""


def _error_from_status(status: int, message: str) -> LipwrightError:
    text = f"the service responded with {status} ({STATUS_PHRASES.get(status, 'unknown status')})"
    text = f"{text}: {sanitize(message)}" if message else text
    if status in BY_STATUS:
        return BY_STATUS[status](text)
    if status in RETRYABLE_STATUSES:
        return ServiceUnavailable(f"{text}: try again later")
    return JobError(text)


def _get(service: ServiceAddress, url: str) -> ApiRequest:
    return ApiRequest(method="GET", url=url, headers=_headers(service))


def _headers(service: ServiceAddress) -> dict[str, str]:
    return {
        **_user_agent(),
        "Accept": "application/json",
        "Authorization": f"Bearer {service.api_key}",
    }


def _user_agent() -> dict[str, str]:
    return {"User-Agent": f"lipwright/{__version__}"}
