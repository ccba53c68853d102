"""How much of the effect each frame can bear: full, none, or fading in between."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lipwright.face.shape import LIPS, Floats, Ints, align
from lipwright.face.smooth import runs

FULL_YAW, NO_YAW = 35.0, 60.0  # degrees, to either side
FULL_PITCH, NO_PITCH = 30.0, 50.0  # degrees, up or down
FADE_SECONDS = 0.2  # in and out at the edges of what is usable


def strength(
    landmarks: Floats,
    confidence: Floats,
    rate: float,
    size: tuple[int, int],
    shots: Ints | None = None,
) -> Floats:
    """Return how much of the effect to show in each source frame, (T,) 0 to 1.

    Args:
        landmarks: (T, 478, 3) pixels, NaN where no face is.
        confidence: (T,) 0 to 1 of the tracker.
        rate: frames per second.
        size: width and height of the frame, pixels; lips beyond its edge cannot be painted.
        shots: (T,) number of each frame's shot; a cut hides any change, so nothing fades there.
    """
    seen = np.isfinite(landmarks[:, 0, 0]) & (confidence > 0)
    angles = np.nan_to_num(np.abs(align(landmarks).angles()), nan=180.0)
    yaw = np.clip((NO_YAW - angles[:, 0]) / (NO_YAW - FULL_YAW), 0, 1)
    pitch = np.clip((NO_PITCH - angles[:, 1]) / (NO_PITCH - FULL_PITCH), 0, 1)
    shown = yaw * pitch * _inside(landmarks, size) * _ramps(seen, rate, shots)
    return np.where(seen, shown, 0).astype(np.float32)


def _inside(landmarks: Floats, size: tuple[int, int]) -> Floats:
    """Return 1 where all lips are in the frame, falling to 0 where half of them are beyond it."""
    lips = np.nan_to_num(landmarks[:, LIPS, :2], nan=-1.0)
    share = ((lips >= 0) & (lips <= np.array(size) - 1)).all(-1).mean(-1)
    inside: Floats = np.clip(2 * share - 1, 0, 1).astype(np.float32)
    return inside


def _ramps(seen: NDArray[np.bool_], rate: float, shots: Ints | None) -> Floats:
    """Return 1 inside stretches of *seen*, falling towards their edges inside a shot."""
    ramp = np.zeros(len(seen), np.float32)
    length = max(1.0, FADE_SECONDS * rate)
    number = np.zeros(len(seen), np.int64) if shots is None else shots
    starts, stops = _edges(number)
    for start, stop in runs(seen, number):
        k = np.arange(stop - start, dtype=np.float32)
        rise = np.ones_like(k) if starts[start] else (k + 1) / (length + 1)
        fall = np.ones_like(k) if stops[stop - 1] else (k[::-1] + 1) / (length + 1)
        ramp[start:stop] = np.minimum(np.minimum(rise, fall), 1)
    return ramp


def _edges(shots: Ints) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which frames (T,) are the first of a shot, and which the last."""
    change = np.diff(shots) != 0
    return np.r_[True, change], np.r_[change, True]
