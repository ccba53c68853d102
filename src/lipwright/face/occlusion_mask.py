"""Turn the occlusion network's probabilities into masks: which cells of a face are covered."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.face.lower_face_raster import RASTER_SIDE, raster_layout
from lipwright.types import Bools, Floats

# Hysteresis thresholds: an occluder contains cells above the first and reaches down to the second.
SEED_PROBABILITY, GROW_PROBABILITY = 0.8, 0.4
MIN_SEED_CELLS = 3  # of an occluder, above SEED_PROBABILITY
TURNED_AWAY_CELLS = 5  # side of the smallest square of cells that face away together
SILHOUETTE_CELLS = 2  # how far the background mixes in beyond them
VOTE_FRAMES = 2  # frames on either side whose comparisons count
MAJORITY = 0.5  # share of an occluder's cells that another frame's comparison must cover to count
CONTEXT_FRAMES = 2 + VOTE_FRAMES  # frames before and after that a mask depends on
# Covered cells that look like the face are a shadow or a highlight on it, not an occluder:
MIN_CORRELATION = 0.75  # mean of the two best of L, a, b,
MAX_DARKENING = 10.0  # while no cell is darker by so many levels of L, as under a strand of hair
MIN_COMPARED_CELLS = 8  # fewer cells give no reliable correlation
MIN_CELLS_BEYOND_LIPS = 3  # of an occluder: nothing comes out of a mouth alone


def silhouette_cells(visible: Bools) -> Bools:
    """Return the cells (SIDE, SIDE) along which a face turns away from the camera.

    They mix skin with the background, which is no occluder.

    Args:
        visible: (SIDE, SIDE) cells that face the camera.
    """
    away = (raster_layout().face & ~visible).astype(np.uint8)
    kernel = np.ones((TURNED_AWAY_CELLS, TURNED_AWAY_CELLS), np.uint8)
    wide = cv2.morphologyEx(away, cv2.MORPH_OPEN, kernel)
    size = 2 * SILHOUETTE_CELLS + 1
    silhouette: Bools = cv2.dilate(wide, np.ones((size, size), np.uint8)) > 0
    return silhouette


def segment_occluders(probability: Floats) -> Bools:
    """Return the cells (SIDE, SIDE) of occluders: connected regions with a confident seed.

    Args:
        probability: (SIDE, SIDE) 0 to 1 that a cell is covered.
    """
    layout = raster_layout()
    seeds = (probability > SEED_PROBABILITY) & layout.searched
    mask = np.zeros((RASTER_SIDE, RASTER_SIDE), np.uint8)
    for cells in _connected_components((probability > GROW_PROBABILITY) & layout.searched):
        beyond = (cells & ~layout.lips).sum()
        if (seeds & cells).sum() >= MIN_SEED_CELLS and beyond >= MIN_CELLS_BEYOND_LIPS:
            mask[cells] = 1
    closed = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    occluders: Bools = (closed > 0) & layout.face
    return occluders


def compare_with_face(
    mask: Bools, colour: Floats, face: Floats, comparable: Bools
) -> NDArray[np.int8]:
    """Compare each occluder of a mask with the unoccluded face.

    Under a shadow or a highlight the lips keep their structure, however much their colour changes;
    under an occluder they disappear. Structure is compared as in SSIM (Wang et al. 2004).

    Args:
        mask: (SIDE, SIDE) cells of occluders.
        colour: (3, SIDE, SIDE) L, a, b of the frame.
        face: (3, SIDE, SIDE) L, a, b of the unoccluded face.
        comparable: (SIDE, SIDE) cells in which the face is known.

    Returns:
        int8 (SIDE, SIDE): 1 where the mask's cells show the face, -1 where they hide it, 0 where
        there is no occluder or too little to compare.
    """
    out = np.zeros((RASTER_SIDE, RASTER_SIDE), np.int8)
    for cells in _connected_components(mask):
        compared = cells & comparable & ~raster_layout().inner
        if compared.sum() >= MIN_COMPARED_CELLS:
            out[cells] = 1 if _same_structure(colour[:, compared], face[:, compared]) else -1
    return out


def _same_structure(colour: Floats, face: Floats) -> bool:
    """Return whether cells (3, n) have the same structure as those of the face."""
    x, y = (v - v.mean(1, keepdims=True) for v in (face, colour))
    both, own, other = (x * y).sum(1), (x**2).sum(1) + 1e-6, (y**2).sum(1) + 1e-6
    correlation = float(np.sort(both / np.sqrt(own * other))[1:].mean())
    gain = np.clip(both[0] / own[0], 0.5, 1.5)
    return correlation > MIN_CORRELATION and float((y[0] - gain * x[0]).min()) > -MAX_DARKENING


def drop_false_occluders(masks: Bools, comparisons: NDArray[np.int8]) -> Bools:
    """Remove the occluders of a run that are part of the face.

    An occluder is removed if a comparison of its own frame, or of VOTE_FRAMES on either side, shows
    the face in its cells and none shows the face hidden.

    Args:
        masks: (m, SIDE, SIDE) cells of occluders in consecutive frames.
        comparisons: (m, SIDE, SIDE) of :func:`compare_with_face`.
    """
    out = masks.copy()
    for k in np.flatnonzero(masks.any((1, 2))):
        near = comparisons[max(0, k - VOTE_FRAMES) : k + VOTE_FRAMES + 1]
        for cells in _connected_components(masks[k]):
            seen, hidden = ((near[:, cells] == sign).mean(1) >= MAJORITY for sign in (1, -1))
            if seen.any() and not hidden.any():
                out[k][cells] = False
    return out


def _connected_components(mask: Bools) -> list[Bools]:
    """Return the connected components of a mask (SIDE, SIDE), one mask each."""
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    return [labels == i for i in range(1, count)]


def stabilise_masks(masks: Bools) -> Bools:
    """Return the masks of a run (m, SIDE, SIDE) without cells that flicker.

    A cell counts where two of three neighbouring frames contain it. It then also counts one frame
    before and after, because occluders move. No frame depends on one more than two away.
    """
    if len(masks) < 3:
        return masks
    padded = np.concatenate([masks[:1], masks, masks[-1:]]).astype(np.int8)
    often = padded[:-2] + padded[1:-1] + padded[2:] >= 2
    wide = np.concatenate([often[:1], often, often[-1:]])
    out: Bools = wide[:-2] | wide[1:-1] | wide[2:]
    return out
