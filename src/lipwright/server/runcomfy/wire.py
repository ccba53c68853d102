"""RunComfy's wire format and ours, one into the other (pure)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from lipwright.jobs.model import Delivery, Job, Stage, State, Upload
from lipwright.options import SpeakerPick
from lipwright.server.deployment import Links
from lipwright.server.errors import Fault, InvalidBody
from lipwright.server.inputs import Source, Wish, check
from lipwright.server.models import CATEGORIES, KIND, Model
from lipwright.server.runcomfy.schemas import Output, OwnOptions, SubmitInput

DIALECT = "runcomfy"
CURSOR_BYTES = 8
CURSOR = "^[A-Za-f][A-Za-z0-9_-]{10}$"  # 63 bits, a positive number

STATUS = {
    State.IN_QUEUE: "in_queue",
    State.IN_PROGRESS: "in_progress",
    State.SUCCEEDED: "completed",
    State.FAILED: "completed",  # its result says "failed"
    State.CANCELLED: "cancelled",
}
STATES = {str(state): (state,) for state in State} | {
    "completed": (State.SUCCEEDED, State.FAILED)
}  # what a list may be limited to


def wish_of(model: Model, body: Mapping[str, Any]) -> Wish:
    """Return what a submit call asks for.

    Raises:
        InvalidBody: a field is missing, unknown or does not fit.
    """
    given = check(SubmitInput, body)
    own = given.lipwright
    webhook = (
        Source(url=own.webhook_url, loc=("body", "lipwright", "webhook_url"))
        if (own.webhook_url)
        else None
    )
    return Wish(
        dialect=DIALECT,
        model_id=model.id,
        engine=model.engine,
        video=Source(url=given.video_url, loc=("body", "video_url")),
        audio=Source(url=given.audio_url, loc=("body", "audio_url")),
        work={"mode": given.sync_mode, **_work(own)},
        input=given.model_dump(exclude_defaults=True) | {"sync_mode": given.sync_mode},
        webhook=webhook,
    )


def submitted(request_id: str, links: Links) -> dict[str, Any]:
    """Return the answer to a submit call."""
    calls = ("status", "result", "cancel")
    return {
        "request_id": request_id,
        **{f"{call}_url": links.of_request(request_id, call) for call in calls},
    }


def status(job: Job, position: int | None, links: Links) -> dict[str, Any]:
    """Return where a job is; *position* is None unless it is queued."""
    place = {} if position is None else {"queue_position": position}
    return {
        "request_id": job.id,
        "status": STATUS[job.state],
        **place,
        "status_url": links.of_request(job.id, "status"),
        "result_url": links.of_request(job.id, "result"),
    }


def result(job: Job, links: Links) -> dict[str, Any]:
    """Return what came of a job, or how far it is."""
    return {
        "request_id": job.id,
        "status": str(job.state),
        "output": output(job, links),
        "created_at": rfc3339(job.created_at),
        "finished_at": rfc3339(job.finished_at),
        "error": failure(job),
        "model_id": job.ticket.model_id,
    }


def failure(job: Job) -> dict[str, str] | None:
    """Return why a job failed; a job that is tried again has not failed."""
    if job.state is not State.FAILED or job.failure is None:
        return None
    return {"code": job.failure.code, "message": job.failure.message}


def progress(job: Job, position: int | None) -> dict[str, Any]:
    """Return one moment of a job, as an event tells it."""
    running = job.state is State.IN_PROGRESS
    done = {"fraction": 1.0} if job.state is State.SUCCEEDED else {}
    return {
        "request_id": job.id,
        "status": str(job.state),
        "queue_position": position,
        "error": failure(job),
        **(asdict(job.stage) if running else asdict(Stage())),
        **done,
    }


def output(job: Job, links: Links) -> dict[str, Any] | None:
    """Return the URLs of a finished job's files, None when it has none."""
    if job.state is not State.SUCCEEDED:
        return None
    video = links.of_output(job.output["video"])
    found: dict[str, Any] = {"video": video, "videos": [video]}
    if name := job.output.get("image"):
        image = links.of_output(name)
        found |= {"image": image, "images": [image]}
    return found


def cancelled(job: Job, done: bool) -> dict[str, Any]:
    """Return what came of the wish to cancel; *done*: this call cancelled it."""
    outcome = "cancelled" if done else "not_cancellable"
    return {"request_id": job.id, "status": STATUS[job.state], "outcome": outcome}


def listed(jobs: Sequence[Job], limit: int, links: Links) -> dict[str, Any]:
    """Return a page of at most *limit* jobs; one more was asked for, to see whether more follow."""
    page = jobs[:limit]
    more = len(jobs) > limit
    return {
        "requests": [_row(job, links) for job in page],
        "next_cursor": cursor(page[-1].sequence) if more else None,
    }


def webhooks(calls: Sequence[Delivery]) -> dict[str, Any]:
    """Return the webhook calls of a job."""
    return {
        "webhooks": [
            {
                "webhook_id": call.id,
                "url": call.url,
                "state": call.state,
                "attempts": call.attempts,
                "next_at": rfc3339(call.next_at) if call.state == "pending" else None,
                "last_error": call.last_error,
            }
            for call in calls
        ]
    }


def uploaded(upload: Upload, links: Links) -> dict[str, Any]:
    """Return the answer to an upload."""
    return {
        "file_id": upload.id,
        "url": links.of_upload(upload.id),
        "size": upload.size,
        "expires_at": rfc3339(upload.expires_at),
    }


def model_card(model: Model, with_schema: bool) -> dict[str, Any]:
    """Return what the catalogue says of a model."""
    card: dict[str, Any] = {
        "model_id": model.id,
        "display_name": model.name,
        "description": model.summary,
        "kind": KIND,
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
    """Whether a model is what a caller of the catalogue looks for; empty words match all."""
    text = f"{model.id} {model.name} {model.summary}".casefold()
    return (
        search.casefold() in text
        and (not category or category.casefold() in CATEGORIES)
        and kind.casefold() in ("", KIND)
    )


def cursor(sequence: int) -> str:
    """Return a place in a list as a word that says nothing."""
    return base64.urlsafe_b64encode(sequence.to_bytes(CURSOR_BYTES, "big")).decode().rstrip("=")


def sequence_of(text: str) -> int:
    """Return the place that a cursor means.

    Raises:
        InvalidBody: no answer of ours held it.
    """
    try:
        raw = base64.b64decode(text + "=", altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        raw = b""
    if len(raw) != CURSOR_BYTES or raw[0] >= 128:
        message = "no cursor of this service: send next_cursor of an answer"
        raise InvalidBody(Fault(loc=("query", "cursor"), message=message))
    return int.from_bytes(raw, "big")


def rfc3339(moment: datetime | None) -> str | None:
    """Write a time as ``2026-01-31T12:00:00.123456+00:00``."""
    return None if moment is None else moment.isoformat()


def _work(own: OwnOptions) -> dict[str, Any]:
    work: dict[str, Any] = {"allow_no_face": True} if own.allow_no_face else {}
    if own.speaker is not None:
        SpeakerPick(**dict(zip(("x", "y", "seconds"), own.speaker, strict=False)))
        work["speaker"] = [*own.speaker, 0.0][:3]
    names = ("intensity", "restore", "size", "crf", "seed")
    optional = {name: getattr(own, name) for name in names}
    return work | {name: value for name, value in optional.items() if value is not None}


def _row(job: Job, links: Links) -> dict[str, Any]:
    return {
        "request_id": job.id,
        "status": str(job.state),
        "model_id": job.ticket.model_id,
        "created_at": rfc3339(job.created_at),
        "finished_at": rfc3339(job.finished_at),
        "error": failure(job),
        "status_url": links.of_request(job.id, "status"),
        "result_url": links.of_request(job.id, "result"),
    }
