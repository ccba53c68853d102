"""The JSON of the sync.so v2 dialect as pydantic models.

Requests are validated by their models; responses are only documented by them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator
from pydantic.config import JsonDict

from lipwright.options import SpeakerPick, SyncMode
from lipwright.server.runcomfy.schemas import (
    AUDIO,
    FILE,
    MAX_URL,
    NOON,
    REQUEST,
    URL_TEXT,
    VIDEO,
    Coordinate,
    ErrorDetail,
    Mode,
    RequestModel,
    ResponseModel,
    example,
)

GenerationStatus = Literal["PENDING", "PROCESSING", "COMPLETED", "FAILED", "REJECTED"]
DEFAULT_TEMPERATURE = 0.5  # of sync.so; this service has no temperature

_STATUS = f"({'|'.join(get_args(GenerationStatus))})?"
STATUSES = f"^{_STATUS}(,{_STATUS})*$"  # one or more, separated by commas

PICTURES = ("video", "image")  # types of the visual input


def _contains(*kinds: str) -> JsonDict:
    """Return the JSON schema of a list that contains an item of one of those types."""
    return {"contains": {"properties": {"type": {"enum": list(kinds)}}}}


class MediaInput(RequestModel):
    """One input file: the video or still picture, or the audio."""

    type: Literal["video", "image", "audio"]
    """Text to speech and stored assets are not supported."""
    url: str = Field(min_length=1, description=URL_TEXT, examples=[VIDEO])
    refId: str | None = Field(default=None, max_length=255)
    """Repeated in responses; only segments would use it."""


Box = Annotated[list[Coordinate], Field(max_length=4, fail_fast=True)]


class ActiveSpeaker(RequestModel):
    """Selects the speaker. Default: detected from the audio, size and position."""

    auto_detect: bool | None = None
    """True: detect the speaker; conflicts with a position."""
    frame_number: int | None = Field(default=None, ge=0, lt=2**31)
    """The frame of `coordinates`; default 0."""
    coordinates: list[Coordinate] | None = Field(default=None, min_length=2, max_length=2)
    """`[x, y]` pixels on the speaker's face."""
    bounding_boxes: list[Box | None] | None = Field(
        default=None, max_length=1_000_000, fail_fast=True
    )
    """`[x1, y1, x2, y2]` for each frame, null for none; the first box selects the speaker."""

    @model_validator(mode="after")
    def _check_one_method(self) -> ActiveSpeaker:
        boxes = [box for box in self.bounding_boxes or () if box is not None]
        if any(len(box) != 4 for box in boxes):
            raise ValueError("a bounding box is [x1, y1, x2, y2]")
        if self.coordinates and self.bounding_boxes:
            raise ValueError("send coordinates or bounding_boxes, not both")
        if self.auto_detect and (self.coordinates or boxes):
            raise ValueError("send auto_detect or a position, not both")
        if self.frame_number is not None and not self.coordinates:
            raise ValueError("frame_number needs coordinates")
        return self

    @property
    def pick(self) -> SpeakerPick | None:
        """The speaker by position and frame; None: detected."""
        if self.coordinates:
            x, y = self.coordinates
            return SpeakerPick(x=x, y=y, frame=self.frame_number or 0)
        for frame, box in enumerate(self.bounding_boxes or ()):
            if box is not None:
                x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
                return SpeakerPick(x=x, y=y, frame=frame)
        return None


class GenerationOptions(RequestModel):
    """Options of a generation."""

    sync_mode: Mode = SyncMode.BOUNCE
    """How a video and an audio of different length are fitted to each other."""
    temperature: float | None = Field(default=None, allow_inf_nan=False)
    """Only 0.5, the default of sync.so: this service has no temperature."""
    active_speaker_detection: ActiveSpeaker | None = None
    occlusion_detection_enabled: bool | None = None
    """Ignored: occlusions of the mouth are always detected."""

    @model_validator(mode="after")
    def _check_temperature(self) -> GenerationOptions:
        if self.temperature not in (None, DEFAULT_TEMPERATURE):
            raise ValueError("temperature is not supported here: leave it out or send 0.5")
        return self


class Generate(RequestModel):
    """A generation to be made."""

    model_config = example(
        model="lipsync-2",
        input=[{"type": "video", "url": VIDEO}, {"type": "audio", "url": AUDIO}],
        options={"sync_mode": "loop"},
    )

    model: str = Field(min_length=1, max_length=255, examples=["lipsync-2"])
    """The model; GET /v2/models lists all."""
    input: list[MediaInput] = Field(
        min_length=2,
        max_length=2,
        json_schema_extra={"allOf": [_contains(*PICTURES), _contains("audio")]},
    )
    """One video or image and one audio."""
    options: GenerationOptions = Field(default_factory=GenerationOptions)
    webhookUrl: str | None = Field(default=None, min_length=1, max_length=MAX_URL)
    """Called once, with the generation, when it has ended."""
    outputFileName: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-]{1,255}$")
    """File name of the downloaded result, without `.mp4`."""

    @model_validator(mode="after")
    def _check_input_types(self) -> Generate:
        if sum(item.type in PICTURES for item in self.input) != 1:
            raise ValueError("input needs one item of type video or image, and one of type audio")
        return self

    def input_index(self, *kinds: str) -> int:
        """Return the index of the input with one of those types."""
        return next(i for i, item in enumerate(self.input) if item.type in kinds)


class Generation(ResponseModel):
    """A request and its status."""

    model_config = example(
        id=REQUEST,
        createdAt=NOON,
        status="COMPLETED",
        model="lipsync-2",
        input=[{"type": "video", "url": VIDEO}, {"type": "audio", "url": AUDIO}],
        options={"sync_mode": "loop"},
        outputUrl=FILE,
        outputDuration=12.5,
        webhookUrl=None,
        outputFileName=None,
        warnings=[],
        error=None,
        error_code=None,
        errorCode=None,
    )

    id: str = Field(examples=[REQUEST])
    createdAt: str
    """RFC 3339."""
    status: GenerationStatus
    """`REJECTED`: it was cancelled while it was queued."""
    model: str
    input: list[dict[str, Any]]
    options: dict[str, Any]
    outputUrl: str | None
    outputDuration: float | None
    """Seconds."""
    webhookUrl: str | None
    outputFileName: str | None
    warnings: list[str]
    """What was not done as requested, or not at all."""
    error: str | None
    error_code: str | None
    errorCode: str | None


class ModelInfo(ResponseModel):
    """A model."""

    id: str
    name: str = Field(examples=["lipsync-2"])
    type: Literal["lipsync"] = "lipsync"
    version: str
    description: str


class CostEstimate(ResponseModel):
    """The estimated cost and length of a generation."""

    estimatedFrameCount: int
    """Frames of the result, counted in the input files."""
    estimatedGenerationCost: float
    """Always 0: the service runs on your machines."""


class ErrorInfoV2(ResponseModel):
    """An error."""

    model_config = example(
        error_code="job_not_found",
        errorCode="job_not_found",
        error_message="there is no such job",
        message="there is no such job",
        statusCode=404,
        detail=[{"type": "job_not_found", "msg": "there is no such job"}],
    )

    error_code: str = Field(examples=["invalid_options"])
    errorCode: str
    error_message: str
    message: str
    statusCode: int
    detail: list[ErrorDetail]
