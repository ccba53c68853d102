"""Fit a painted mouth into its frame: soft masks and the light of the frame."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.face.landmarks import OUTER_LIPS
from lipwright.media.picture import Box
from lipwright.types import Floats

# fmt: off
# A loop around the mouth: under the nose, along the nasolabial folds, below the chin boss.
MOUTH_LOOP = np.array([
    2, 326, 423, 426, 436, 432, 422, 424, 418, 421, 200, 201, 194, 204, 202, 212, 216, 206, 203, 97,
])
# fmt: on
FEATHER = 0.055  # sigma of the mask's edge, inter-ocular distances
LIPS_SHARPER = 3  # times that the mask's edge is sharper around the lips
MASK_EDGE = 0.02  # mask value, 0 to 1, that counts as 0; this near to 1 counts as 1
LIP_RIM = 0.04  # width of the rim around the lips, inter-ocular distances
LIGHT_SIGMA = 0.22  # scale of light differences that are matched, inter-ocular distances
LIGHT_QUANTILES = (0.1, 0.9)  # of the differences on skin: the others are facial features
MIN_SKIN_PIXELS = 8  # pixels, reduced by SHRINK, that are needed to know those quantiles
WHOLLY_SKIN = 0.9  # share of skin in a reduced pixel from which it counts as skin
MIN_NORM = 1e-3  # avoids a division by 0 far from any skin
FINE_SIGMA = 3.0  # pixels: wider blurs are computed on a smaller picture
SHRINK = 4  # light is matched at a quarter of the size


def fill_polygon(points: Floats, box: Box) -> Floats:
    """Return a filled polygon (h, w), 0 or 1, of points (n, 2+) in pixels of the frame."""
    return _fill_polygon(points, box).astype(np.float32)


def _fill_polygon(points: Floats, box: Box) -> NDArray[np.uint8]:
    mask = np.zeros((box.y1 - box.y0, box.x1 - box.x0), np.uint8)
    fixed = np.round((points[:, :2] - [box.x0, box.y0]) * 16).astype(np.int32)
    cv2.fillPoly(mask, [fixed], 1, lineType=cv2.LINE_8, shift=4)
    return mask


def mouth_mask(target: Floats, box: Box, unit: float) -> Floats:
    """Return the mask (h, w) of the exemplar, 0 to 1: 1 on the lips, soft at the edge.

    Args:
        target: (n, 3) moved landmarks in pixels.
        box: crop of the frame.
        unit: pixels per inter-ocular distance.
    """
    sigma = FEATHER * unit
    soft = _blur(fill_polygon(target[MOUTH_LOOP], box), sigma)
    lips = _blur(lip_mask([target], box, unit), sigma / LIPS_SHARPER)
    mask: Floats = cv2.max(_smoothstep(soft), lips)
    return mask


def _blur(mask: Floats, sigma: float) -> Floats:
    """Return a mask (h, w) blurred; a wide blur is computed on a smaller picture."""
    h, w = mask.shape
    shrink = max(1, int(sigma / FINE_SIGMA))
    padded = cv2.copyMakeBorder(mask, 0, -h % shrink, 0, -w % shrink, cv2.BORDER_REPLICATE)
    whole = padded.shape[1::-1]
    size = (whole[0] // shrink, whole[1] // shrink)
    small = cv2.resize(padded, size, interpolation=cv2.INTER_AREA)
    soft = cv2.GaussianBlur(small, (0, 0), sigma / shrink)
    fine = cv2.resize(soft, whole, interpolation=cv2.INTER_CUBIC)
    out: Floats = np.clip(fine[:h, :w], 0, 1)
    return out


def match_light(patch: Floats, frame: Floats, mask: Floats, lips: Floats, unit: float) -> Floats:
    """Return *patch* (h, w, 3) with the low-frequency light and colour of *frame*.

    Skin is compared where both show it (inside the mask, off the lips). Normalised convolution
    spreads the difference (Knutsson and Westin 1993).

    Args:
        patch: painted pixels, code values.
        frame: (h, w, 3) pixels under it, code values.
        mask: (h, w) of the patch, 0 to 1.
        lips: (h, w) 1 on the lips of the patch, else 0.
        unit: pixels per inter-ocular distance.
    """
    h, w = mask.shape
    size = max(2, w // SHRINK), max(2, h // SHRINK)
    skin = cv2.resize(
        np.where(mask > MASK_EDGE, 1 - lips, 0).astype(np.float32),
        size,
        interpolation=cv2.INTER_AREA,
    )
    skin = skin * (skin > WHOLLY_SKIN)
    difference = cv2.resize(frame - patch, size, interpolation=cv2.INTER_AREA)
    difference = np.clip(difference, *_robust_range(difference, skin))
    sigma = LIGHT_SIGMA * unit / SHRINK
    norm = cv2.GaussianBlur(skin, (0, 0), sigma)
    spread = cv2.GaussianBlur(difference * skin[..., None], (0, 0), sigma)
    shift = spread / np.maximum(norm, MIN_NORM)[..., None]
    matched: Floats = patch + cv2.resize(shift, (w, h), interpolation=cv2.INTER_LINEAR)
    return matched


def _robust_range(
    difference: Floats, skin: Floats
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return bounds (3,), (3,): a difference outside them is a facial feature, not light."""
    values = difference[skin > 0]
    if len(values) < MIN_SKIN_PIXELS:
        return np.full(3, -np.inf, np.float32), np.full(3, np.inf, np.float32)
    values = np.sort(values, axis=0)
    last = len(values) - 1
    low, high = LIGHT_QUANTILES
    return values[round(low * last)], values[round(high * last)]


def lip_mask(faces: Sequence[Floats], box: Box, unit: float) -> Floats:
    """Return the mask (h, w), 0 or 1, of the lips of one or more faces (n, 3), and between them.

    It includes a rim around the lips.
    """
    mask = _fill_polygon(faces[0][OUTER_LIPS], box)
    for face in faces[1:]:
        cv2.max(mask, _fill_polygon(face[OUTER_LIPS], box), dst=mask)
    side = 2 * max(1, round(LIP_RIM * unit)) + 1
    grown: Floats = cv2.dilate(mask, _disc(side)).astype(np.float32)
    return grown


@cache
def _disc(side: int) -> NDArray[np.uint8]:
    disc: NDArray[np.uint8] = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return disc


def _smoothstep(x: Floats) -> Floats:
    x = np.clip((x - MASK_EDGE) / (1 - 2 * MASK_EDGE), 0, 1)
    return x * x * (3 - 2 * x)
