"""Closures: the lips meet where the speech says so (pure).

Networks that minimise an error hesitate: where /p b m/ close the lips, they predict a dip of the
opening that often stops short of closed. A dip that is deep and sharp enough is a closure, and the
lips are pressed together there, within the time that real ones take.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lipwright.motion.basis import Basis
from lipwright.motion.resampling import RATE
from lipwright.types import Doubles, Floats

#: How far below the mean of speech a dip lies, in standard deviations of the predicted opening:
#: from the first no closure at all, from the second a whole one.
DEEP = (0.3, 0.8)
SHARP = (0.1, 0.25)  # the same for how much the mouth opens on both sides of it
BESIDE = 0.2  # seconds on each side in which it opens
HELD = 0.01  # seconds before and after the middle for which the lips stay together
MOVING = 0.065  # seconds for which they come together before, and part after


@dataclass(frozen=True, kw_only=True)
class Closures:
    """Moments at which the lips meet, n."""

    places: Doubles  #: (n,) in states
    strength: Floats  #: (n,) 0 to 1; how sure it is that they meet

    def weight(self, count: int) -> Floats:
        """Return how closed the lips are kept in each of *count* states (count,), 0 to 1."""
        out = np.zeros(count, np.float32)
        reach = int(np.ceil((HELD + MOVING) * RATE))
        at = np.rint(self.places).astype(np.int64)[:, None] + np.arange(-reach, reach + 1)
        way = np.clip((np.abs(at - self.places[:, None]) / RATE - HELD) / MOVING, 0, 1)
        shape = (self.strength[:, None] * (0.5 + 0.5 * np.cos(np.pi * way))).astype(np.float32)
        inside = (at >= 0) & (at < count)
        np.maximum.at(out, at[inside], shape[inside])
        return out


def find(opening: Floats, spread: float) -> Closures:
    """Find the closures in a curve of predicted opening.

    Args:
        opening: (S,) at 50 Hz, 0 being the mean of the speech.
        spread: its standard deviation in the speech.
    """
    z = np.asarray(opening, np.float64) / max(spread, 1e-6)
    if len(z) < 3:
        return Closures(places=np.zeros(0), strength=np.zeros(0, np.float32))
    at = np.flatnonzero((z[1:-1] <= z[:-2]) & (z[1:-1] < z[2:])) + 1
    reach = round(BESIDE * RATE)
    padded = np.pad(z, reach, constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach)
    before, after = windows[at].max(1), windows[at + reach + 1].max(1)
    sharp = np.minimum(before, after) - z[at]
    strength = _ramp(-z[at], DEEP) * _ramp(sharp, SHARP)
    left, right = z[at - 1] - z[at], z[at + 1] - z[at]
    places = at + 0.5 * (left - right) / np.maximum(left + right, 1e-9)
    kept = strength > 0
    return Closures(places=places[kept], strength=strength[kept].astype(np.float32))


def press(coefficients: Floats, weight: Floats, basis: Basis, gap: Floats, closed: float) -> Floats:
    """Return coefficients (S, K) with the lips brought together.

    They move as mouths do when they close: along :attr:`Basis.opener`.

    Args:
        coefficients: (S, K).
        weight: how closed the lips shall be (S,), 0 to 1.
        basis: of the coefficients.
        gap: gap of the inner lips (S,) with these coefficients, canonical units.
        closed: gap of closed lips.
    """
    missing = weight * np.maximum(gap - closed, 0)
    out: Floats = (coefficients - missing[:, None] * basis.opener).astype(np.float32)
    return out


def _ramp(values: Doubles, ends: tuple[float, float]) -> Doubles:
    low, high = ends
    x = np.clip((values - low) / (high - low), 0, 1)
    out: Doubles = x * x * (3 - 2 * x)
    return out
