"""Turn detected occlusion of the face into the masks of views: those pixels are not painted."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.face.canonical import interocular_distance, reference_face
from lipwright.face.lower_face_raster import (
    RASTER_SIDE,
    X0,
    X1,
    Y0,
    Y1,
    cells_inside,
    raster_layout,
)
from lipwright.media.picture import Box
from lipwright.render.composite import MOUTH_LOOP
from lipwright.render.face_mesh import mesh_triangles, moving_vertices, rest_vertices
from lipwright.render.warp import affine_grid, fit_affine, mesh_offsets, rasterise, upsample
from lipwright.runtime.disk_array import Array
from lipwright.types import Bools, Floats, Ints

GROWN_CELLS = 1  # cells that an occluder is grown by: too little paint beside a finger is invisible


def occluder_mask(cells: Bools, landmarks: Floats, box: Box) -> Floats:
    """Return how far each pixel of a view belongs to an occluder, (h, w) 0 to 1, soft at the edge.

    The mask is grown by GROWN_CELLS. Beyond the face it continues outwards from the nearest cell
    that occluders are searched in.

    Args:
        cells: (32, 32) of :func:`lipwright.face.occlusion.occluded`.
        landmarks: (478, 3) pixels of the frame.
        box: position of the view in the frame.
    """
    everywhere = cells.ravel()[_nearest_searched()].reshape(RASTER_SIDE, RASTER_SIDE)
    side = 2 * GROWN_CELLS + 1
    grown = cv2.dilate(everywhere.astype(np.float32), np.ones((side, side), np.uint8))
    unit = interocular_distance(landmarks)
    target = rest_vertices(landmarks, unit)
    raster = rasterise(target, mesh_triangles(), box, unit)
    used = moving_vertices()
    base = fit_affine(target[used], _mesh_in_cells()[used])
    positions = mesh_offsets(raster, _mesh_in_cells(), base)
    positions += affine_grid(raster.covered, base, raster.step)
    coarse = cv2.remap(grown, positions, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return upsample(coarse, raster, box)


def covered_share(cells: Array, frames: Ints) -> Floats:
    """Return the occluded share (m,), 0 to 1, of the area that exemplars are pasted into.

    Background beside a turned jaw that was taken for an occluder lies outside that area.

    Args:
        cells: (T, 32, 32) of :func:`lipwright.face.occlusion.occluded`.
        frames: (m,) indices of the frames.
    """
    share: Floats = cells[:, _pasted_cells()][frames].mean(1, dtype=np.float32)
    return share


@cache
def _pasted_cells() -> Bools:
    """Return the cells (SIDE, SIDE) that the mask around a mouth may reach."""
    return cells_inside(MOUTH_LOOP)


@cache
def _mesh_in_cells() -> Floats:
    """Return the mesh's vertices in raster cells, (510, 3)."""
    points = rest_vertices(reference_face(), 1.0).copy()
    points[:, 0] = (points[:, 0] - X0) * RASTER_SIDE / (X1 - X0) - 0.5
    points[:, 1] = (points[:, 1] - Y0) * RASTER_SIDE / (Y1 - Y0) - 0.5
    return points


@cache
def _nearest_searched() -> Ints:
    """Return for each cell (SIDE * SIDE) the nearest one that occluders are searched in."""
    searched = np.argwhere(raster_layout().searched)
    cells: NDArray[np.int64] = np.argwhere(np.ones((RASTER_SIDE, RASTER_SIDE), bool))
    square = ((cells[:, None] - searched[None]) ** 2).sum(-1)
    nearest = searched[square.argmin(1)]
    flat: Ints = nearest[:, 0] * RASTER_SIDE + nearest[:, 1]
    return flat
