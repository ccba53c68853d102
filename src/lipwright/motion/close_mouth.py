"""Close a mouth that is open: a rest for those who are only ever seen with parted lips (pure)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lipwright.face.shape import MOUTH
from lipwright.types import Floats

_AT = {int(landmark): i for i, landmark in enumerate(MOUTH)}


def _places(*landmarks: int) -> NDArray[np.int64]:
    return np.array([_AT[i] for i in landmarks])


# Inner lips from the right corner to the left, the upper above the lower.
UPPER = _places(78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
LOWER = _places(78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
UPPER_LIP = _places(*(185, 40, 39, 37, 0, 267, 269, 270, 409), *(191, 80, 81, 82, 13, 312), *(
    311, 310, 415
))  # fmt: skip
LOWER_LIP = _places(*(146, 91, 181, 84, 17, 314, 405, 321, 375), *(95, 88, 178, 87, 14, 317), *(
    402, 318, 324
))  # fmt: skip
JAW = np.arange(40, len(MOUTH))
LOWER_SHARE = 0.7  # of the gap is closed by the lower lip, the rest by the upper
JAW_SHARE = 0.85  # of the lower lip's way that the jaw goes at the chin
JAW_WIDTH = 0.6  # canonical units from the middle over which the jaw follows less and less
LIP_GAP = 0.006  # canonical units between the inner lips of a closed mouth, as it is tracked


def shut(mouth: Floats) -> Floats:
    """Return a canonical mouth shape (61, 3) with its lips closed, jaw and chin following.

    The lips meet along a line 30 % of the way down from the upper to the lower one; nothing moves
    sideways. A closed mouth is returned as it is.
    """
    gap = np.maximum(mouth[LOWER, 1] - mouth[UPPER, 1] - LIP_GAP, 0)
    gap[[0, -1]] = 0  # the corners
    across = (mouth[UPPER, 0] + mouth[LOWER, 0]) / 2
    out = mouth.copy()
    for lip, way in ((LOWER_LIP, -LOWER_SHARE), (UPPER_LIP, 1 - LOWER_SHARE)):
        out[lip, 1] += way * np.interp(mouth[lip, 0], across, gap).astype(np.float32)
    middle = across.mean()
    follow = np.exp(-(((mouth[JAW, 0] - middle) / JAW_WIDTH) ** 2))
    out[JAW, 1] -= (JAW_SHARE * LOWER_SHARE * gap.max()) * follow
    return out
