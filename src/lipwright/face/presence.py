"""How much of the effect each frame can bear: full, none, or fading in between."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lipwright.face.lips import LIPS
from lipwright.face.shape import RIGID, Pose, pose_of, reference, to_canonical
from lipwright.face.smooth import runs
from lipwright.runtime.disk_array import Array, chunks
from lipwright.types import Floats, Ints

# Each from full effect to none; fractions of a unit are canonical (inter-ocular distances).
YAW = (35.0, 60.0)  # degrees, to either side
PITCH = (30.0, 50.0)  # degrees, up or down
TURN = (230.0, 400.0)  # degrees per second of yaw or pitch: beyond, all is blur
PRESENCE = (0.9, 0.5)  # the tracker's own confidence
MISFIT = (0.09, 0.14)  # of eyes, bridge and forehead to any real head
JOLT = (0.05, 0.10)  # mean change of the face's shape from frame to frame, at 25 frames per second
FADE_SECONDS = 0.2  # least time from full to none and back
_RATE = 25.0


def strength(
    landmarks: Array,
    confidence: Floats,
    rate: float,
    size: tuple[int, int],
    shots: Ints | None = None,
    bearable: Floats | None = None,
) -> Floats:
    """Return how much of the effect to show in each source frame, (T,) 0 to 1.

    It fades as the head turns away, as the lips leave the frame, and where the landmarks cannot be
    trusted; it changes over FADE_SECONDS and never pops.

    Args:
        landmarks: (T, 478, 3) pixels, NaN where no face is.
        confidence: (T,) 0 to 1 of the tracker.
        rate: frames per second.
        size: width and height of the frame, pixels; lips beyond its edge cannot be painted.
        shots: (T,) number of each frame's shot; a cut hides any change, so nothing fades there.
        bearable: (T,) 0 to 1, what else limits the effect, as a covered mouth does.
    """
    seen = np.isfinite(landmarks[:, 0, 0]) & (confidence > 0)
    number = np.zeros(len(seen), np.int64) if shots is None else shots
    pose = pose_of(landmarks)
    angles = np.abs(pose.angles())
    speed = _speed(pose.angles()[:, :2], rate, number)
    turned = _share(angles[:, 0], YAW) * _share(angles[:, 1], PITCH) * _share(speed, TURN)
    sure = _share(confidence, PRESENCE) * _trust(landmarks, pose, rate, number)
    wanted = np.where(seen, turned * sure * _inside(landmarks, size), 0)
    wanted = wanted if bearable is None else np.minimum(wanted, bearable)
    return limit_change(np.nan_to_num(wanted).astype(np.float32), rate, number)


def limit_change(wanted: Floats, rate: float, shots: Ints) -> Floats:
    """Return the largest curve (T,) under *wanted* that changes no faster than a fade does.

    It is down when a dip of *wanted* begins, and up only after it. A cut may change anything.
    """
    step = np.float32(1 / max(1.0, FADE_SECONDS * rate))
    out = wanted.copy()
    for start, stop in runs(np.ones(len(wanted), bool), shots):
        for k in range(start + 1, stop):
            out[k] = min(out[k], out[k - 1] + step)
        for k in range(stop - 2, start - 1, -1):
            out[k] = min(out[k], out[k + 1] + step)
    return out


def _share(value: NDArray[np.floating], ends: tuple[float, float]) -> Floats:
    """Return 1 up to (or from) the first end, falling to 0 at the second."""
    full, none = ends
    share: Floats = np.clip((none - value) / (none - full), 0, 1).astype(np.float32)
    return share


def _trust(landmarks: Array, pose: Pose, rate: float, shots: Ints) -> Floats:
    """Return how far the landmarks (T, 478, 3) look like those of one steady head, (T,) 0 to 1."""
    misfit, jolt = np.zeros((2, len(landmarks)), np.float32)
    before: Floats | None = None
    for part, points in chunks(landmarks):
        shape = to_canonical(points[:, :468], pose[part])
        misfit[part] = np.sqrt(((shape[:, RIGID] - reference()[RIGID]) ** 2).sum(-1).mean(-1))
        steps = np.diff(shape, axis=0, prepend=shape[:1] if before is None else before)
        jolt[part] = np.linalg.norm(steps, axis=-1).mean(-1)
        before = shape[-1:]
    jolt[1:][np.diff(shots) != 0] = 0
    jolt = np.nan_to_num(jolt) * np.float32(min(1.0, rate / _RATE))
    steady = _share(jolt, JOLT)
    steady[:-1] = np.minimum(steady[:-1], steady[1:])  # which of the two is wrong, nobody knows
    return _share(misfit, MISFIT) * steady


def _speed(angles: Floats, rate: float, shots: Ints) -> Floats:
    """Return how fast angles (T, 2) in degrees change around each frame, (T,) per second."""
    step = np.abs(np.diff(angles, axis=0)).max(1) * np.float32(rate)
    step = np.nan_to_num(np.where(np.diff(shots) == 0, step, 0))
    speed: Floats = np.maximum(np.append(step, 0), np.append(0, step)).astype(np.float32)
    return speed[: len(angles)]


def _inside(landmarks: Array, size: tuple[int, int]) -> Floats:
    """Return 1 where all lips are in the frame, falling to 0 where half of them are beyond it."""
    lips = np.nan_to_num(landmarks[:, LIPS, :2], nan=-1.0)
    share = ((lips >= 0) & (lips <= np.array(size) - 1)).all(-1).mean(-1)
    inside: Floats = np.clip(2 * share - 1, 0, 1).astype(np.float32)
    return inside
