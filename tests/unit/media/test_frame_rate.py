from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipwright.media.inspect.frame_rate import STANDARD_RATES, estimate_frame_rate, snap_to_grid

NTSC = Fraction(30000, 1001)
MS = Fraction(1, 1000)


def rounded_times(rate: Fraction, count: int, time_base: Fraction) -> np.ndarray:
    """The times of *count* frames, rounded to ticks as in a container."""
    step = 1 / rate / time_base  # ticks per frame
    whole, rest = np.divmod(np.arange(count) * step.numerator, step.denominator)
    ticks = whole + (2 * rest > step.denominator)
    return ticks * time_base.numerator / time_base.denominator


@given(
    st.sampled_from(STANDARD_RATES),
    st.integers(30, 3000),
    st.sampled_from([MS, Fraction(1, 90000)]),
)
def test_standard_rates_are_estimated_from_rounded_times(rate, count, time_base):
    times = rounded_times(rate, count, time_base)
    mean = Fraction((count - 1) / times[-1]).limit_denominator(60000)
    estimated, variable = estimate_frame_rate(times, time_base, (mean, None))
    assert not variable
    assert np.abs(times * float(estimated) - np.arange(count)).max() < 0.2


@pytest.mark.parametrize("rate", [NTSC, Fraction(24000, 1001), Fraction(60000, 1001)])
def test_ntsc_and_integer_rates_are_distinguished(rate):
    times = rounded_times(rate, int(3600 * rate), MS)
    assert estimate_frame_rate(times, MS, (None,)) == (rate, False)


@pytest.mark.parametrize("rate", [Fraction(2997, 100), Fraction(1350, 61), Fraction(100, 7)])
def test_an_exact_declared_rate_is_used(rate):
    time_base = 1 / rate / 512
    assert estimate_frame_rate(rounded_times(rate, 500, time_base), time_base, (rate,)) == (
        rate,
        False,
    )


def test_missing_frames_do_not_change_the_rate():
    times = rounded_times(Fraction(30), 200, Fraction(1, 15360))
    kept = np.delete(times, [5, 6, 50, 120, 121, 122])
    assert estimate_frame_rate(kept, Fraction(1, 15360), (Fraction(1350, 61), Fraction(30))) == (
        30,
        True,
    )


@pytest.mark.parametrize(("mean", "rate"), [(30, 30), (29.7, 30), (24.1, 24), (17, 17)])
def test_jittering_times_get_the_nearest_standard_rate(mean, rate):
    rng = np.random.default_rng(0)
    times = np.cumsum([0, *rng.normal(1 / mean, 0.002, 400)])
    estimated, variable = estimate_frame_rate(times, Fraction(1, 90000), (None,))
    assert variable
    assert abs(estimated - rate) < 0.5


def test_a_coarse_clock_is_not_a_grid():
    times = np.array([0, 5, 10, 30, 33, 50]) / 100
    assert estimate_frame_rate(times, Fraction(1, 100), (Fraction(40), Fraction(100))) == (20, True)


def test_a_single_frame_has_a_rate():
    assert estimate_frame_rate(np.zeros(1), MS, (None, None)) == (25, False)
    assert estimate_frame_rate(np.zeros(1), MS, (Fraction(24), None)) == (24, False)
    assert estimate_frame_rate(np.zeros(0), MS, (Fraction(90000), None)) == (25, False)


@given(st.integers(0, 100000), st.sampled_from(STANDARD_RATES))
def test_snapping_undoes_rounding(k, rate):
    time = k / rate
    assert snap_to_grid(Fraction(round(time * 1000), 1000), rate, MS) == time


def test_snapping_keeps_other_times():
    assert snap_to_grid(Fraction(1, 50), Fraction(25), MS) == Fraction(1, 50)
