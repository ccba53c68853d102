"""Pauses: the mouth comes to rest, and stays there (pure).

In a short pause real mouths wait half open for the next word, in a long one they close. So a pause
counts the more, the longer it is: not at all up to 0.2 s, wholly from 0.5 s on.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from lipwright.motion.resampling import RATE
from lipwright.types import Bools, Floats

SPEECH = 0.3  # probability from which on a state is speech, beside surer ones; unsure is speech
SURE = 0.6  # probability that speech reaches somewhere; breath and music stay below
SHORTEST_PAUSE = 0.2  # seconds
WHOLE_PAUSE = 0.5  # seconds
SHORTEST_SPEECH = 0.06  # seconds; less, amid silence, is a click
BEFORE, AFTER = 0.1, 0.06  # seconds the mouth speaks before and after the sound
CLOSING = 0.24  # seconds from speech to rest and back


def speaking(activity: Floats) -> Bools:
    """Return the states (S,) that are speech or lie in a pause too short to count.

    Args:
        activity: speech probability (S,) at 50 Hz.
    """
    out = np.ones(len(activity), bool)
    for start, stop in _pauses(activity):
        out[start:stop] = (stop - start) / RATE <= SHORTEST_PAUSE
    return out


def presence(activity: Floats) -> Floats:
    """Return how much the mouth speaks (S,): 1 in speech, 0 at rest, smooth between.

    Args:
        activity: speech probability (S,) at 50 Hz.
    """
    share = np.ones(len(activity))
    if not len(share):
        return np.zeros(0, np.float32)
    for start, stop in _pauses(activity):
        seconds = (stop - start) / RATE
        depth = np.clip((seconds - SHORTEST_PAUSE) / (WHOLE_PAUSE - SHORTEST_PAUSE), 0, 1)
        first = start + round(AFTER * RATE) if start else 0
        last = stop - round(BEFORE * RATE) if stop < len(share) else stop
        share[first : max(first, last)] = 1 - depth
    size = round(CLOSING * RATE) | 1
    window = np.hanning(size + 2)[1:-1]
    padded = np.pad(share, size // 2, mode="edge")
    out: Floats = np.convolve(padded, window / window.sum(), "valid").astype(np.float32)
    return out


def _pauses(activity: Floats) -> Iterator[tuple[int, int]]:
    """Yield the runs (start, stop) of states without speech, clicks taken for silence."""
    sure = np.asarray(activity) > SURE
    loud = np.asarray(activity) > SPEECH
    for start, stop in list(_runs(loud)):
        inner = start > 0 and stop < len(loud)
        if loud[start] and inner and sure[start:stop].sum() / RATE < SHORTEST_SPEECH:
            loud[start:stop] = False
    return ((start, stop) for start, stop in _runs(loud) if not loud[start])


def _runs(mask: Bools) -> Iterator[tuple[int, int]]:
    """Yield the runs (start, stop) of equal values."""
    edges = np.flatnonzero(np.diff(mask)) + 1
    return pairwise([0, *edges.tolist(), len(mask)] if len(mask) else [])
