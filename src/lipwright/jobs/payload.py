"""The payload of a job: its sources and options, stored as JSON in the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from lipwright.errors import InvalidOptions
from lipwright.options import SyncOptions


@dataclass(frozen=True, kw_only=True)
class JobPayload:
    """What a worker needs to run a job."""

    video: str  #: https URL, or ``file:ID`` of an upload
    audio: str
    options: SyncOptions = field(default_factory=SyncOptions)
    seed: int | None = None  #: for engines that draw random numbers

    def to_json(self) -> dict[str, Any]:
        """Return the payload as JSON, defaults included: later versions may have others."""
        seed = {} if self.seed is None else {"seed": self.seed}
        return {
            "video": self.video,
            "audio": self.audio,
            **self.options.to_json(remote=True),
            **seed,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the payload that *values* describes.

        Raises:
            InvalidOptions: another version of Lipwright has written an option that this one lacks.
        """
        options = {name: value for name, value in values.items() if value is not None}
        video, audio = options.pop("video"), options.pop("audio")
        seed = options.pop("seed", None)
        if place := options.pop("speaker_frame", None):  # queued before a pick held its frame
            options["speaker"] = {"x": place[0], "y": place[1], "frame": int(place[2])}
        try:
            return cls(video=video, audio=audio, options=SyncOptions.from_json(options), seed=seed)
        except InvalidOptions as cause:
            raise InvalidOptions(f"this worker cannot run the job: {cause}") from cause
