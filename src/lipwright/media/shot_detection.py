"""Detect cuts between shots.

Each frame is reduced to a thumbnail. At a cut, every picture just before differs from every picture
just after by more than the pictures on either side differ among themselves (an adaptive threshold;
Yeo and Liu 1995, "Rapid scene analysis on compressed video"). A flash is not a cut, since the
earlier picture returns. A pan is not a cut, since neighbouring frames move as fast and the
thumbnails match after a shift. A fade is not a cut, since none of its steps stands out.

Only distinct pictures are compared: a held picture (a frozen call, dropped frames, 15 pictures in
60 frames, telecine, a gap in a variable rate) shows no motion while it is held, and all of it at
once afterwards. What may have moved grows with the time for which a picture was held.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.media.decode.video import SourceFrame
from lipwright.media.picture import Picture

Thumbnail = NDArray[np.uint8]  #: (THUMBNAIL_SIDE, THUMBNAIL_SIDE, 3) Y, U, V, 8-bit codes

THUMBNAIL_SIDE = 32  # pixels
BEFORE = AFTER = 4  # distinct pictures compared; a flash is shorter
MAX_SHIFT = 6  # thumbnail pixels that a pan may move in one frame
# Minimum difference across a cut (sum of the mean differences of Y, U and V, 8-bit codes), and its
# minimum ratio to the difference of neighbouring pictures. Another scene, or the same scene later.
SCENE_CUT = (20.0, 1.4)
JUMP_CUT = (6.0, 4.0)
NOISE = 1.0  # difference of neighbouring pictures that counts as none
# Difference up to which a picture counts as held: re-encoded ones differ by up to 0.1, or by a
# small share of the steps around them, or of the step that may be a cut.
HELD = (0.1, 0.04, 0.02)
# Minimum difference of another scene where pictures are held on both sides, so that nothing tells
# how they move: two moments of one scene differ by up to 32, two scenes by 60 and more (measured).
STILL_CUT = 40.0
MIN_HOLD = 2.0  # times as long as its neighbours: from then on a picture was held
HISTORY_FRAMES = 64  # thumbnails kept
LOOKAHEAD_FRAMES = 16  # at most, to find pictures that differ from a held one
LOOKAHEAD_BYTES = 96 << 20  # of frames that wait


@dataclass(frozen=True)
class Shown:
    """The thumbnail of a picture, and the time at which it appears."""

    thumbnail: Thumbnail
    time: float  #: seconds


def split_shots(frames: Iterable[SourceFrame]) -> Iterator[tuple[SourceFrame, bool]]:
    """Yield each frame, and whether it is the first of a new shot.

    The very first frame does not count as a new shot. The output lags AFTER - 1 frames behind, and
    up to LOOKAHEAD_FRAMES where pictures are held.
    """
    before: deque[Shown] = deque(maxlen=HISTORY_FRAMES)
    pending: deque[tuple[SourceFrame, Shown]] = deque()

    suspect: bool | None = None  # whether the first pending frame looks like a cut, if known

    def next_frame() -> tuple[SourceFrame, bool]:
        nonlocal suspect
        after = [shown for _, shown in pending]
        suspect = _may_be_cut([*before], after) if suspect is None else suspect
        cut, suspect = suspect and is_cut([*before], after), None
        if cut:
            before.clear()
        frame, shown = pending.popleft()
        before.append(shown)
        return frame, cut

    for frame in frames:
        pending.append((frame, Shown(thumbnail(frame.picture), float(frame.time))))
        while len(pending) >= AFTER:
            if suspect is None:
                suspect = _may_be_cut([*before], [shown for _, shown in pending])
            if suspect and not _decidable(before, pending):
                break
            yield next_frame()
    while pending:
        yield next_frame()


def _decidable(before: deque[Shown], pending: deque[tuple[SourceFrame, Shown]]) -> bool:
    """Return whether the pending frames suffice to say if the first one begins a shot."""
    after = [shown for _, shown in pending]
    size = sum(plane.nbytes for plane in pending[0][0].picture.planes)
    limit = max(AFTER, min(LOOKAHEAD_FRAMES, LOOKAHEAD_BYTES // max(size, 1)))
    return len(after) >= limit or len(_distinct(after, _held_step([*before], after))) >= AFTER


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


def is_cut(before: list[Shown], after: list[Shown]) -> bool:
    """Return whether a shot ends with the pictures *before* and another begins with *after*.

    Args:
        before: The last frames of this shot, at least one.
        after: The frames that follow, which look like a cut.
    """
    after = _first_shot(after)
    held = _held_step(before, after)
    before, after = _distinct(before, held)[-BEFORE:], _distinct(after, held)[:AFTER]
    across, within = _across(before, after), max(_largest_step(before), _largest_step(after))
    within = max(within, min(within * _hold(before, after), STILL_CUT))
    ratio = across / (within + NOISE)
    if across < JUMP_CUT[0] or ratio < SCENE_CUT[1]:
        return False
    step = min(across, shifted_difference(before[-1].thumbnail, after[0].thumbnail))
    if len(before) == len(after) == 1:
        return step >= STILL_CUT
    return any(step >= least and ratio >= factor for least, factor in (SCENE_CUT, JUMP_CUT))


def _may_be_cut(before: list[Shown], after: list[Shown]) -> bool:
    """Return whether the nearest frames look like a cut, held pictures or not: a quick check."""
    before, after = before[-BEFORE:], after[:AFTER]
    if not before or _step(before[-1], after[0]) < JUMP_CUT[0]:
        return False
    across = _across(before, after)
    if across < JUMP_CUT[0]:
        return False
    within = max(_largest_step(before), _largest_step(after))
    return across >= SCENE_CUT[1] * (within + NOISE)


def _across(before: list[Shown], after: list[Shown]) -> float:
    """Return the smallest difference of a picture before and one after."""
    return min(_step(a, b) for a in before for b in after)


def _first_shot(after: list[Shown]) -> list[Shown]:
    """Return the frames up to the next change of the scene, if that is not at once."""
    for k in range(AFTER, len(after)):
        if _step(after[k - 1], after[k]) >= STILL_CUT:
            return after[:k]
    return after


def _held_step(before: list[Shown], after: list[Shown]) -> float:
    """Return the difference up to which a picture counts as held."""
    around = max(_largest_step(before), _largest_step(after))
    return max(HELD[0], HELD[1] * around, HELD[2] * _step(before[-1], after[0]))


def _distinct(shown: list[Shown], held: float) -> list[Shown]:
    """Return the pictures that differ from the last one returned by more than *held*."""
    distinct: list[Shown] = []
    for picture in shown:
        if not distinct or _step(distinct[-1], picture) > held:
            distinct.append(picture)
    return distinct


def _hold(before: list[Shown], after: list[Shown]) -> float:
    """Return how many times longer than its neighbours the last picture before was shown."""
    shown = after[0].time - before[-1].time
    gaps = [abs(b.time - a.time) for side in (before, after) for a, b in pairwise(side)]
    times = shown / max(max(gaps, default=shown), 1e-9)
    return times if times >= MIN_HOLD else 1.0


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


def _step(a: Shown, b: Shown) -> float:
    return difference(a.thumbnail, b.thumbnail)


def _largest_step(shown: list[Shown]) -> float:
    """Return the largest difference of neighbouring pictures."""
    return max((_step(a, b) for a, b in pairwise(shown)), default=0.0)
