"""Comparison of a painted frame with its source frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.common.face_regions import FaceRegions, luma_in_box
from bench.common.metrics import detail_energy, luma_change
from lipwright.media.picture import Picture
from lipwright.types import Floats


@dataclass(frozen=True, kw_only=True)
class FrameComparison:
    """Metrics of one frame."""

    detail: tuple[float, float]  #: detail energy in the mouth region: result, source
    neck_change: float  #: 95th percentile of the change below the chin, 8-bit levels of luma
    skin_luma: Floats  #: (2, c) luma of skin around the lips: result, source


def compare_frames(
    regions: FaceRegions, index: int, source: Picture, result: Picture
) -> FrameComparison:
    """Compare a frame of a result with the same frame of its source.

    Args:
        regions: of the speaker.
        index: of the frame in the source.
        source: frame of the source.
        result: frame of the result.
    """
    mouth_box, mouth = regions.mouth_region(index)
    neck_box, neck = regions.neck_region(index)
    return FrameComparison(
        detail=(
            detail_energy(luma_in_box(result, mouth_box), mouth),
            detail_energy(luma_in_box(source, mouth_box), mouth),
        ),
        neck_change=luma_change(
            luma_in_box(source, neck_box), luma_in_box(result, neck_box), neck, source.depth
        ),
        skin_luma=np.stack([regions.skin_luma(p, index) for p in (result, source)]),
    )
