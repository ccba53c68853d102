"""Converts between the JSON of sync.so v2 and our types; no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lipwright.jobs.model import Job, State
from lipwright.options import SpeakerPick, SyncOptions
from lipwright.server.deployment import Links
from lipwright.server.errors import FieldError, InvalidBody
from lipwright.server.inputs import SourceRef, SubmitRequest, drop_nulls, validate_body
from lipwright.server.models import Catalogue, Model
from lipwright.server.runcomfy.wire import rfc3339
from lipwright.server.sync_v2.schemas import PICTURES, Generate
from lipwright.version import __version__

DIALECT = "sync_v2"

STATUS = {
    State.IN_QUEUE: "PENDING",
    State.IN_PROGRESS: "PROCESSING",
    State.SUCCEEDED: "COMPLETED",
    State.FAILED: "FAILED",
    State.CANCELLED: "REJECTED",
}
STATES = {name: state for state, name in STATUS.items()}
MAX_VALUES = 200  # in one query parameter
MAX_FIELD_ERRORS = 20  # reported for one body
UNSUPPORTED = {
    "segments": "segments are not supported here: send one request for each",
    "dubbing": "dubbing by text is not supported here: send the voice as an audio input",
}


def parse_submission(catalogue: Catalogue, body: Mapping[str, Any]) -> SubmitRequest:
    """Return the submit request in the body of a generate call.

    Raises:
        InvalidBody: a field is missing, unknown, unsupported or invalid.
        EngineNotFound: there is no such model.
    """
    plain = drop_nulls(body)
    _refuse_unsupported(plain)
    parsed = validate_body(Generate, plain)
    model = catalogue.find_sync_v2(parsed.model)
    webhook = None
    if parsed.webhookUrl:
        webhook = SourceRef(url=parsed.webhookUrl, loc=("body", "webhookUrl"))
    return SubmitRequest(
        dialect=DIALECT,
        model_id=parsed.model,
        engine=model.engine,
        video=_source(parsed, *PICTURES),
        audio=_source(parsed, "audio"),
        options=SyncOptions(mode=parsed.options.sync_mode, speaker=_speaker(parsed)),
        input=_input_for_responses(plain, parsed),
        webhook=webhook,
    )


def generation(job: Job, links: Links) -> dict[str, Any]:
    """Return a job of either dialect as a generation."""
    request = _generate_input(job)
    done = job.state is State.SUCCEEDED
    code, message = _error(job)
    return {
        "id": job.id,
        "createdAt": rfc3339(job.created_at),
        "status": STATUS[job.state],
        "model": request["model"],
        "input": request["input"],
        "options": request.get("options", {}),
        "outputUrl": links.output_url(job.output["video"]) if done else None,
        "outputDuration": job.output.get("seconds") if done else None,
        "webhookUrl": job.spec.webhook_url,
        "outputFileName": request.get("outputFileName"),
        "warnings": list(job.output.get("warnings", ())),
        "error": message,
        "error_code": code,
        "errorCode": code,
    }


def model_info(model: Model) -> dict[str, Any]:
    """Return an entry of the list of models."""
    return {
        "id": model.id,
        "name": model.id,
        "type": "lipsync",
        "version": __version__,
        "description": model.summary,
    }


def split_values(parameters: Sequence[str], limit: int = MAX_VALUES) -> list[str]:
    """Return the distinct values of a query parameter that is repeated, comma-separated, or both.

    Raises:
        InvalidBody: there are more than *limit*.
    """
    values = (value.strip() for parameter in parameters for value in parameter.split(","))
    distinct = [value for value in dict.fromkeys(values) if value]
    if len(distinct) > limit:
        message = f"{len(distinct)} values in one parameter: send at most {limit}"
        raise InvalidBody(FieldError(loc=("query",), message=message))
    return distinct


def parse_statuses(names: Sequence[str]) -> list[State]:
    """Return the job states of status names.

    Raises:
        InvalidBody: a status is unknown.
    """
    unknown = [name for name in names if name not in STATES]
    if unknown:
        message = f"no such status: use {', '.join(STATES)}"
        raise InvalidBody(FieldError(loc=("query", "status"), message=message))
    return [STATES[name] for name in names]


def _refuse_unsupported(body: Mapping[str, Any]) -> None:
    errors = [
        FieldError(loc=("body", name), message=message)
        for name, message in UNSUPPORTED.items()
        if body.get(name)
    ]
    items = body.get("input")
    for index, item in enumerate(items if isinstance(items, list) else ()):
        if isinstance(item, dict):
            errors += [
                FieldError(loc=("body", "input", index, name), message=message)
                for name, message in _unsupported_fields(item)
            ]
    if errors:
        raise InvalidBody(*errors[:MAX_FIELD_ERRORS])


def _unsupported_fields(item: Mapping[str, Any]) -> list[tuple[str, str]]:
    if item.get("type") == "text":
        return [("type", "text to speech is not supported here: send recorded audio")]
    if "assetId" in item:
        return [("assetId", "there is no media library here: send a url, or upload to /v1/files")]
    segments = [name for name in ("segments_secs", "segments_frames") if item.get(name)]
    return [(name, UNSUPPORTED["segments"]) for name in segments]


def _source(parsed: Generate, *kinds: str) -> SourceRef:
    index = parsed.input_index(*kinds)
    return SourceRef(url=parsed.input[index].url, loc=("body", "input", index, "url"))


def _speaker(parsed: Generate) -> SpeakerPick | None:
    detection = parsed.options.active_speaker_detection
    return detection.pick if detection else None


def _input_for_responses(plain: Mapping[str, Any], parsed: Generate) -> Mapping[str, Any]:
    """Return the body as responses repeat it: bounding boxes become the position that they select.

    The ledger reads it with every poll of the job, so it must stay short.
    """
    detection = parsed.options.active_speaker_detection
    if detection is None or detection.bounding_boxes is None:
        return plain
    fields = plain["options"]["active_speaker_detection"]
    short = {name: value for name, value in fields.items() if name != "bounding_boxes"}
    if pick := detection.pick:
        short |= {"coordinates": [pick.x, pick.y], "frame_number": pick.frame}
    return {**plain, "options": {**plain["options"], "active_speaker_detection": short}}


def _generate_input(job: Job) -> Mapping[str, Any]:
    if job.spec.dialect == DIALECT:
        return job.spec.input
    body = job.spec.input
    return {
        "model": job.spec.model_id,
        "input": [
            {"type": "video", "url": body["video_url"]},
            {"type": "audio", "url": body["audio_url"]},
        ],
        "options": {"sync_mode": body["sync_mode"]},
    }


def _error(job: Job) -> tuple[str | None, str | None]:
    if job.state is State.CANCELLED:
        return "cancelled", "it was cancelled while it was queued"
    if job.state is State.FAILED and job.failure:
        return job.failure.code, job.failure.message
    return None, None
