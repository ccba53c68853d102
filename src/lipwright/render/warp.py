"""Mesh warp: rasterise the target mesh once on a coarse grid, then sample any number of sources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.media.picture import Box
from lipwright.types import Floats, Ints

CELLS_PER_UNIT = 60  # grid cells per inter-ocular distance: finer than a lip line
TOLERANCE = 1e-3  # barycentric weight: a cell this little outside a triangle counts as inside
MIN_AREA = 1e-6  # squared cells, twice the area of a degenerate triangle; avoids a division by 0
MIN_EDGE_SQUARED = 1e-9  # squared cells; avoids a division by 0

Affine = NDArray[np.float64]
Cells = NDArray[np.int32]
IDENTITY: Affine = np.array([[1.0, 0, 0], [0, 1.0, 0]])


@dataclass(frozen=True, kw_only=True)
class Raster:
    """A target mesh on a coarse grid: the triangle of each cell and its position in it."""

    box: Box  #: pixels of the frame that the grid covers
    step: int  #: pixels per cell
    target: Floats  #: (n, 3) vertices, pixels
    faces: Ints  #: (m, 3) vertex indices
    triangle: Cells  #: (gh, gw) index into *faces*, -1 outside the mesh
    cells: Ints  #: (k,) flat indices of the cells inside the mesh, row by row
    weights: Floats  #: (3, k) their barycentric coordinates

    @property
    def covered(self) -> Box:
        """The pixels that whole cells cover: the box, rounded up to the grid."""
        height, width = (n * self.step for n in self.triangle.shape)
        return Box(self.box.x0, self.box.y0, self.box.x0 + width, self.box.y0 + height)

    def within(self, box: Box) -> Raster:
        """Return the part of the raster that covers a box of pixels inside its own."""
        x0, y0 = (box.x0 - self.box.x0) // self.step, (box.y0 - self.box.y0) // self.step
        x1 = -(-(box.x1 - self.box.x0) // self.step) + 1
        y1 = -(-(box.y1 - self.box.y0) // self.step) + 1
        y, x = np.divmod(self.cells, self.triangle.shape[1])
        kept = np.flatnonzero((x >= x0) & (x < x1) & (y >= y0) & (y < y1))
        triangle = self.triangle[y0:y1, x0:x1]
        left, top = self.box.x0 + x0 * self.step, self.box.y0 + y0 * self.step
        return replace(
            self,
            box=Box(left, top, box.x1, box.y1),
            triangle=triangle,
            cells=(y[kept] - y0) * triangle.shape[1] + x[kept] - x0,
            weights=self.weights.take(kept, 1),
        )


def rasterise(target: Floats, faces: Ints, box: Box, unit: float) -> Raster:
    """Find the triangle of each cell of a grid over *box*.

    Args:
        target: (n, 3) vertices in pixels; the nearest (smallest z) triangle wins.
        faces: (m, 3) vertex indices.
        box: pixels to rasterise.
        unit: pixels per inter-ocular distance; sets the size of a cell.
    """
    step = max(1, round(unit / CELLS_PER_UNIT))
    gw, gh = (box.x1 - box.x0 + step - 1) // step + 1, (box.y1 - box.y0 + step - 1) // step + 1
    corners = ((target[:, :2] - [box.x0, box.y0]) / step)[faces]
    far_first = np.argsort(-target[:, 2][faces].sum(1), kind="stable")
    triangle, y, x = _candidates(corners, far_first, gw, gh)
    weights = _barycentric(corners, triangle, y, x)
    inside = np.flatnonzero(_minimum(weights) > -TOLERANCE)
    nearest = np.full(gw * gh, -1, np.int64)
    nearest[(y * gw + x)[inside]] = inside  # of several triangles the last, nearest one stays
    cells = np.flatnonzero(nearest >= 0)
    visible = nearest[cells]
    ids = np.full((gh, gw), -1, np.int32)
    ids.ravel()[cells] = triangle[visible]
    return Raster(
        box=box,
        step=step,
        target=target,
        faces=faces,
        triangle=ids,
        cells=cells,
        weights=_clamp_to_edge(
            corners, triangle[visible], y[visible], x[visible], weights.take(visible, 1)
        ),
    )


def _candidates(
    corners: NDArray[np.float64], order: Ints, width: int, height: int
) -> tuple[Ints, Cells, Cells]:
    """Return all cells of a grid that lie in the bounding boxes of triangles.

    Args:
        corners: (m, 3, 2) of the triangles, in cells.
        order: (m,) in which the triangles are returned.
        width: of the grid, cells.
        height: of the grid, cells.

    Returns:
        The triangle, the row and the column of each cell (k,), triangle by triangle.
    """
    a, b, c = corners[order].transpose(1, 0, 2)
    low = np.ceil(_minimum((a, b, c)) - TOLERANCE).astype(np.int32)
    high = np.floor(-_minimum((-a, -b, -c)) + TOLERANCE).astype(np.int32)
    low = np.maximum(low, 0)
    last = np.array([width - 1, height - 1], np.int32)
    across, down = np.maximum(np.minimum(high, last) - low + 1, 0).T
    counts = across * down
    ends = np.cumsum(counts, dtype=np.int32)
    within = np.arange(ends[-1], dtype=np.int32) - np.repeat(ends - counts, counts)
    row, column = np.divmod(within, np.repeat(across, counts))
    x, y = (np.repeat(start, counts) for start in low.T)
    return np.repeat(order, counts), y + row, x + column


def _barycentric(corners: NDArray[np.float64], triangle: Ints, y: Cells, x: Cells) -> Floats:
    """Return barycentric coordinates (3, k): they add up to 1; some are negative outside.

    Args:
        corners: (m, 3, 2) of the triangles, in cells.
        triangle: (k,) the triangle of each cell.
        y: (k,) row of each cell.
        x: (k,) column of each cell.
    """
    x0, y0, bx, by, cx, cy = (values[triangle] for values in _gradients(corners))
    px, py = x.astype(np.float32) - x0, y.astype(np.float32) - y0
    weights = np.empty((3, len(triangle)), np.float32)
    weights[1], weights[2] = px * bx + py * by, px * cx + py * cy
    weights[0] = 1 - weights[1] - weights[2]
    return weights


def _minimum(three: Sequence[NDArray[Any]] | NDArray[Any]) -> NDArray[Any]:
    """Return the element-wise minimum of three arrays."""
    minimum: NDArray[Any] = np.minimum(np.minimum(three[0], three[1]), three[2])
    return minimum


def _clamp_to_edge(
    corners: NDArray[np.float64],
    triangle: Ints,
    y: Cells,
    x: Cells,
    weights: Floats,
) -> Floats:
    """Return barycentric coordinates (3, k) with those a little outside moved to the edge."""
    outside = np.flatnonzero(_minimum(weights) < 0)
    points = np.stack([x[outside], y[outside]], -1).astype(np.float64)
    near = _nearest_on_edge(points, corners[triangle[outside]], weights[:, outside].T)
    weights[:, outside] = near.T
    return weights


def _gradients(corners: NDArray[np.float64]) -> Floats:
    """Return the first corner of each triangle (m, 3, 2) and its coordinates' gradients, (6, m).

    Rows 0 and 1 are x and y of the corner; rows 2 and 3 the gradient of the second barycentric
    coordinate along x and y; rows 4 and 5 that of the third.
    """
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    u, v = b - a, c - a
    area = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
    area = np.where(np.abs(area) < MIN_AREA, np.copysign(MIN_AREA, area), area)
    slopes = np.stack([v[:, 1], -v[:, 0], -u[:, 1], u[:, 0]]) / area
    gradients: Floats = np.concatenate([a.T, slopes]).astype(np.float32)
    return gradients


def _nearest_on_edge(
    points: NDArray[np.float64], corners: NDArray[np.float64], weights: Floats
) -> Floats:
    """Return barycentric coordinates (n, 3) of the edge points nearest to *points* (n, 2).

    The edge of each triangle is that opposite the corner whose weight is most negative.
    """
    row, opposite = np.arange(len(points)), weights.argmin(-1)
    first, second = (opposite + 1) % 3, (opposite + 2) % 3
    start, end = corners[row, first], corners[row, second]
    along = end - start
    squared = np.maximum((along**2).sum(-1), MIN_EDGE_SQUARED)
    share = np.clip(((points - start) * along).sum(-1) / squared, 0, 1)
    out = np.zeros_like(weights)
    out[row, first], out[row, second] = 1 - share, share
    return out


def mesh_offsets(raster: Raster, source: Floats, base: Affine | None = None) -> Floats:
    """Return the offset of the source from *base* in each cell, (gh, gw, 2) source pixels.

    Only this small offset is interpolated over the mesh, so a cell assigned to the wrong triangle
    at an edge causes a negligible error. Outside the mesh the offset is 0.

    Args:
        raster: of the target mesh.
        source: (n, 3) the same vertices in the source.
        base: 2x3 matrix from target to source pixels; None for the identity.
    """
    base = IDENTITY if base is None else base
    offsets = (source[:, :2] - _apply(base, raster.target[:, :2])).astype(np.float32)
    corners = np.ascontiguousarray(offsets[raster.faces].transpose(2, 1, 0))  # (2, 3, m)
    triangle = raster.triangle.ravel()[raster.cells]
    coarse = np.zeros((raster.triangle.size, 2), np.float32)
    for axis, values in enumerate(corners):
        mixed = sum(w * v[triangle] for w, v in zip(raster.weights, values, strict=True))
        coarse[raster.cells, axis] = mixed
    return coarse.reshape(*raster.triangle.shape, 2)


def backward_map(
    raster: Raster, source: Floats, base: Affine | None = None, within: Box | None = None
) -> Floats:
    """Return the source position of each pixel of a box: (h, w, 2) x, y in source pixels.

    Args:
        raster: of the target mesh.
        source: (n, 3) the same vertices in the source.
        base: 2x3 matrix from target to source pixels, as :func:`mesh_offsets` takes it.
        within: part of the raster's box to compute; None for all of it.
    """
    box = within or raster.box
    part = raster.within(box)
    positions = upsample(mesh_offsets(part, source, base), part, box)
    positions += affine_grid(box, IDENTITY if base is None else base)
    return positions


def pixel_grid(box: Box) -> Floats:
    """Return x, y of every pixel of a box, (h, w, 2)."""
    return affine_grid(box, IDENTITY)


def affine_grid(box: Box, matrix: Affine, step: int = 1) -> Floats:
    """Return every *step*-th pixel of a box, mapped by a 2x3 matrix, (h, w, 2) x, y."""
    x, y = np.arange(box.x0, box.x1, step), np.arange(box.y0, box.y1, step)
    out = np.empty((len(y), len(x), 2), np.float32)
    for axis, (along, down, start) in enumerate(matrix):
        np.add((along * x + start)[None], (down * y)[:, None], out=out[..., axis], casting="unsafe")
    return out


def fit_affine(target: Floats, source: Floats) -> Affine:
    """Return the 2x3 matrix that maps target points (n, 2+) to source points by least squares."""
    known = np.column_stack([target[:, :2], np.ones(len(target))])
    solved: Affine = np.linalg.lstsq(known, source[:, :2].astype(np.float64), rcond=None)[0].T
    return solved


def _apply(matrix: NDArray[Any], points: NDArray[Any]) -> Floats:
    moved: Floats = points @ matrix[:, :2].T + matrix[:, 2]
    return moved


def upsample(coarse: Floats, raster: Raster, box: Box) -> Floats:
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


def sample_bicubic(image: NDArray[Any], positions: Floats, origin: tuple[int, int]) -> NDArray[Any]:
    """Sample an (h, w, 3) image bicubically at frame positions (…, 2); its dtype is kept.

    Args:
        image: crop of a frame.
        positions: x, y in pixels of the frame.
        origin: x, y of the crop in the frame.
    """
    local = positions if origin == (0, 0) else positions - np.array(origin, np.float32)
    sampled: NDArray[Any] = cv2.remap(
        image, local, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return sampled
