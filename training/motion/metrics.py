"""Metrics of the agreement between predicted and tracked mouth motion (pure)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lipwright.face.canonical import mouth_opening, mouth_width
from lipwright.motion.sync_scorer import find_peak
from lipwright.types import Floats

MIN_RUN_SECONDS = 2.0  # shorter runs are only measured together
TEST_SETS = ("clips", "eval")  # folders of the test clips
MEASURES = ("opening", "width")  # of which the correlation is reported


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Agreement of predicted with tracked motion, over one clip or several joined ones."""

    opening: float  #: correlation of the lip opening
    width: float  #: correlation of the mouth width
    amplitude: float  #: standard deviation of the predicted opening over that of the tracked one
    seconds: float  #: total length


def correlation(a: Floats, b: Floats) -> float:
    """Return Pearson's correlation of two curves (n,); 0 if one of them is constant."""
    a, b = a - a.mean(), b - b.mean()
    power = math.sqrt(float((a * a).sum()) * float((b * b).sum()))
    return float((a * b).sum()) / power if power > 1e-12 else 0.0


def opening_and_width(mouth: Floats) -> Floats:
    """Return opening and width (T, 2) of mouth shapes (T, 61, 3), each with zero mean."""
    both = np.stack([mouth_opening(mouth), mouth_width(mouth)], 1)
    out: Floats = both - both.mean(0)
    return out


def compare(predicted: Floats, tracked: Floats, seconds: float) -> Agreement:
    """Compare curves (T, 2) of opening and width that last *seconds* in all."""
    return Agreement(
        opening=correlation(predicted[:, 0], tracked[:, 0]),
        width=correlation(predicted[:, 1], tracked[:, 1]),
        amplitude=float(predicted[:, 0].std() / max(tracked[:, 0].std(), 1e-9)),
        seconds=seconds,
    )


def estimate_lag(predicted: Floats, tracked: Floats, rate: float, limit: float = 0.3) -> float:
    """Return the lag of the predicted curve (n,) behind the tracked one, in seconds.

    The lag is the position of the highest correlation within ± *limit* seconds, refined by a
    parabola. *rate* is in frames per second.
    """
    reach = min(round(limit * rate), len(tracked) // 3)
    scores = []
    for shift in range(-reach, reach + 1):
        late = predicted[max(shift, 0) : len(predicted) + min(shift, 0)]
        early = tracked[max(-shift, 0) : len(tracked) + min(-shift, 0)]
        scores.append(correlation(late, early))
    return (find_peak(np.array(scores)) - reach) / rate
