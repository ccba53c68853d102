"""Samples of a lower face in a few frames, and the edges in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.face.canonical import interocular_distance
from lipwright.face.overlays.coherence import (
    CHIN,
    FACE_OUTLINE,
    NOSE_BRIDGE,
    EdgeMaps,
    compare_motion,
    relative,
    searched_area,
    soften,
    still_edges,
)
from lipwright.face.overlays.graphics import intersection, window
from lipwright.media.picture import Box, Picture
from lipwright.types import Bools, Floats, Rgb

SIDE_ROOM, CHIN_ROOM = 0.5, 0.6  # around the lower face, inter-ocular distances
OPPONENT = np.array([[0.5, -0.5, 0, 128], [0, -0.5, 0.5, 128]])  # from R, G, B and 1


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A lower face in one frame."""

    index: int
    landmarks: Floats
    picture: Picture  #: the part in *box*
    box: Box


@dataclass(frozen=True, kw_only=True)
class Window:
    """The edges of some samples, scaled down."""

    start: int  #: first and last frame
    stop: int
    box: Box
    shrink: int
    maps: EdgeMaps


def lower_face_box(landmarks: Floats, room: float) -> Box:
    """Return the box of the lower face (478, 3), wider by so many inter-ocular distances."""
    unit = interocular_distance(landmarks)
    outline = landmarks[FACE_OUTLINE, :2]
    side, below = (SIDE_ROOM + room) * unit, (CHIN_ROOM + room) * unit
    top = min(landmarks[NOSE_BRIDGE, 1], landmarks[CHIN, 1]) - room * unit
    return Box(
        int(outline[:, 0].min() - side),
        int(top),
        int(outline[:, 0].max() + side) + 1,
        int(outline[:, 1].max() + below) + 1,
    )


def common_box(samples: Sequence[Sample], box: Box, multiple: int) -> Box | None:
    """Return the part of a box that all samples contain, its corners at multiples of a number."""
    for sample in samples:
        box = intersection(box, sample.box)
    x0, y0 = (-(-v // multiple) * multiple for v in box[:2])
    x1, y1 = (v // multiple * multiple for v in box[2:])
    return Box(x0, y0, x1, y1) if x1 - x0 >= 8 * multiple and y1 - y0 >= 8 * multiple else None


def window_of(
    samples: Sequence[Sample], box: Box, shrink: int, least: float
) -> tuple[Window, Bools]:
    """Return the edges of samples in a box, scaled down, and the area to search.

    Args:
        samples: of one face.
        box: that all of them contain; its corners are at multiples of *shrink*.
        shrink: how many pixels become one.
        least: still edges in that area, squared inter-ocular distances, from which on they are
            compared with the motion of the face.
    """
    lumas = [_luma(sample, box) for sample in samples]
    if shrink > 1:
        size = (box.width // shrink, box.height // shrink)
        lumas = [cv2.resize(luma, size, interpolation=cv2.INTER_AREA) for luma in lumas]
    lumas = [soften(luma) for luma in lumas]
    faces = [relative(sample.landmarks, box, shrink) for sample in samples]
    searched = searched_area(faces, lumas[0].shape[::-1])
    maps = still_edges(lumas)
    unit = interocular_distance(samples[0].landmarks) / shrink
    if (maps.graphic_edges() & searched).sum() >= least * unit**2:
        maps = compare_motion(lumas, faces, maps, len(samples) // 2)
    seen = Window(start=samples[0].index, stop=samples[-1].index, box=box, shrink=shrink, maps=maps)
    return seen, searched


def full_size(
    samples: Sequence[Sample], box: Box
) -> tuple[list[Rgb], list[EdgeMaps], list[Floats], Bools]:
    """Return the 8-bit pixels of samples in a box, their edges, faces, and the area to search.

    The edges are those of luma, R - G and B - G.
    """
    faces = [relative(sample.landmarks, box) for sample in samples]
    rgb, maps = [], []
    for sample in samples:
        own = sample.box
        part = Box(box.x0 - own.x0, box.y0 - own.y0, box.x1 - own.x0, box.y1 - own.y0)
        pixels = sample.picture.rgb(part)
        deep = pixels.dtype != np.uint8
        rgb.append((pixels >> (sample.picture.depth - 8)).astype(np.uint8) if deep else pixels)
    colours = [cv2.transform(pixels, OPPONENT) for pixels in rgb]
    channels = [[_luma(sample, box) for sample in samples]]
    channels += [[colour[..., k] for colour in colours] for k in range(2)]
    for channel in channels:
        soft = [soften(np.ascontiguousarray(plane)) for plane in channel]
        maps.append(compare_motion(soft, faces, still_edges(soft), len(samples) // 2))
    return rgb, maps, faces, searched_area(faces, (box.width, box.height))


def _luma(sample: Sample, box: Box) -> NDArray[np.uint8]:
    plane = sample.picture.planes[0][window(box, sample.box)]
    if plane.dtype != np.uint8:
        plane = (plane >> (sample.picture.depth - 8)).astype(np.uint8)
    return plane


def scaled(part: tuple[slice, slice], shrink: int) -> tuple[slice, slice]:
    """Return rows and columns of a picture in one that was scaled down."""
    rows, columns = part
    return (
        slice(rows.start // shrink, rows.stop // shrink),
        slice(columns.start // shrink, columns.stop // shrink),
    )
