"""Sample the lower face on a small canonical raster.

A cell of the raster shows the same piece of skin in every frame, whatever the head pose.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.face.canonical import face_triangles, reference_face
from lipwright.face.landmarks import INNER_LIPS, OUTER_LIPS
from lipwright.types import Bools, Floats, Ints

Raster = NDArray[np.uint8]  #: (SIDE, SIDE, 3) L, a, b of the lower face, 8 bit

RASTER_SIDE = 32  # cells; written SIDE in the shapes of docstrings
X0, X1, Y0, Y1 = -0.8, 0.8, 0.35, 1.45  # extent of the raster in canonical coordinates
MIN_FACING = 0.5  # cosine between a cell's normal and the camera from which the cell is visible


@dataclass(frozen=True, kw_only=True)
class RasterLayout:
    """The raster's cells on the reference face."""

    triangle: Ints  #: (SIDE, SIDE) index into the mesh, -1 outside of the face
    corners: Ints  #: (SIDE * SIDE, 3) landmarks
    weights: Floats  #: (SIDE * SIDE, 3) barycentric
    face: Bools  #: (SIDE, SIDE) cells on the face
    searched: Bools  #: (SIDE, SIDE) where occluders are looked for: mouth, chin, folds
    skin: Bools  #: (SIDE, SIDE) nose and cheeks, from which the lighting of a frame is estimated
    lips: Bools  #: (SIDE, SIDE)
    inner: Bools  #: (SIDE, SIDE) between the lips


@cache
def raster_layout() -> RasterLayout:
    """Return the layout, the same for every face."""
    face, mesh = reference_face(), face_triangles()
    scale = np.array([RASTER_SIDE / (X1 - X0), RASTER_SIDE / (Y1 - Y0)])
    points = _to_cells(face)
    ids = np.full((RASTER_SIDE, RASTER_SIDE), -1, np.int32)
    for i in np.argsort(-face[mesh, 2].mean(1), kind="stable"):
        cv2.fillConvexPoly(ids, np.rint(points[mesh[i]] * 16).astype(np.int32), int(i), shift=4)
    corners = mesh[np.maximum(ids, 0).ravel()]
    y, x = np.mgrid[0:RASTER_SIDE, 0:RASTER_SIDE].astype(np.float64)
    system = np.concatenate(
        [points[corners].transpose(0, 2, 1), np.ones((RASTER_SIDE**2, 1, 3))], 1
    )
    at = np.stack([x.ravel(), y.ravel(), np.ones(RASTER_SIDE**2)], 1)[..., None]
    weights = np.clip(np.linalg.solve(system, at)[..., 0], 0, 1)
    down, across = Y0 + (y + 0.5) / scale[1], np.abs(X0 + (x + 0.5) / scale[0])
    on_face = ids >= 0
    return RasterLayout(
        triangle=ids.astype(np.int64),
        corners=corners,
        weights=(weights / weights.sum(1, keepdims=True)).astype(np.float32),
        face=on_face,
        searched=on_face & (down > 0.66) & (down < 1.33) & (across < 0.58),
        skin=on_face & (down < 0.72) & (across < 0.6),
        lips=cells_inside(OUTER_LIPS),
        inner=cells_inside(INNER_LIPS),
    )


def cells_inside(loop: Ints) -> Bools:
    """Return the cells (SIDE, SIDE) within a loop of landmarks (n,), grown by one cell."""
    mask = np.zeros((RASTER_SIDE, RASTER_SIDE), np.uint8)
    points = np.rint(_to_cells(reference_face())[loop] * 16).astype(np.int32)
    cv2.fillPoly(mask, [points], 1, shift=4)
    grown: Bools = cv2.dilate(mask, np.ones((3, 3), np.uint8)) > 0
    return grown


def _to_cells(face: Floats) -> NDArray[np.float64]:
    """Return where the mesh of a canonical face (478, 3) lies on the raster, (468, 2) cells."""
    scale = np.array([RASTER_SIDE / (X1 - X0), RASTER_SIDE / (Y1 - Y0)])
    cells: NDArray[np.float64] = (face[:468, :2] - [X0, Y0]) * scale - 0.5
    return cells


def sample_lower_face(rgb: NDArray[np.uint8], landmarks: Floats) -> Raster:
    """Sample the lower face of a picture on the raster.

    Args:
        rgb: (h, w, 3) RGB, 8 bit.
        landmarks: (478, 3) pixels of *rgb*.

    Returns:
        uint8 (SIDE, SIDE, 3): L, a, b as OpenCV encodes them in 8 bit.
    """
    layout = raster_layout()
    at = np.einsum("ij,ijk->ik", layout.weights, landmarks[:, :2][layout.corners])
    low, high = np.floor(at.min(0)).astype(int) - 2, np.ceil(at.max(0)).astype(int) + 3
    last = np.array(rgb.shape[1::-1])
    low, high = np.clip(low, 0, last - 1), np.clip(high, 1, last)
    high = np.maximum(high, low + 1)
    part = rgb[low[1] : high[1], low[0] : high[0]]
    at = at - low
    shrink = max(1, int((high - low).max() / (2 * RASTER_SIDE)))
    if shrink > 1:
        size = (max(1, part.shape[1] // shrink), max(1, part.shape[0] // shrink))
        factor = np.array(size) / part.shape[1::-1]
        part = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
        at = (at + 0.5) * factor - 0.5
    part = cv2.blur(part, (2, 2)) if min(part.shape[:2]) > RASTER_SIDE else part
    at = at.astype(np.float32).reshape(RASTER_SIDE, RASTER_SIDE, 2)
    cells = cv2.remap(part, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    raster: Raster = cv2.cvtColor(cells, cv2.COLOR_RGB2LAB)
    return raster


def warm_up() -> None:
    """Make OpenCV compute its tables for L, a, b, which takes 80 ms at their first use."""
    cv2.cvtColor(np.zeros((1, 1, 3), np.uint8), cv2.COLOR_RGB2LAB)


def visible_cells(landmarks: Floats) -> Bools:
    """Return which cells (T, SIDE, SIDE) face the camera, for landmarks (T, 478, 3)."""
    layout = raster_layout()
    corners = landmarks[:, face_triangles()]
    normal = np.cross(corners[:, :, 1] - corners[:, :, 0], corners[:, :, 2] - corners[:, :, 0])
    facing = normal[..., 2] / np.maximum(np.linalg.norm(normal, axis=-1), 1e-6)
    outward = np.sign(_reference_normal_z())
    visible: Bools = (facing * outward > MIN_FACING)[
        :, np.maximum(layout.triangle, 0)
    ] & layout.face
    return visible


@cache
def _reference_normal_z() -> Floats:
    """Return the z of each triangle's normal on the reference face, (m,)."""
    a, b, c = reference_face()[face_triangles()].transpose(1, 0, 2)
    z: Floats = np.cross(b - a, c - a)[:, 2]
    return z
