"""Estimate the matte of graphics in front of a face from a few samples of a video.

A pixel under a graphic of opacity a and colour G shows a G + (1 - a) F of the face's own colour F
(Porter and Duff 1984). Still edges split the picture into regions. An opaque region is calm and
unlike skin. On either side of the edge of a translucent one, the face shows about the same colours:
the slope of one side over the other is 1 - a.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.face.canonical import interocular_distance
from lipwright.face.overlays.boxes import box_edges, find_boxes, lay_boxes
from lipwright.face.overlays.coherence import EdgeMaps
from lipwright.face.overlays.skin import like_skin, skin_colour
from lipwright.face.overlays.translucency import blend_letters, blend_strokes
from lipwright.types import Bools, Floats, Rgb

WEAK_GRADIENT = 5.0  # codes per pixel from which an edge continues a stronger one
WALL_COHERENCE = 0.7  # of an edge that bounds a region, whether the face moves there or not
MIN_BOUNDED = 0.7  # share of the rim of an opaque region that lies on edges of graphics
CLUSTER_REACH = 0.15  # inter-ocular distances over which edges belong to one graphic
MIN_CLUSTER_EDGES = 0.003  # squared inter-ocular distances of edges on the face, of each graphic
LINE_MARGIN = 0.06  # inter-ocular distances around a line of text that belong to it
NOSE_REACH = 0.2  # inter-ocular distances above the searched area that letters may reach
JAW_REACH = 0.5  # inter-ocular distances below the face that a jaw moves
STROKE = 0.02  # inter-ocular distances, half of the gaps between edges that are filled
CALM = 2.5  # codes, median deviation over time up to which a region is opaque
SMALL_REGION = 0.004  # squared inter-ocular distances up to which colour does not matter
FLAT, MOST = 18.0, 0.8  # codes by which most of a larger region, and how much, may differ in colour


@dataclass(frozen=True, kw_only=True)
class Matte:
    """A graphic in a part of the frame, (h, w)."""

    alpha: Floats  #: opacity, 0 to 1
    own: NDArray[np.uint8]  #: (h, w, 3) RGB that a translucent graphic adds: a G
    edges: Bools  #: pixels that its presence is verified at


def estimate_matte(
    rgb: Sequence[Rgb], maps: Sequence[EdgeMaps], face: Floats, searched: Bools
) -> Matte | None:
    """Return the matte of all graphics in samples; None if there is none.

    Args:
        rgb: (h, w, 3) each.
        maps: edges of the samples, compared with the motion of the face: of luma and of colour.
        face: landmarks (478, 2+) of the sample that the others were aligned to, in its pixels.
        searched: (h, w) the lower face.
    """
    unit = interocular_distance(face)
    strong = np.any([each.graphic_edges() for each in maps], axis=0)
    reach = _reach(strong & searched, searched, unit)
    weak = np.any([each.graphic_edges(WEAK_GRADIENT, slack=1.0) for each in maps], axis=0)
    weak = (weak | strong) & reach
    edges = graphic_clusters(strong, weak, searched, unit)
    if not edges.any():
        return None
    stack = np.stack(rgb)
    still = [(each.strength > WEAK_GRADIENT) & (each.still > WALL_COHERENCE) for each in maps]
    wall = edges | np.any(still, axis=0)
    wall = cv2.dilate(wall.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    _, regions = cv2.connectedComponents((~wall & reach).astype(np.uint8), connectivity=4)
    skin = skin_colour(stack, face)
    opaque = _opaque_regions(regions, stack, skin, unit)
    opaque &= _outlined_regions(regions, edges)
    boxes = find_boxes(edges, maps[0], stack, skin, unit)
    strokes = (edges & ~box_edges(boxes, edges.shape)) | opaque[regions]
    strokes = _close(strokes, max(1, round(STROKE * unit)))
    strokes = cv2.dilate(strokes.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    alpha = strokes.astype(np.float32)
    own = np.zeros((*alpha.shape, 3), np.uint8)
    if not blend_strokes(alpha, own, stack, unit):
        blend_letters(alpha, own, stack, edges & ~box_edges(boxes, edges.shape), maps[0], unit)
    lay_boxes(boxes, alpha, own)
    return Matte(alpha=alpha, own=own, edges=edges)


def graphic_clusters(strong: Bools, weak: Bools, searched: Bools, unit: float) -> Bools:
    """Return the edges (h, w) of graphics: those that lie over the face, or continue these.

    Args:
        strong: (h, w) edges that stand still while the face moves.
        weak: (h, w) edges that may continue them.
        searched: (h, w) the lower face.
        unit: inter-ocular distance, pixels.
    """
    edges = _components_with(weak, strong, 1)
    side = 2 * max(1, round(CLUSTER_REACH * unit / 2)) + 1
    near = cv2.dilate(edges.astype(np.uint8), np.ones((side, side), np.uint8)) > 0
    return edges & _components_with(near, strong & searched, MIN_CLUSTER_EDGES * unit**2)


def _reach(found: Bools, searched: Bools, unit: float) -> Bools:
    """Return where (h, w) graphics are looked for beyond the lower face.

    Behind and below a face the background stands still, too: edges beside the face count only in
    the rows of what was found on it, and those below as far as a jaw may move.
    """
    rows = found.any(1)
    if not rows.any():
        return found
    near = np.ones(2 * max(1, round(LINE_MARGIN * unit)) + 1)
    reach = (np.convolve(rows, near, "same") > 0)[:, None] | np.zeros_like(found)
    face_rows, face_columns = np.flatnonzero(searched.any(1)), np.flatnonzero(searched.any(0))
    top = max(face_rows[0] - round(NOSE_REACH * unit), 0)
    bottom = face_rows[-1] + round(JAW_REACH * unit)
    reach[top:bottom, face_columns[0] : face_columns[-1] + 1] = True
    return reach


def _components_with(mask: Bools, marks: Bools, least: float) -> Bools:
    """Return the connected components of *mask* that hold at least so many marked pixels."""
    count, labels = cv2.connectedComponents(mask.astype(np.uint8))
    kept = np.bincount(labels[marks & mask], minlength=count) >= max(least, 1)
    kept[0] = False
    found: Bools = kept[labels]
    return found


def _opaque_regions(
    regions: NDArray[np.int32],
    stack: NDArray[np.uint8],
    skin: NDArray[np.floating],
    unit: float,
) -> Bools:
    """Return which regions (r,) belong to an opaque graphic: calm, flat and unlike skin, or small.

    Args:
        regions: (h, w) labels, 0 for none.
        stack: (n, h, w, 3) samples.
        skin: (3,) colour of the face.
        unit: inter-ocular distance, pixels.
    """
    colour = stack.mean(0, dtype=np.float32)
    deviation = stack[..., 1].std(0, dtype=np.float32)  # green is close enough to luma
    count = int(regions.max()) + 1
    order = np.argsort(regions, axis=None, kind="stable")
    bounds = np.searchsorted(regions.ravel()[order], np.arange(count + 1))
    colour, deviation = colour.reshape(-1, 3), deviation.ravel()
    opaque = np.zeros(count, bool)
    for region in range(1, count):
        inside = order[bounds[region] : bounds[region + 1]]
        small = len(inside) < SMALL_REGION * unit**2
        calm = np.median(deviation[inside]) < CALM
        own = np.median(colour[inside], 0)
        flat = np.quantile(np.abs(colour[inside] - own).max(1), MOST) < FLAT
        opaque[region] = calm and (small or (flat and not like_skin(own, skin)))
    return opaque


def _outlined_regions(regions: NDArray[np.int32], edges: Bools) -> Bools:
    """Return which regions (r,) edges of graphics bound, for the most part."""
    square = np.ones((3, 3), np.uint8)
    labels = regions.astype(np.float32)  # dilation needs a number that OpenCV supports
    outside = np.pad(labels, 1, mode="constant")
    inner = cv2.erode(outside, square) == outside
    inner &= cv2.dilate(outside, square) == outside
    rim = ~inner[1:-1, 1:-1] & (regions > 0)
    near = cv2.dilate(edges.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    count = int(regions.max()) + 1
    length, on_edge = (np.bincount(regions[m], minlength=count) for m in (rim, rim & near))
    bounded: Bools = on_edge >= MIN_BOUNDED * np.maximum(length, 1)
    return bounded


def _close(mask: Bools, radius: int) -> Bools:
    """Fill the gaps of a mask (h, w) that are narrower than two radii, and its small holes."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    pad = radius + 1
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), pad, pad, pad, pad, cv2.BORDER_CONSTANT)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, disc)
    out: Bools = closed[pad:-pad, pad:-pad] > 0
    return out
