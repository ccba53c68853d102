"""The lower face on a small raster, on which a cell shows the same piece of skin in every frame."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.face.lips import INNER_LIPS, OUTER_LIPS
from lipwright.face.shape import reference, triangles
from lipwright.types import Bools, Floats, Ints

Raster = NDArray[np.uint8]  #: (SIDE, SIDE, 3) L, a, b of the lower face, 8 bit

SIDE = 32  # cells
X0, X1, Y0, Y1 = -0.8, 0.8, 0.35, 1.45  # canonical extent of the raster
FACING = 0.5  # cosine from which a cell is judged


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The raster's cells on the reference face."""

    triangle: Ints  #: (SIDE, SIDE) index into the mesh, -1 outside of the face
    corners: Ints  #: (SIDE * SIDE, 3) landmarks
    weights: Floats  #: (SIDE * SIDE, 3) barycentric
    face: Bools  #: (SIDE, SIDE) cells on the face
    judged: Bools  #: where occluders are looked for: mouth, chin, folds
    light: Bools  #: nose and cheeks, which tell how a frame is lit
    lips: Bools
    inner: Bools  #: between the lips


@cache
def layout() -> Layout:
    """Return the layout, the same for every face."""
    face, mesh = reference(), triangles()
    scale = np.array([SIDE / (X1 - X0), SIDE / (Y1 - Y0)])
    points = _cells(face)
    ids = np.full((SIDE, SIDE), -1, np.int32)
    for i in np.argsort(-face[mesh, 2].mean(1), kind="stable"):
        cv2.fillConvexPoly(ids, np.rint(points[mesh[i]] * 16).astype(np.int32), int(i), shift=4)
    corners = mesh[np.maximum(ids, 0).ravel()]
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float64)
    system = np.concatenate([points[corners].transpose(0, 2, 1), np.ones((SIDE**2, 1, 3))], 1)
    at = np.stack([x.ravel(), y.ravel(), np.ones(SIDE**2)], 1)[..., None]
    weights = np.clip(np.linalg.solve(system, at)[..., 0], 0, 1)
    down, across = Y0 + (y + 0.5) / scale[1], np.abs(X0 + (x + 0.5) / scale[0])
    on_face = ids >= 0
    return Layout(
        triangle=ids.astype(np.int64),
        corners=corners,
        weights=(weights / weights.sum(1, keepdims=True)).astype(np.float32),
        face=on_face,
        judged=on_face & (down > 0.66) & (down < 1.33) & (across < 0.58),
        light=on_face & (down < 0.72) & (across < 0.6),
        lips=inside(OUTER_LIPS),
        inner=inside(INNER_LIPS),
    )


def inside(loop: Ints) -> Bools:
    """Return the cells (SIDE, SIDE) within a loop of landmarks (n,), and one around them."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    points = np.rint(_cells(reference())[loop] * 16).astype(np.int32)
    cv2.fillPoly(mask, [points], 1, shift=4)
    grown: Bools = cv2.dilate(mask, np.ones((3, 3), np.uint8)) > 0
    return grown


def _cells(face: Floats) -> NDArray[np.float64]:
    """Return where the mesh of a canonical face (478, 3) lies on the raster, (468, 2) cells."""
    scale = np.array([SIDE / (X1 - X0), SIDE / (Y1 - Y0)])
    placed: NDArray[np.float64] = (face[:468, :2] - [X0, Y0]) * scale - 0.5
    return placed


def lower_face(rgb: NDArray[np.uint8], landmarks: Floats) -> Raster:
    """Sample the lower face of a picture on the raster.

    Args:
        rgb: (h, w, 3) RGB, 8 bit.
        landmarks: (478, 3) pixels of *rgb*.
    """
    plan = layout()
    at = np.einsum("ij,ijk->ik", plan.weights, landmarks[:, :2][plan.corners])
    low, high = np.floor(at.min(0)).astype(int) - 2, np.ceil(at.max(0)).astype(int) + 3
    last = np.array(rgb.shape[1::-1])
    low, high = np.clip(low, 0, last - 1), np.clip(high, 1, last)
    high = np.maximum(high, low + 1)
    part = rgb[low[1] : high[1], low[0] : high[0]]
    at = at - low
    shrink = max(1, int((high - low).max() / (2 * SIDE)))
    if shrink > 1:
        size = (max(1, part.shape[1] // shrink), max(1, part.shape[0] // shrink))
        factor = np.array(size) / part.shape[1::-1]
        part = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
        at = (at + 0.5) * factor - 0.5
    part = cv2.blur(part, (2, 2)) if min(part.shape[:2]) > SIDE else part
    at = at.astype(np.float32).reshape(SIDE, SIDE, 2)
    cells = cv2.remap(part, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    raster: Raster = cv2.cvtColor(cells, cv2.COLOR_RGB2LAB)
    return raster


def prepare() -> None:
    """Let OpenCV make its tables for L, a, b, as it does at their first use, in 80 ms."""
    cv2.cvtColor(np.zeros((1, 1, 3), np.uint8), cv2.COLOR_RGB2LAB)


def visible(landmarks: Floats) -> Bools:
    """Return which cells (T, SIDE, SIDE) face the camera."""
    plan = layout()
    corners = landmarks[:, triangles()]
    normal = np.cross(corners[:, :, 1] - corners[:, :, 0], corners[:, :, 2] - corners[:, :, 0])
    facing = normal[..., 2] / np.maximum(np.linalg.norm(normal, axis=-1), 1e-6)
    ahead = np.sign(_ahead())
    shown: Bools = (facing * ahead > FACING)[:, np.maximum(plan.triangle, 0)] & plan.face
    return shown


@cache
def _ahead() -> Floats:
    """Return the sign of the z of each triangle's normal on the reference face (m,)."""
    a, b, c = reference()[triangles()].transpose(1, 0, 2)
    z: Floats = np.cross(b - a, c - a)[:, 2]
    return z
