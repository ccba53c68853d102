from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipwright.motion.model import MotionModel, overlapping_blocks

pytestmark = pytest.mark.model


@given(
    st.lists(st.integers(0, 40), max_size=8),
    st.integers(0, 9),
    st.integers(1, 25),
)
def test_blocks_cover_each_state_once_with_its_context(
    lengths: list[int], reach: int, size: int
) -> None:
    total = sum(lengths)
    whole = np.arange(total, dtype=np.float32)[:, None]
    pieces = np.split(whole, np.cumsum(lengths)[:-1]) if lengths else []
    held = np.clip(np.arange(-reach, total + reach), 0, max(total - 1, 0))
    found = []
    for block in overlapping_blocks(pieces, reach, size):
        count = len(block) - 2 * reach
        assert 1 <= count <= size
        start = len(found)
        assert (block[:, 0] == held[start : start + len(block)]).all()
        found += block[reach : reach + count, 0].tolist()
    assert found == whole[:, 0].tolist()


def test_prediction_in_blocks_equals_the_whole(model: MotionModel, states: np.ndarray) -> None:
    long = np.tile(states, (3, 1))  # 54 s: several blocks
    whole = model.predict_coefficients(long)
    assert whole.shape == (len(long), model.basis.size)
    cut = model.predict_coefficients(long[i : i + 37] for i in range(0, len(long), 37))
    assert np.abs(cut - whole).max() < 1e-4
    # Away from its ends, a part alone gives the same motion as within the whole.
    alone = model.predict_coefficients(long[900:1800])
    assert np.abs(alone[100:800] - whole[1000:1700]).max() < 1e-4


@pytest.mark.parametrize("rate", [10, 24000 / 1001, 25, 30, 50, 120])
def test_motion_is_the_same_at_any_frame_rate(
    model: MotionModel, states: np.ndarray, rate: float
) -> None:
    times = np.arange(0, 18, 1 / rate)
    moved = model.predict_displacements(states, times)
    assert moved.shape == (len(times), 61, 3)
    assert moved.dtype == np.float32
    dense = model.predict_displacements(states, np.arange(0, 18, 0.001))
    assert np.abs(moved - dense[np.minimum((times * 1000).round().astype(int), 17999)]).max() < 0.02


def test_no_speech_gives_no_motion(model: MotionModel) -> None:
    assert model.predict_coefficients(np.zeros((0, 1024), np.float32)).shape == (
        0,
        model.basis.size,
    )
    assert model.predict_coefficients([]).shape == (0, model.basis.size)


def test_one_state_is_enough(model: MotionModel, states: np.ndarray) -> None:
    assert model.predict_displacements(states[:1], np.array([0.0, 0.02])).shape == (2, 61, 3)
