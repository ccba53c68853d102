"""Pauses: the mouth comes to rest, and stays there (pure)."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lipwright.motion.curve import RATE

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

SPEECH = 0.5  # probability of speech above which a state is speech
SHORTEST_PAUSE = 0.2  # seconds
SHORTEST_SPEECH = 0.06  # seconds; less is a click
BEFORE, AFTER = 0.1, 0.06  # seconds the mouth speaks before and after the sound
CLOSING = 0.24  # seconds from speech to rest and back


def speaking(activity: Floats) -> Mask:
    """Return the states (S,) at which the mouth speaks.

    Args:
        activity: speech probability (S,) at 50 Hz.
    """
    loud = np.asarray(activity) > SPEECH
    loud = _fill(loud, SHORTEST_SPEECH, of=True)
    loud = _fill(loud, SHORTEST_PAUSE, of=False)
    out = loud.copy()
    for shift in range(1, round(BEFORE * RATE) + 1):
        out[:-shift] |= loud[shift:]
    for shift in range(1, round(AFTER * RATE) + 1):
        out[shift:] |= loud[:-shift]
    return out


def presence(activity: Floats) -> Floats:
    """Return how much the mouth speaks (S,): 1 in speech, 0 at rest, smooth between."""
    mask = speaking(activity).astype(np.float64)
    size = round(CLOSING * RATE) | 1
    window = np.hanning(size + 2)[1:-1]
    padded = np.pad(mask, size // 2, mode="edge")
    out: Floats = np.convolve(padded, window / window.sum(), "valid").astype(np.float32)
    return out


def _fill(mask: Mask, shortest: float, *, of: bool) -> Mask:
    """Turn runs of *of* that are shorter than *shortest* seconds over, save at the ends."""
    out = mask.copy()
    edges = np.flatnonzero(np.diff(mask)) + 1
    bounds = [0, *edges.tolist(), len(mask)]
    for start, stop in pairwise(bounds):
        inner = start > 0 and stop < len(mask)
        if inner and mask[start] == of and (stop - start) / RATE < shortest - 1e-9:
            out[start:stop] = not of
    return out
