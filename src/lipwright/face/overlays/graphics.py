"""Store the graphics that stand in front of a face, and find those of one frame.

A graphic has an opacity, a colour and a time: the frames in which it was seen to stand still. In
frames shortly before and after, it counts if its edges are in the picture.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.face.overlays.coherence import gradients, soften
from lipwright.face.overlays.matte import Matte
from lipwright.media.picture import Box
from lipwright.types import Bools, DeepRgb, Floats, Ints

SAME_EDGES = 0.6  # correlation of gradients from which edges are those of the same graphic
VERIFIED_FRAMES = 25  # before and after a graphic in which it is searched for,
END_FRAMES = 12  # and within it, near its ends: windows may reach beyond a graphic
MIN_EDGE_PIXELS = 20  # that such a search needs
CACHED_GRAPHICS = 8  # held unpacked
OPAQUE = 0.9  # opacity from which nothing of the face can be recovered
_PLANES = 6  # of a packed graphic: opacity, R, G, B, luma, edges


@dataclass(frozen=True, kw_only=True)
class Graphic:
    """A graphic, its place on the screen and its time."""

    start: int  #: first frame
    stop: int  #: last frame, inclusive
    box: Box
    matte: Matte
    luma: NDArray[np.uint8]  #: (h, w) of the picture around its edges

    @classmethod
    def unpack(cls, start: int, stop: int, box: Box, data: bytes) -> Graphic:
        """Return a graphic of :meth:`pack`."""
        flat = np.frombuffer(zlib.decompress(data), np.uint8)
        planes = flat.reshape(_PLANES, box.height, box.width)
        matte = Matte(
            alpha=planes[0].astype(np.float32) / 255,
            own=np.ascontiguousarray(planes[1:4].transpose(1, 2, 0)),
            edges=planes[5] > 0,
        )
        return cls(start=start, stop=stop, box=box, matte=matte, luma=planes[4])

    def pack(self) -> bytes:
        """Return its pixels compressed."""
        alpha = np.rint(self.matte.alpha * 255).astype(np.uint8)
        own = self.matte.own.transpose(2, 0, 1)
        near = cv2.dilate(self.matte.edges.astype(np.uint8), np.ones((7, 7), np.uint8))
        planes = np.concatenate([[alpha], own, [self.luma * near, self.matte.edges]])
        return zlib.compress(planes.astype(np.uint8).tobytes(), 1)

    def is_in(self, luma: NDArray[np.uint8], box: Box) -> bool:
        """Return whether a part of a frame, (h, w) luma, shows this graphic."""
        common = intersection(self.box, box)
        if common.width < 3 or common.height < 3:
            return False
        own, other = window(common, self.box), window(common, box)
        edges = self.matte.edges[own]
        if edges.sum() < MIN_EDGE_PIXELS:
            return False
        expected = gradients(soften(np.ascontiguousarray(self.luma[own])))
        seen = gradients(soften(np.ascontiguousarray(luma[other])))
        return edge_correlation(expected, seen, edges) > SAME_EDGES


@dataclass(frozen=True, kw_only=True)
class OverlayGraphics:
    """The m graphics of a take; boxes in pixels of the frame, by rising start."""

    frames: Ints  #: (m, 2) first and last frame of each
    boxes: Ints  #: (m, 4) x0, y0, x1, y1
    ends: Ints  #: (m,) end of the bytes of each
    data: NDArray[np.uint8]  #: (k,) packed pixels

    @classmethod
    def of(cls, graphics: Sequence[tuple[int, int, Box, bytes]]) -> OverlayGraphics:
        """Return a value of first and last frames, boxes and packed pixels."""
        ordered = sorted(graphics, key=lambda graphic: graphic[:3])
        packed = [np.frombuffer(data, np.uint8) for *_, data in ordered]
        return cls(
            frames=np.array([g[:2] for g in ordered], np.int64).reshape(-1, 2),
            boxes=np.array([g[2] for g in ordered], np.int64).reshape(-1, 4),
            ends=np.cumsum([len(part) for part in packed], dtype=np.int64),
            data=np.concatenate(packed) if packed else np.empty(0, np.uint8),
        )

    def __len__(self) -> int:
        """Return the number of graphics."""
        return len(self.frames)

    def graphic(self, number: int) -> Graphic:
        """Return a graphic by its number, 0 to m - 1."""
        start = int(self.ends[number - 1]) if number else 0
        data = self.data[start : int(self.ends[number])].tobytes()
        first, last = (int(frame) for frame in self.frames[number])
        return Graphic.unpack(first, last, Box(*(int(x) for x in self.boxes[number])), data)

    def near(self, frame: int, margin: int = 0) -> Ints:
        """Return the numbers of the graphics shown in a frame, or at most *margin* frames away."""
        first, last = self.frames.T
        return np.flatnonzero((first - margin <= frame) & (frame <= last + margin))


@dataclass(frozen=True, kw_only=True)
class ViewMatte:
    """All graphics in a view, (h, w)."""

    alpha: Floats  #: opacity, 0 to 1
    own: Floats  #: (h, w, 3) 8-bit RGB that translucent graphics add


class OverlayReader:
    """Finds the graphics in views of a take."""

    def __init__(self, overlays: OverlayGraphics) -> None:
        self._overlays = overlays
        self._unpacked: OrderedDict[int, Graphic] = OrderedDict()

    def matte(self, frames: Sequence[int], rgb: DeepRgb, box: Box) -> ViewMatte | None:
        """Return what stands in front in a view; None for nothing.

        Args:
            frames: the source frame that it shows, or the two that it is mixed of.
            rgb: (h, w, 3) pixels, uint8 or uint16 (10 bit).
            box: of the view.
        """
        found = [graphic for frame in frames for graphic in self._shown(frame, rgb, box)]
        if not found:
            return None
        opaque, translucent, total = np.zeros((3, *rgb.shape[:2]), np.float32)
        own = np.zeros(rgb.shape, np.float32)
        for graphic in found:
            common = intersection(graphic.box, box)
            if common.width <= 0 or common.height <= 0:
                continue
            here, there = window(common, box), window(common, graphic.box)
            alpha = graphic.matte.alpha[there]
            clear = (alpha > 0) & (alpha < OPAQUE)
            opaque[here] += alpha >= OPAQUE
            translucent[here] += clear
            total[here] += alpha * clear
            own[here] += graphic.matte.own[there] * clear[..., None]
        # Where windows disagree, most of them decide.
        count = np.where(translucent > opaque, translucent, np.inf)
        alpha = np.where(np.isfinite(count), total / count, opaque > 0).astype(np.float32)
        return (
            ViewMatte(alpha=alpha, own=(own / count[..., None]).astype(np.float32))
            if alpha.any()
            else None
        )

    def cell_opacity(self, frame: int, positions: Floats) -> Floats:
        """Return the opacity (h, w), 0 to 1, at positions (h, w, 2) of a frame, pixels."""
        opacity = np.zeros(positions.shape[:2], np.float32)
        if not np.isfinite(positions).all():
            return opacity
        for number in self._overlays.near(frame):
            graphic = self._graphic(int(number))
            at = (positions - np.array(graphic.box[:2])).astype(np.float32)
            own = cv2.remap(
                graphic.matte.alpha, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT
            )
            opacity = np.maximum(opacity, own)
        return opacity

    def _shown(self, frame: int, rgb: DeepRgb, box: Box) -> Iterator[Graphic]:
        luma = None
        for number in self._overlays.near(frame, VERIFIED_FRAMES):
            graphic = self._graphic(int(number))
            if graphic.start + END_FRAMES <= frame <= graphic.stop - END_FRAMES:
                yield graphic
                continue
            luma = _luma(rgb) if luma is None else luma
            if graphic.is_in(luma, box):
                yield graphic

    def _graphic(self, number: int) -> Graphic:
        if number not in self._unpacked:
            self._unpacked[number] = self._overlays.graphic(number)
            while len(self._unpacked) > CACHED_GRAPHICS:
                self._unpacked.popitem(last=False)
        self._unpacked.move_to_end(number)
        return self._unpacked[number]


def edge_correlation(
    expected: tuple[Floats, Floats], seen: tuple[Floats, Floats], edges: Bools
) -> float:
    """Return the correlation of two gradients, each x and y (h, w), at edges, -1 to 1."""
    a, b = (np.stack([x[edges], y[edges]]) for x, y in (expected, seen))
    return float((a * b).sum() / max(np.sqrt((a**2).sum() * (b**2).sum()), 1e-6))


def intersection(a: Box, b: Box) -> Box:
    """Return the common part of two boxes; its width or height is negative if there is none."""
    return Box(max(a.x0, b.x0), max(a.y0, b.y0), min(a.x1, b.x1), min(a.y1, b.y1))


def window(part: Box, whole: Box) -> tuple[slice, slice]:
    """Return the rows and columns of a box within another."""
    return (
        slice(part.y0 - whole.y0, part.y1 - whole.y0),
        slice(part.x0 - whole.x0, part.x1 - whole.x0),
    )


def _luma(rgb: DeepRgb) -> NDArray[np.uint8]:
    """Return the 8-bit grey values (h, w) of a view."""
    eight = rgb if rgb.dtype == np.uint8 else (rgb >> 2).astype(np.uint8)
    grey: NDArray[np.uint8] = cv2.cvtColor(eight, cv2.COLOR_RGB2GRAY)
    return grey
