"""Tell which cells of the lower face graphics cover."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from lipwright.face.lower_face_raster import RASTER_SIDE, raster_layout
from lipwright.face.overlays.graphics import OPAQUE, OverlayGraphics, OverlayReader
from lipwright.runtime.disk_array import Array, DiskArray, chunks
from lipwright.types import Bools, Floats

TOUCHED = 0.05  # opacity from which a cell shows something of a graphic


def overlay_cells(overlays: OverlayGraphics, landmarks: Array) -> Array:
    """Return the cells (T, SIDE, SIDE) of the lower face under opaque graphics.

    The result is in memory if the landmarks are, else a :class:`DiskArray`.

    Args:
        overlays: of the take.
        landmarks: (T, 478, 3) pixels, NaN where no face is.
    """
    return _each_frame(landmarks, lambda _, opacity: opacity >= OPAQUE, overlays)


def without_overlays(occluder: Array, overlays: OverlayGraphics, landmarks: Array) -> Array:
    """Return occluded cells (T, SIDE, SIDE) without those that show a graphic.

    Args:
        occluder: (T, SIDE, SIDE) of :func:`lipwright.face.occlusion.detect_occluders`.
        overlays: of the take.
        landmarks: (T, 478, 3) pixels, NaN where no face is.
    """
    square = np.ones((3, 3), np.uint8)

    def clear(frame: int, opacity: Floats) -> Bools:
        touched = cv2.dilate((opacity > TOUCHED).astype(np.uint8), square) > 0
        kept: Bools = np.asarray(occluder[frame]) & ~touched
        return kept

    return _each_frame(landmarks, clear, overlays)


def _each_frame(
    landmarks: Array, compute: Callable[[int, Floats], Bools], overlays: OverlayGraphics
) -> Array:
    reader = OverlayReader(overlays)
    cells = DiskArray((RASTER_SIDE, RASTER_SIDE), np.bool_)
    for part, points in chunks(landmarks):
        rows = [
            compute(frame, reader.cell_opacity(frame, cell_positions(face)))
            for frame, face in zip(range(part.start, part.start + len(points)), points, strict=True)
        ]
        cells.extend(np.array(rows, np.bool_))
    return np.asarray(cells) if isinstance(landmarks, np.ndarray) else cells


def cell_positions(landmarks: Floats) -> Floats:
    """Return where the cells of the raster lie in a frame, (SIDE, SIDE, 2) pixels."""
    layout = raster_layout()
    at = np.einsum("ij,ijk->ik", layout.weights, landmarks[:, :2][layout.corners])
    positions: Floats = at.reshape(RASTER_SIDE, RASTER_SIDE, 2).astype(np.float32)
    return positions
