"""The render task: what a worker sends to its render process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from lipwright.options import SyncOptions


@dataclass(frozen=True, kw_only=True)
class RenderTask:
    """Local files to render, and files to write."""

    video: str
    audio: str
    output: str  #: the dub, an ``.mp4`` file
    poster: str  #: a still of it, a ``.jpg`` file
    engine: str
    options: SyncOptions = field(default_factory=SyncOptions)

    def to_json(self) -> dict[str, Any]:
        """Return the task as JSON."""
        return {**vars(self), "options": self.options.to_json()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the task that *values* describes."""
        return cls(**{**values, "options": SyncOptions.from_json(values["options"])})
