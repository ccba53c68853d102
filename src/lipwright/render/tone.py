"""The light on a face: what the inside of its mouth is painted with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.face.lips import BELOW_LIP, LOWER_LIP, OUTER_LIPS
from lipwright.face.shape import interocular
from lipwright.media.picture import Box
from lipwright.render.composite import LOOP, polygon
from lipwright.render.warp import pixels
from lipwright.types import Floats

TEETH_SHARE, TEETH_BASE, TEETH_MOST = 1.1, 0.09, 0.95  # level: of the skin's, of white; at most
TEETH_TINT = 0.5  # of the skin's colour in that of teeth
MOST_TILT = 1.6  # of the light between the two sides
SHARP, MOST_BLUR = 0.9, 4.0  # pixels: sigma of edges that count as sharp; of the softest
LIT = (0.5, 0.9)  # quantiles of the skin's level: neither in shadow nor shining, no beard
LIP_OVER_SKIN = np.array([0.8, 0.5, 0.5], np.float32)  # where no lip shows


@dataclass(frozen=True, kw_only=True)
class Palette:
    """The light on a face, code values over the largest."""

    skin: Floats  #: (3,) RGB of lit skin around the mouth
    lip: Floats  #: (3,) of the lower lip
    teeth: Floats  #: (3,) of lit teeth: as bright as this speaker's, or guessed from the skin
    tilt: float  #: level to the right of the mouth over that to the left, of the picture
    blur: float  #: sigma of its edges, inter-ocular distances


def palette_of(
    codes: NDArray[Any], origin: tuple[int, int], landmarks: Floats, tone: float | None = None
) -> Palette:
    """Measure the light on a face.

    Args:
        codes: (h, w, 3) RGB crop of a frame, uint8 or 10 bits in uint16.
        origin: x, y of the crop in its frame.
        landmarks: (478, 3) pixels of the frame.
        tone: how bright this speaker's teeth are over the skin; None: not known.
    """
    x0, y0 = origin
    box = Box(x0, y0, x0 + codes.shape[1], y0 + codes.shape[0])
    points, unit = landmarks, interocular(landmarks)
    rgb: Floats = codes.astype(np.float32)
    rgb /= 255 if codes.dtype == np.uint8 else 1023
    mouth = cv2.GaussianBlur(polygon(points[OUTER_LIPS], box), (0, 0), 0.03 * unit) > 0.02
    skin = (polygon(points[LOOP], box) > 0) & ~mouth
    lower = polygon(points[np.concatenate([BELOW_LIP, LOWER_LIP[::-1]])], box) > 0
    lit = _lit(rgb[skin])
    lip = np.median(rgb[lower], 0) if lower.any() else lit * LIP_OVER_SKIN
    left = pixels(box)[..., 0] < points[[13, 14], 0].mean()
    return Palette(
        skin=lit,
        lip=np.asarray(lip, np.float32),
        teeth=_teeth(lit, rgb[..., 1][skin], tone),
        tilt=_tilt(rgb[..., 1][skin & left], rgb[..., 1][skin & ~left]),
        blur=_softness(rgb.mean(2), mouth) / unit,
    )


def guessed_teeth(skin: Floats) -> Floats:
    """Return the colour (3,) of teeth in the light of *skin* (3,): whiter, and not much brighter.

    Code values over the largest, as measured on some 2,300 open mouths of news anchors.
    """
    level = float(skin.mean())
    bright = min(TEETH_SHARE * level + TEETH_BASE, TEETH_MOST)
    tint = 1 + TEETH_TINT * (skin / max(level, 1e-3) - 1)
    return np.asarray(bright * tint, np.float32)


def _teeth(lit: Floats, skin: Floats, tone: float | None) -> Floats:
    """Return the colour (3,) of teeth: of the speaker's tone where that is known.

    Args:
        lit: (3,) colour of lit skin.
        skin: (n,) green of all skin.
        tone: of the teeth over that.
    """
    guess = guessed_teeth(lit)
    if tone is None or not len(skin):
        return guess
    factor = tone * float(np.median(skin)) / max(float(guess[1]), 1e-3)
    return np.asarray(guess * min(factor, TEETH_MOST / float(guess.max())), np.float32)


def _tilt(left: Floats, right: Floats) -> float:
    if not (len(left) and len(right)):
        return 1.0
    ratio = float(np.median(right) / max(float(np.median(left)), 1e-3))
    return min(max(ratio, 1 / MOST_TILT), MOST_TILT)


def _lit(skin: Floats) -> Floats:
    """Return the colour (3,) of skin in the light."""
    if not len(skin):
        return np.full(3, 0.5, np.float32)
    level = skin.mean(1)
    low, high = np.quantile(level, LIT)
    return np.asarray(skin[(level >= low) & (level <= high)].mean(0), np.float32)


def _softness(level: Floats, where: NDArray[np.bool_]) -> float:
    """Return the sigma in pixels of the sharpest edges of a picture (h, w), from their slope.

    An edge of height c, blurred by sigma, rises by c / (sigma sqrt(2 pi)) per pixel.
    """
    if not where.any():
        return SHARP
    slopes = (cv2.Sobel(level, -1, *order, scale=1 / 8) for order in ((1, 0), (0, 1)))
    slope = np.hypot(*slopes)
    low, high = np.quantile(level[where], [0.03, 0.97])
    steepest = max(float(np.quantile(slope[where], 0.995)), 1e-4)
    return float(np.clip((high - low) / steepest / math.sqrt(2 * math.pi), SHARP, MOST_BLUR))
