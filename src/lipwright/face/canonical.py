"""Canonical coordinates: head pose, and mouth shape without it. Pure functions of landmarks.

A face is aligned by the similarity transform (Umeyama 1991) that maps its rigid part (eyes, bridge,
forehead) onto the reference face. In canonical coordinates x points to the right of the picture, y
down, z away from the camera. The unit is the distance between the outer eye corners of the
reference face. A canonical mouth shape does not depend on head motion or picture size.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from lipwright.face.landmarks import (
    CORNER_ROWS,
    EYE_LEFT,
    EYE_RIGHT,
    LOWER_INNER_ROWS,
    MOUTH,
    RIGID,
    UPPER_INNER_ROWS,
)
from lipwright.runtime.disk_array import CHUNK_ROWS, Array
from lipwright.types import Floats, Ints


@cache
def reference_face() -> Floats:
    """Return the reference face (478, 3): mean of many speakers, outer eye corners 1 apart."""
    return _data()["reference"]


@cache
def face_triangles() -> Ints:
    """Return the triangles (898, 3) of the face mesh over landmarks 0 to 467, mouth included."""
    return _data()["triangles"].astype(np.int64)


@cache
def _data() -> dict[str, NDArray[np.float32]]:
    raw = (files("lipwright.face") / "reference.npz").read_bytes()
    with np.load(BytesIO(raw)) as data:
        return dict(data)


@dataclass(frozen=True, kw_only=True)
class Pose:
    """Head poses: canonical = (image - centre) * scale @ rotation + reference centre."""

    scale: Floats  #: (T,) canonical units per pixel
    rotation: Floats  #: (T, 3, 3)
    centre: Floats  #: (T, 3) pixels

    def __getitem__(self, index: slice | Ints | NDArray[np.bool_]) -> Pose:
        return Pose(
            scale=self.scale[index], rotation=self.rotation[index], centre=self.centre[index]
        )

    def angles(self) -> Floats:
        """Return yaw, pitch and roll (T, 3) in degrees; a head that faces the camera has 0."""
        forward = -self.rotation[:, :, 2]  # canonical (0, 0, -1) in the image
        right = self.rotation[:, :, 0]
        yaw = np.arctan2(forward[:, 0], -forward[:, 2])
        pitch = np.arctan2(forward[:, 1], np.hypot(forward[:, 0], forward[:, 2]))
        roll = np.arctan2(right[:, 1], right[:, 0])
        degrees: Floats = np.degrees(np.stack([yaw, pitch, roll], 1)).astype(np.float32)
        return degrees


def estimate_pose(landmarks: Array, frames: Ints | None = None) -> Pose:
    """Return the pose of landmarks (T, 478, 3) in pixels; NaN where they are NaN.

    With *frames* (m,), only of those frames, read a chunk at a time.
    """
    return _fit_pose(_select_landmarks(landmarks, RIGID, frames))


def _select_landmarks(landmarks: Array, which: Ints, frames: Ints | None) -> Floats:
    """Return some of the landmarks (T, 478, 3) in some frames, (m, n, 3)."""
    if frames is None:
        return landmarks[:, which]
    out = np.empty((len(frames), len(which), 3), np.float32)
    for at in range(0, len(frames), CHUNK_ROWS):
        out[at : at + CHUNK_ROWS] = landmarks[frames[at : at + CHUNK_ROWS]][:, which]
    return out


def _fit_pose(rigid: Floats) -> Pose:
    """Return the pose of the rigid part (T, 16, 3) of faces."""
    known = np.isfinite(rigid[:, 0, 0])
    a = rigid[known].astype(np.float64)
    b = reference_face()[RIGID].astype(np.float64)
    ma, mb = a.mean(1, keepdims=True), b.mean(0)
    ca = a - ma
    u, s, vt = np.linalg.svd(np.swapaxes(ca, 1, 2) @ (b - mb))
    turn = np.ones_like(s)
    turn[:, 2] = np.sign(np.linalg.det(u @ vt))
    count = len(rigid)
    scale = np.full(count, np.nan, np.float32)
    rotation = np.full((count, 3, 3), np.nan, np.float32)
    centre = np.full((count, 3), np.nan, np.float32)
    scale[known] = (s * turn).sum(1) / (ca**2).sum((1, 2))
    rotation[known] = (u * turn[:, None]) @ vt
    centre[known] = ma[:, 0]
    return Pose(scale=scale, rotation=rotation, centre=centre)


def to_canonical(landmarks: Floats, pose: Pose) -> Floats:
    """Transform landmarks (T, n, 3) from pixels to canonical coordinates."""
    moved = (landmarks - pose.centre[:, None]) * pose.scale[:, None, None]
    out: Floats = (moved @ pose.rotation + _rigid_centre()).astype(np.float32)
    return out


def to_image(canonical: Floats, pose: Pose) -> Floats:
    """Transform canonical points (T, n, 3) to pixels: the inverse of :func:`to_canonical`."""
    turned = (canonical - _rigid_centre()) @ np.swapaxes(pose.rotation, 1, 2)
    out: Floats = (turned / pose.scale[:, None, None] + pose.centre[:, None]).astype(np.float32)
    return out


def mouth_shapes(landmarks: Array, frames: Ints | None = None) -> Floats:
    """Return canonical mouth shapes (T, 61, 3) of landmarks (T, 478, 3) in pixels.

    With *frames* (m,), only of those frames: (m, 61, 3).
    """
    frames = np.arange(len(landmarks)) if frames is None else frames
    out = np.empty((len(frames), len(MOUTH), 3), np.float32)
    for at in range(0, len(frames), CHUNK_ROWS):
        part = landmarks[frames[at : at + CHUNK_ROWS]]
        out[at : at + CHUNK_ROWS] = to_canonical(part[:, MOUTH], estimate_pose(part))
    return out


def interocular_distance(landmarks: Floats) -> float:
    """Return the distance between the outer eye corners of one face (478, 3), in its own unit."""
    return float(np.linalg.norm(landmarks[EYE_LEFT] - landmarks[EYE_RIGHT]))


def mouth_opening(mouth: Floats) -> Floats:
    """Return the mean distance between the inner lips (T,) of mouth shapes (T, 61, 3)."""
    gap = mouth[:, LOWER_INNER_ROWS, :2] - mouth[:, UPPER_INNER_ROWS, :2]
    out: Floats = np.linalg.norm(gap, axis=-1).mean(-1)
    return out


def mouth_width(mouth: Floats) -> Floats:
    """Return the distance between the mouth corners (T,) of mouth shapes (T, 61, 3)."""
    out: Floats = np.linalg.norm(mouth[:, CORNER_ROWS[1]] - mouth[:, CORNER_ROWS[0]], axis=-1)
    return out


@cache
def _rigid_centre() -> Floats:
    centre: Floats = reference_face()[RIGID].mean(0)
    return centre
