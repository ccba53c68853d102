from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipwright.motion.resampling import resample, spline_weights, state_times


@given(st.integers(1, 60), st.lists(st.floats(-1, 3), min_size=1, max_size=20))
def test_spline_indices_are_in_range_and_weights_sum_to_one(count: int, times: list[float]) -> None:
    indices, weights = spline_weights(count, np.array(times))
    assert indices.min() >= 0
    assert indices.max() < count
    assert weights.sum(1) == pytest.approx(1, abs=1e-5)


def test_resampling_keeps_straight_lines_and_holds_the_ends() -> None:
    line = np.arange(50, dtype=np.float32)[:, None] * 2
    times = np.linspace(0.05, 0.9, 33)
    assert resample(line, times)[:, 0] == pytest.approx((times * 50 - 0.5) * 2, abs=1e-3)
    ends = resample(line, np.array([-1.0, 0.0, 1.0, 9.0]))[:, 0]
    assert ends == pytest.approx([0, 0, 98, 98])


def test_resampling_at_the_state_times_gives_the_states() -> None:
    values = np.random.default_rng(0).standard_normal((20, 3)).astype(np.float32)
    assert np.allclose(resample(values, state_times(20)), values, atol=1e-5)


def test_resampling_an_empty_array_fails() -> None:
    with pytest.raises(ValueError, match="empty"):
        resample(np.zeros((0, 3), np.float32), np.array([0.0]))
