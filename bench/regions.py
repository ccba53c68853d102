"""Which pixels of a frame the measures look at: fixed by landmarks, whatever was painted."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.face.lips import LIPS
from lipwright.face.shape import Pose, align, to_canonical, to_image
from lipwright.media.contact_sheet import square
from lipwright.media.picture import Box, Picture
from lipwright.types import Bools, Floats, Rgb

# fmt: off
# A loop around the mouth: under the nose, along the nasolabial folds, below the chin boss.
LOOP = np.array([
    2, 326, 423, 426, 436, 432, 422, 424, 418, 421, 200, 201, 194, 204, 202, 212, 216, 206, 203, 97,
])
OUTER_LIPS = np.array([
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185,
])
# The contour of the jaw from side to side, over the chin.
CONTOUR = np.array([397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150, 136, 172])
# fmt: on
BENEATH = (0.12, 0.5)  # canonical units below the contour: a moving chin itself does not get there
CELLS = 16  # along each side of the square of cells over the mouth
LIP_MARGIN = 0.05  # canonical units around the lips that are no skin
CROP_UNITS = 1.6  # side of the crops that a person looks at, inter-ocular distances
BELOW = 0.12  # and how far their middle lies below the lips'
MOUTH = (0.6, 0.32)  # width and height of the mouth in them, inter-ocular distances
LIPS_SHOWN = (0.8, 0.5)  # the same of what a person looks at frame by frame
MOUTH_CELLS = (24, 12)  # across and down: so few that grain does not count


@dataclass(frozen=True, kw_only=True)
class Regions:
    """Where the mouth of one speaker is in each frame."""

    landmarks: Floats  #: (T, 478, 3) pixels, smoothed, NaN where there is no face
    pose: Pose
    cells: Floats  #: (c, 3) canonical middles of cells of skin around the lips
    unit: float  #: median pixels per inter-ocular distance

    @classmethod
    def of(cls, landmarks: Floats) -> Regions:
        """Place the regions on smoothed landmarks (T, 478, 3)."""
        pose = align(landmarks)
        canonical = to_canonical(landmarks, pose)
        return cls(
            landmarks=landmarks,
            pose=pose,
            cells=_skin(canonical[np.isfinite(canonical[:, 0, 0])]),
            unit=float(np.nanmedian(1 / pose.scale)),
        )

    def loop(self, index: int) -> tuple[Box, Bools]:
        """Return the box of the mouth in a frame and what lies inside the loop (h, w)."""
        points = self.landmarks[index, LOOP, :2]
        x0, y0 = np.floor(points.min(0)).astype(int)
        x1, y1 = np.ceil(points.max(0)).astype(int) + 1
        box = Box(int(x0), int(y0), int(x1), int(y1))
        return box, _filled(points - [box.x0, box.y0], box.width, box.height)

    def beneath(self, index: int) -> tuple[Box, Bools]:
        """Return the box of neck and collar in a frame, and where they are below the jaw (h, w)."""
        points = self.landmarks[index, CONTOUR, :2]
        down = self.pose.rotation[index, :2, 1]
        down = down / max(float(np.linalg.norm(down)), 1e-6) * self.unit
        near, far = (points + distance * down for distance in BENEATH)
        band = np.concatenate([near, far[::-1]])
        x0, y0 = np.floor(band.min(0)).astype(int)
        x1, y1 = np.ceil(band.max(0)).astype(int) + 1
        box = Box(int(x0), int(y0), int(x1), int(y1))
        return box, _filled(band - [box.x0, box.y0], box.width, box.height)

    def luma_of_cells(self, picture: Picture, index: int) -> Floats:
        """Return the mean code value around each cell (c,), 8-bit units, the head held still."""
        points = to_image(self.cells[None], self.pose[index : index + 1])[0, :, :2]
        margin = 4 * self._sigma
        low, high = points.min(0) - margin, points.max(0) + margin
        box = picture.align(Box(int(low[0]), int(low[1]), int(high[0]) + 1, int(high[1]) + 1))
        luma = picture.planes[0][box.y0 : box.y1, box.x0 : box.x1].astype(np.float32)
        calm = cv2.GaussianBlur(luma, (0, 0), self._sigma)
        at = (points - [box.x0, box.y0]).astype(np.float32)[None]
        found = cv2.remap(calm, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(found[0] / (1 << (picture.depth - 8)), np.float32)

    def crop(self, picture: Picture, index: int) -> Rgb:
        """Return the mouth and chin at native size (s, s, 3), uint8, the same s in all frames."""
        side = self._side
        centre = self.landmarks[index, LIPS, :2].mean(0) + np.array([0, BELOW * self.unit])
        middle = np.floor(centre) + (0.0 if side % 2 else 0.5)  # so that pixels stay whole
        reach = side // 2 + 2
        x, y = (int(v) for v in np.floor(middle))
        box = picture.align(Box(x - reach, y - reach, x + reach + 1, y + reach + 1))
        rgb = picture.rgb(box)
        if picture.depth > 8:
            rgb = (rgb >> (picture.depth - 8)).astype(np.uint8)
        return square(np.asarray(rgb, np.uint8), tuple(middle - [box.x0, box.y0]), side, side)

    def blank(self) -> Rgb:
        """Return a crop of a frame that shows no face."""
        return np.zeros((self._side, self._side, 3), np.uint8)

    @property
    def _side(self) -> int:
        return round(CROP_UNITS * self.unit)

    @property
    def _sigma(self) -> float:
        return max(self.unit * 0.02, 1.0)


def mouth_of(crop: Rgb) -> Floats:
    """Return the luma of the mouth in a crop (s, s, 3), in MOUTH_CELLS, 8-bit units."""
    grey = cv2.cvtColor(lips_of(crop, MOUTH), cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, MOUTH_CELLS, interpolation=cv2.INTER_AREA), np.float32)


def lips_of(crop: Rgb, size: tuple[float, float] = LIPS_SHOWN) -> Rgb:
    """Return the part of a crop (s, s, 3) around the lips, of a size in inter-ocular distances."""
    unit = len(crop) / CROP_UNITS
    x0, y0 = (len(crop) / 2 - np.array(size) * unit / 2 - [0, BELOW * unit]).astype(int)
    return crop[y0 : int(y0 + size[1] * unit), x0 : int(x0 + size[0] * unit)]


def luma_in(picture: Picture, box: Box) -> NDArray[np.integer]:
    """Return the luma samples of a box, which may hang over the edge of the frame (h, w)."""
    plane = picture.planes[0]
    rows = np.clip(np.arange(box.y0, box.y1), 0, plane.shape[0] - 1)
    columns = np.clip(np.arange(box.x0, box.x1), 0, plane.shape[1] - 1)
    return plane[np.ix_(rows, columns)]


def _skin(canonical: Floats) -> Floats:
    """Return middles of cells inside the loop that no lip ever covers, (c, 3).

    Args:
        canonical: (n, 478, 3) of the frames with a face.
    """
    mean = canonical.mean(0)
    low, high = mean[LOOP, :2].min(0), mean[LOOP, :2].max(0)
    scale = CELLS / (high - low)
    inside = _filled((mean[LOOP, :2] - low) * scale - 0.5, CELLS, CELLS)
    lips = np.zeros_like(inside)
    for points in canonical[:, OUTER_LIPS, :2]:
        middle = points.mean(0)
        grown = points + LIP_MARGIN * (points - middle) / np.linalg.norm(
            points - middle, axis=1, keepdims=True
        )
        lips |= _filled((grown - low) * scale - 0.5, CELLS, CELLS)
    rows, columns = np.nonzero(inside & ~lips)
    xy = low + (np.stack([columns, rows], 1) + 0.5) / scale
    z = np.full((len(xy), 1), mean[LOOP, 2].mean())
    return np.hstack([xy, z]).astype(np.float32)


def _filled(points: NDArray[np.floating], width: int, height: int) -> Bools:
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [np.round(points * 16).astype(np.int32)], 1, shift=4)
    return mask.astype(bool)
