"""Pictures between pictures, along the motion: dense inverse search optical flow.

Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016; the flow at an
intermediate time is combined from both directions as in Jiang et al., "Super SloMo", CVPR 2018.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from lipwright.media.picture import Picture, Plane

Field = npt.NDArray[np.float32]  #: (h, w, 2): x and y displacement in pixels

FLOW_SIDE = 640  # pixels of the longer side at which motion is found: finer adds time, not motion
CUT_LEVEL = 28.0  # mean luma difference (8 bit) left after motion is undone: a change of scene


class Between:
    """The pictures between *first* (weight 0) and *second* (weight 1), which are alike in kind."""

    def __init__(self, first: Picture, second: Picture) -> None:
        self._first = first
        self._second = second

    def at(self, weight: float) -> Picture:
        """Return the picture at *weight* in [0, 1]; across a change of scene, the nearer input."""
        if weight <= 0:
            return self._first
        if weight >= 1:
            return self._second
        if self._is_cut:
            return self._first if weight < 0.5 else self._second
        forward, backward = self._flows
        to_first = weight * weight * backward - weight * (1 - weight) * forward
        to_second = (1 - weight) ** 2 * forward - weight * (1 - weight) * backward
        y, u, v = zip(self._first.planes, self._second.planes, strict=True)
        luma = _mixed(y, (to_first, to_second), weight)
        chroma = (_mixed(pair, (to_first, to_second), weight) for pair in (u, v))
        return replace(self._first, planes=(luma, *chroma))

    @cached_property
    def _small(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        first, second = (_grey(picture) for picture in (self._first, self._second))
        return first, second

    @cached_property
    def _flows(self) -> tuple[Field, Field]:
        """The motion from first to second and from second to first, (h, w, 2) small pixels."""
        search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        first, second = self._small
        return search.calc(first, second, None), search.calc(second, first, None)

    @cached_property
    def _is_cut(self) -> bool:
        first, second = self._small
        moved = _warped(second, self._flows[0])
        return float(cv2.absdiff(first, moved).mean()) > CUT_LEVEL


def _grey(picture: Picture) -> npt.NDArray[np.uint8]:
    """Return the luma at 8 bit and at most FLOW_SIDE pixels."""
    luma = picture.planes[0]
    scale = FLOW_SIDE / max(luma.shape)
    if scale < 1:
        luma = cv2.resize(luma, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    grey = luma if luma.dtype == np.uint8 else cv2.convertScaleAbs(luma, alpha=0.25)
    return np.ascontiguousarray(grey)  # the search takes no lines with padding


def _mixed(pair: tuple[Plane, Plane], flows: tuple[Field, Field], weight: float) -> Plane:
    first, second = (_warped(p, f) for p, f in zip(pair, flows, strict=True))
    return cv2.addWeighted(first, 1 - weight, second, weight, 0)


def _warped(plane: Plane, flow: Field) -> Plane:
    """Return *plane* (H, W) sampled where *flow* (of any smaller size) points to."""
    height, width = plane.shape
    scale = np.array([width / flow.shape[1], height / flow.shape[0]], np.float32)
    full = cv2.resize(flow, (width, height), interpolation=cv2.INTER_LINEAR) * scale
    full += np.dstack(np.meshgrid(np.arange(width), np.arange(height))).astype(np.float32)
    return cv2.remap(plane, full, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
