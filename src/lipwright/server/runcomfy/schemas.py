"""The JSON of the RunComfy dialect, as models: input is checked by them, answers documented."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from lipwright.options import MOST_INTENSITY

Mode = Literal["cut_off", "loop", "bounce", "silence", "remap"]
Wire = Literal["in_queue", "in_progress", "completed", "cancelled"]
Ending = Literal["succeeded", "failed", "cancelled", "in_queue", "in_progress"]

VIDEO = "https://media.example.org/talk.mp4"
AUDIO = "https://media.example.org/speech.mp3"
REQUEST = "6f1c0d5e-8a53-4d0c-9a3e-0d2f6a1b7c42"
URL_TEXT = "A public https URL, a data: URI, or the url of a file uploaded to /v1/files."
MAX_URL = 8192  # characters of anything but a data: URI


Coordinate = Annotated[float, Field(ge=0, allow_inf_nan=False)]


NOON = "2026-01-31T12:00:00.123000+00:00"
CALL = f"https://dub.example.org/v1/requests/{REQUEST}"
FILE = f"https://dub.example.org/v1/outputs/{REQUEST}/video.mp4?expires=1769947200&signature=b7s…"
UPLOAD = "file_0af7651916cd43dd8448eb211c80319c"


def example(**fields: Any) -> ConfigDict:
    """Return the configuration of a model that is documented with an example."""
    return ConfigDict(use_attribute_docstrings=True, json_schema_extra={"examples": [fields]})


class Strict(BaseModel):
    """Input: nothing is converted, nothing unknown is accepted."""

    model_config = ConfigDict(strict=True, extra="forbid", use_attribute_docstrings=True)


class Answer(BaseModel):
    """Output."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class OwnOptions(Strict):
    """What Lipwright offers beyond the contract; all optional."""

    speaker: list[Coordinate] | None = Field(
        default=None, min_length=2, max_length=3, examples=[[640, 300, 2.5]]
    )
    """Who speaks: the face nearest to `[x, y]` pixels, or `[x, y, seconds]` at that time."""
    allow_no_face: bool = False
    """Pass a video without a face through, with the new sound, instead of failing."""
    intensity: float | None = Field(default=None, ge=0, le=MOST_INTENSITY)
    """How strongly to articulate: 0 leaves the mouth at rest, 1, the default, is as the speaker."""
    restore: Literal["auto", "off", "2x", "4x"] | None = None
    """Super-resolve the painted mouth where it has to be enlarged (`auto`), never, or always."""
    size: Literal["1080p", "4k"] | None = None
    """Enlarge whole frames to fit 1920x1080 or 3840x2160, either way up; nothing gets smaller."""
    crf: float | None = Field(default=None, ge=1, le=51)
    """Quality of the encoder: 1 is finest, 51 coarsest. Default: near-transparent."""
    seed: int | None = Field(default=None, ge=0, lt=2**63)
    """Makes the result repeatable, for engines that draw random numbers."""
    webhook_url: str | None = Field(default=None, min_length=1, max_length=MAX_URL)
    """Is called once, with the result, when the request has ended."""


class SubmitInput(Strict):
    """The input of a lip-sync model."""

    model_config = example(video_url=VIDEO, audio_url=AUDIO)

    video_url: str = Field(
        min_length=1, description=f"The video, or a still picture. {URL_TEXT}", examples=[VIDEO]
    )
    audio_url: str = Field(min_length=1, description=f"The voice. {URL_TEXT}", examples=[AUDIO])
    sync_mode: Mode = "cut_off"
    """How a video and a voice of different length are made to fit."""
    lipwright: OwnOptions = Field(default_factory=OwnOptions)
    """Options of this service; leave it out for the contract."""


class Submitted(Answer):
    """A request that was taken."""

    model_config = example(
        request_id=REQUEST,
        status_url=f"{CALL}/status",
        result_url=f"{CALL}/result",
        cancel_url=f"{CALL}/cancel",
    )

    request_id: str = Field(examples=[REQUEST])
    status_url: str
    result_url: str
    cancel_url: str


class Status(Answer):
    """Where a request is. A failed one is `completed`; its result tells why."""

    model_config = example(
        request_id=REQUEST,
        status="in_queue",
        queue_position=2,
        status_url=f"{CALL}/status",
        result_url=f"{CALL}/result",
    )

    request_id: str = Field(examples=[REQUEST])
    status: Wire
    queue_position: int = Field(default=0, ge=0)
    """How many go before it; only while it is `in_queue`."""
    status_url: str
    result_url: str


class Output(Answer):
    """What a model makes."""

    video: str
    """The dub."""
    videos: list[str]
    """The same, as a list."""
    image: str | None = None
    """A poster frame."""
    images: list[str] = []
    """The same, as a list."""


class FailureInfo(Answer):
    """Why a request failed."""

    code: str = Field(examples=["no_face_found"])
    """A stable word; the reference of errors lists them."""
    message: str


class Result(Answer):
    """What came of a request; asked for too early, only its status."""

    model_config = example(
        request_id=REQUEST,
        status="succeeded",
        output={"video": FILE, "videos": [FILE]},
        created_at=NOON,
        finished_at=NOON,
        error=None,
        model_id="sync/sync/lipsync/v2/pro",
    )

    request_id: str = Field(examples=[REQUEST])
    status: Ending
    output: Output | None
    created_at: str
    """RFC 3339."""
    finished_at: str | None
    error: FailureInfo | None
    model_id: str


class Cancelled(Answer):
    """What came of the wish to cancel."""

    model_config = example(request_id=REQUEST, status="cancelled", outcome="cancelled")

    request_id: str = Field(examples=[REQUEST])
    status: Wire
    outcome: Literal["cancelled", "not_cancellable"]
    """Only a queued request can be cancelled."""


class RequestInfo(Answer):
    """One request in a list."""

    request_id: str = Field(examples=[REQUEST])
    status: Ending
    model_id: str
    created_at: str
    finished_at: str | None
    error: FailureInfo | None
    status_url: str
    result_url: str


class RequestList(Answer):
    """The caller's requests, newest first."""

    requests: list[RequestInfo]
    next_cursor: str | None
    """Send it as `cursor` for the older ones; null at the end."""


class WebhookInfo(Answer):
    """One webhook call."""

    webhook_id: str
    """The same in every attempt."""
    url: str
    state: Literal["pending", "delivered", "dead"]
    attempts: int
    next_at: str | None
    """When it is tried again."""
    last_error: str | None


class WebhookList(Answer):
    """The webhook calls of a request."""

    webhooks: list[WebhookInfo]


class Erased(Answer):
    """A request that is gone, with its files."""

    request_id: str = Field(examples=[REQUEST])
    erased: Literal[True] = True


class ModelCard(Answer):
    """A model."""

    model_id: str = Field(examples=["sync/sync/lipsync/v2/pro"])
    display_name: str
    description: str
    kind: str
    categories: list[str]
    base_price_usd: float
    """Always 0: it runs on your machines."""
    price_unit: str


class ModelDetail(ModelCard):
    """A model with its schemas."""

    input_schema: dict[str, Any] | None = None
    """JSON schema of the body of a submit call."""
    output_schema: dict[str, Any] | None = None
    """JSON schema of `output` in a result."""


class ModelList(Answer):
    """The models of this deployment."""

    models: list[ModelDetail]
    total: int
    """How many match, over all pages."""


class Categories(Answer):
    """The categories that models have."""

    categories: list[str]


class UploadInfo(Answer):
    """A file that was stored."""

    model_config = example(
        file_id=UPLOAD,
        url=f"https://dub.example.org/v1/files/{UPLOAD}",
        size=1_234_567,
        expires_at=NOON,
    )

    file_id: str
    url: str
    """Send it as `video_url` or `audio_url`."""
    size: int
    """Bytes."""
    expires_at: str


class FileErased(Answer):
    """An uploaded file that is gone."""

    file_id: str
    erased: Literal[True] = True


class ErrorDetail(Answer):
    """One thing that is wrong."""

    type: str = Field(examples=["invalid_options"])
    """A stable word; the reference of errors lists them."""
    msg: str
    loc: list[str | int] = []
    """The field, where one is to blame."""


class ErrorInfo(Answer):
    """An error."""

    model_config = example(
        error_code=422001,
        error_message="video_url: missing: this field is required",
        detail=[
            {
                "type": "invalid_options",
                "msg": "missing: this field is required",
                "loc": ["body", "video_url"],
            }
        ],
    )

    error_code: int = Field(examples=[422001])
    error_message: str
    detail: list[ErrorDetail]


class Health(Answer):
    """Whether the service works."""

    status: Literal["ok", "not_ready"]


class Readiness(Health):
    """Whether the service can take and carry out requests, part by part."""

    checks: dict[str, str]
    """`ok`, or what is wrong."""
