"""Close an open mouth: the rest shape for speakers who are always seen with parted lips (pure)."""

from __future__ import annotations

import numpy as np

from lipwright.face.landmarks import MOUTH, mouth_rows
from lipwright.types import Floats

# Rows of mouth shapes. The inner lips run from the right corner to the left, upper above lower.
UPPER_INNER_LIP = np.array(mouth_rows(78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308))
LOWER_INNER_LIP = np.array(mouth_rows(78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308))
# fmt: off
UPPER_LIP = np.array(mouth_rows(
    185, 40, 39, 37, 0, 267, 269, 270, 409, 191, 80, 81, 82, 13, 312, 311, 310, 415,
))
LOWER_LIP = np.array(mouth_rows(
    146, 91, 181, 84, 17, 314, 405, 321, 375, 95, 88, 178, 87, 14, 317, 402, 318, 324,
))
# fmt: on
JAW = np.arange(40, len(MOUTH))
LOWER_SHARE = 0.7  # of the gap that the lower lip closes; the upper closes the rest
JAW_SHARE = 0.85  # of the lower lip's motion that the jaw follows at the chin
JAW_WIDTH = 0.6  # canonical units from the middle over which the motion of the jaw fades
LIP_GAP = 0.006  # canonical units between the inner lips of a closed mouth, as tracked


def close_mouth(mouth: Floats) -> Floats:
    """Return a canonical mouth shape (61, 3) with closed lips; jaw and chin follow the lower lip.

    The lips meet along a line 30 % of the way down from the upper to the lower one. Nothing moves
    sideways. A closed mouth is returned unchanged.
    """
    gap = np.maximum(mouth[LOWER_INNER_LIP, 1] - mouth[UPPER_INNER_LIP, 1] - LIP_GAP, 0)
    gap[[0, -1]] = 0  # the corners stay
    across = (mouth[UPPER_INNER_LIP, 0] + mouth[LOWER_INNER_LIP, 0]) / 2
    out = mouth.copy()
    for lip, share in ((LOWER_LIP, -LOWER_SHARE), (UPPER_LIP, 1 - LOWER_SHARE)):
        out[lip, 1] += share * np.interp(mouth[lip, 0], across, gap).astype(np.float32)
    middle = across.mean()
    follow = np.exp(-(((mouth[JAW, 0] - middle) / JAW_WIDTH) ** 2))
    out[JAW, 1] -= (JAW_SHARE * LOWER_SHARE * gap.max()) * follow
    return out
