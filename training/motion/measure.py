"""How well a predicted mouth agrees with the tracked one (pure)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lipwright.face.shape import opening, width
from lipwright.motion.sync_scorer import peak
from lipwright.types import Floats

LONG = 2.0  # seconds; shorter clips are only measured together
SETS = ("clips", "eval")  # folders of clips that measure
MEASURES = ("opening", "width")  # whose correlation is told


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """One clip, or several put together, predicted against tracked."""

    opening: float  #: correlation of the lip opening
    width: float  #: correlation of the mouth width
    amplitude: float  #: standard deviation of the predicted opening over that of the tracked one
    seconds: float  #: length measured


def correlation(a: Floats, b: Floats) -> float:
    """Return Pearson's correlation of two curves (n,); 0 where one of them is constant."""
    a, b = a - a.mean(), b - b.mean()
    power = math.sqrt(float((a * a).sum()) * float((b * b).sum()))
    return float((a * b).sum()) / power if power > 1e-12 else 0.0


def agree(predicted: Floats, tracked: Floats, seconds: float) -> Agreement:
    """Compare mouth shapes (T, 61, 3), both in canonical coordinates."""
    return compare(curves(predicted), curves(tracked), seconds)


def curves(mouth: Floats) -> Floats:
    """Return opening and width (T, 2) of mouth shapes (T, 61, 3), each with zero mean."""
    both = np.stack([opening(mouth), width(mouth)], 1)
    out: Floats = both - both.mean(0)
    return out


def compare(predicted: Floats, tracked: Floats, seconds: float) -> Agreement:
    """Compare curves (T, 2) of opening and width."""
    return Agreement(
        opening=correlation(predicted[:, 0], tracked[:, 0]),
        width=correlation(predicted[:, 1], tracked[:, 1]),
        amplitude=float(predicted[:, 0].std() / max(tracked[:, 0].std(), 1e-9)),
        seconds=seconds,
    )


def lag(predicted: Floats, tracked: Floats, rate: float, most: float = 0.3) -> float:
    """Return by how many seconds the predicted curve (n,) comes after the tracked one.

    The place of the highest correlation within ± ``most`` seconds, between frames by a parabola.
    """
    reach = min(round(most * rate), len(tracked) // 3)
    scores = []
    for shift in range(-reach, reach + 1):
        late = predicted[max(shift, 0) : len(predicted) + min(shift, 0)]
        early = tracked[max(-shift, 0) : len(tracked) + min(-shift, 0)]
        scores.append(correlation(late, early))
    return (peak(np.array(scores)) - reach) / rate


def mean_and_interval(values: list[float], seed: int = 0) -> tuple[float, float, float]:
    """Return the mean and its 95 % bootstrap interval over speakers or clips."""
    data = np.array(values)
    draws = np.random.default_rng(seed).integers(0, len(data), (2000, len(data)))
    low, high = np.percentile(data[draws].mean(1), [2.5, 97.5])
    return float(data.mean()), float(low), float(high)
