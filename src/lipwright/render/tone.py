"""Measure the light on a face, to paint the mouth interior in it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.face.canonical import interocular_distance
from lipwright.face.landmarks import LOWER_BORDER_FULL, LOWER_RIM_FULL, OUTER_LIPS
from lipwright.media.picture import Box
from lipwright.render.composite import MOUTH_LOOP, fill_polygon
from lipwright.render.warp import pixel_grid
from lipwright.types import Floats

# Levels are code values over the largest, 0 to 1.
TEETH_SHARE, TEETH_BASE = 1.1, 0.09  # level of teeth: this share of the skin's, plus this much
TEETH_MOST = 0.95  # at most: brighter teeth would look painted
TEETH_TINT = 0.5  # share of the skin's colour cast that teeth take on
MOST_TILT = 1.6  # ratio of the light on the two sides of a face, at most
MIN_EDGE_SIGMA, MAX_EDGE_SIGMA = 0.9, 4.0  # pixels: edges of a sharp picture; of a very soft one
LIT = (0.5, 0.9)  # quantiles of the skin's level: neither in shadow, nor shining, nor beard
LIP_OVER_SKIN = np.array([0.8, 0.5, 0.5], np.float32)  # RGB ratio, where no lip shows
UNKNOWN_SKIN = 0.5  # level assumed where no skin shows
LIP_BLUR, LIP_THRESHOLD = 0.03, 0.02  # grows the lips: sigma in inter-ocular distances; its cut
EDGE_RANGE = (0.03, 0.97)  # quantiles of the level that an edge spans, without noise
STEEP_QUANTILE = 0.995  # of the slopes: the steepest edges, without noise
MIN_SLOPE = 1e-4  # level per pixel; avoids a division by 0
MIN_LEVEL = 1e-3  # avoids a division by 0
UPPER_MIDDLE, LOWER_MIDDLE = 13, 14  # landmarks: middles of the inner lips


@dataclass(frozen=True, kw_only=True)
class Tone:
    """The light on a face, code values over the largest."""

    skin: Floats  #: (3,) RGB of lit skin around the mouth
    lip: Floats  #: (3,) RGB of the lower lip
    teeth: Floats  #: (3,) RGB of lit teeth: measured for this speaker, or guessed from the skin
    tilt: float  #: level to the right of the mouth over that to the left, as seen in the picture
    blur: float  #: sigma of the sharpest edges, inter-ocular distances


def measure_tone(
    codes: NDArray[Any],
    origin: tuple[int, int],
    landmarks: Floats,
    teeth_level: float | None = None,
) -> Tone:
    """Measure the light on a face.

    Args:
        codes: (h, w, 3) RGB crop of a frame, uint8 or 10 bits in uint16.
        origin: x, y of the crop in its frame.
        landmarks: (478, 3) pixels of the frame.
        teeth_level: brightness of this speaker's teeth over the skin; None: unknown.
    """
    x0, y0 = origin
    box = Box(x0, y0, x0 + codes.shape[1], y0 + codes.shape[0])
    points, unit = landmarks, interocular_distance(landmarks)
    rgb: Floats = codes.astype(np.float32)
    rgb /= 255 if codes.dtype == np.uint8 else 1023
    lips = fill_polygon(points[OUTER_LIPS], box)
    mouth = cv2.GaussianBlur(lips, (0, 0), LIP_BLUR * unit) > LIP_THRESHOLD
    skin = (fill_polygon(points[MOUTH_LOOP], box) > 0) & ~mouth
    lower = np.concatenate([LOWER_BORDER_FULL, LOWER_RIM_FULL[::-1]])
    lower_lip = fill_polygon(points[lower], box) > 0
    lit = _lit_colour(rgb[skin])
    lip = np.median(rgb[lower_lip], 0) if lower_lip.any() else lit * LIP_OVER_SKIN
    left = pixel_grid(box)[..., 0] < points[[UPPER_MIDDLE, LOWER_MIDDLE], 0].mean()
    return Tone(
        skin=lit,
        lip=np.asarray(lip, np.float32),
        teeth=_teeth_colour(lit, rgb[..., 1][skin], teeth_level),
        tilt=_light_tilt(rgb[..., 1][skin & left], rgb[..., 1][skin & ~left]),
        blur=_edge_sigma(rgb.mean(2), mouth) / unit,
    )


def guess_teeth_colour(skin: Floats) -> Floats:
    """Return the colour (3,) of teeth in the light of *skin* (3,): whiter, and a little brighter.

    Code values over the largest, as measured on some 2,300 open mouths of news anchors.
    """
    level = float(skin.mean())
    bright = min(TEETH_SHARE * level + TEETH_BASE, TEETH_MOST)
    tint = 1 + TEETH_TINT * (skin / max(level, MIN_LEVEL) - 1)
    return np.asarray(bright * tint, np.float32)


def _teeth_colour(lit: Floats, skin_green: Floats, teeth_level: float | None) -> Floats:
    """Return the colour (3,) of teeth, as bright as the speaker's own where that is known.

    Args:
        lit: (3,) colour of lit skin.
        skin_green: (n,) green of all skin.
        teeth_level: of the teeth over that.
    """
    guess = guess_teeth_colour(lit)
    if teeth_level is None or not len(skin_green):
        return guess
    factor = teeth_level * float(np.median(skin_green)) / max(float(guess[1]), MIN_LEVEL)
    return np.asarray(guess * min(factor, TEETH_MOST / float(guess.max())), np.float32)


def _light_tilt(left: Floats, right: Floats) -> float:
    """Return the level of the right side (n,) over that of the left (m,); 1 where one is empty."""
    if not (len(left) and len(right)):
        return 1.0
    ratio = float(np.median(right) / max(float(np.median(left)), MIN_LEVEL))
    return min(max(ratio, 1 / MOST_TILT), MOST_TILT)


def _lit_colour(skin: Floats) -> Floats:
    """Return the mean colour (3,) of the lit pixels of skin (n, 3)."""
    if not len(skin):
        return np.full(3, UNKNOWN_SKIN, np.float32)
    level = skin.mean(1)
    low, high = np.quantile(level, LIT)
    return np.asarray(skin[(level >= low) & (level <= high)].mean(0), np.float32)


def _edge_sigma(level: Floats, where: NDArray[np.bool_]) -> float:
    """Return the sigma in pixels of the sharpest edges of a picture (h, w), from their slope.

    An edge of height c, blurred by sigma, rises by c / (sigma sqrt(2 pi)) per pixel.
    """
    if not where.any():
        return MIN_EDGE_SIGMA
    slopes = (cv2.Sobel(level, -1, *order, scale=1 / 8) for order in ((1, 0), (0, 1)))
    slope = np.hypot(*slopes)
    low, high = np.quantile(level[where], EDGE_RANGE)
    steepest = max(float(np.quantile(slope[where], STEEP_QUANTILE)), MIN_SLOPE)
    sigma = (high - low) / steepest / math.sqrt(2 * math.pi)
    return float(np.clip(sigma, MIN_EDGE_SIGMA, MAX_EDGE_SIGMA))
