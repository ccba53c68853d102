"""Values on the 50 Hz grid of the speech states, read at any time (pure).

State ``i`` belongs to the time ``(i + 0.5) / 50`` s. Between states a Catmull-Rom spline is read
(Catmull & Rom 1974), so motion sampled for 60 frames a second has no corners; beyond the ends the
end value holds.
"""

from __future__ import annotations

import numpy as np

from lipwright.types import Doubles, Floats, Ints

RATE = 50  # states per second


def centres(count: int) -> Doubles:
    """Return the times (count,) in seconds of the first ``count`` states."""
    return (np.arange(count) + 0.5) / RATE


def taps(count: int, times: Doubles) -> tuple[Ints, Floats]:
    """Return which of ``count`` states to mix for each time, and how much of each.

    Args:
        count: number of states, at least 1.
        times: seconds, float64 (n,).

    Returns:
        Indices int64 (n, 4) in [0, count) and weights float32 (n, 4) that sum to 1.
    """
    place = np.clip(np.asarray(times, np.float64) * RATE - 0.5, 0, max(count - 1, 0))
    first = np.floor(place).astype(np.int64)
    f = place - first
    weights = np.stack(
        [
            f * (f * (2 - f) - 1) / 2,
            (f * f * (3 * f - 5) + 2) / 2,
            f * (f * (4 - 3 * f) + 1) / 2,
            f * f * (f - 1) / 2,
        ],
        -1,
    )
    indices = np.clip(first[:, None] + np.arange(-1, 3), 0, count - 1)
    return indices, weights.astype(np.float32)


def read(values: Floats, times: Doubles) -> Floats:
    """Return values (S, …) at 50 Hz, read at times (n,) in seconds: float32 (n, …)."""
    if not len(values):
        raise ValueError("cannot read a curve without values: the speech is empty")
    indices, weights = taps(len(values), times)
    out: Floats = np.einsum("nk,nk...->n...", weights, values[indices]).astype(np.float32)
    return out
