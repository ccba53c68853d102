"""Estimate the frame rate of a video from its timestamps and its container (no I/O)."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import floor

import numpy as np

from lipwright.types import Doubles

STANDARD_RATES = tuple(
    Fraction(n, d)
    for n, d in (
        *((r, 1) for r in (5, 6, 8, 10, 12, 15, 20, 24, 25, 30, 48, 50, 60, 100, 120)),
        *((r, 1001) for r in (15000, 24000, 30000, 48000, 60000, 120000)),
        (25, 2),
    )
)
STILL_RATE = Fraction(25)  # frames per second at which a single picture is shown
MAX_RATE = Fraction(120)  # frames per second; a higher rate in a container is ignored
MAX_GRID_RATE = Fraction(60)  # frames per second; a finer grid of variable-rate video is a clock
ROUNDING = 1.1e-3  # seconds: containers in milliseconds round both ends of a difference
STANDARD_TOLERANCE = 0.04  # a variable rate this close (relative) to a standard one is that one


def estimate_frame_rate(
    times: Doubles, time_base: Fraction, declared: Sequence[Fraction | None]
) -> tuple[Fraction, bool]:
    """Return the frame rate and whether it is variable.

    Args:
        times: (T,) ascending presentation times from 0, seconds.
        time_base: Unit of the container's timestamps, seconds.
        declared: Rates that the container declares, frames per second, the average rate first.
    """
    plausible = [rate for rate in declared if rate and 0 < rate <= MAX_RATE]
    if len(times) < 2 or times[-1] <= 0:
        return (plausible[0] if plausible else STILL_RATE), False
    mean = Fraction((len(times) - 1) / times[-1])
    tolerance = max(1.5 * float(time_base), ROUNDING)
    candidates = [
        *(r for r in plausible if r.denominator <= 1001),
        *_nearest_standard_rates(mean),
        *plausible,
    ]
    for rate in candidates:
        if np.abs(times * float(rate) - np.arange(len(times))).max() <= min(tolerance * rate, 0.5):
            return rate, False
    return _display_rate(times, tolerance, candidates), True


def snap_to_grid(time: Fraction, rate: Fraction, time_base: Fraction) -> Fraction:
    """Return *time* on the grid of *rate* if it is off only by the container's rounding."""
    on_grid = Fraction(floor(time * rate + Fraction(1, 2))) / rate
    tolerance = min(max(time_base, Fraction(6, 10000)), Fraction(3, 10) / rate)
    return on_grid if abs(time - on_grid) <= tolerance else time


def _nearest_standard_rates(rate: Fraction) -> list[Fraction]:
    """Return the standard rates within 0.5 % of *rate*, nearest first."""
    close = (r for r in STANDARD_RATES if abs(r - rate) <= rate / 200)
    return sorted(close, key=lambda r: abs(r - rate))


def _display_rate(times: Doubles, tolerance: float, candidates: Sequence[Fraction]) -> Fraction:
    """Return the constant rate at which to show a variable-rate video."""
    median = float(np.median(np.diff(times)))
    for rate in (*candidates, *_nearest_standard_rates(Fraction(1 / median))):
        phase = times * float(rate)
        if rate <= MAX_GRID_RATE and np.abs(phase - np.rint(phase)).max() <= min(
            tolerance * rate, 0.2
        ):
            return rate  # all frames are on this grid, some grid points have no frame
    typical = Fraction(min(1 / median, float(MAX_RATE)))
    standard = min(STANDARD_RATES, key=lambda r: abs(r - typical))
    if abs(standard - typical) <= STANDARD_TOLERANCE * typical:
        return standard
    return max(typical.limit_denominator(1001), Fraction(1))
