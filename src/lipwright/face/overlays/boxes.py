"""Find the boxes that captions stand in, opaque or translucent.

Rows just inside the upper and the lower edge of a box repeat the rows just outside, with less
contrast: C = s F + P, where s is how far the picture shows through, and P what the box adds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.face.overlays.blend import MIN_FITTING, fit_blend
from lipwright.face.overlays.coherence import EdgeMaps
from lipwright.face.overlays.skin import like_skin
from lipwright.types import Bools, Floats, Ints

MIN_COHERENCE = 0.8  # of the edge of a box beside the face
MIN_GRADIENT = 4.0  # codes per pixel of the edge of a box
MIN_LENGTH = 0.25  # inter-ocular distances of edge in a row of a box
HEIGHTS = (0.12, 1.4)  # inter-ocular distances from the upper to the lower edge
SIDE = 4  # pixels from an edge at which the picture outside is read,
INNER_SIDES = (3, 2, 4)  # and inside, where letters may begin close to the edge
OPAQUE_SLOPE = 0.12  # share up to which nothing shows through
MAX_MISS = 20.0  # codes by which it may miss a pixel,
MOST, MOST_MISS = 0.75, 30.0  # or most pixels, and what most is
MAX_GAIN = 0.5  # residual of the model over that of no box
BAR_COLOUR, BAR_SHARE = 20.0, 0.95  # codes: what has one colour, and how much of a bar must have
MIN_STEP = 30.0  # codes from a box to what is above it
MIN_PLAIN = 0.7  # share of the rows below its edge that have its colour
MAX_GROWTH = 0.5  # inter-ocular distances by which a box may be higher than was found
SAME_ROW = 2  # pixels within which two rows show one edge
MIN_OWN = 0.15  # share of a row of a box that its letters leave,
MIN_INSIDE = 0.3  # and of most rows between two edges
BAR_STEP = 3  # pixels from one to the next that is looked at
MAX_EDGES = 12  # rows with an edge that are paired


@dataclass(frozen=True, kw_only=True)
class CaptionBox:
    """A rectangle of one colour and opacity, in pixels of the samples."""

    rows: slice
    columns: slice
    alpha: float  #: opacity, 0 to 1
    own: NDArray[np.uint8]  #: (3,) RGB that it adds: its colour times its opacity


def find_boxes(
    edges: Bools,
    maps: EdgeMaps,
    stack: NDArray[np.uint8],
    skin: NDArray[np.floating],
    unit: float,
) -> list[CaptionBox]:
    """Return the boxes in samples.

    Args:
        edges: (h, w) edges of graphics over the face: a box needs at least one.
        maps: all edges; the other one may lie beside the face.
        stack: (n, h, w, 3) RGB of the samples.
        skin: (3,) RGB of the face, which an opaque box does not have.
        unit: inter-ocular distance, pixels.
    """
    flat = np.abs(maps.gradient_y) > np.maximum(MIN_GRADIENT, 2 * np.abs(maps.gradient_x))
    still = flat & (maps.still > MIN_COHERENCE)
    rows = _edge_rows(edges & flat | still, MIN_LENGTH * unit)
    sure = {int(row) for row in _edge_rows(edges & flat, MIN_LENGTH * unit)}
    found = [b for b in _bars(sorted(sure), stack, unit) if not like_skin(b.own, skin)]
    for top, bottom in _row_pairs(rows, unit):
        if not any(abs(row - edge) <= SAME_ROW for row in (top, bottom) for edge in sure):
            continue
        if any(b.rows.start < bottom and top < b.rows.stop for b in found):
            continue
        for side in INNER_SIDES:
            box = _fit_box(top, bottom, side, flat, stack, MIN_LENGTH * unit)
            if box is not None and (box.alpha < 1 or _is_plain(box, stack, skin)):
                found.append(box if box.alpha < 1 else _to_its_edges(box, stack, unit))
                break
    for row in sorted(sure):
        if not any(b.rows.start - SIDE <= row < b.rows.stop + SIDE for b in found):
            below = _one_edge_box(row, flat, stack, unit)
            found += [b for b in below if not like_skin(b.own, skin)]
    return found


def _to_its_edges(box: CaptionBox, stack: NDArray[np.uint8], unit: float) -> CaptionBox:
    """Return an opaque box with the rows beside it that have its colour, between letters too."""
    part = stack[:, :, box.columns].astype(np.float32)
    alike = (np.abs(part - box.own).max(-1) < BAR_COLOUR).mean((0, 2)) > MIN_OWN
    top, bottom = box.rows.start, box.rows.stop
    for _ in range(int(MAX_GROWTH * unit)):
        top -= int(top > 0 and alike[top - 1])
        bottom += int(bottom < len(alike) and alike[bottom])
    return replace(box, rows=slice(top, bottom))


def _is_plain(box: CaptionBox, stack: NDArray[np.uint8], skin: NDArray[np.floating]) -> bool:
    """Return whether all of an opaque box has its colour but for letters, and is not skin."""
    part = stack[:, box.rows, box.columns].astype(np.float32)[:, SIDE:-SIDE]
    alike = (np.abs(part - box.own).max(-1) < BAR_COLOUR).mean((0, 2))
    return not like_skin(box.own, skin) and bool((alike > MIN_INSIDE).mean() > MOST)


def _one_edge_box(top: int, flat: Bools, stack: NDArray[np.uint8], unit: float) -> list[CaptionBox]:
    """Return the opaque box below an edge, if its lower edge cannot be seen on what it covers."""
    columns = np.flatnonzero(flat[top - 1 : top + 2].any(0))
    if not len(columns):
        return []
    x0, x1 = int(columns[0]), int(columns[-1]) + 1
    part = stack[:, top + SIDE :, x0:x1].astype(np.float32)
    if part.shape[1] < HEIGHTS[0] * unit or x1 - x0 < MIN_LENGTH * unit:
        return []
    own = np.median(part[:, :3], (0, 1, 2))
    above = np.median(stack[:, max(top - SIDE, 0), x0:x1], (0, 1))
    alike = (np.abs(part - own).max(-1) < BAR_COLOUR).mean((0, 2))
    if alike[:3].min() < MIN_PLAIN or np.abs(own - above).max() < MIN_STEP:
        return []
    ends = np.flatnonzero(alike < MIN_OWN)
    height = int(ends[0]) if len(ends) else len(alike)
    if height + SIDE < HEIGHTS[0] * unit:
        return []
    rows = slice(top, top + SIDE + height)
    return [CaptionBox(rows=rows, columns=slice(x0, x1), alpha=1.0, own=own.astype(np.uint8))]


def _bars(rows: list[int], stack: NDArray[np.uint8], unit: float) -> list[CaptionBox]:
    """Return the bar that begins at one of some rows and covers all that is below, if any."""
    for top in rows:
        part = stack[:, top + SIDE :]
        if part.shape[1] < HEIGHTS[0] * unit:
            continue
        own = np.median(part[:, ::BAR_STEP, ::BAR_STEP], (0, 1, 2))
        differ = np.abs(part[:, ::BAR_STEP, ::BAR_STEP] - own).max(-1) > BAR_COLOUR
        if differ.mean() < 1 - BAR_SHARE:
            rows_below, columns = slice(top, stack.shape[1]), slice(0, stack.shape[2])
            colour = np.rint(own).astype(np.uint8)
            return [CaptionBox(rows=rows_below, columns=columns, alpha=1.0, own=colour)]
    return []


def _edge_rows(edges: Bools, least: float) -> Ints:
    """Return the rows in which a long edge lies, the longest first."""
    count = edges.sum(1)
    thick = np.convolve(count, np.ones(3), "same")
    peak = (thick >= least) & (count >= np.maximum(np.roll(count, 1), np.roll(count, -1)))
    rows = np.flatnonzero(peak)
    return rows[np.argsort(-thick[rows], kind="stable")][:MAX_EDGES]


def _row_pairs(rows: Ints, unit: float) -> Iterator[tuple[int, int]]:
    """Yield possible upper and lower edges, the longest first."""
    low, high = HEIGHTS
    for last, row in enumerate(rows):
        for other in rows[:last]:
            if low * unit < abs(row - other) < high * unit:
                yield int(min(row, other)), int(max(row, other))


def _fit_box(
    top: int, bottom: int, side: int, flat: Bools, stack: NDArray[np.uint8], least: float
) -> CaptionBox | None:
    """Return the box between two rows, read so many pixels inside its edges; None if it is none."""
    height = stack.shape[1]
    if top < SIDE or bottom + SIDE >= height or bottom - top <= 2 * SIDE:
        return None
    inner = stack[:, [top + side, bottom - side]].astype(np.float32)
    outer = stack[:, [top - SIDE, bottom + SIDE]].astype(np.float32)
    marked = np.stack([flat[row - 1 : row + 2].any(0) for row in (top, bottom)])
    if marked.sum(1).min() < least:
        return None
    fit = fit_blend(inner[:, marked], outer[:, marked])
    if fit is None:
        return None
    slope, own = fit
    residual = np.abs(inner - slope * outer - own).max(-1)
    plain = np.abs(inner - outer).max(-1)
    fits = (residual < MAX_MISS).mean(0) > MIN_FITTING
    columns = np.flatnonzero(fits.any(0) & marked.any(0))
    if len(columns) < least:
        return None
    x0, x1 = int(columns[0]), int(columns[-1]) + 1
    residual, plain = residual[..., x0:x1], plain[..., x0:x1]
    # Rows of a line of text fit half of the way: its letters, but not the gaps between them.
    if np.quantile(residual, MOST) > MOST_MISS:
        return None
    if np.median(residual) > MAX_GAIN * np.median(plain):
        return None
    x0, x1 = (0 if x0 <= SIDE else x0), (stack.shape[2] if x1 >= stack.shape[2] - SIDE else x1)
    alpha = 1 - slope
    if slope < OPAQUE_SLOPE:
        alpha, own = 1.0, np.median(inner[:, :, x0:x1], (0, 1, 2))
    return CaptionBox(
        rows=slice(top, bottom + 1),
        columns=slice(x0, x1),
        alpha=alpha,
        own=np.clip(np.rint(own), 0, 255).astype(np.uint8),
    )


def lay_boxes(boxes: list[CaptionBox], alpha: Floats, own: NDArray[np.uint8]) -> None:
    """Write boxes into a matte, in place, where it is less opaque."""
    for box in boxes:
        part = box.rows, box.columns
        under = alpha[part] < box.alpha
        alpha[part][under] = box.alpha
        own[part][under] = box.own if box.alpha < 1 else 0


def box_edges(boxes: list[CaptionBox], shape: tuple[int, int]) -> Bools:
    """Return the pixels (h, w) on and beside the edges of translucent boxes."""
    mask = np.zeros(shape, np.uint8)
    for box in boxes:
        if box.alpha < 1:
            corner = (box.columns.start, box.rows.start), (box.columns.stop - 1, box.rows.stop - 1)
            cv2.rectangle(mask, *corner, 1, 5)
    return mask > 0
