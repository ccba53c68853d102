"""How much of the effect each frame can bear: full, none, or fading in between."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lipwright.face.shape import Floats, align
from lipwright.face.smooth import runs

FULL_YAW, NO_YAW = 35.0, 60.0  # degrees, to either side
FULL_PITCH, NO_PITCH = 30.0, 50.0  # degrees, up or down
FADE_SECONDS = 0.2  # in and out at the edges of what is usable


def strength(landmarks: Floats, confidence: Floats, rate: float) -> Floats:
    """Return how much of the effect to show in each source frame, (T,) 0 to 1.

    Args:
        landmarks: (T, 478, 3) pixels, NaN where no face is.
        confidence: (T,) 0 to 1 of the tracker.
        rate: frames per second.
    """
    seen = np.isfinite(landmarks[:, 0, 0]) & (confidence > 0)
    angles = np.nan_to_num(np.abs(align(landmarks).angles()), nan=180.0)
    yaw = np.clip((NO_YAW - angles[:, 0]) / (NO_YAW - FULL_YAW), 0, 1)
    pitch = np.clip((NO_PITCH - angles[:, 1]) / (NO_PITCH - FULL_PITCH), 0, 1)
    return np.where(seen, yaw * pitch * _ramps(seen, rate), 0).astype(np.float32)


def _ramps(seen: NDArray[np.bool_], rate: float) -> Floats:
    """Return 1 inside stretches of *seen*, falling towards their edges inside the clip."""
    ramp = np.zeros(len(seen), np.float32)
    length = max(1.0, FADE_SECONDS * rate)
    for start, stop in runs(seen):
        k = np.arange(stop - start, dtype=np.float32)
        rise = (k + 1) / (length + 1) if start > 0 else np.ones_like(k)
        fall = (k[::-1] + 1) / (length + 1) if stop < len(seen) else np.ones_like(k)
        ramp[start:stop] = np.minimum(np.minimum(rise, fall), 1)
    return ramp
