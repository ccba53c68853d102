"""Teeth and dark, for when no exemplar is open enough to show what is behind the lips.

The cavity is dark red, darker with depth; the upper teeth hang from the skull: a plain band under
the upper lip stands for them, whatever the lower lip does.
"""

from __future__ import annotations

import cv2
import numpy as np

from lipwright.face.shape import Floats
from lipwright.media.picture import Box
from lipwright.render.composite import INNER_LIPS, polygon

# An interior that is stretched by less than the first is shown as it is; from the second on it is
# synthesised. What an exemplar shows counts from OPEN on: under it there is next to nothing to see.
STRETCH = (1.7, 2.6)
OPEN = 0.03  # opening, inter-ocular distances
CAVITY = np.array([0.30, 0.13, 0.12], np.float32)  # RGB over the brightness of the skin
TEETH = np.array([0.98, 0.92, 0.84], np.float32)
UPPER_LIP = np.array([78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308])  # inner, corner to corner
SHADOW, SPARKLE = 0.62, 0.2  # brightness of teeth: share of the skin's, and of white
BAND = 0.065  # height of the upper teeth that show, inter-ocular distances


def share(wanted: float, given: float) -> float:
    """Return how much of the interior is synthesised, 0 to 1, by openings wanted and given."""
    stretch = wanted / max(given, OPEN)
    x = min(max((stretch - STRETCH[0]) / (STRETCH[1] - STRETCH[0]), 0.0), 1.0)
    return x * x * (3 - 2 * x)


def fill(
    patch: Floats, target: Floats, box: Box, unit: float, *, amount: float, skin: float, top: int
) -> Floats:
    """Return *patch* (h, w, 3) with a synthetic interior between the inner lips.

    Args:
        patch: painted pixels, code values.
        target: (n, 3) moved landmarks, pixels of the frame.
        box: where the patch lies in the frame.
        unit: pixels per inter-ocular distance.
        amount: 0 to 1.
        skin: brightness of the skin around, code values.
        top: the largest code value.
    """
    lips = target[INNER_LIPS]
    inside = cv2.GaussianBlur(polygon(lips, box), (0, 0), max(0.008 * unit, 0.5))
    if not inside.any():
        return patch
    depth, drop, off = _coordinates(target, box, unit)
    edge = BAND * (1 - 0.4 * off**2)  # incisors are longer than molars show
    teeth = np.clip((edge - drop) / (0.2 * BAND), 0, 1) * np.clip((0.95 - off) / 0.25, 0, 1)
    teeth = cv2.GaussianBlur(teeth.astype(np.float32), (0, 0), max(0.006 * unit, 0.5))
    shade = 0.6 + 0.4 * np.clip(depth / 0.03, 0, 1)  # the upper lip throws a shadow
    dark = CAVITY * skin * np.clip(1.1 - depth[..., None] * 2.0, 0.5, 1.1)
    white = TEETH * (skin * SHADOW + top * SPARKLE) * shade[..., None]
    interior = dark + (white - dark) * (0.85 * teeth[..., None])
    mixed: Floats = patch + (interior - patch) * (inside * amount)[..., None]
    return mixed.astype(np.float32)


def _coordinates(target: Floats, box: Box, unit: float) -> tuple[Floats, Floats, Floats]:
    """Return where each pixel (h, w) lies behind the lips.

    Returns:
        Its depth below the upper inner lip and its drop below that lip's middle, in inter-ocular
        distances, and its distance from the middle of the mouth, 1 at the corners.
    """
    upper = target[UPPER_LIP, :2]
    down = target[152, :2] - target[1, :2]  # from the tip of the nose to the chin
    down = down / max(float(np.linalg.norm(down)), 1e-6)
    across = np.array([down[1], -down[0]], np.float32)
    y, x = np.mgrid[box.y0 : box.y1, box.x0 : box.x1].astype(np.float32)
    along, below = x * across[0] + y * across[1], x * down[0] + y * down[1]
    knots, heights = upper @ across, upper @ down
    order = np.argsort(knots)
    lip = np.interp(along.ravel(), knots[order], heights[order]).reshape(along.shape)
    middle = (knots.min() + knots.max()) / 2
    off = np.abs(along - middle) / max(float(np.ptp(knots)) / 2, 1.0)
    drop = below - float(np.interp(middle, knots[order], heights[order]))
    depth = (below - lip) / unit
    return depth.astype(np.float32), (drop / unit).astype(np.float32), off.astype(np.float32)
