"""The wire format of sync.so's v2 and ours, one into the other (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lipwright.jobs.model import Job, State
from lipwright.server.deployment import Links
from lipwright.server.errors import Fault, InvalidBody
from lipwright.server.inputs import Source, Wish, check, without_nulls
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
MAX_WORDS = 200  # in one query parameter
UNSUPPORTED = {
    "segments": "segments are not supported here: send one request for each",
    "dubbing": "dubbing by text is not supported here: send the voice as an audio input",
}


def wish_of(catalogue: Catalogue, body: Mapping[str, Any]) -> Wish:
    """Return what a generate call asks for.

    Raises:
        InvalidBody: a field is missing, unknown, not supported or does not fit.
        EngineNotFound: there is no such model.
    """
    plain = without_nulls(body)
    _refuse_unsupported(plain)
    given = check(Generate, plain)
    model = catalogue.find_sync_v2(given.model)
    return Wish(
        dialect=DIALECT,
        model_id=given.model,
        engine=model.engine,
        video=_source(given, *PICTURES),
        audio=_source(given, "audio"),
        work={"mode": given.options.sync_mode, **_speaker(given)},
        input=_echo(plain, given),
        webhook=Source(url=given.webhookUrl, loc=("body", "webhookUrl"))
        if given.webhookUrl
        else None,
    )


def generation(job: Job, links: Links) -> dict[str, Any]:
    """Return a job as a generation; one that came in the other dialect too."""
    wire = _own_input(job)
    done = job.state is State.SUCCEEDED
    code, message = _error(job)
    return {
        "id": job.id,
        "createdAt": rfc3339(job.created_at),
        "status": STATUS[job.state],
        "model": wire["model"],
        "input": wire["input"],
        "options": wire.get("options", {}),
        "outputUrl": links.of_output(job.output["video"]) if done else None,
        "outputDuration": job.output.get("seconds") if done else None,
        "webhookUrl": job.ticket.webhook_url,
        "outputFileName": wire.get("outputFileName"),
        "error": message,
        "error_code": code,
        "errorCode": code,
    }


def model_info(model: Model) -> dict[str, Any]:
    """Return what the list of models says of one."""
    return {
        "id": model.id,
        "name": model.id,
        "type": "lipsync",
        "version": __version__,
        "description": model.summary,
    }


def words(given: Sequence[str], most: int = MAX_WORDS) -> list[str]:
    """Return each word once of a parameter that is repeated, separated by commas, or both.

    Raises:
        InvalidBody: there are more than *most*.
    """
    told = (word.strip() for text in given for word in text.split(","))
    found = [word for word in dict.fromkeys(told) if word]
    if len(found) > most:
        message = f"{len(found)} values in one parameter: send at most {most}"
        raise InvalidBody(Fault(loc=("query",), message=message))
    return found


def states_of(names: Sequence[str]) -> list[State]:
    """Return the states that a list may be limited to.

    Raises:
        InvalidBody: there is no such status.
    """
    unknown = [name for name in names if name not in STATES]
    if unknown:
        message = f"no such status: use {', '.join(STATES)}"
        raise InvalidBody(Fault(loc=("query", "status"), message=message))
    return [STATES[name] for name in names]


def _refuse_unsupported(body: Mapping[str, Any]) -> None:
    faults = [
        Fault(loc=("body", name), message=why)
        for name, why in UNSUPPORTED.items()
        if body.get(name)
    ]
    items = body.get("input")
    for index, item in enumerate(items if isinstance(items, list) else ()):
        if isinstance(item, dict):
            faults += [
                Fault(loc=("body", "input", index, name), message=why)
                for name, why in _unsupported_in(item)
            ]
    if faults:
        raise InvalidBody(*faults[:20])


def _unsupported_in(item: Mapping[str, Any]) -> list[tuple[str, str]]:
    if item.get("type") == "text":
        return [("type", "text to speech is not supported here: send recorded audio")]
    if "assetId" in item:
        return [("assetId", "there is no media library here: send a url, or upload to /v1/files")]
    segments = [name for name in ("segments_secs", "segments_frames") if item.get(name)]
    return [(name, UNSUPPORTED["segments"]) for name in segments]


def _source(given: Generate, *kinds: str) -> Source:
    index = given.item(*kinds)
    return Source(url=given.input[index].url, loc=("body", "input", index, "url"))


def _speaker(given: Generate) -> dict[str, Any]:
    wanted = given.options.active_speaker_detection
    place = wanted.place if wanted else None
    return {"speaker_frame": place} if place else {}


def _echo(plain: Mapping[str, Any], given: Generate) -> Mapping[str, Any]:
    """Return what answers say was asked for: a box for every frame as the place that they mean.

    It is read with every look at the job, so it must stay short.
    """
    wanted = given.options.active_speaker_detection
    if wanted is None or wanted.bounding_boxes is None:
        return plain
    asked = plain["options"]["active_speaker_detection"]
    brief = {name: value for name, value in asked.items() if name != "bounding_boxes"}
    if place := wanted.place:
        brief |= {"coordinates": place[:2], "frame_number": int(place[2])}
    return {**plain, "options": {**plain["options"], "active_speaker_detection": brief}}


def _own_input(job: Job) -> Mapping[str, Any]:
    if job.ticket.dialect == DIALECT:
        return job.ticket.input
    given = job.ticket.input
    return {
        "model": job.ticket.model_id,
        "input": [
            {"type": "video", "url": given["video_url"]},
            {"type": "audio", "url": given["audio_url"]},
        ],
        "options": {"sync_mode": given["sync_mode"]},
    }


def _error(job: Job) -> tuple[str | None, str | None]:
    if job.state is State.CANCELLED:
        return "cancelled", "it was cancelled while it waited"
    if job.state is State.FAILED and job.failure:
        return job.failure.code, job.failure.message
    return None, None
