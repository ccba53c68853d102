"""Pictures between pictures, along the motion: dense inverse search optical flow.

Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016; the flow at an
intermediate time is combined from both directions as in Jiang et al., "Super SloMo", CVPR 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from math import ceil
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from lipwright.media.picture import Picture, Plane

Field = npt.NDArray[np.float32]  #: (h, w, 2): x and y displacement in pixels

FLOW_SIDE = 512  # pixels of the longer side at which motion is found: finer adds time, not motion
STILL = 0.05  # of those pixels: motion below is none
MARGIN = 8  # of those pixels around what moves
BAND = 64  # rows moved at a time
TOP_CODE = 1023  # of 10-bit samples
CUT_LEVEL = 28.0  # mean luma difference (8 bit) left after motion is undone: a change of scene


class Span(NamedTuple):
    """A rectangle of pixels: x0 <= x < x1, y0 <= y < y1."""

    x0: int
    y0: int
    x1: int
    y1: int


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
        y, u, v = (
            _mixed(pair, (to_first, to_second), weight, self._moving)
            for pair in zip(self._first.planes, self._second.planes, strict=True)
        )
        return replace(self._first, planes=(y, u, v))

    @cached_property
    def _small(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        first, second = (_grey(picture) for picture in (self._first, self._second))
        return first, second

    @cached_property
    def _flows(self) -> tuple[Field, Field]:
        """The motion from first to second and from second to first, (h, w, 2) small pixels."""
        search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        first, second = self._small
        return search.calc(first, second, None), search.calc(second, first, None)

    @cached_property
    def _moving(self) -> tuple[int, int, int, int]:
        """The box x, y, width, height of small pixels outside which nothing moves."""
        forward, backward = (np.abs(flow).max(axis=2) for flow in self._flows)
        return _grown(cv2.boundingRect((np.maximum(forward, backward) > STILL).astype(np.uint8)))

    @cached_property
    def _is_cut(self) -> bool:
        first, second = self._small
        moved = _warped(second, self._flows[0], Span(0, 0, *second.shape[::-1]))
        return float(cv2.absdiff(first, moved).mean()) > CUT_LEVEL


def _grey(picture: Picture) -> npt.NDArray[np.uint8]:
    """Return the luma at 8 bit and at most FLOW_SIDE pixels."""
    luma = picture.planes[0]
    scale = FLOW_SIDE / max(luma.shape)
    if scale < 1:
        luma = cv2.resize(luma, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    grey = luma if luma.dtype == np.uint8 else cv2.convertScaleAbs(luma, alpha=0.25)
    return np.ascontiguousarray(grey)  # the search takes no lines with padding


def _grown(box: Sequence[int]) -> tuple[int, int, int, int]:
    x, y, width, height = box
    left, top = max(0, x - MARGIN), max(0, y - MARGIN)
    return left, top, x + width + MARGIN - left, y + height + MARGIN - top


def _mixed(
    pair: tuple[Plane, Plane],
    flows: tuple[Field, Field],
    weight: float,
    moving: tuple[int, int, int, int],
) -> Plane:
    """Return the mean of both planes (H, W), each moved along its flow where anything moves."""
    mixed: Plane = cv2.addWeighted(pair[0], 1 - weight, pair[1], weight, 0)
    span = _scaled(moving, flows[0].shape[:2], mixed.shape)
    if span.x1 <= span.x0:
        return mixed
    for y0 in range(span.y0, span.y1, BAND):  # small temporaries stay in the cache
        band = span._replace(y0=y0, y1=min(y0 + BAND, span.y1))
        first, second = (_warped(p, f, band) for p, f in zip(pair, flows, strict=True))
        mixed[band.y0 : band.y1, band.x0 : band.x1] = cv2.addWeighted(
            first, 1 - weight, second, weight, 0
        )
    return mixed


def _scaled(box: tuple[int, int, int, int], small: tuple[int, ...], full: tuple[int, ...]) -> Span:
    """Return a box of the small picture in pixels of the full one."""
    sy, sx = full[0] / small[0], full[1] / small[1]
    x, y, width, height = box
    return Span(
        int(x * sx),
        int(y * sy),
        min(full[1], ceil((x + width) * sx)),
        min(full[0], ceil((y + height) * sy)),
    )


def _warped(plane: Plane, flow: Field, span: Span) -> Plane:
    """Return *plane* (H, W), inside *span*, sampled where *flow* (of any size) points to."""
    sy, sx = plane.shape[0] / flow.shape[0], plane.shape[1] / flow.shape[1]
    to_flow = np.array(
        [[1 / sx, 0, (span.x0 + 0.5) / sx - 0.5], [0, 1 / sy, (span.y0 + 0.5) / sy - 0.5]]
    )
    size = (span.x1 - span.x0, span.y1 - span.y0)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    x, y = (
        cv2.warpAffine(part, to_flow, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        for part in cv2.split(flow)
    )
    x = x * np.float32(sx) + np.arange(span.x0, span.x1, dtype=np.float32)
    y = y * np.float32(sy) + np.arange(span.y0, span.y1, dtype=np.float32)[:, None]
    # cubic: two linear samplings would take a sixth of the fine detail (measured: 0.83 to 0.93)
    sampled: Plane = cv2.remap(plane, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return sampled if plane.dtype == np.uint8 else np.minimum(sampled, TOP_CODE)
