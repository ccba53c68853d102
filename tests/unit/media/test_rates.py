from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipwright.media.frame_rate import STANDARD, settle, snap

NTSC = Fraction(30000, 1001)
MS = Fraction(1, 1000)


def on_clock(rate: Fraction, count: int, tick: Fraction) -> np.ndarray:
    """The times of *count* frames, rounded to ticks as a container would."""
    ticks = [round(k / rate / tick) for k in range(count)]
    return np.array([float(t * tick) for t in ticks])


@given(st.sampled_from(STANDARD), st.integers(30, 3000), st.sampled_from([MS, Fraction(1, 90000)]))
def test_standard_rates_are_found_through_rounded_clocks(rate, count, tick):
    times = on_clock(rate, count, tick)
    mean = Fraction((count - 1) / times[-1]).limit_denominator(60000)
    found, variable = settle(times, tick, (mean, None))
    assert not variable
    assert np.abs(times * float(found) - np.arange(count)).max() < 0.2


@pytest.mark.parametrize("rate", [NTSC, Fraction(24000, 1001), Fraction(60000, 1001)])
def test_an_hour_tells_ntsc_from_whole_rates(rate):
    times = on_clock(rate, int(3600 * rate), MS)
    assert settle(times, MS, (None,)) == (rate, False)


@pytest.mark.parametrize("rate", [Fraction(2997, 100), Fraction(1350, 61), Fraction(100, 7)])
def test_an_exact_claim_is_believed(rate):
    tick = 1 / rate / 512
    assert settle(on_clock(rate, 500, tick), tick, (rate,)) == (rate, False)


def test_missing_frames_leave_the_rate():
    times = on_clock(Fraction(30), 200, Fraction(1, 15360))
    kept = np.delete(times, [5, 6, 50, 120, 121, 122])
    assert settle(kept, Fraction(1, 15360), (Fraction(1350, 61), Fraction(30))) == (30, True)


@pytest.mark.parametrize(("mean", "rate"), [(30, 30), (29.7, 30), (24.1, 24), (17, 17)])
def test_wandering_times_get_the_usual_rate_near(mean, rate):
    rng = np.random.default_rng(0)
    times = np.cumsum([0, *rng.normal(1 / mean, 0.002, 400)])
    found, variable = settle(times, Fraction(1, 90000), (None,))
    assert variable
    assert abs(found - rate) < 0.5


def test_a_coarse_clock_is_no_grid():
    times = np.array([0, 5, 10, 30, 33, 50]) / 100
    assert settle(times, Fraction(1, 100), (Fraction(40), Fraction(100))) == (20, True)


def test_a_still_has_a_rate():
    assert settle(np.zeros(1), MS, (None, None)) == (25, False)
    assert settle(np.zeros(1), MS, (Fraction(24), None)) == (24, False)
    assert settle(np.zeros(0), MS, (Fraction(90000), None)) == (25, False)


@given(st.integers(0, 100000), st.sampled_from(STANDARD))
def test_snapping_undoes_rounding(k, rate):
    time = k / rate
    assert snap(Fraction(round(time * 1000), 1000), rate, MS) == time


def test_snapping_leaves_other_times():
    assert snap(Fraction(1, 50), Fraction(25), MS) == Fraction(1, 50)
