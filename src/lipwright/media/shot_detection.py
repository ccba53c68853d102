"""Detect cuts between shots.

Each frame is reduced to a thumbnail. At a cut, every frame just before differs from every frame
just after by more than the frames on either side differ among themselves (an adaptive threshold;
Yeo and Liu 1995, "Rapid scene analysis on compressed video"). A flash is not a cut, since the
earlier picture returns. A pan is not a cut, since neighbouring frames move as fast and the
thumbnails match after a shift. A fade is not a cut, since none of its steps stands out.
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

Thumbnail = NDArray[np.uint8]  #: (THUMBNAIL_SIDE, THUMBNAIL_SIDE, 3) Y, U, V, 8-bit codes

THUMBNAIL_SIDE = 32  # pixels
BEFORE = AFTER = 4  # frames compared; a flash is shorter
MAX_SHIFT = 6  # thumbnail pixels that a pan may move in one frame
# Minimum difference across a cut (sum of the mean differences of Y, U and V, 8-bit codes), and its
# minimum ratio to the difference of neighbouring frames. Another scene, or the same scene later.
SCENE_CUT = (20.0, 1.4)
JUMP_CUT = (6.0, 4.0)
NOISE = 1.0  # difference of neighbouring frames that counts as none


def split_shots(frames: Iterable[SourceFrame]) -> Iterator[tuple[SourceFrame, bool]]:
    """Yield each frame, and whether it is the first of a new shot.

    The very first frame does not count as a new shot. The output lags AFTER - 1 frames behind.
    """
    before: deque[Thumbnail] = deque(maxlen=BEFORE)
    pending: deque[tuple[SourceFrame, Thumbnail]] = deque()

    def next_frame() -> tuple[SourceFrame, bool]:
        cut = is_cut(list(before), [small for _, small in pending])
        if cut:
            before.clear()
        frame, small = pending.popleft()
        before.append(small)
        return frame, cut

    for frame in frames:
        pending.append((frame, thumbnail(frame.picture)))
        if len(pending) == AFTER:
            yield next_frame()
    while pending:
        yield next_frame()


def thumbnail(picture: Picture) -> Thumbnail:
    """Return the thumbnail of a picture."""
    planes = []
    for plane in picture.planes:
        # subsample first: averaging all samples is slow
        step = max(1, min(plane.shape) // (2 * THUMBNAIL_SIDE))
        coarse = plane[step // 2 :: step, step // 2 :: step]
        planes.append(
            cv2.resize(coarse, (THUMBNAIL_SIDE, THUMBNAIL_SIDE), interpolation=cv2.INTER_AREA)
        )
    merged = cv2.merge(planes)
    small: Thumbnail = (merged >> (picture.depth - 8)).astype(np.uint8)
    return small


def is_cut(before: list[Thumbnail], after: list[Thumbnail]) -> bool:
    """Return whether a shot ends with the frames *before* and another begins with *after*.

    Args:
        before: The last frames of this shot, at most BEFORE.
        after: The frames that follow, at most AFTER.
    """
    if not before or difference(before[-1], after[0]) < JUMP_CUT[0]:
        return False
    across = min(difference(a, b) for a in before for b in after)
    within = max((_largest_step(before), _largest_step(after)))
    ratio = across / (within + NOISE)
    if across < JUMP_CUT[0] or ratio < SCENE_CUT[1]:
        return False
    step = min(across, shifted_difference(before[-1], after[0]))
    return any(step >= least and ratio >= factor for least, factor in (SCENE_CUT, JUMP_CUT))


def difference(a: Thumbnail, b: Thumbnail) -> float:
    """Return the difference of two thumbnails, corrected for exposure, in 8-bit codes."""
    delta = a.astype(np.int16) - b
    delta[..., 0] -= np.int16(np.median(delta[..., 0]))
    return float(np.abs(delta).mean((0, 1)).sum())


def shifted_difference(a: Thumbnail, b: Thumbnail) -> float:
    """Return the least difference of two thumbnails over all shifts up to MAX_SHIFT."""
    shifts = range(-MAX_SHIFT, MAX_SHIFT + 1)
    return min(
        difference(a[_overlap(dy), _overlap(dx)], b[_overlap(-dy), _overlap(-dx)])
        for dy in shifts
        for dx in shifts
    )


def _overlap(shift: int) -> slice:
    return slice(max(0, shift), THUMBNAIL_SIDE + min(0, shift))


def _largest_step(thumbnails: list[Thumbnail]) -> float:
    """Return the largest difference of neighbouring thumbnails."""
    return max((difference(a, b) for a, b in pairwise(thumbnails)), default=0.0)
