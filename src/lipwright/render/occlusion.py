"""Where in a view something lies in front of the face: those pixels are kept."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.face.raster import SIDE, X0, X1, Y0, Y1, inside, layout
from lipwright.face.shape import interocular, reference
from lipwright.media.picture import Box
from lipwright.render.composite import LOOP
from lipwright.render.face_mesh import mesh, ring_of
from lipwright.render.warp import affine_between, departure, grid, rasterise, refine
from lipwright.runtime.disk_array import Array
from lipwright.types import Bools, Floats, Ints


def in_front(cells: Bools, landmarks: Floats, box: Box) -> Floats:
    """Return how far each pixel of a view belongs to an occluder, (h, w) 0 to 1, soft at the edge.

    A cell more on every side is taken along: next to a finger too little paint is seen by nobody,
    too much by everybody. Beyond the face an occluder goes on outwards.

    Args:
        cells: (32, 32) of :func:`lipwright.face.occlusion.occluded`.
        landmarks: (478, 3) pixels of the frame.
        box: where the view lies in the frame.
    """
    everywhere = cells.ravel()[_nearest_judged()].reshape(SIDE, SIDE)
    wide = cv2.dilate(everywhere.astype(np.float32), np.ones((3, 3), np.uint8))
    unit = interocular(landmarks)
    target = ring_of(landmarks, unit)
    raster = rasterise(target, mesh(), box, unit)
    used = np.unique(mesh())
    base = affine_between(target[used], _cells_of_mesh()[used])
    at = departure(raster, _cells_of_mesh(), base)
    at += grid(raster.covered, base, raster.step)
    coarse = cv2.remap(wide, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return refine(coarse, raster, box)


def covered(cells: Array, frames: Ints) -> Floats:
    """Return the share of the part that is pasted from exemplars which is covered, (m,) 0 to 1.

    Background beside a turned jaw, that is taken for an occluder, does not count.

    Args:
        cells: (T, 32, 32) of :func:`lipwright.face.occlusion.occluded`.
        frames: (m,) which frames are asked for.
    """
    share: Floats = cells[:, _pasted()][frames].mean(1, dtype=np.float32)
    return share


@cache
def _pasted() -> Bools:
    """Return the cells (SIDE, SIDE) that the mask around a mouth may reach."""
    return inside(LOOP)


@cache
def _cells_of_mesh() -> Floats:
    """Return where the mesh's vertices lie on the raster, (510, 3) cells."""
    points = ring_of(reference(), 1.0).copy()
    points[:, 0] = (points[:, 0] - X0) * SIDE / (X1 - X0) - 0.5
    points[:, 1] = (points[:, 1] - Y0) * SIDE / (Y1 - Y0) - 0.5
    return points


@cache
def _nearest_judged() -> Ints:
    """Return for each cell (SIDE * SIDE) the nearest one in which occluders are looked for."""
    judged = np.argwhere(layout().judged)
    cells: NDArray[np.int64] = np.argwhere(np.ones((SIDE, SIDE), bool))
    square = ((cells[:, None] - judged[None]) ** 2).sum(-1)
    nearest = judged[square.argmin(1)]
    flat: Ints = nearest[:, 0] * SIDE + nearest[:, 1]
    return flat
