"""One video frame as planar YUV, converted to RGB only in the boxes that are read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from lipwright.errors import InvalidOptions
from lipwright.media import colour
from lipwright.media.chroma import CHROMA_420, Subsampling
from lipwright.types import DeepRgb, Floats

Plane = npt.NDArray[Any]  #: (h, w) codes: uint8, or uint16 at more than 8 bit
Planes = tuple[Plane, Plane, Plane]  #: Y, U, V

BAND_ROWS = 64  # rows pasted at a time, even
KEEP_BITS = 3  # out-of-gamut colour fades out over 2 to the power of this many codes (at 8 bit)


class Box(NamedTuple):
    """A rectangle of whole pixels: x0 <= x < x1, y0 <= y < y1."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def width(self) -> int:
        """Pixels across."""
        return self.x1 - self.x0

    @property
    def height(self) -> int:
        """Pixels down."""
        return self.y1 - self.y0


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """An immutable video frame in display orientation.

    A chroma sample covers up to 2 x 2 pixels. A box therefore starts at even coordinates and ends
    at even coordinates or at the edge of the frame, whatever the subsampling; `align` makes such
    boxes.
    """

    planes: Planes  #: Y (H, W); U, V: see *chroma*, at 4:2:0 (ceil(H/2), ceil(W/2))
    depth: int = 8  #: bits per sample: 8 in uint8, 10 in uint16
    matrix: colour.Matrix = "bt709"
    full_range: bool = False  #: True: black is code 0; False: black is code 16 (at 8 bit)
    chroma: Subsampling = CHROMA_420  #: pixels that a sample of U and V covers
    alpha: Plane | None = None  #: (H, W), 0 transparent to 2**depth - 1; None: opaque

    @classmethod
    def from_rgb(
        cls,
        rgb: DeepRgb,
        matrix: colour.Matrix = "bt709",
        full_range: bool = False,
        chroma: Subsampling = CHROMA_420,
    ) -> Picture:
        """Convert an (H, W, 3) RGB array: uint8, or uint16 with 10-bit codes."""
        depth = 8 if rgb.dtype == np.uint8 else 10
        yuv = _transform(rgb, colour.rgb_to_yuv_matrix(matrix, full_range, depth), depth)
        luma, u, v = cv2.split(yuv)
        planes = (luma, *(_round(_block_means(c, chroma), luma.dtype) for c in (u, v)))
        return cls(planes=planes, depth=depth, matrix=matrix, full_range=full_range, chroma=chroma)

    @property
    def width(self) -> int:
        """Pixels across, as displayed."""
        return int(self.planes[0].shape[1])

    @property
    def height(self) -> int:
        """Pixels down, as displayed."""
        return int(self.planes[0].shape[0])

    @property
    def bounds(self) -> Box:
        """The box of the whole frame."""
        return Box(0, 0, self.width, self.height)

    def align(self, box: tuple[int, int, int, int]) -> Box:
        """Return the smallest valid box that covers the part of *box* inside the frame."""
        return align_box(box, self.width, self.height)

    def crop(self, box: Box) -> Picture:
        """Return the part of the picture in *box*; its arrays are views.

        Raises:
            InvalidOptions: The box is empty, outside the frame or not on even coordinates.
        """
        alpha = None if self.alpha is None else self.alpha[box.y0 : box.y1, box.x0 : box.x1]
        return replace(self, planes=self._cut(box), alpha=alpha)

    def rgb(self, box: Box | None = None) -> DeepRgb:
        """Return the (h, w, 3) RGB of *box*: uint8 0..255, or uint16 0..1023 at 10 bit.

        Raises:
            InvalidOptions: The box is empty, outside the frame or not on even coordinates.
        """
        return self._rgb(self._upsampled(self._cut(box or self.bounds)))

    def small_rgb(self, max_side: int) -> tuple[npt.NDArray[np.uint8], float]:
        """Return the whole frame scaled down for analysis, and the scale.

        Returns:
            The (h, w, 3) RGB uint8 picture whose longer side is at most *max_side*, and
            ``small / full``: a point x of the frame is at ``(x + 0.5) * scale - 0.5``.
        """
        scale = min(1.0, max_side / max(self.width, self.height))
        size = (max(1, round(self.width * scale)), max(1, round(self.height * scale)))
        yuv = cv2.merge([_shrink(plane, size) for plane in self.planes])
        return cv2.transform(yuv, colour.yuv_to_rgb_matrix(self.matrix, self.full_range, 8)), scale

    def paste(self, box: Box, rgb: DeepRgb, mask: Floats) -> Picture:
        """Return a new picture with *rgb* laid over *box* through *mask*.

        Where the mask is 0 (for chroma: in the whole block of a sample) the samples do not change.
        Alpha does not change.
        Where *rgb* equals ``self.rgb(box)`` they do not change at any mask value: colours that RGB
        cannot represent (below black, above white, out of gamut) are kept.

        Args:
            box: Target box, as `align` returns it.
            rgb: (h, w, 3) codes as `rgb` returns them.
            mask: (h, w) float32, 0 keeps the picture, 1 takes *rgb*.

        Raises:
            InvalidOptions: The box does not fit the frame, or the arrays do not fit the box.
        """
        self._cut(box)
        if rgb.shape != (box.height, box.width, 3) or mask.shape != rgb.shape[:2]:
            raise InvalidOptions(
                f"cannot paste rgb {rgb.shape} with mask {mask.shape} over a box of "
                f"{box.height} x {box.width}: make both arrays fit the box"
            )
        if rgb.dtype != self.planes[0].dtype:
            raise InvalidOptions(f"cannot paste {rgb.dtype} codes into a {self.depth}-bit picture")
        y, u, v = (plane.copy() for plane in self.planes)
        result = replace(self, planes=(y, u, v))
        weight = mask.astype(np.float32, copy=False)
        across = np.flatnonzero(weight.any(0))
        if not len(across):
            return result
        left, right = _align_span(int(across[0]), int(across[-1]) + 1, box.width)
        for top in range(0, box.height, BAND_ROWS):  # small temporaries stay in the cache
            part = slice(top, min(top + BAND_ROWS, box.height)), slice(left, right)
            band = Box(box.x0 + left, box.y0 + top, box.x0 + right, box.y0 + part[0].stop)
            self._paste_band(result._cut(band), self._cut(band), rgb[part], weight[part])
        return result

    def on_white(self) -> Picture:
        """Return the picture without alpha: transparent parts become white."""
        if self.alpha is None:
            return self
        unit = 1 << (self.depth - 8)
        top = (1 << self.depth) - 1
        white = (top if self.full_range else 235 * unit, 128 * unit, 128 * unit)
        cover = self.alpha.astype(np.float32) / np.float32(top)
        covers = (cover, *[_block_means(cover, self.chroma)] * 2)
        y, u, v = (
            _round(part + (plane - np.float32(part)) * share, plane.dtype)
            for plane, part, share in zip(self.planes, white, covers, strict=True)
        )
        return replace(self, planes=(y, u, v), alpha=None)

    def _cut(self, box: Box) -> Planes:
        """Return views of the samples under *box*."""
        if box != self.align(box) or box.width <= 0 or box.height <= 0:
            raise InvalidOptions(
                f"{box} is not a valid box of a {self.width} x {self.height} picture: "
                "use Picture.align"
            )
        half = _chroma_box(box, self.chroma)
        y, u, v = self.planes
        return (
            y[box.y0 : box.y1, box.x0 : box.x1],
            u[half.y0 : half.y1, half.x0 : half.x1],
            v[half.y0 : half.y1, half.x0 : half.x1],
        )

    def _upsampled(self, planes: Planes) -> Plane:
        """Return (h, w, 3) YUV with each chroma sample repeated over its block (lossless)."""
        y, u, v = planes
        if self.chroma != (1, 1):
            h, w = y.shape
            size = (self.chroma.x * u.shape[1], self.chroma.y * u.shape[0])
            u, v = (cv2.resize(c, size, interpolation=cv2.INTER_NEAREST)[:h, :w] for c in (u, v))
        merged: Plane = cv2.merge((y, u, v))
        return merged

    def _rgb(self, yuv: Plane) -> DeepRgb:
        matrix = colour.yuv_to_rgb_matrix(self.matrix, self.full_range, self.depth)
        return _transform(yuv, matrix, self.depth)

    def _deltas(self, base: Planes, rgb: DeepRgb) -> tuple[Plane, ...]:
        """Return (h, w) int16 codes to add to Y, U and V to turn *base* into *rgb*.

        The round trip through RGB loses the out-of-gamut part of the base. Where *rgb* equals the
        base colour, that part is kept; the more *rgb* differs, the more of it is dropped.
        """
        matrix = colour.rgb_to_yuv_matrix(self.matrix, self.full_range, self.depth)
        yuv = self._upsampled(base)
        old = _transform(self._rgb(yuv), matrix, self.depth)
        new = _transform(rgb, matrix, self.depth)
        deltas = cv2.split(np.subtract(new, old, dtype=np.int16))
        losses = cv2.split(np.subtract(yuv, old, dtype=np.int16))
        bits = KEEP_BITS + self.depth - 8
        y, u, v = (np.abs(delta) for delta in deltas)
        drop = np.minimum(cv2.max(y, cv2.max(u, v)), np.int16(1 << bits))
        return tuple(d - (x * drop >> bits) for d, x in zip(deltas, losses, strict=True))

    def _paste_band(self, targets: Planes, base: Planes, rgb: DeepRgb, weight: Floats) -> None:
        """Write *base*, blended with *rgb* by *weight*, to *targets*."""
        if not weight.any():
            return
        luma, *chroma = self._deltas(base, np.ascontiguousarray(rgb))
        self._add_delta(base[0], luma, weight, targets[0])
        weight = _block_means(weight, self.chroma)
        for part, delta, target in zip(base[1:], chroma, targets[1:], strict=True):
            self._add_delta(part, _block_means(delta, self.chroma), weight, target)

    def _add_delta(
        self, part: Plane, delta: npt.NDArray[Any], weight: Floats, target: Plane
    ) -> None:
        """Write *part* + *delta* x *weight*, rounded and clipped, to *target*."""
        kind = cv2.CV_8U if self.depth == 8 else cv2.CV_16U
        change = cv2.multiply(delta, weight, dtype=cv2.CV_32F)
        target[:] = _clip_codes(cv2.add(part, change, dtype=kind), self.depth)


def align_box(box: tuple[int, int, int, int], width: int, height: int) -> Box:
    """Return the smallest valid box that covers *box* clipped to a frame of that size."""
    x0, x1 = _align_span(box[0], box[2], width)
    y0, y1 = _align_span(box[1], box[3], height)
    return Box(x0, y0, x1, y1)


def _align_span(low: int, high: int, size: int) -> tuple[int, int]:
    """Return the even-aligned span covering [low, high) within [0, size)."""
    low = min(max(low, 0), size)
    high = min(max(high, low), size)
    return low - low % 2, min(high + high % 2, size)


def _chroma_box(box: Box, chroma: Subsampling) -> Box:
    """Return the box of the chroma samples that *box* covers."""
    x, y = chroma
    return Box(box.x0 // x, box.y0 // y, -(-box.x1 // x), -(-box.y1 // y))


def _block_means(channel: npt.NDArray[np.generic], chroma: Subsampling) -> Floats:
    """Return the float32 means of blocks of pixels; blocks at an odd edge are smaller."""
    h, w = channel.shape
    even = channel.astype(np.float32, copy=False)
    if chroma == (1, 1):
        return even
    right, below = -w % chroma.x, -h % chroma.y
    if below or right:
        even = cv2.copyMakeBorder(even, 0, below, 0, right, cv2.BORDER_REPLICATE)
    size = (even.shape[1] // chroma.x, even.shape[0] // chroma.y)
    means: Floats = cv2.resize(even, size, interpolation=cv2.INTER_AREA)
    return means


def _round(channel: Floats, dtype: np.dtype[np.generic]) -> Plane:
    return np.rint(channel).astype(dtype)


def _transform(codes: Plane, matrix: colour.Affine, depth: int) -> Plane:
    return _clip_codes(cv2.transform(codes, matrix), depth)


def _clip_codes(codes: Plane, depth: int) -> Plane:
    """Clip to the largest code of *depth* in place; OpenCV has already saturated 8-bit codes."""
    if depth > 8:
        np.minimum(codes, (1 << depth) - 1, out=codes)
    return codes


def _shrink(plane: Plane, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Return *plane* scaled down to (w, h) *size* at 8 bit; halving is exact and cheap."""
    h, w = plane.shape
    while w >= 2 * size[0] and h >= 2 * size[1] and not (h % 2 or w % 2):
        h, w = h // 2, w // 2
        plane = cv2.resize(plane, (w, h), interpolation=cv2.INTER_AREA)
    if (w, h) != size:
        method = cv2.INTER_AREA if w >= 2 * size[0] else cv2.INTER_LINEAR
        plane = cv2.resize(plane, size, interpolation=method)
    return plane if plane.dtype == np.uint8 else cv2.convertScaleAbs(plane, alpha=0.25)
