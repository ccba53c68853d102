"""Decide how much of the effect each frame shows: full, none, or a fade in between."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from lipwright.face.canonical import Pose, estimate_pose, reference_face, to_canonical
from lipwright.face.landmarks import LIPS, RIGID
from lipwright.face.smoothing import find_runs
from lipwright.runtime.disk_array import Array, chunks
from lipwright.types import Floats, Ints

# Each pair is the value up to (or from) which the effect is full, and the value at which it is
# zero. Canonical units are inter-ocular distances.
YAW = (35.0, 60.0)  # degrees, to either side
PITCH = (30.0, 50.0)  # degrees, up or down
ANGULAR_SPEED = (230.0, 400.0)  # degrees per second of yaw or pitch: beyond, the face is blurred
PRESENCE = (0.9, 0.5)  # the tracker's own confidence
RIGID_MISFIT = (0.09, 0.14)  # canonical units, of eyes, bridge and forehead to any real head
SHAPE_JUMP = (0.05, 0.10)  # canonical units, mean change of shape between frames at 25 per second
FADE_SECONDS = 0.2  # least time from full to none and back
_JUMP_RATE = 25.0  # frames per second that SHAPE_JUMP holds for


class Weakness(StrEnum):
    """Why the effect is reduced; the values are texts for warnings."""

    TURNED = "the face is turned away"
    BLURRED = "the head moves too fast"
    UNCERTAIN = "the face is not clear enough"
    OUTSIDE = "the mouth is outside the picture"
    COVERED = "the mouth is covered"


def effect_strength(
    landmarks: Array,
    confidence: Floats,
    rate: float,
    size: tuple[int, int],
    shots: Ints | None = None,
    limit: Floats | None = None,
) -> Floats:
    """Return how much of the effect to show in each source frame, (T,) 0 to 1.

    It fades as the head turns away, as the lips leave the frame, and where the landmarks are not
    reliable. It never changes faster than FADE_SECONDS from full to none.

    Args:
        landmarks: (T, 478, 3) pixels, NaN where no face is.
        confidence: (T,) 0 to 1 of the tracker.
        rate: frames per second.
        size: width and height of the frame, pixels; lips beyond its edge cannot be painted.
        shots: (T,) index of each frame's shot; a cut hides any change, so nothing fades there.
        limit: (T,) 0 to 1, maximum strength for other reasons, such as a covered mouth.
    """
    seen = np.isfinite(landmarks[:, 0, 0]) & (confidence > 0)
    shot = np.zeros(len(seen), np.int64) if shots is None else shots
    factors = strength_factors(landmarks, confidence, rate, size, shot)
    target = np.where(seen, np.prod([*factors.values()], axis=0), 0)
    target = target if limit is None else np.minimum(target, limit)
    return limit_change(np.nan_to_num(target).astype(np.float32), rate, shot)


def strength_factors(
    landmarks: Array, confidence: Floats, rate: float, size: tuple[int, int], shots: Ints
) -> dict[Weakness, Floats]:
    """Return what reduces the effect, each (T,) 0 to 1 (1: nothing), NaN where no face is.

    Args:
        landmarks: (T, 478, 3) pixels.
        confidence: (T,) 0 to 1 of the tracker.
        rate: frames per second.
        size: width and height of the frame, pixels.
        shots: (T,) index of each frame's shot.
    """
    pose = estimate_pose(landmarks)
    angles = np.abs(pose.angles())
    speed = _angular_speed(pose.angles()[:, :2], rate, shots)
    return {
        Weakness.TURNED: _ramp(angles[:, 0], YAW) * _ramp(angles[:, 1], PITCH),
        Weakness.BLURRED: _ramp(speed, ANGULAR_SPEED),
        Weakness.UNCERTAIN: _ramp(confidence, PRESENCE)
        * _landmark_reliability(landmarks, pose, rate, shots),
        Weakness.OUTSIDE: _lips_in_frame(landmarks, size),
    }


def limit_change(target: Floats, rate: float, shots: Ints) -> Floats:
    """Return the largest curve (T,) under *target* that changes no faster than a fade.

    It reaches a dip of *target* when the dip begins and rises only after it ends. At a cut it may
    change by any amount.
    """
    step = np.float32(1 / max(1.0, FADE_SECONDS * rate))
    out = target.copy()
    for start, stop in find_runs(np.ones(len(target), bool), shots):
        for k in range(start + 1, stop):
            out[k] = min(out[k], out[k - 1] + step)
        for k in range(stop - 2, start - 1, -1):
            out[k] = min(out[k], out[k + 1] + step)
    return out


def _ramp(value: NDArray[np.floating], ends: tuple[float, float]) -> Floats:
    """Return 1 up to (or from) the first end, falling to 0 at the second."""
    full, none = ends
    share: Floats = np.clip((none - value) / (none - full), 0, 1).astype(np.float32)
    return share


def _landmark_reliability(landmarks: Array, pose: Pose, rate: float, shots: Ints) -> Floats:
    """Return how far the landmarks (T, 478, 3) look like those of one steady head, (T,) 0 to 1."""
    misfit, jump = np.zeros((2, len(landmarks)), np.float32)
    before: Floats | None = None
    for part, points in chunks(landmarks):
        shape = to_canonical(points[:, :468], pose[part])
        misfit[part] = np.sqrt(((shape[:, RIGID] - reference_face()[RIGID]) ** 2).sum(-1).mean(-1))
        steps = np.diff(shape, axis=0, prepend=shape[:1] if before is None else before)
        jump[part] = np.linalg.norm(steps, axis=-1).mean(-1)
        before = shape[-1:]
    jump[1:][np.diff(shots) != 0] = 0
    jump = np.nan_to_num(jump) * np.float32(min(1.0, rate / _JUMP_RATE))
    steady = _ramp(jump, SHAPE_JUMP)
    steady[:-1] = np.minimum(steady[:-1], steady[1:])  # either of the two frames may be wrong
    return _ramp(misfit, RIGID_MISFIT) * steady


def _angular_speed(angles: Floats, rate: float, shots: Ints) -> Floats:
    """Return how fast angles (T, 2) change around each frame, (T,) degrees per second."""
    step = np.abs(np.diff(angles, axis=0)).max(1) * np.float32(rate)
    step = np.nan_to_num(np.where(np.diff(shots) == 0, step, 0))
    speed: Floats = np.maximum(np.append(step, 0), np.append(0, step)).astype(np.float32)
    return speed[: len(angles)]


def _lips_in_frame(landmarks: Array, size: tuple[int, int]) -> Floats:
    """Return 1 where all lips are in the frame, falling to 0 where half of them are beyond it."""
    lips = np.nan_to_num(landmarks[:, LIPS, :2], nan=-1.0)
    share = ((lips >= 0) & (lips <= np.array(size) - 1)).all(-1).mean(-1)
    inside: Floats = np.clip(2 * share - 1, 0, 1).astype(np.float32)
    return inside
