"""The JSON of the sync.so v2 dialect, as models: input is checked by them, answers documented."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator
from pydantic.config import JsonDict

from lipwright.server.runcomfy.schemas import (
    AUDIO,
    FILE,
    MAX_URL,
    NOON,
    REQUEST,
    URL_TEXT,
    VIDEO,
    Answer,
    Coordinate,
    ErrorDetail,
    Mode,
    Strict,
    example,
)

GenerationStatus = Literal["PENDING", "PROCESSING", "COMPLETED", "FAILED", "REJECTED"]
DEFAULT_TEMPERATURE = 0.5  # of sync.so; ours has no such knob


_WORD = f"({'|'.join(get_args(GenerationStatus))})?"
STATUS_WORDS = f"^{_WORD}(,{_WORD})*$"  # one or more, separated by commas


PICTURES = ("video", "image")  # types of the input whose mouth is to speak


def _one(*kinds: str) -> JsonDict:
    """Return the JSON schema of a list with an item of one of those types."""
    return {"contains": {"properties": {"type": {"enum": list(kinds)}}}}


class MediaInput(Strict):
    """One input file: one is the video or a still picture, one the voice."""

    type: Literal["video", "image", "audio"]
    """Text to speech and stored assets are not taken here."""
    url: str = Field(min_length=1, description=URL_TEXT, examples=[VIDEO])
    refId: str | None = Field(default=None, max_length=255)
    """Kept and given back; only segments would need it."""


Box = Annotated[list[Coordinate], Field(max_length=4, fail_fast=True)]


class ActiveSpeaker(Strict):
    """Who speaks. Default: found by agreement with the voice, size and place."""

    auto_detect: bool | None = None
    """True: find the speaker; it cannot be combined with a place."""
    frame_number: int | None = Field(default=None, ge=0, lt=2**31)
    """The frame in which `coordinates` lie; default 0."""
    coordinates: list[Coordinate] | None = Field(default=None, min_length=2, max_length=2)
    """`[x, y]` pixels on the speaker's face."""
    bounding_boxes: list[Box | None] | None = Field(
        default=None, max_length=1_000_000, fail_fast=True
    )
    """`[x1, y1, x2, y2]` by frame, null for none; the first box says who speaks."""

    @model_validator(mode="after")
    def _one_way(self) -> ActiveSpeaker:
        boxes = [box for box in self.bounding_boxes or () if box is not None]
        if any(len(box) != 4 for box in boxes):
            raise ValueError("a bounding box is [x1, y1, x2, y2]")
        if self.coordinates and self.bounding_boxes:
            raise ValueError("send coordinates or bounding_boxes, not both")
        if self.auto_detect and (self.coordinates or boxes):
            raise ValueError("send auto_detect or a place, not both")
        if self.frame_number is not None and not self.coordinates:
            raise ValueError("frame_number needs coordinates")
        return self

    @property
    def place(self) -> list[float] | None:
        """``[x, y, frame]`` of the speaker, None to find the speaker."""
        if self.coordinates:
            return [*self.coordinates, float(self.frame_number or 0)]
        for frame, box in enumerate(self.bounding_boxes or ()):
            if box is not None:
                return [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2, float(frame)]
        return None


class GenerationOptions(Strict):
    """How it is done."""

    sync_mode: Mode = "bounce"
    """How a video and a voice of different length are made to fit."""
    temperature: float | None = Field(default=None, allow_inf_nan=False)
    """Only 0.5, the default of sync.so: this service has no such knob."""
    active_speaker_detection: ActiveSpeaker | None = None
    occlusion_detection_enabled: bool | None = None
    """Either value is fine: what covers the mouth is always looked for."""

    @model_validator(mode="after")
    def _known(self) -> GenerationOptions:
        if self.temperature not in (None, DEFAULT_TEMPERATURE):
            raise ValueError("temperature is not supported here: leave it out or send 0.5")
        return self


class Generate(Strict):
    """What is to be dubbed."""

    model_config = example(
        model="lipsync-2",
        input=[{"type": "video", "url": VIDEO}, {"type": "audio", "url": AUDIO}],
        options={"sync_mode": "loop"},
    )

    model: str = Field(min_length=1, max_length=255, examples=["lipsync-2"])
    """Which model; GET /v2/models lists them."""
    input: list[MediaInput] = Field(
        min_length=2, max_length=2, json_schema_extra={"allOf": [_one(*PICTURES), _one("audio")]}
    )
    """One video or image and one audio."""
    options: GenerationOptions = Field(default_factory=GenerationOptions)
    webhookUrl: str | None = Field(default=None, min_length=1, max_length=MAX_URL)
    """Is called once, with the generation, when it has ended."""
    outputFileName: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-]{1,255}$")
    """Name of the result when it is downloaded, without `.mp4`."""

    @model_validator(mode="after")
    def _both(self) -> Generate:
        if sum(item.type in PICTURES for item in self.input) != 1:
            raise ValueError("input needs one item of type video or image, and one of type audio")
        return self

    def item(self, *kinds: str) -> int:
        """Return the index of the input of one of those types."""
        return next(i for i, item in enumerate(self.input) if item.type in kinds)


class Generation(Answer):
    """A request and where it is."""

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
        error=None,
        error_code=None,
        errorCode=None,
    )

    id: str = Field(examples=[REQUEST])
    createdAt: str
    """RFC 3339."""
    status: GenerationStatus
    """`REJECTED`: it was cancelled while it waited."""
    model: str
    input: list[dict[str, Any]]
    options: dict[str, Any]
    outputUrl: str | None
    outputDuration: float | None
    """Seconds."""
    webhookUrl: str | None
    outputFileName: str | None
    error: str | None
    error_code: str | None
    errorCode: str | None


class ModelInfo(Answer):
    """A model."""

    id: str
    name: str = Field(examples=["lipsync-2"])
    type: Literal["lipsync"] = "lipsync"
    version: str
    description: str


class CostEstimate(Answer):
    """What a generation would cost, and how long its result would be."""

    estimatedFrameCount: int
    """Frames of the result, counted in the files themselves."""
    estimatedGenerationCost: float
    """Always 0: it runs on your machines."""


class ErrorInfoV2(Answer):
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
