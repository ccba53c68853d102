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

LACK = (0.015, 0.045)  # opening wanted beyond the exemplar's: from here to there it is synthesised
CAVITY = np.array([0.30, 0.13, 0.12], np.float32)  # RGB over the brightness of the skin
TEETH = np.array([0.98, 0.92, 0.84], np.float32)
BAND = 0.045  # height of the upper teeth that show, inter-ocular distances


def share(wanted: float, given: float) -> float:
    """Return how much of the interior is synthesised, 0 to 1, by openings wanted and given."""
    x = min(max((wanted - given - LACK[0]) / (LACK[1] - LACK[0]), 0.0), 1.0)
    return x * x * (3 - 2 * x)


def fill(
    patch: Floats, target: Floats, box: Box, unit: float, *, amount: float, skin: float
) -> Floats:
    """Return *patch* (h, w, 3) with a synthetic interior between the inner lips.

    Args:
        patch: painted pixels, code values.
        target: (n, 3) moved landmarks, pixels of the frame.
        box: where the patch lies in the frame.
        unit: pixels per inter-ocular distance.
        amount: 0 to 1.
        skin: brightness of the skin around, code values.
    """
    lips = target[INNER_LIPS]
    inside = cv2.GaussianBlur(polygon(lips, box), (0, 0), max(0.008 * unit, 0.5))
    if not inside.any():
        return patch
    depth = _depth_below_upper_lip(target, box, unit)
    teeth = np.clip((BAND - depth) / (0.35 * BAND), 0, 1) * np.clip((depth + 0.02) / 0.02, 0, 1)
    teeth = cv2.GaussianBlur(teeth * _centre(lips, box), (0, 0), max(0.006 * unit, 0.5))
    shade = 0.55 + 0.45 * np.clip(depth / 0.05, 0, 1)  # the upper lip throws a shadow
    dark = CAVITY * skin * np.clip(1.1 - depth[..., None] * 2.0, 0.5, 1.1)
    white = TEETH * skin * 0.72 * shade[..., None]
    interior = dark + (white - dark) * teeth[..., None] * 0.85
    mixed: Floats = patch + (interior - patch) * (inside * amount)[..., None]
    return mixed.astype(np.float32)


def _depth_below_upper_lip(target: Floats, box: Box, unit: float) -> Floats:
    """Return the distance (h, w) below the upper inner lip, inter-ocular distances."""
    upper = target[[78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308], :2]
    down = target[14, :2] - target[13, :2] + (target[152, :2] - target[1, :2]) * 1e-2
    down = down / max(float(np.linalg.norm(down)), 1e-6)
    across = np.array([-down[1], down[0]], np.float32) * -1
    y, x = np.mgrid[box.y0 : box.y1, box.x0 : box.x1].astype(np.float32)
    along, below = x * across[0] + y * across[1], x * down[0] + y * down[1]
    knots, heights = upper @ across, upper @ down
    order = np.argsort(knots)
    edge = np.interp(along.ravel(), knots[order], heights[order]).reshape(along.shape)
    # Teeth do not follow the lip's arch at the corners: pull the edge towards its middle.
    depth: Floats = ((below - edge) / unit).astype(np.float32)
    return depth


def _centre(lips: Floats, box: Box) -> Floats:
    """Return 1 in the middle of the mouth, falling to 0 at its corners (1, w)."""
    left, right = lips[:, 0].min(), lips[:, 0].max()
    x = np.arange(box.x0, box.x1, dtype=np.float32)
    u = np.abs((x - (left + right) / 2) / max((right - left) / 2, 1.0))
    fall: Floats = np.clip((0.92 - u) / 0.25, 0, 1)[None].astype(np.float32)
    return fall * np.ones((box.y1 - box.y0, 1), np.float32)
