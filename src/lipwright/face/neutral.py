"""How a speaker's mouth landmarks drift with the pose of the head, speech aside.

Landmarks on a silhouette slide over the skin as a head turns, and those on the lips are biased a
little. What follows the pose over a whole take is drift, not speech: it is added to a wanted shape
for the pose it is painted at, so that turning the head moves no jaw. Lips part in speech alone:
what opens them and follows the pose is mostly chance in short takes, and would part closed ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lipwright.face.lips import LOWER_BORDER, LOWER_RIM, UPPER_BORDER, UPPER_RIM
from lipwright.face.shape import MOUTH
from lipwright.types import Floats

RIDGE_FRAMES = 60.0  # strength of the prior "no drift", in frames of one standard pose
UNITS = np.array([15.0, 10.0, 15.0**2, 10.0**2, 150.0], np.float32)  # yaw, pitch, squares, product
# The upper lip, outer and inner, and the lower lip that it closes on.
UPPER = np.concatenate([UPPER_BORDER, UPPER_RIM])
LOWER = np.concatenate([LOWER_BORDER, LOWER_RIM])


@dataclass(frozen=True, kw_only=True)
class Drift:
    """Mouth shape as a function of pose."""

    mean: Floats  #: (61, 3) canonical mean mouth shape
    offset: Floats  #: (5,) mean of the pose features
    slopes: Floats  #: (5, 183)

    def at(self, angles: Floats) -> Floats:
        """Return how far the mean mouth drifts at angles (n, 3) in degrees: (n, 61, 3)."""
        moved = ((_features(angles) - self.offset) @ self.slopes).astype(np.float32)
        return moved.reshape(-1, *self.mean.shape)


def fit_drift(mouth: Floats, angles: Floats) -> Drift:
    """Fit the drift of mouth shapes (T, 61, 3) over angles (T, 3) by ridge regression.

    Frames that are NaN are left out.
    """
    known = np.isfinite(mouth[:, 0, 0]) & np.isfinite(angles[:, 0])
    shape = mouth[known].reshape(int(known.sum()), -1)
    features = _features(angles[known])
    mean, offset = (v.mean(0, dtype=np.float64).astype(np.float32) for v in (shape, features))
    x, y = features - offset, shape - mean
    slopes = np.linalg.solve(x.T @ x + RIDGE_FRAMES * np.eye(x.shape[1]), x.T @ y)
    slopes = _unparted(slopes.reshape(-1, *mouth.shape[1:]))
    return Drift(
        mean=mean.reshape(mouth.shape[1:]).astype(np.float32),
        offset=offset.astype(np.float32),
        slopes=slopes.reshape(len(slopes), -1).astype(np.float32),
    )


def _unparted(slopes: Floats) -> Floats:
    """Return slopes (5, 61, 3) in which facing landmarks of the lips go up and down as one."""
    place = {int(landmark): i for i, landmark in enumerate(MOUTH)}
    upper, lower = ([place[int(i)] for i in lip] for lip in (UPPER, LOWER))
    out = slopes.copy()
    out[:, upper, 1] = out[:, lower, 1] = (slopes[:, upper, 1] + slopes[:, lower, 1]) / 2
    return out


def _features(angles: Floats) -> Floats:
    yaw, pitch = angles[:, 0], angles[:, 1]
    out: Floats = (np.stack([yaw, pitch, yaw**2, pitch**2, yaw * pitch], 1) / UNITS).astype(
        np.float32
    )
    return out
