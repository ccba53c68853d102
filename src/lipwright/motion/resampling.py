"""Resample values from the 50 Hz grid of the speech states to any times (pure).

State ``i`` belongs to the time ``(i + 0.5) / 50`` s. Values between states come from a Catmull-Rom
spline (Catmull & Rom 1974), so motion sampled at 60 frames per second has no corners. Before the
first and after the last state, the end value holds.
"""

from __future__ import annotations

import numpy as np

from lipwright.types import Doubles, Floats, Ints

STATE_RATE = 50  # states per second


def state_times(count: int) -> Doubles:
    """Return the times (count,) in seconds of the first ``count`` states."""
    return (np.arange(count) + 0.5) / STATE_RATE


def spline_weights(count: int, times: Doubles) -> tuple[Ints, Floats]:
    """Return which of ``count`` states to mix for each time, and the weight of each.

    Args:
        count: number of states, at least 1.
        times: seconds, float64 (n,).

    Returns:
        Indices int64 (n, 4) in [0, count) and weights float32 (n, 4) that sum to 1.
    """
    position = np.clip(np.asarray(times, np.float64) * STATE_RATE - 0.5, 0, max(count - 1, 0))
    first = np.floor(position).astype(np.int64)
    f = position - first
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


def resample(values: Floats, times: Doubles) -> Floats:
    """Interpolate values at the given times.

    Args:
        values: (S, …) at 50 Hz; S at least 1.
        times: seconds, float64 (n,).

    Returns:
        float32 (n, …).

    Raises:
        ValueError: *values* is empty.
    """
    if not len(values):
        raise ValueError("cannot resample without values: the speech is empty")
    indices, weights = spline_weights(len(values), times)
    out: Floats = np.einsum("nk,nk...->n...", weights, values[indices]).astype(np.float32)
    return out
