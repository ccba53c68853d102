"""Fill holes in a picture from what surrounds them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.types import Bools, Floats

PADDING = 32  # pixels around the holes that they are filled from
MIN_KNOWN = 1e-3  # avoids a division by 0 where nothing is known


def fill_holes(rgb: NDArray[np.number], hole: Bools) -> None:
    """Fill the pixels (h, w, 3) of a hole (h, w) from those around it, in place.

    Normalised convolution on a pyramid: near colours come from fine levels, the middle of wide
    holes from coarse ones.
    """
    if not hole.any():
        return
    x, y, w, h = cv2.boundingRect(hole.astype(np.uint8))
    part = (
        slice(max(y - PADDING, 0), y + h + PADDING),
        slice(max(x - PADDING, 0), x + w + PADDING),
    )
    inside = hole[part]
    filled = _pull_push(rgb[part].astype(np.float32), (~inside).astype(np.float32))
    rgb[part][inside] = np.rint(filled[inside]).astype(rgb.dtype)


def _pull_push(rgb: Floats, known: Floats) -> Floats:
    """Return pixels (h, w, 3) filled where their weight (h, w) is 0."""
    rgb = rgb * known[..., None]
    h, w = known.shape
    if min(h, w) <= 2 or known.all():
        return np.asarray(rgb / np.maximum(known, MIN_KNOWN)[..., None], np.float32)
    size = (-(-w // 2), -(-h // 2))
    small, weight = (cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in (rgb, known))
    sure = np.minimum(weight, 1)
    mean = small / np.maximum(weight, MIN_KNOWN)[..., None]
    coarse = _pull_push(mean, (sure > 0).astype(np.float32))
    wide: Floats = cv2.resize(coarse, (w, h), interpolation=cv2.INTER_LINEAR)
    out: Floats = rgb + wide * (1 - known[..., None])
    return out
