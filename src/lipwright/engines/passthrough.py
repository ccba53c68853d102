"""The tutorial engine: returns every view unchanged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from lipwright.engines.base import (
    DrivingSequence,
    EngineSpec,
    FaceTrack,
    FaceView,
    FetchViews,
    Patch,
)


class Passthrough:
    """Paints nothing: new audio over the original picture."""

    def study(self, face: FaceTrack, fetch_views: FetchViews) -> None:
        """Do nothing: this engine needs to know nothing about the speaker."""

    def paint(
        self, speaker: None, driving: DrivingSequence, views: Iterable[FaceView | None]
    ) -> Iterator[Patch | None]:
        """Yield each view unchanged, with an empty mask."""
        for view in views:
            if view is None:
                yield None
            else:
                mask = np.zeros(view.rgb.shape[:2], np.float32)
                yield Patch(rgb=view.rgb, mask=mask, box=view.box)

    def close(self) -> None:
        """Do nothing: this engine holds no resources."""


SPEC = EngineSpec(
    name="passthrough",
    summary="new speech over the old picture",
    licence="Apache-2.0",
    load=lambda device, store: Passthrough(),
)
