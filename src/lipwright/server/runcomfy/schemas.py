"""The JSON of the RunComfy dialect as pydantic models.

Requests are validated by their models; responses are only documented by them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, create_model

from lipwright.options import Option, SpeakerPick, SyncMode, SyncOptions, option_fields

#: A sync mode by its name; the schema lists the names in place.
Mode = Annotated[
    SyncMode,
    Field(strict=False),
    WithJsonSchema({"type": "string", "enum": [mode.value for mode in SyncMode]}),
]
QueueStatus = Literal["in_queue", "in_progress", "completed", "cancelled"]
ResultStatus = Literal["succeeded", "failed", "cancelled", "in_queue", "in_progress"]

VIDEO = "https://media.example.org/talk.mp4"
AUDIO = "https://media.example.org/speech.mp3"
REQUEST = "6f1c0d5e-8a53-4d0c-9a3e-0d2f6a1b7c42"
URL_TEXT = "A public https URL, a data: URI, or the url of a file uploaded to /v1/files."
MAX_URL = 8192  # characters; data: URIs have their own limit

Coordinate = Annotated[float, Field(ge=0, allow_inf_nan=False)]

NOON = "2026-01-31T12:00:00.123000+00:00"
CALL = f"https://dub.example.org/v1/requests/{REQUEST}"
FILE = f"https://dub.example.org/v1/outputs/{REQUEST}/video.mp4?expires=1769947200&signature=b7s…"
UPLOAD = "file_0af7651916cd43dd8448eb211c80319c"


def example(**fields: Any) -> ConfigDict:
    """Return the configuration of a model with an example in its documentation."""
    return ConfigDict(use_attribute_docstrings=True, json_schema_extra={"examples": [fields]})


class RequestModel(BaseModel):
    """Base of requests: no type conversion, no unknown fields."""

    model_config = ConfigDict(strict=True, extra="forbid", use_attribute_docstrings=True)


class ResponseModel(BaseModel):
    """Base of responses."""

    model_config = ConfigDict(use_attribute_docstrings=True)


def _schema_field(field: Option) -> tuple[Any, Any]:
    """Return the type and the pydantic field of an option."""
    kind: Any = Literal[*field.choices] if field.choices else field.kind
    text, limits = field.help, {"ge": field.minimum, "le": field.maximum}
    if field.kind is bool:
        return kind, Field(default=field.default, description=text)
    if field.kind is SpeakerPick:
        kind, text = list[Coordinate], f"{text} `[x, y]` or `[x, y, seconds]`."
        limits = {"min_length": 2, "max_length": 3}
    arguments: Any = {name: limit for name, limit in limits.items() if limit is not None}
    return kind | None, Field(default=None, description=text, **arguments)


_OPTION_FIELDS: Any = {
    field.name: _schema_field(field)
    for field in option_fields()
    if field.remote and field.name != "mode"  # `sync_mode` in the contract
}
#: The fields of :class:`lipwright.options.SyncOptions` that a request may set.
_RequestOptions: Any = create_model("_RequestOptions", __base__=RequestModel, **_OPTION_FIELDS)


class OwnOptions(_RequestOptions):  # type: ignore[misc]
    """Options of Lipwright beyond RunComfy's contract; all optional."""

    seed: int | None = Field(default=None, ge=0, lt=2**63)
    """Makes the result repeatable, for engines that draw random numbers."""
    webhook_url: str | None = Field(default=None, min_length=1, max_length=MAX_URL)
    """Called once, with the result, when the request has ended."""

    def options(self, mode: SyncMode) -> SyncOptions:
        """Return the options of the job.

        Raises:
            InvalidOptions: the speaker is out of range.
        """
        given = self.model_dump(include=set(_OPTION_FIELDS), exclude_none=True)
        return SyncOptions.from_json({"mode": mode, **given})


class SubmitInput(RequestModel):
    """The input of a lip-sync model."""

    model_config = example(video_url=VIDEO, audio_url=AUDIO)

    video_url: str = Field(
        min_length=1, description=f"The video, or a still picture. {URL_TEXT}", examples=[VIDEO]
    )
    audio_url: str = Field(
        min_length=1, description=f"The new speech. {URL_TEXT}", examples=[AUDIO]
    )
    sync_mode: Mode = SyncMode.CUT_OFF
    """How a video and an audio of different length are fitted to each other."""
    lipwright: OwnOptions = Field(default_factory=OwnOptions)
    """Options of this service beyond RunComfy's contract."""


class Submitted(ResponseModel):
    """An accepted request."""

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


class Status(ResponseModel):
    """The status of a request. A failed one is `completed`; its result has the error."""

    model_config = example(
        request_id=REQUEST,
        status="in_queue",
        queue_position=2,
        status_url=f"{CALL}/status",
        result_url=f"{CALL}/result",
    )

    request_id: str = Field(examples=[REQUEST])
    status: QueueStatus
    queue_position: int = Field(default=0, ge=0)
    """Requests ahead of it; only while it is `in_queue`."""
    status_url: str
    result_url: str


class Output(ResponseModel):
    """The output of a model."""

    video: str
    """The dubbed video."""
    videos: list[str]
    """The same, as a list."""
    image: str | None = None
    """A poster frame."""
    images: list[str] = []
    """The same, as a list."""


class FailureInfo(ResponseModel):
    """Why a request failed."""

    code: str = Field(examples=["no_face_found"])
    """A stable word; see the reference of errors."""
    message: str


class Result(ResponseModel):
    """The result of a request; only its status while it has not ended."""

    model_config = example(
        request_id=REQUEST,
        status="succeeded",
        output={"video": FILE, "videos": [FILE]},
        created_at=NOON,
        finished_at=NOON,
        error=None,
        warnings=[],
        model_id="sync/sync/lipsync/v2/pro",
    )

    request_id: str = Field(examples=[REQUEST])
    status: ResultStatus
    output: Output | None
    created_at: str
    """RFC 3339."""
    finished_at: str | None
    error: FailureInfo | None
    warnings: list[str]
    """What was not done as requested, or not at all."""
    model_id: str


class Cancelled(ResponseModel):
    """The outcome of a cancel call."""

    model_config = example(request_id=REQUEST, status="cancelled", outcome="cancelled")

    request_id: str = Field(examples=[REQUEST])
    status: QueueStatus
    outcome: Literal["cancelled", "not_cancellable"]
    """Only a queued request can be cancelled."""


class RequestInfo(ResponseModel):
    """One request in a list."""

    request_id: str = Field(examples=[REQUEST])
    status: ResultStatus
    model_id: str
    created_at: str
    finished_at: str | None
    error: FailureInfo | None
    status_url: str
    result_url: str


class RequestList(ResponseModel):
    """The caller's requests, newest first."""

    requests: list[RequestInfo]
    next_cursor: str | None
    """Send it as `cursor` for older requests; null on the last page."""


class WebhookInfo(ResponseModel):
    """One webhook delivery."""

    webhook_id: str
    """The same in every attempt."""
    url: str
    state: Literal["pending", "delivered", "dead"]
    attempts: int
    next_at: str | None
    """Time of the next attempt."""
    last_error: str | None


class WebhookList(ResponseModel):
    """The webhook deliveries of a request."""

    webhooks: list[WebhookInfo]


class Erased(ResponseModel):
    """An erased request."""

    request_id: str = Field(examples=[REQUEST])
    erased: Literal[True] = True


class ModelCard(ResponseModel):
    """A model."""

    model_id: str = Field(examples=["sync/sync/lipsync/v2/pro"])
    display_name: str
    description: str
    kind: str
    categories: list[str]
    base_price_usd: float
    """Always 0: the service runs on your machines."""
    price_unit: str


class ModelDetail(ModelCard):
    """A model with its schemas."""

    input_schema: dict[str, Any] | None = None
    """JSON schema of the body of a submit call."""
    output_schema: dict[str, Any] | None = None
    """JSON schema of `output` in a result."""


class ModelList(ResponseModel):
    """The models of this deployment."""

    models: list[ModelDetail]
    total: int
    """Matching models on all pages."""


class Categories(ResponseModel):
    """The categories of the models."""

    categories: list[str]


class UploadInfo(ResponseModel):
    """A stored file."""

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


class FileErased(ResponseModel):
    """An erased upload."""

    file_id: str
    erased: Literal[True] = True


class ErrorDetail(ResponseModel):
    """One error in a request."""

    type: str = Field(examples=["invalid_options"])
    """A stable word; see the reference of errors."""
    msg: str
    loc: list[str | int] = []
    """The invalid field, if it is one."""


class ErrorInfo(ResponseModel):
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


class Health(ResponseModel):
    """Whether the service works."""

    status: Literal["ok", "not_ready"]


class Readiness(Health):
    """Whether each part of the service works."""

    checks: dict[str, str]
    """`ok` or the reason, by part."""
