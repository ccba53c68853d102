"""Canonical mouth shape and head pose: pure functions of landmarks.

A face is aligned by the similarity (Umeyama 1991) that brings its rigid part (eyes, bridge,
forehead) onto the reference face. In these canonical coordinates x points to the right of the
picture, y down, z away from the camera, and the unit is the distance between the outer eye corners
of the reference, so that a mouth shape is free of head motion and of the size of the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from lipwright.face.lips import LIPS
from lipwright.runtime.disk_array import CHUNK_ROWS, Array
from lipwright.types import Floats, Ints

# fmt: off
JAW = np.array([
    152, 148, 377, 176, 400, 149, 378, 150, 379, 136, 365, 18, 200, 199, 175, 169, 394, 32, 262,
    171, 396,
])
MOUTH = np.concatenate([LIPS, JAW])  # the 61 landmarks that carry speech
RIGID = np.array([33, 133, 362, 263, 168, 6, 197, 195, 10, 151, 9, 8, 127, 356, 70, 300])
# fmt: on
EYE_RIGHT, EYE_LEFT = 33, 263  # outer corners
_AT = {int(landmark): i for i, landmark in enumerate(MOUTH)}
UPPER_INNER = [_AT[i] for i in (82, 13, 312)]
LOWER_INNER = [_AT[i] for i in (87, 14, 317)]
CORNERS = (_AT[61], _AT[291])


@cache
def reference() -> Floats:
    """Return the reference face (478, 3): mean of many speakers, outer eye corners 1 apart."""
    return _data()["reference"]


@cache
def triangles() -> Ints:
    """Return the face mesh (898, 3) over landmarks 0 to 467, the mouth closed in."""
    return _data()["triangles"].astype(np.int64)


@cache
def _data() -> dict[str, NDArray[np.float32]]:
    raw = (files("lipwright.face") / "reference.npz").read_bytes()
    with np.load(BytesIO(raw)) as data:
        return dict(data)


@dataclass(frozen=True, kw_only=True)
class Pose:
    """Where heads are: canonical = (image - centre) * scale @ rotation + reference centre."""

    scale: Floats  #: (T,) canonical units per pixel
    rotation: Floats  #: (T, 3, 3)
    centre: Floats  #: (T, 3) pixels

    def __getitem__(self, index: slice | Ints | NDArray[np.bool_]) -> Pose:
        return Pose(
            scale=self.scale[index], rotation=self.rotation[index], centre=self.centre[index]
        )

    def angles(self) -> Floats:
        """Return yaw, pitch and roll (T, 3) in degrees; all zero looks into the camera."""
        forward = -self.rotation[:, :, 2]  # canonical (0, 0, -1) in the image
        right = self.rotation[:, :, 0]
        yaw = np.arctan2(forward[:, 0], -forward[:, 2])
        pitch = np.arctan2(forward[:, 1], np.hypot(forward[:, 0], forward[:, 2]))
        roll = np.arctan2(right[:, 1], right[:, 0])
        degrees: Floats = np.degrees(np.stack([yaw, pitch, roll], 1)).astype(np.float32)
        return degrees


def align(landmarks: Floats) -> Pose:
    """Return the pose of landmarks (T, 478, 3); NaN where they are NaN."""
    return _fit(landmarks[:, RIGID])


def pose_of(landmarks: Array, frames: Ints | None = None) -> Pose:
    """Return the pose of landmarks (T, 478, 3), or of some *frames* (m,), a part at a time."""
    return _fit(_columns(landmarks, RIGID, frames))


def _columns(landmarks: Array, which: Ints, frames: Ints | None) -> Floats:
    """Return some of the landmarks (T, 478, 3) in some frames, (m, n, 3)."""
    if frames is None:
        return landmarks[:, which]
    out = np.empty((len(frames), len(which), 3), np.float32)
    for at in range(0, len(frames), CHUNK_ROWS):
        out[at : at + CHUNK_ROWS] = landmarks[frames[at : at + CHUNK_ROWS]][:, which]
    return out


def _fit(rigid: Floats) -> Pose:
    """Return the pose of the rigid part (T, 16, 3) of faces."""
    known = np.isfinite(rigid[:, 0, 0])
    a = rigid[known].astype(np.float64)
    b = reference()[RIGID].astype(np.float64)
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
    """Bring landmarks (T, n, 3) in pixels to canonical coordinates."""
    moved = (landmarks - pose.centre[:, None]) * pose.scale[:, None, None]
    out: Floats = (moved @ pose.rotation + _rigid_centre()).astype(np.float32)
    return out


def to_image(canonical: Floats, pose: Pose) -> Floats:
    """Bring canonical points (T, n, 3) to pixels: the inverse of :func:`to_canonical`."""
    turned = (canonical - _rigid_centre()) @ np.swapaxes(pose.rotation, 1, 2)
    out: Floats = (turned / pose.scale[:, None, None] + pose.centre[:, None]).astype(np.float32)
    return out


def mouth_shapes(landmarks: Array, frames: Ints | None = None) -> Floats:
    """Return canonical mouth shapes (T, 61, 3) of landmarks (T, 478, 3) in pixels.

    With *frames* (m,), of those frames alone: (m, 61, 3).
    """
    frames = np.arange(len(landmarks)) if frames is None else frames
    out = np.empty((len(frames), len(MOUTH), 3), np.float32)
    for at in range(0, len(frames), CHUNK_ROWS):
        part = landmarks[frames[at : at + CHUNK_ROWS]]
        out[at : at + CHUNK_ROWS] = to_canonical(part[:, MOUTH], align(part))
    return out


def interocular(landmarks: Floats) -> float:
    """Return the distance of the outer eye corners of one face (478, 3), in its own unit."""
    return float(np.linalg.norm(landmarks[EYE_LEFT] - landmarks[EYE_RIGHT]))


def opening(mouth: Floats) -> Floats:
    """Return the distance of the inner lips (T,) of mouth shapes (T, 61, 3)."""
    gap = mouth[:, LOWER_INNER, :2] - mouth[:, UPPER_INNER, :2]
    out: Floats = np.linalg.norm(gap, axis=-1).mean(-1)
    return out


def width(mouth: Floats) -> Floats:
    """Return the distance of the mouth corners (T,) of mouth shapes (T, 61, 3)."""
    out: Floats = np.linalg.norm(mouth[:, CORNERS[1]] - mouth[:, CORNERS[0]], axis=-1)
    return out


@cache
def _rigid_centre() -> Floats:
    centre: Floats = reference()[RIGID].mean(0)
    return centre
