"""Where one shot ends and the next begins.

Each frame is reduced to a thumbnail. A cut is a step: every frame just before it differs from
every frame just after it, by more than the frames on either side differ among themselves
(an adaptive threshold; Yeo and Liu 1995, "Rapid scene analysis on compressed video"). So a flash
is no cut, since the picture comes back; a pan is none, since its neighbours move as fast and the
thumbnails match when one is shifted; a fade is none, since no step of it stands out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.media.decode.video import SourceFrame
from lipwright.media.picture import Picture

Thumbnail = NDArray[np.uint8]  #: (SIDE, SIDE, 3) Y, U, V

SIDE = 32  # pixels of a thumbnail
BEFORE = AFTER = 4  # frames compared; the picture of a flash comes back sooner
REACH = 6  # pixels of the thumbnail that a pan may move in one frame
# Least difference of the two pictures (sum of the mean differences of Y, U and V, 8-bit codes),
# and how often it must hold that of neighbouring frames: another scene, or the same one later on.
SCENE_CUT = (20.0, 1.4)
JUMP_CUT = (6.0, 4.0)
CALM = 1.0  # difference below which neighbouring frames count as equal


def split_shots(frames: Iterable[SourceFrame]) -> Iterator[tuple[SourceFrame, bool]]:
    """Yield each frame, and whether it is the first of a new shot.

    The first frame of all starts no *new* shot. Holds back AFTER - 1 pictures.
    """
    before: deque[Thumbnail] = deque(maxlen=BEFORE)
    waiting: deque[tuple[SourceFrame, Thumbnail]] = deque()

    def first() -> tuple[SourceFrame, bool]:
        cut = is_cut(list(before), [small for _, small in waiting])
        if cut:
            before.clear()
        frame, small = waiting.popleft()
        before.append(small)
        return frame, cut

    for frame in frames:
        waiting.append((frame, thumbnail(frame.picture)))
        if len(waiting) == AFTER:
            yield first()
    while waiting:
        yield first()


def thumbnail(picture: Picture) -> Thumbnail:
    """Return what is compared of a picture."""
    planes = []
    for plane in picture.planes:
        step = max(1, min(plane.shape) // (2 * SIDE))  # reading every sample would take long
        coarse = plane[step // 2 :: step, step // 2 :: step]
        planes.append(cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_AREA))
    merged = cv2.merge(planes)
    small: Thumbnail = (merged >> (picture.depth - 8)).astype(np.uint8)
    return small


def is_cut(before: list[Thumbnail], after: list[Thumbnail]) -> bool:
    """Return whether a shot ends with the frames *before* and another begins with *after*.

    Args:
        before: the last frames of this shot, at most BEFORE are needed.
        after: the frames that follow, at most AFTER are needed.
    """
    if not before or difference(before[-1], after[0]) < JUMP_CUT[0]:
        return False
    across = min(difference(a, b) for a in before for b in after)
    within = max((_liveliness(before), _liveliness(after)))
    ratio = across / (within + CALM)
    if across < JUMP_CUT[0] or ratio < SCENE_CUT[1]:
        return False
    step = min(across, shifted_difference(before[-1], after[0]))
    return any(step >= least and ratio >= often for least, often in (SCENE_CUT, JUMP_CUT))


def difference(a: Thumbnail, b: Thumbnail) -> float:
    """Return how much two thumbnails differ, whatever their exposure: 8-bit codes."""
    apart = a.astype(np.int16) - b
    apart[..., 0] -= np.int16(np.median(apart[..., 0]))
    return float(np.abs(apart).mean((0, 1)).sum())


def shifted_difference(a: Thumbnail, b: Thumbnail) -> float:
    """Return the least difference over all shifts up to REACH of one against the other."""
    shifts = range(-REACH, REACH + 1)
    return min(
        difference(a[_part(dy), _part(dx)], b[_part(-dy), _part(-dx)])
        for dy in shifts
        for dx in shifts
    )


def _part(shift: int) -> slice:
    return slice(max(0, shift), SIDE + min(0, shift))


def _liveliness(thumbnails: list[Thumbnail]) -> float:
    """Return the largest difference of neighbours."""
    return max((difference(a, b) for a, b in pairwise(thumbnails)), default=0.0)
