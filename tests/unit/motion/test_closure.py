"""Deep, sharp dips of the predicted opening become closed lips; nothing else does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lipwright.face import canonical
from lipwright.face.landmarks import LOWER_INNER_ROWS, MOUTH, UPPER_INNER_ROWS
from lipwright.motion.animate import MouthMotion, synthesize_motion
from lipwright.motion.basis import Basis
from lipwright.motion.closure import Closures, find_closures, press_lips
from lipwright.motion.resampling import STATE_RATE
from lipwright.motion.speaking_style import SpeakingStyle

SPREAD = 0.04


def syllables(count: int = 300, every: int = 15, depth: float = 1.5) -> np.ndarray:
    """Predicted opening (count,) in spreads: one dip of *depth* below the mean at each *every*."""
    t = np.arange(count)
    dip = np.exp(-(((t + every // 2) % every - every // 2) ** 2) / 8)
    return (0.5 - (depth + 0.5) * dip) * SPREAD


def below_the_lips() -> np.ndarray:
    """Which of the 61 points move with the jaw."""
    height = canonical.reference_face()[MOUTH, 1]
    inner = [*UPPER_INNER_ROWS, *LOWER_INNER_ROWS]
    return height > height[inner].mean()


@pytest.fixture(scope="module")
def basis() -> Basis:
    mouth = canonical.reference_face()[MOUTH]
    components = np.zeros((2, 61, 3), np.float32)
    components[0, below_the_lips(), 1] = SPREAD
    components[1, :, 0] = SPREAD * np.sign(mouth[:, 0])
    rest = np.array([-1, 0], np.float32)
    return Basis(components=components, rest=rest, opening_spread=SPREAD, predicted_spread=SPREAD)


def style_of(basis: Basis, parted: float = 2.0) -> SpeakingStyle:
    """A speaker whose mean mouth is open by *parted* spreads, and who rests nearly closed."""
    mouth = canonical.reference_face()[MOUTH].astype(np.float32)
    mouth[below_the_lips(), 1] += parted * SPREAD - canonical.mouth_opening(mouth[None])[0]
    return SpeakingStyle(
        mean=mouth,
        opening_gain=1.0,
        shape_gain=1.0,
        bias=np.zeros(2, np.float32),
        centre=np.zeros(2, np.float32),
        rest=np.array([-parted + 0.1, 0], np.float32),
        closed_gap=0.004,
        predicted_spread=SPREAD,
        description="",
    )


def gaps(done: MouthMotion, rate: float = 50) -> np.ndarray:
    times = np.arange(0.01, len(done.coefficients) / STATE_RATE, 1 / rate)
    return canonical.mouth_opening(done.style.mean + done.displacements(times))


def spoken(basis: Basis, opening: np.ndarray, intensity: float = 1.0) -> MouthMotion:
    prediction = np.stack([opening / basis.opening[0], np.zeros(len(opening))], 1)
    prediction = prediction.astype(np.float32)
    return synthesize_motion(
        basis, style_of(basis), prediction, np.ones(len(opening), np.float32), intensity
    )


def test_deep_dips_are_closures_and_shallow_ones_are_not() -> None:
    found = find_closures(syllables(depth=1.5), SPREAD)
    inner = found.positions[(found.positions > 10) & (found.positions < 290)]
    assert inner == pytest.approx(np.arange(15, 286, 15), abs=0.1)
    assert found.strength.min() > 0.95
    assert len(find_closures(syllables(depth=0.25), SPREAD).positions) == 0
    assert len(find_closures(np.zeros(100), SPREAD).positions) == 0


def test_low_but_flat_opening_is_no_closure() -> None:
    low = np.full(100, -1.5 * SPREAD)
    low[::2] += 0.01 * SPREAD
    assert find_closures(low, SPREAD).weights(100).max() == 0


def test_dips_of_medium_depth_close_partly() -> None:
    sure = [
        find_closures(syllables(depth=depth), SPREAD).strength.max(initial=0)
        for depth in (0.25, 0.45, 0.6, 1.0)
    ]
    assert sure == sorted(sure)
    assert sure[0] == 0
    assert 0.05 < sure[1] < sure[2] < 0.95
    assert sure[3] == pytest.approx(1)


def test_closing_and_parting_take_natural_time() -> None:
    dips = Closures(positions=np.array([50.3]), strength=np.ones(1, np.float32))
    weight = dips.weights(100)
    assert weight.max() == pytest.approx(1, abs=0.01)
    closed = (weight > 0.9).sum() / STATE_RATE
    moving = (weight > 0.01).sum() / STATE_RATE
    assert 0.03 <= closed <= 0.08
    assert 0.08 <= moving <= 0.16
    assert np.abs(np.diff(weight)).max() < 0.6  # no snap, even from state to state


@settings(max_examples=50)
@given(st.lists(st.floats(-1, 1, width=32), max_size=60))
def test_closure_weights_lie_between_0_and_1(values: list[float]) -> None:
    found = find_closures(np.array(values, np.float32), 0.3)
    weight = found.weights(len(values))
    assert weight.shape == (len(values),)
    assert ((weight >= 0) & (weight <= 1)).all()


@pytest.mark.parametrize("rate", [24, 25, 30, 60])
def test_each_closure_is_visible_at_any_frame_rate(basis: Basis, rate: int) -> None:
    gap = gaps(spoken(basis, syllables()), rate)
    times = np.arange(0.01, 6, 1 / rate)
    for moment in (np.arange(15, 286, 15) + 0.5) / STATE_RATE:
        near = np.abs(times - moment) <= 0.5 / rate + 1e-9
        assert gap[near].min() < 0.15 * np.quantile(gap, 0.9)


def test_motion_between_closures_is_unchanged(basis: Basis) -> None:
    opening = syllables(every=30)
    gap = gaps(spoken(basis, opening))
    plain = 2 * SPREAD + opening
    far = find_closures(opening, SPREAD).weights(300) == 0
    assert far.sum() > 150
    assert np.abs(gap - plain)[far].max() < 0.003


@pytest.mark.parametrize("intensity", [0.5, 0.75, 1.0, 1.25, 1.5])
def test_lips_close_at_any_intensity(basis: Basis, intensity: float) -> None:
    gap = gaps(spoken(basis, syllables(), intensity))
    assert gap[np.arange(15, 286, 15)].max() < 0.008


def test_intensity_scales_the_range_of_motion(basis: Basis) -> None:
    moved = [np.ptp(gaps(spoken(basis, syllables(), x))) for x in (0.0, 0.5, 1.0, 1.5)]
    assert moved[0] == pytest.approx(0, abs=1e-5)
    assert moved[1] < moved[2] < moved[3]
    assert moved[3] > 1.3 * moved[2]


def test_zero_intensity_leaves_the_mouth_at_rest(basis: Basis) -> None:
    still = spoken(basis, syllables(), 0.0)
    assert still.coefficients == pytest.approx(np.tile(still.style.rest, (300, 1)))


def test_pressing_changes_the_opening_only(basis: Basis) -> None:
    coefficients = np.ones((10, 2), np.float32)
    gap = np.full(10, 0.08, np.float32)
    weight = np.linspace(0, 1, 10, dtype=np.float32)
    pressed = press_lips(coefficients, weight, basis, gap, 0.0)
    assert pressed[:, 1] == pytest.approx(coefficients[:, 1])
    assert pressed[0] == pytest.approx(coefficients[0])
    assert (pressed[:, 0] - coefficients[:, 0]) * basis.opening[0] == pytest.approx(-0.08 * weight)
