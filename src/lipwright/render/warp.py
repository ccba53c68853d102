"""Mesh warp: one coarse raster of the target, any number of sources, pixels sampled finely."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.face.shape import Floats, Ints
from lipwright.media.picture import Box

CELLS_PER_UNIT = 72  # grid cells per inter-ocular distance: finer than a lip line
SUBPIXEL_BITS = 4  # of the triangle rasteriser

Affine = NDArray[np.float64]
IDENTITY: Affine = np.array([[1.0, 0, 0], [0, 1.0, 0]])


@dataclass(frozen=True, kw_only=True)
class Raster:
    """Target mesh on a coarse grid: which triangle lies where, and where in it."""

    box: Box  #: pixels of the frame that the grid covers
    step: int  #: pixels per cell
    target: Floats  #: (n, 3) vertices, pixels
    faces: Ints  #: (m, 3) vertex indices
    triangle: Ints  #: (gh, gw) index into the mesh, -1 outside
    weights: Floats  #: (gh, gw, 3) barycentric coordinates


def rasterise(target: Floats, faces: Ints, box: Box, unit: float) -> Raster:
    """Lay a grid over *box* and find each cell's triangle.

    Args:
        target: (n, 3) vertices in pixels; the nearest (smallest z) triangle wins.
        faces: (m, 3) vertex indices.
        box: where to rasterise.
        unit: pixels per inter-ocular distance, sets the grid.
    """
    step = max(1, round(unit / CELLS_PER_UNIT))
    gw, gh = (box.x1 - box.x0 + step - 1) // step + 1, (box.y1 - box.y0 + step - 1) // step + 1
    grid = (target[:, :2] - [box.x0, box.y0]) / step
    ids = np.full((gh, gw), -1, np.int32)
    corners = grid[faces]
    fixed = np.round(corners * (1 << SUBPIXEL_BITS)).astype(np.int32)
    for i in np.argsort(-target[faces, 2].mean(1), kind="stable"):
        cv2.fillConvexPoly(ids, fixed[i], int(i), shift=SUBPIXEL_BITS)
    weights = _barycentric(corners, ids)
    return Raster(
        box=box,
        step=step,
        target=target,
        faces=faces,
        triangle=ids.astype(np.int64),
        weights=weights,
    )


def _barycentric(corners: NDArray[np.float64], ids: NDArray[np.int32]) -> Floats:
    """Return each cell's coordinates in its triangle, (gh, gw, 3), 0 to 1, adding up to 1.

    The rasteriser also draws cells that their triangle only touches; those count as on its edge.
    """
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    u, v = b - a, c - a
    area = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
    area = np.where(np.abs(area) < 1e-6, np.copysign(1e-6, area), area)
    at = np.maximum(ids, 0)
    y, x = np.mgrid[0 : ids.shape[0], 0 : ids.shape[1]]
    px, py = x - a[at, 0], y - a[at, 1]
    wb = (px * v[at, 1] - py * v[at, 0]) / area[at]
    wc = (py * u[at, 0] - px * u[at, 1]) / area[at]
    weights = np.stack([1 - wb - wc, wb, wc], -1).astype(np.float32)
    outside = (weights.min(-1) < 0) & (ids >= 0)
    points = np.stack([x, y], -1)[outside].astype(np.float64)
    weights[outside] = _nearest_on_edge(points, corners[at[outside]], weights[outside])
    weights[ids < 0] = (1, 0, 0)  # no triangle: never read
    return weights


def _nearest_on_edge(
    points: NDArray[np.float64], corners: NDArray[np.float64], weights: Floats
) -> Floats:
    """Return coordinates (n, 3) of the points nearest to *points* (n, 2) on their triangles' edges.

    The edge is that across from the corner whose weight is most negative.
    """
    row, across = np.arange(len(points)), weights.argmin(-1)
    first, second = (across + 1) % 3, (across + 2) % 3
    start, end = corners[row, first], corners[row, second]
    along = end - start
    length = np.maximum((along**2).sum(-1), 1e-9)
    share = np.clip(((points - start) * along).sum(-1) / length, 0, 1)
    out = np.zeros_like(weights)
    out[row, first], out[row, second] = 1 - share, share
    return out


def departure(raster: Raster, source: Floats, base: Affine | None = None) -> Floats:
    """Return how far the source lies from *base* in each cell, (gh, gw, 2) source pixels.

    Only this departure is interpolated over the mesh, so that a cell misjudged at the edge of a
    triangle is off by next to nothing. Outside the mesh it is 0.

    Args:
        raster: of the target mesh.
        source: (n, 3) the same vertices in the source.
        base: 2x3 matrix from target to source pixels; None for the identity.
    """
    base = IDENTITY if base is None else base
    apart = (source[:, :2] - _apply(base, raster.target[:, :2])).astype(np.float32)
    corners = apart[raster.faces][np.maximum(raster.triangle, 0)]
    coarse: Floats = np.einsum("hwk,hwkc->hwc", raster.weights, corners)
    coarse[raster.triangle < 0] = 0
    return coarse


def backward_map(
    raster: Raster, source: Floats, base: Affine | None = None, within: Box | None = None
) -> Floats:
    """Return where each pixel of a box comes from: (h, w, 2) x, y in source pixels.

    Args:
        raster: of the target mesh.
        source: (n, 3) the same vertices in the source.
        base: 2x3 matrix from target to source pixels, as :func:`departure` takes it.
        within: the part of the raster's box that is asked for; None for all of it.
    """
    box = within or raster.box
    own = pixels(box)
    own = own if base is None else _apply(base.astype(np.float32), own)
    positions: Floats = own + refine(departure(raster, source, base), raster, box)
    return positions


def pixels(box: Box) -> Floats:
    """Return x, y of every pixel of a box, (h, w, 2)."""
    out = np.empty((box.y1 - box.y0, box.x1 - box.x0, 2), np.float32)
    out[..., 0] = np.arange(box.x0, box.x1)
    out[..., 1] = np.arange(box.y0, box.y1)[:, None]
    return out


def affine_between(target: Floats, source: Floats) -> Affine:
    """Return the 2x3 matrix that brings target points (n, 2+) nearest to source points."""
    known = np.column_stack([target[:, :2], np.ones(len(target))])
    solved: Affine = np.linalg.lstsq(known, source[:, :2].astype(np.float64), rcond=None)[0].T
    return solved


def _apply(matrix: NDArray[Any], points: NDArray[Any]) -> Floats:
    moved: Floats = points @ matrix[:, :2].T + matrix[:, 2]
    return moved


def refine(coarse: Floats, raster: Raster, box: Box) -> Floats:
    """Interpolate grid values to every pixel of a box inside the raster's."""
    w, h = box.x1 - box.x0, box.y1 - box.y0
    x, y = box.x0 - raster.box.x0, box.y0 - raster.box.y0
    if raster.step == 1:
        return np.ascontiguousarray(coarse[y : y + h, x : x + w])
    k = 1 / raster.step
    matrix = np.array([[k, 0, x * k], [0, k, y * k]])
    fine: Floats = cv2.warpAffine(
        coarse,
        matrix,
        (w, h),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return fine


def sample(image: NDArray[Any], positions: Floats, origin: tuple[int, int]) -> NDArray[Any]:
    """Sample an (h, w, 3) image bicubically at frame positions (…, 2); its dtype is kept.

    Args:
        image: crop of a frame.
        positions: x, y in pixels of the frame.
        origin: x, y of the crop in the frame.
    """
    local = positions - np.array(origin, np.float32)
    sampled: NDArray[Any] = cv2.remap(
        image, local, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return sampled
