"""Converts between RunComfy's JSON and our types; no I/O."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from lipwright.jobs.model import Delivery, Job, JobProgress, State, Upload
from lipwright.server.deployment import Links
from lipwright.server.errors import FieldError, InvalidBody
from lipwright.server.http.events import Snapshot
from lipwright.server.inputs import SourceRef, SubmitRequest, validate_body
from lipwright.server.models import CATEGORIES, MODEL_KIND, Model
from lipwright.server.runcomfy.schemas import Output, SubmitInput

DIALECT = "runcomfy"
CURSOR_BYTES = 8
CURSOR = "^[A-Za-f][A-Za-z0-9_-]{10}$"  # a positive 63-bit integer

STATUS = {
    State.IN_QUEUE: "in_queue",
    State.IN_PROGRESS: "in_progress",
    State.SUCCEEDED: "completed",
    State.FAILED: "completed",  # its result says "failed"
    State.CANCELLED: "cancelled",
}
STATES = {str(state): (state,) for state in State} | {
    "completed": (State.SUCCEEDED, State.FAILED)
}  # filters of a list


def parse_submission(model: Model, body: Mapping[str, Any]) -> SubmitRequest:
    """Return the submit request in a body.

    Raises:
        InvalidBody: a field is missing, unknown or invalid.
    """
    parsed = validate_body(SubmitInput, body)
    own = parsed.lipwright
    webhook = None
    if own.webhook_url:
        webhook = SourceRef(url=own.webhook_url, loc=("body", "lipwright", "webhook_url"))
    return SubmitRequest(
        dialect=DIALECT,
        model_id=model.id,
        engine=model.engine,
        video=SourceRef(url=parsed.video_url, loc=("body", "video_url")),
        audio=SourceRef(url=parsed.audio_url, loc=("body", "audio_url")),
        options=own.options(parsed.sync_mode),
        seed=own.seed,
        input=parsed.model_dump(exclude_defaults=True) | {"sync_mode": parsed.sync_mode},
        webhook=webhook,
    )


def submitted(request_id: str, links: Links) -> dict[str, Any]:
    """Return the response to a submit call."""
    calls = ("status", "result", "cancel")
    return {
        "request_id": request_id,
        **{f"{call}_url": links.request_url(request_id, call) for call in calls},
    }


def status(job: Job, position: int | None, links: Links) -> dict[str, Any]:
    """Return the status of a job; *position* is None unless it is queued."""
    queue_position = {} if position is None else {"queue_position": position}
    return {
        "request_id": job.id,
        "status": STATUS[job.state],
        **queue_position,
        "status_url": links.request_url(job.id, "status"),
        "result_url": links.request_url(job.id, "result"),
    }


def result(job: Job, links: Links) -> dict[str, Any]:
    """Return the result of a job, or only its state while it has not ended."""
    return {
        "request_id": job.id,
        "status": str(job.state),
        "output": output(job, links),
        "created_at": rfc3339(job.created_at),
        "finished_at": rfc3339(job.finished_at),
        "error": failure(job),
        "warnings": list(job.output.get("warnings", ())),
        "model_id": job.spec.model_id,
    }


def failure(job: Job) -> dict[str, str] | None:
    """Return the error of a failed job, None for all others, also those that are retried."""
    if job.state is not State.FAILED or job.failure is None:
        return None
    return {"code": job.failure.code, "message": job.failure.message}


def snapshot(job: Job, position: int | None) -> Snapshot:
    """Return the event of a job's present state."""
    state = str(job.state)
    return Snapshot(state=state, final=job.state.final, data=progress(job, position))


def progress(job: Job, position: int | None) -> dict[str, Any]:
    """Return the data of an event: state, queue position, error, stage and progress of a job."""
    running = job.state is State.IN_PROGRESS
    complete = {"fraction": 1.0} if job.state is State.SUCCEEDED else {}
    return {
        "request_id": job.id,
        "status": str(job.state),
        "queue_position": position,
        "error": failure(job),
        **(asdict(job.progress) if running else asdict(JobProgress())),
        **complete,
    }


def output(job: Job, links: Links) -> dict[str, Any] | None:
    """Return the URLs of a succeeded job's files, None for all others."""
    if job.state is not State.SUCCEEDED:
        return None
    video = links.output_url(job.output["video"])
    urls: dict[str, Any] = {"video": video, "videos": [video]}
    if name := job.output.get("image"):
        image = links.output_url(name)
        urls |= {"image": image, "images": [image]}
    return urls


def cancel_outcome(job: Job, cancelled: bool) -> dict[str, Any]:
    """Return the response to a cancel call; *cancelled*: this call cancelled the job."""
    outcome = "cancelled" if cancelled else "not_cancellable"
    return {"request_id": job.id, "status": STATUS[job.state], "outcome": outcome}


def request_list(jobs: Sequence[Job], limit: int, links: Links) -> dict[str, Any]:
    """Return a page of at most *limit* jobs.

    Args:
        jobs: newest first; one more than *limit* if there are more.
        limit: jobs on the page.
        links: builds the URLs.
    """
    page = jobs[:limit]
    more = len(jobs) > limit
    return {
        "requests": [_row(job, links) for job in page],
        "next_cursor": format_cursor(page[-1].sequence) if more else None,
    }


def webhook_list(deliveries: Sequence[Delivery]) -> dict[str, Any]:
    """Return the webhook deliveries of a job."""
    return {
        "webhooks": [
            {
                "webhook_id": delivery.id,
                "url": delivery.url,
                "state": delivery.state,
                "attempts": delivery.attempts,
                "next_at": rfc3339(delivery.next_at) if delivery.state == "pending" else None,
                "last_error": delivery.last_error,
            }
            for delivery in deliveries
        ]
    }


def uploaded(upload: Upload, links: Links) -> dict[str, Any]:
    """Return the response to an upload."""
    return {
        "file_id": upload.id,
        "url": links.upload_url(upload.id),
        "size": upload.size,
        "expires_at": rfc3339(upload.expires_at),
    }


def model_card(model: Model, with_schema: bool) -> dict[str, Any]:
    """Return the catalogue entry of a model."""
    card: dict[str, Any] = {
        "model_id": model.id,
        "display_name": model.name,
        "description": model.summary,
        "kind": MODEL_KIND,
        "categories": list(CATEGORIES),
        "base_price_usd": 0.0,
        "price_unit": "second",
    }
    schemas = {
        "input_schema": SubmitInput.model_json_schema(),
        "output_schema": Output.model_json_schema(),
    }
    return card | schemas if with_schema else card


def matches(model: Model, search: str, category: str, kind: str) -> bool:
    """Whether a model matches the filters of a list; empty filters match all models."""
    text = f"{model.id} {model.name} {model.summary}".casefold()
    return (
        search.casefold() in text
        and (not category or category.casefold() in CATEGORIES)
        and kind.casefold() in ("", MODEL_KIND)
    )


def format_cursor(sequence: int) -> str:
    """Return the opaque cursor of a job's sequence number."""
    return base64.urlsafe_b64encode(sequence.to_bytes(CURSOR_BYTES, "big")).decode().rstrip("=")


def parse_cursor(text: str) -> int:
    """Return the sequence number in a cursor.

    Raises:
        InvalidBody: it is not a cursor of this service.
    """
    try:
        raw = base64.b64decode(text + "=", altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        raw = b""
    if len(raw) != CURSOR_BYTES or raw[0] >= 128:
        message = "not a cursor of this service: send next_cursor of a response"
        raise InvalidBody(FieldError(loc=("query", "cursor"), message=message))
    return int.from_bytes(raw, "big")


def rfc3339(moment: datetime | None) -> str | None:
    """Return a time as ``2026-01-31T12:00:00.123456+00:00``."""
    return None if moment is None else moment.isoformat()


def _row(job: Job, links: Links) -> dict[str, Any]:
    return {
        "request_id": job.id,
        "status": str(job.state),
        "model_id": job.spec.model_id,
        "created_at": rfc3339(job.created_at),
        "finished_at": rfc3339(job.finished_at),
        "error": failure(job),
        "status_url": links.request_url(job.id, "status"),
        "result_url": links.request_url(job.id, "result"),
    }
