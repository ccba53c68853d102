"""Regions of a frame that the metrics compare. Landmarks of the source alone place them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.cli.contact_sheet import crop_square
from lipwright.face.canonical import Pose, estimate_pose, to_canonical, to_image
from lipwright.face.landmarks import LIPS
from lipwright.media.picture import Box, Picture
from lipwright.runtime.disk_array import Array
from lipwright.types import Bools, Floats, Rgb

# fmt: off
# A loop around the mouth: under the nose, along the nasolabial folds, below the chin boss.
MOUTH_LOOP = np.array([
    2, 326, 423, 426, 436, 432, 422, 424, 418, 421, 200, 201, 194, 204, 202, 212, 216, 206, 203, 97,
])
OUTER_LIPS = np.array([
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185,
])
# The jaw from side to side, over the chin.
JAW = np.array([397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150, 136, 172])
# fmt: on
NECK_BAND = (0.12, 0.5)  # canonical units below the jaw, out of reach of a moving chin
SKIN_GRID = 16  # cells along each side of the square over the mouth
LIP_MARGIN = 0.05  # canonical units around the lips that do not count as skin
# In inter-ocular distances:
CROP_SIDE = 1.6  # of the crops for contact sheets
CROP_SHIFT = 0.12  # of their centre below the lips'
MOUTH_SIZE = (0.6, 0.32)  # width and height of the mouth
LIP_CROP_SIZE = (0.8, 0.5)  # width and height of the crops that show every mouth

FLASH_GRID = (24, 12)  # cells across and down; few enough to average out film grain


@dataclass(frozen=True, kw_only=True)
class FaceRegions:
    """The regions around the mouth of one speaker in each frame."""

    landmarks: Floats  #: (T, 478, 3) pixels, smoothed, NaN where there is no face
    pose: Pose
    skin_cells: Floats  #: (c, 3) canonical centres of cells of skin around the lips
    unit: float  #: median pixels per inter-ocular distance

    @classmethod
    def from_landmarks(cls, landmarks: Array) -> FaceRegions:
        """Place the regions on smoothed landmarks (T, 478, 3), pixels."""
        landmarks = np.asarray(landmarks)
        pose = estimate_pose(landmarks)
        canonical = to_canonical(landmarks, pose)
        return cls(
            landmarks=landmarks,
            pose=pose,
            skin_cells=_skin_cells(canonical[np.isfinite(canonical[:, 0, 0])]),
            unit=float(np.nanmedian(1 / pose.scale)),
        )

    def mouth_region(self, index: int) -> tuple[Box, Bools]:
        """Return the box of the mouth in a frame, and the mask (h, w) of the loop in it."""
        points = self.landmarks[index, MOUTH_LOOP, :2]
        x0, y0 = np.floor(points.min(0)).astype(int)
        x1, y1 = np.ceil(points.max(0)).astype(int) + 1
        box = Box(int(x0), int(y0), int(x1), int(y1))
        return box, _fill(points - [box.x0, box.y0], box.width, box.height)

    def neck_region(self, index: int) -> tuple[Box, Bools]:
        """Return the box of neck and collar in a frame, and their mask (h, w) below the jaw."""
        points = self.landmarks[index, JAW, :2]
        down = self.pose.rotation[index, :2, 1]
        down = down / max(float(np.linalg.norm(down)), 1e-6) * self.unit
        near, far = (points + distance * down for distance in NECK_BAND)
        band = np.concatenate([near, far[::-1]])
        x0, y0 = np.floor(band.min(0)).astype(int)
        x1, y1 = np.ceil(band.max(0)).astype(int) + 1
        box = Box(int(x0), int(y0), int(x1), int(y1))
        return box, _fill(band - [box.x0, box.y0], box.width, box.height)

    def skin_luma(self, picture: Picture, index: int) -> Floats:
        """Return the mean luma around each cell of skin (c,), 8-bit units, free of head motion."""
        points = to_image(self.skin_cells[None], self.pose[index : index + 1])[0, :, :2]
        margin = 4 * self._blur_sigma
        low, high = points.min(0) - margin, points.max(0) + margin
        box = picture.align(Box(int(low[0]), int(low[1]), int(high[0]) + 1, int(high[1]) + 1))
        luma = picture.planes[0][box.y0 : box.y1, box.x0 : box.x1].astype(np.float32)
        blurred = cv2.GaussianBlur(luma, (0, 0), self._blur_sigma)
        at = (points - [box.x0, box.y0]).astype(np.float32)[None]
        luma_at = cv2.remap(blurred, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(luma_at[0] / (1 << (picture.depth - 8)), np.float32)

    def mouth_crop(self, picture: Picture, index: int) -> Rgb:
        """Return mouth and chin at native size (s, s, 3), uint8 RGB, the same s in all frames."""
        side = self._crop_side
        centre = self.landmarks[index, LIPS, :2].mean(0) + np.array([0, CROP_SHIFT * self.unit])
        middle = np.floor(centre) + (0.0 if side % 2 else 0.5)  # no resampling of pixels
        reach = side // 2 + 2
        x, y = (int(v) for v in np.floor(middle))
        box = picture.align(Box(x - reach, y - reach, x + reach + 1, y + reach + 1))
        rgb = picture.rgb(box)
        if picture.depth > 8:
            rgb = (rgb >> (picture.depth - 8)).astype(np.uint8)
        return crop_square(np.asarray(rgb, np.uint8), tuple(middle - [box.x0, box.y0]), side, side)

    def blank_crop(self) -> Rgb:
        """Return a black crop (s, s, 3), for a frame without a face."""
        return np.zeros((self._crop_side, self._crop_side, 3), np.uint8)

    @property
    def _crop_side(self) -> int:
        return round(CROP_SIDE * self.unit)

    @property
    def _blur_sigma(self) -> float:
        return max(self.unit * 0.02, 1.0)


def mouth_luma(crop: Rgb) -> Floats:
    """Return the luma of the mouth in a crop (s, s, 3), mean of each cell of `FLASH_GRID`."""
    grey = cv2.cvtColor(lip_crop(crop, MOUTH_SIZE), cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, FLASH_GRID, interpolation=cv2.INTER_AREA), np.float32)


def lip_crop(crop: Rgb, size: tuple[float, float] = LIP_CROP_SIZE) -> Rgb:
    """Return the part of a crop (s, s, 3) around the lips.

    Args:
        crop: as `FaceRegions.mouth_crop` returns it.
        size: width and height, inter-ocular distances.
    """
    unit = len(crop) / CROP_SIDE
    x0, y0 = (len(crop) / 2 - np.array(size) * unit / 2 - [0, CROP_SHIFT * unit]).astype(int)
    return crop[y0 : int(y0 + size[1] * unit), x0 : int(x0 + size[0] * unit)]


def luma_in_box(picture: Picture, box: Box) -> NDArray[np.integer]:
    """Return the luma (h, w) of a box; beyond the frame its edge is repeated."""
    plane = picture.planes[0]
    rows = np.clip(np.arange(box.y0, box.y1), 0, plane.shape[0] - 1)
    columns = np.clip(np.arange(box.x0, box.x1), 0, plane.shape[1] - 1)
    return plane[np.ix_(rows, columns)]


def _skin_cells(canonical: Floats) -> Floats:
    """Return the centres (c, 3) of cells inside the loop that the lips never cover.

    Args:
        canonical: (n, 478, 3) of the frames with a face.
    """
    mean = canonical.mean(0)
    low, high = mean[MOUTH_LOOP, :2].min(0), mean[MOUTH_LOOP, :2].max(0)
    scale = SKIN_GRID / (high - low)
    inside = _fill((mean[MOUTH_LOOP, :2] - low) * scale - 0.5, SKIN_GRID, SKIN_GRID)
    lips = np.zeros_like(inside)
    for points in canonical[:, OUTER_LIPS, :2]:
        middle = points.mean(0)
        grown = points + LIP_MARGIN * (points - middle) / np.linalg.norm(
            points - middle, axis=1, keepdims=True
        )
        lips |= _fill((grown - low) * scale - 0.5, SKIN_GRID, SKIN_GRID)
    rows, columns = np.nonzero(inside & ~lips)
    xy = low + (np.stack([columns, rows], 1) + 0.5) / scale
    z = np.full((len(xy), 1), mean[MOUTH_LOOP, 2].mean())
    return np.hstack([xy, z]).astype(np.float32)


def _fill(points: NDArray[np.floating], width: int, height: int) -> Bools:
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [np.round(points * 16).astype(np.int32)], 1, shift=4)
    return mask.astype(bool)
