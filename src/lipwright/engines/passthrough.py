"""The tutorial engine: returns every view as it is."""

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
    """Paints nothing: the new speech over the old picture."""

    def study(self, portrait: FaceTrack, fetch: FetchViews) -> None:
        """Learn nothing."""

    def paint(
        self, speaker: None, script: DrivingSequence, views: Iterable[FaceView | None]
    ) -> Iterator[Patch | None]:
        """Yield each view unchanged, its mask empty."""
        for view in views:
            if view is None:
                yield None
            else:
                mask = np.zeros(view.rgb.shape[:2], np.float32)
                yield Patch(rgb=view.rgb, mask=mask, box=view.box)

    def close(self) -> None:
        """Free nothing."""


SPEC = EngineSpec(
    name="passthrough",
    summary="new speech over the old picture",
    licence="Apache-2.0",
    load=lambda device: Passthrough(),
)
