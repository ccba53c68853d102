"""Fit how a speaker's mouth landmarks drift with head pose, apart from speech.

Landmarks on a silhouette slide over the skin as a head turns, and those on the lips are slightly
biased. Whatever follows the pose over a whole take is drift, not speech. It is added to a mouth
shape for the pose at which it is painted, so that turning the head does not move the jaw. Only
speech parts the lips: an opening that follows the pose is mostly chance in short takes, and would
part closed lips, so it is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lipwright.face.landmarks import LOWER_BORDER, LOWER_RIM, UPPER_BORDER, UPPER_RIM, mouth_rows
from lipwright.types import Floats

RIDGE_FRAMES = 60.0  # strength of the prior "no drift", in frames of one standard pose
FEATURE_SCALES = np.array([15.0, 10.0, 15.0**2, 10.0**2, 150.0], np.float32)  # see _pose_features
# The upper lip, outer and inner, and the landmarks of the lower lip that it closes on.
UPPER_ROWS = mouth_rows(*UPPER_BORDER, *UPPER_RIM)
LOWER_ROWS = mouth_rows(*LOWER_BORDER, *LOWER_RIM)


@dataclass(frozen=True, kw_only=True)
class PoseDrift:
    """Mouth shape as a function of pose."""

    mean: Floats  #: (61, 3) canonical mean mouth shape
    offset: Floats  #: (5,) mean of the pose features
    slopes: Floats  #: (5, 183)

    def at(self, angles: Floats) -> Floats:
        """Return how far the mean mouth drifts at angles (n, 3) in degrees: (n, 61, 3)."""
        moved = ((_pose_features(angles) - self.offset) @ self.slopes).astype(np.float32)
        return moved.reshape(-1, *self.mean.shape)


def fit_pose_drift(mouth: Floats, angles: Floats) -> PoseDrift:
    """Fit the drift of mouth shapes (T, 61, 3) over angles (T, 3) by ridge regression.

    Frames that are NaN are left out.
    """
    known = np.isfinite(mouth[:, 0, 0]) & np.isfinite(angles[:, 0])
    shape = mouth[known].reshape(int(known.sum()), -1)
    features = _pose_features(angles[known])
    mean, offset = (v.mean(0, dtype=np.float64).astype(np.float32) for v in (shape, features))
    x, y = features - offset, shape - mean
    slopes = np.linalg.solve(x.T @ x + RIDGE_FRAMES * np.eye(x.shape[1]), x.T @ y)
    slopes = _without_opening(slopes.reshape(-1, *mouth.shape[1:]))
    return PoseDrift(
        mean=mean.reshape(mouth.shape[1:]).astype(np.float32),
        offset=offset.astype(np.float32),
        slopes=slopes.reshape(len(slopes), -1).astype(np.float32),
    )


def _without_opening(slopes: Floats) -> Floats:
    """Return slopes (5, 61, 3) in which facing landmarks of the two lips move up and down alike."""
    upper, lower = UPPER_ROWS, LOWER_ROWS
    out = slopes.copy()
    out[:, upper, 1] = out[:, lower, 1] = (slopes[:, upper, 1] + slopes[:, lower, 1]) / 2
    return out


def _pose_features(angles: Floats) -> Floats:
    """Return yaw, pitch, their squares and their product (n, 5), scaled to about 1."""
    yaw, pitch = angles[:, 0], angles[:, 1]
    out: Floats = (
        np.stack([yaw, pitch, yaw**2, pitch**2, yaw * pitch], 1) / FEATURE_SCALES
    ).astype(np.float32)
    return out
