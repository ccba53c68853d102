"""Find pauses in speech, in which the mouth comes to rest (pure).

In a short pause real mouths stay half open until the next word; in a long one they close. So the
weight of a pause grows with its length: pauses up to 0.2 s are ignored, those of 0.5 s and more
bring the mouth fully to rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from lipwright.motion.resampling import STATE_RATE
from lipwright.types import Bools, Floats

SPEECH_PROBABILITY = 0.3  # a state above it is speech if its run also has surer states
SURE_PROBABILITY = 0.6  # speech exceeds it somewhere; breath and music stay below
MIN_PAUSE = 0.2  # seconds; shorter pauses are ignored
FULL_PAUSE = 0.5  # seconds; from here on the mouth comes fully to rest
MIN_SPEECH = 0.06  # seconds; shorter sounds between silences are clicks
LEAD, LAG = 0.1, 0.06  # seconds the mouth moves before and after the sound
TRANSITION = 0.24  # seconds from speech to rest and back


def speech_mask(activity: Floats) -> Bools:
    """Return a mask (S,) of the states that are speech or lie in a pause too short to count.

    Args:
        activity: speech probability (S,) at 50 Hz.
    """
    out = np.ones(len(activity), bool)
    for start, stop in _pauses(activity):
        out[start:stop] = (stop - start) / STATE_RATE <= MIN_PAUSE
    return out


def speech_weight(activity: Floats) -> Floats:
    """Return the weight of speech motion (S,): 1 in speech, 0 at rest, smooth in between.

    Args:
        activity: speech probability (S,) at 50 Hz.
    """
    weight = np.ones(len(activity))
    if not len(weight):
        return np.zeros(0, np.float32)
    for start, stop in _pauses(activity):
        seconds = (stop - start) / STATE_RATE
        depth = np.clip((seconds - MIN_PAUSE) / (FULL_PAUSE - MIN_PAUSE), 0, 1)
        first = start + round(LAG * STATE_RATE) if start else 0
        last = stop - round(LEAD * STATE_RATE) if stop < len(weight) else stop
        weight[first : max(first, last)] = 1 - depth
    size = round(TRANSITION * STATE_RATE) | 1
    window = np.hanning(size + 2)[1:-1]
    padded = np.pad(weight, size // 2, mode="edge")
    out: Floats = np.convolve(padded, window / window.sum(), "valid").astype(np.float32)
    return out


def _pauses(activity: Floats) -> Iterator[tuple[int, int]]:
    """Yield the runs (start, stop) of states without speech; clicks count as silence."""
    sure = np.asarray(activity) > SURE_PROBABILITY
    loud = np.asarray(activity) > SPEECH_PROBABILITY
    for start, stop in list(_runs(loud)):
        inner = start > 0 and stop < len(loud)
        if loud[start] and inner and sure[start:stop].sum() / STATE_RATE < MIN_SPEECH:
            loud[start:stop] = False
    return ((start, stop) for start, stop in _runs(loud) if not loud[start])


def _runs(mask: Bools) -> Iterator[tuple[int, int]]:
    """Yield runs of equal values as (start, stop)."""
    edges = np.flatnonzero(np.diff(mask)) + 1
    return pairwise([0, *edges.tolist(), len(mask)] if len(mask) else [])
