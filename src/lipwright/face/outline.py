"""From chances to outlines: which cells of the lower face an occluder takes."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.face.raster import SIDE, layout
from lipwright.types import Bools, Floats

SEED, GROW = 0.8, 0.4  # chance at which an occluder is found, and down to which it reaches
LEAST_CELLS = 3  # of a seed
WIDE_AWAY, LIMB = 5, 2  # cells that face away together; how far the background mixes in
WITNESSES = 2  # frames on either side that have a say in whether a thing is one
MAJOR = 0.5  # of the cells of a thing: what another frame says of so many is about that thing
REACH = 2 + WITNESSES  # frames before and after that an outline depends on
# What looks like the face itself in the places where that lies is a shadow or a gleam on it:
ALIKE = 0.75  # correlation, the mean of the two best of L, a, b,
DARKER = 10.0  # while no cell is darker by so many levels of L, as under a strand of hair.
TELLING = 8  # cells, at least, that a correlation is worth something over
BEYOND = 3  # cells of a thing beyond the lips, at least: nothing comes out of a mouth alone


def limb(visible: Bools) -> Bools:
    """Return the cells (SIDE, SIDE) by which a face turns away, given those that face the camera.

    They mix skin with the background, which is no occluder.
    """
    away = (layout().face & ~visible).astype(np.uint8)
    wide = cv2.morphologyEx(away, cv2.MORPH_OPEN, np.ones((WIDE_AWAY, WIDE_AWAY), np.uint8))
    beside: Bools = cv2.dilate(wide, np.ones((2 * LIMB + 1, 2 * LIMB + 1), np.uint8)) > 0
    return beside


def outline(chance: Floats) -> Bools:
    """Return the cells (SIDE, SIDE) of occluders: what hangs together with a sure seed."""
    plan = layout()
    seeds = (chance > SEED) & plan.judged
    found = np.zeros((SIDE, SIDE), np.uint8)
    for cells in _parts((chance > GROW) & plan.judged):
        beyond = (cells & ~plan.lips).sum()
        if (seeds & cells).sum() >= LEAST_CELLS and beyond >= BEYOND:
            found[cells] = 1
    closed = cv2.morphologyEx(found, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    grown: Bools = (closed > 0) & plan.face
    return grown


def verdict(found: Bools, look: Floats, face: Floats, tells: Bools) -> NDArray[np.int8]:
    """Return for each cell (SIDE, SIDE) of outlines 1 if the face is seen there, -1 if not, else 0.

    Under a shadow or a gleam the lips are still where they should be, however strange their colour;
    under a thing they are gone. Compared as structures are in SSIM (Wang et al. 2004).

    Args:
        found: (SIDE, SIDE) outlines.
        look: (3, SIDE, SIDE) L, a, b of the frame.
        face: the same of the face with nothing before it.
        tells: (SIDE, SIDE) cells in which the face is known.
    """
    out = np.zeros((SIDE, SIDE), np.int8)
    for cells in _parts(found):
        seen = cells & tells & ~layout().inner
        if seen.sum() >= TELLING:
            out[cells] = 1 if _alike(look[:, seen], face[:, seen]) else -1
    return out


def _alike(look: Floats, face: Floats) -> bool:
    """Return whether cells (3, n) show the same structure as those of the face."""
    x, y = (v - v.mean(1, keepdims=True) for v in (face, look))
    both, own, other = (x * y).sum(1), (x**2).sum(1) + 1e-6, (y**2).sum(1) + 1e-6
    alike = float(np.sort(both / np.sqrt(own * other))[1:].mean())
    gain = np.clip(both[0] / own[0], 0.5, 1.5)
    return alike > ALIKE and float((y[0] - gain * x[0]).min()) > -DARKER


def in_truth(found: Bools, verdicts: NDArray[np.int8]) -> Bools:
    """Return the cells of a run (m, SIDE, SIDE) without outlines in which the face itself is seen.

    That is so where a verdict says so, of its own frame or WITNESSES on either side, and none says
    otherwise.
    """
    out = found.copy()
    for k in np.flatnonzero(found.any((1, 2))):
        near = verdicts[max(0, k - WITNESSES) : k + WITNESSES + 1]
        for cells in _parts(found[k]):
            seen, hidden = ((near[:, cells] == sign).mean(1) >= MAJOR for sign in (1, -1))
            if seen.any() and not hidden.any():
                out[k][cells] = False
    return out


def _parts(found: Bools) -> list[Bools]:
    """Return what hangs together in outlines (SIDE, SIDE), each by itself."""
    count, marks = cv2.connectedComponents(found.astype(np.uint8), connectivity=8)
    return [marks == i for i in range(1, count)]


def steady(found: Bools) -> Bools:
    """Return the cells of a run (m, SIDE, SIDE) that stay, or come and go with others in time.

    A cell counts where it is found in two of three neighbouring frames; what counts does so a frame
    before and after as well, since things move. No frame depends on one more than two away.
    """
    if len(found) < 3:
        return found
    padded = np.concatenate([found[:1], found, found[-1:]]).astype(np.int8)
    often = padded[:-2] + padded[1:-1] + padded[2:] >= 2
    wide = np.concatenate([often[:1], often, often[-1:]])
    out: Bools = wide[:-2] | wide[1:-1] | wide[2:]
    return out
