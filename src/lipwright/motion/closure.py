"""Find closures, the moments at which the lips meet, and press the lips together there (pure).

Networks trained on a mean error under-predict closures: where /p b m/ close the lips, the predicted
opening dips but often stops short of closed. A dip that is deep and sharp enough counts as a
closure. The lips are pressed together there within the time that real lips take.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lipwright.motion.basis import Basis
from lipwright.motion.resampling import STATE_RATE
from lipwright.types import Doubles, Floats

#: Depth of a dip below the mean of speech, in standard deviations of the predicted opening: at the
#: first value it is no closure, at the second a full one.
DEPTH = (0.3, 0.8)
SHARPNESS = (0.1, 0.25)  # the same for how much the mouth opens on both sides of the dip
SIDE_SECONDS = 0.2  # on each side, in which the mouth opens
HOLD_SECONDS = 0.01  # before and after the middle, while the lips stay together
MOVE_SECONDS = 0.065  # while they come together before, and part after


@dataclass(frozen=True, kw_only=True)
class Closures:
    """The n moments at which the lips meet."""

    positions: Doubles  #: (n,) in states, fractional
    strength: Floats  #: (n,) 0 to 1; how certain the closure is

    def weights(self, count: int) -> Floats:
        """Return how far the lips are closed in each of *count* states (count,), 0 to 1."""
        out = np.zeros(count, np.float32)
        reach = int(np.ceil((HOLD_SECONDS + MOVE_SECONDS) * STATE_RATE))
        at = np.rint(self.positions).astype(np.int64)[:, None] + np.arange(-reach, reach + 1)
        progress = np.clip(
            (np.abs(at - self.positions[:, None]) / STATE_RATE - HOLD_SECONDS) / MOVE_SECONDS, 0, 1
        )
        shape = (self.strength[:, None] * (0.5 + 0.5 * np.cos(np.pi * progress))).astype(np.float32)
        inside = (at >= 0) & (at < count)
        np.maximum.at(out, at[inside], shape[inside])
        return out


def find_closures(opening: Floats, spread: float) -> Closures:
    """Find the closures in the predicted opening.

    Args:
        opening: (S,) at 50 Hz; 0 is the mean of the speech.
        spread: standard deviation of *opening* in the speech.
    """
    z = np.asarray(opening, np.float64) / max(spread, 1e-6)
    if len(z) < 3:
        return Closures(positions=np.zeros(0), strength=np.zeros(0, np.float32))
    at = np.flatnonzero((z[1:-1] <= z[:-2]) & (z[1:-1] < z[2:])) + 1
    reach = round(SIDE_SECONDS * STATE_RATE)
    padded = np.pad(z, reach, constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach)
    before, after = windows[at].max(1), windows[at + reach + 1].max(1)
    sharpness = np.minimum(before, after) - z[at]
    strength = _ramp(-z[at], DEPTH) * _ramp(sharpness, SHARPNESS)
    left, right = z[at - 1] - z[at], z[at + 1] - z[at]
    positions = at + 0.5 * (left - right) / np.maximum(left + right, 1e-9)
    kept = strength > 0
    return Closures(positions=positions[kept], strength=strength[kept].astype(np.float32))


def press_lips(
    coefficients: Floats, weight: Floats, basis: Basis, gap: Floats, closed: float
) -> Floats:
    """Return coefficients (S, K) with the lips brought together.

    They move as real mouths do when they close: along :attr:`Basis.opening_direction`.

    Args:
        coefficients: (S, K).
        weight: how far to close the lips (S,), 0 to 1.
        basis: of the coefficients.
        gap: gap of the inner lips (S,) with these coefficients, canonical units.
        closed: gap of closed lips.
    """
    missing = weight * np.maximum(gap - closed, 0)
    out: Floats = (coefficients - missing[:, None] * basis.opening_direction).astype(np.float32)
    return out


def _ramp(values: Doubles, ends: tuple[float, float]) -> Doubles:
    """Return a smooth step of *values* from 0 at the first end to 1 at the second."""
    low, high = ends
    x = np.clip((values - low) / (high - low), 0, 1)
    out: Doubles = x * x * (3 - 2 * x)
    return out
