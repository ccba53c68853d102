"""The frame rate of a video, from its timestamps and what its container claims (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import floor

import numpy as np
import numpy.typing as npt

Seconds = npt.NDArray[np.float64]

STANDARD = tuple(
    Fraction(n, d)
    for n, d in (
        *((r, 1) for r in (5, 6, 8, 10, 12, 15, 20, 24, 25, 30, 48, 50, 60, 100, 120)),
        *((r, 1001) for r in (15000, 24000, 30000, 48000, 60000, 120000)),
        (25, 2),
    )
)
STILL_RATE = Fraction(25)  # of a picture that stands alone
FASTEST = Fraction(120)  # frames per second we believe
FASTEST_GRID = Fraction(60)  # of a variable-rate video: beyond, its grid is only a clock
ROUNDING = 1.1e-3  # seconds: containers that count milliseconds round both ends of a difference
NEAR = 0.04  # a variable rate this close to a standard one was meant to be it


def settle(
    times: Seconds, tick: Fraction, claims: Sequence[Fraction | None]
) -> tuple[Fraction, bool]:
    """Return the frame rate and whether the video varies from it.

    Args:
        times: presentation times from 0, ascending, in seconds.
        tick: the unit in which the container counts time, seconds.
        claims: what the container says, the average rate first.
    """
    believed = [rate for rate in claims if rate and 0 < rate <= FASTEST]
    if len(times) < 2 or times[-1] <= 0:
        return (believed[0] if believed else STILL_RATE), False
    mean = Fraction((len(times) - 1) / times[-1])
    tolerance = max(1.5 * float(tick), ROUNDING)
    candidates = [*(r for r in believed if r.denominator <= 1001), *_nearest(mean), *believed]
    for rate in candidates:
        if np.abs(times * float(rate) - np.arange(len(times))).max() <= min(tolerance * rate, 0.5):
            return rate, False
    return _variable(times, tolerance, candidates), True


def snap(time: Fraction, rate: Fraction, tick: Fraction) -> Fraction:
    """Return *time* on the grid of *rate* where only the container's rounding kept it off."""
    on_grid = Fraction(floor(time * rate + Fraction(1, 2))) / rate
    reach = min(max(tick, Fraction(6, 10000)), Fraction(3, 10) / rate)
    return on_grid if abs(time - on_grid) <= reach else time


def _nearest(rate: Fraction) -> list[Fraction]:
    """Return the standard rates within 0.5 % of *rate*, nearest first."""
    close = (r for r in STANDARD if abs(r - rate) <= rate / 200)
    return sorted(close, key=lambda r: abs(r - rate))


def _variable(times: Seconds, tolerance: float, candidates: Sequence[Fraction]) -> Fraction:
    """Return the rate at which to show a video of varying rate."""
    median = float(np.median(np.diff(times)))
    for rate in (*candidates, *_nearest(Fraction(1 / median))):
        phase = times * float(rate)
        if rate <= FASTEST_GRID and np.abs(phase - np.rint(phase)).max() <= min(
            tolerance * rate, 0.2
        ):
            return rate  # every frame is on this grid, some points of it are empty
    usual = Fraction(min(1 / median, float(FASTEST)))
    standard = min(STANDARD, key=lambda r: abs(r - usual))
    if abs(standard - usual) <= NEAR * usual:
        return standard
    return max(usual.limit_denominator(1001), Fraction(1))
