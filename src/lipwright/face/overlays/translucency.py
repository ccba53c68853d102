"""Find out which graphics the face shows through, and write that into their matte."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.face.overlays.blend import fit_blend
from lipwright.face.overlays.coherence import EdgeMaps
from lipwright.face.overlays.fill import fill_holes
from lipwright.types import Bools, Doubles, Floats, Ints

MIN_SLOPE = 0.2  # share of the picture that shows through at least
CORE_CONTRAST = 0.6  # share of the contrast of most of a stroke that its middle has,
MOST = 0.8  # and what most is
MIN_CORE = 0.003  # squared inter-ocular distances of middles of strokes
MAX_MISS = 0.75  # codes by which the model misses, over those by which that of one colour does
COLOURS = (-4.0, 300.0)  # codes that the colour of a graphic may have, with errors
SIDE = 4  # pixels from an edge at which the sides of broad letters are read
MIN_PAIRS = 60  # points of edges with two sides
CLIPPED = 12.0  # codes by which an estimated colour may exceed black or white
MIN_OUTLINE = 0.6  # share of the outline of a letter that lies on edges
BROADEST = 0.12  # inter-ocular distances, half of the broadest stroke of a letter


def blend_strokes(
    alpha: Floats, own: NDArray[np.uint8], stack: NDArray[np.uint8], unit: float
) -> bool:
    """Let strokes that the picture shows through become translucent, in place; return whether.

    What is under them is filled in from around them.

    Args:
        alpha: (h, w) 1 on the strokes, else 0.
        own: (h, w, 3) of the matte.
        stack: (n, h, w, 3) samples.
        unit: inter-ocular distance, pixels.
    """
    strokes = alpha > 0
    under = stack.copy()
    for sample in under:
        fill_holes(sample, strokes)
    seen, below = stack.mean(0, dtype=np.float32), under.mean(0, dtype=np.float32)
    contrast = np.abs(seen - below).max(-1) * strokes
    inside = contrast > CORE_CONTRAST * np.quantile(contrast[strokes], MOST)
    if inside.sum() < MIN_CORE * unit**2:
        return False
    fit = _translucent_fit(*(part[:, inside].astype(np.float32) for part in (stack, under)))
    if fit is None:
        return False
    slope, colour = fit
    toward = colour - below
    share = ((seen - below) * toward).sum(-1) / np.maximum((toward**2).sum(-1), 1)
    alpha[:] = np.clip(share, 0, 1 - slope) * strokes
    own[:] = np.rint(alpha[..., None] * colour)
    return True


def blend_letters(
    alpha: Floats,
    own: NDArray[np.uint8],
    stack: NDArray[np.uint8],
    edges: Bools,
    maps: EdgeMaps,
    unit: float,
) -> None:
    """Let broad letters that the picture shows through become translucent, in place.

    Args:
        alpha: (h, w) of the matte.
        own: (h, w, 3) of the matte.
        stack: (n, h, w, 3) samples.
        edges: (h, w) of graphics.
        maps: edges of luma.
        unit: inter-ocular distance, pixels.
    """
    bright, dark = _sides(edges, maps)
    if len(bright) < MIN_PAIRS:
        return
    for inner, outer in ((bright, dark), (dark, bright)):
        colours = (stack[:, at[:, 0], at[:, 1]].astype(np.float32) for at in (inner, outer))
        fit = _translucent_fit(*colours)
        if fit is None:
            continue
        slope, colour = fit
        letters = _split(stack, inner, outer) & _near(edges, BROADEST * unit)
        letters &= _plausible(stack, slope, (1 - slope) * colour)
        letters = _outlined(letters, edges)
        alpha[letters] = 1 - slope
        own[letters] = np.rint((1 - slope) * colour)
        rim = cv2.dilate(letters.astype(np.uint8), np.ones((2 * SIDE + 1,) * 2, np.uint8)) > 0
        alpha[rim & ~letters] = 0
        return


def _split(stack: NDArray[np.uint8], inner: Ints, outer: Ints) -> Bools:
    """Return which pixels (h, w) belong to the inner points (p, 2), by a watershed."""
    mean = stack.mean(0, dtype=np.float32)
    markers = np.zeros(mean.shape[:2], np.int32)
    markers[tuple(outer.T)], markers[tuple(inner.T)] = 2, 1
    labels: NDArray[np.int32] = cv2.watershed(np.rint(mean).astype(np.uint8), markers)
    inside: Bools = labels == 1
    return inside


def _plausible(stack: NDArray[np.uint8], slope: float, added: Doubles) -> Bools:
    """Return where (h, w) the picture under a graphic would have a possible colour."""
    under = (stack.mean(0, dtype=np.float32) - added) / slope
    possible: Bools = ((under > -CLIPPED) & (under < 255 + CLIPPED)).all(-1)
    return possible


def _outlined(letters: Bools, edges: Bools) -> Bools:
    """Return the pieces of a mask (h, w) whose outline lies on edges, without thin bridges."""
    square = np.ones((3, 3), np.uint8)
    solid = cv2.morphologyEx(letters.astype(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    count, labels = cv2.connectedComponents(solid)
    outline = labels[(solid > 0) & (cv2.erode(solid, square) == 0)]
    near = cv2.dilate(edges.astype(np.uint8), np.ones((5, 5), np.uint8))
    on_edge = labels[(solid > 0) & (cv2.erode(solid, square) == 0) & (near > 0)]
    share = np.bincount(on_edge, minlength=count) / np.maximum(
        np.bincount(outline, minlength=count), 1
    )
    kept = share > MIN_OUTLINE
    kept[0] = False
    found: Bools = kept[labels]
    return found


def _near(edges: Bools, distance: float) -> Bools:
    """Return which pixels (h, w) are not farther from an edge than a distance."""
    near: Bools = cv2.distanceTransform((~edges).astype(np.uint8), cv2.DIST_L2, 3) <= distance
    return near


def _sides(edges: Bools, maps: EdgeMaps) -> tuple[Ints, Ints]:
    """Return the points (p, 2), y and x, on the brighter and on the darker side of edges."""
    y, x = np.nonzero(edges)
    gradient = np.stack([maps.gradient_y[y, x], maps.gradient_x[y, x]], 1)
    length = np.maximum(np.linalg.norm(gradient, axis=1, keepdims=True), 1e-6)
    step = np.rint(SIDE * gradient / length).astype(np.int64)
    sides = np.stack([y, x], 1)[:, None] + np.stack([step, -step], 1)
    sides = sides[((sides >= 0) & (sides < edges.shape)).all((1, 2))]
    return sides[:, 0], sides[:, 1]


def _translucent_fit(inner: Floats, outer: Floats) -> tuple[float, Doubles] | None:
    """Return how far the picture shows through a graphic, and its colour (3,); None if opaque.

    Args:
        inner: (n, m, 3) colours of the graphic.
        outer: (n, m, 3) colours of the picture there.
    """
    fit = fit_blend(inner, outer)
    if fit is None or fit[0] < MIN_SLOPE:
        return None
    slope, added = fit
    miss = np.median(np.abs(inner - slope * outer - added).max(-1))
    plain = np.median(np.abs(inner - np.median(inner, (0, 1))).max(-1))
    colour = added.astype(np.float64) / (1 - slope)
    low, high = COLOURS
    if miss > MAX_MISS * plain or added.min() < low or colour.max() > high:
        return None
    return slope, np.clip(colour, 0, 255)
