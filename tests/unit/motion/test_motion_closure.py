"""Closures: dips of the predicted opening become lips that meet, and nothing else does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lipwright.face import shape
from lipwright.motion import closure
from lipwright.motion import resampling as curve
from lipwright.motion.animate import Performance, perform
from lipwright.motion.basis import Basis
from lipwright.motion.speaking_style import Style

SPREAD = 0.04
RATE = curve.RATE


def syllables(count: int = 300, every: int = 15, depth: float = 1.5) -> np.ndarray:
    """Predicted opening (count,) in spreads: one dip of *depth* below the mean at each *every*."""
    t = np.arange(count)
    dip = np.exp(-(((t + every // 2) % every - every // 2) ** 2) / 8)
    return (0.5 - (depth + 0.5) * dip) * SPREAD


def below_the_lips() -> np.ndarray:
    """Which of the 61 points move with the jaw."""
    height = shape.reference()[shape.MOUTH, 1]
    inner = [*shape.UPPER_INNER, *shape.LOWER_INNER]
    return height > height[inner].mean()


@pytest.fixture(scope="module")
def basis() -> Basis:
    mouth = shape.reference()[shape.MOUTH]
    components = np.zeros((2, 61, 3), np.float32)
    components[0, below_the_lips(), 1] = SPREAD
    components[1, :, 0] = SPREAD * np.sign(mouth[:, 0])
    rest = np.array([-1, 0], np.float32)
    return Basis(components=components, rest=rest, opening_spread=SPREAD, predicted_spread=SPREAD)


def style_of(basis: Basis, parted: float = 2.0) -> Style:
    """A speaker whose mean mouth is open by *parted* spreads, and who rests nearly closed."""
    mouth = shape.reference()[shape.MOUTH].astype(np.float32)
    mouth[below_the_lips(), 1] += parted * SPREAD - shape.opening(mouth[None])[0]
    return Style(
        mean=mouth,
        gain=1.0,
        shaping=1.0,
        bias=np.zeros(2, np.float32),
        centre=np.zeros(2, np.float32),
        rest=np.array([-parted + 0.1, 0], np.float32),
        pressed=0.004,
        spread=SPREAD,
        text="",
    )


def gaps(done: Performance, rate: float = 50) -> np.ndarray:
    times = np.arange(0.01, len(done.coefficients) / RATE, 1 / rate)
    return shape.opening(done.style.mean + done.at(times))


def spoken(basis: Basis, opening: np.ndarray, intensity: float = 1.0) -> Performance:
    prediction = np.stack([opening / basis.opening[0], np.zeros(len(opening))], 1)
    prediction = prediction.astype(np.float32)
    return perform(basis, style_of(basis), prediction, np.ones(len(opening), np.float32), intensity)


def test_deep_dips_are_closures_and_shallow_ones_are_not() -> None:
    found = closure.find(syllables(depth=1.5), SPREAD)
    inner = found.places[(found.places > 10) & (found.places < 290)]
    assert inner == pytest.approx(np.arange(15, 286, 15), abs=0.1)
    assert found.strength.min() > 0.95
    assert len(closure.find(syllables(depth=0.25), SPREAD).places) == 0
    assert len(closure.find(np.zeros(100), SPREAD).places) == 0


def test_a_low_plain_is_no_closure() -> None:
    low = np.full(100, -1.5 * SPREAD)
    low[::2] += 0.01 * SPREAD
    assert closure.find(low, SPREAD).weight(100).max() == 0


def test_unsure_dips_are_closed_in_part() -> None:
    sure = [
        closure.find(syllables(depth=depth), SPREAD).strength.max(initial=0)
        for depth in (0.25, 0.45, 0.6, 1.0)
    ]
    assert sure == sorted(sure)
    assert sure[0] == 0
    assert 0.05 < sure[1] < sure[2] < 0.95
    assert sure[3] == pytest.approx(1)


def test_lips_meet_and_part_in_natural_time() -> None:
    dips = closure.Closures(places=np.array([50.3]), strength=np.ones(1, np.float32))
    weight = dips.weight(100)
    assert weight.max() == pytest.approx(1, abs=0.01)
    closed = (weight > 0.9).sum() / RATE
    moving = (weight > 0.01).sum() / RATE
    assert 0.03 <= closed <= 0.08
    assert 0.08 <= moving <= 0.16
    assert np.abs(np.diff(weight)).max() < 0.6  # no snap, even from state to state


@settings(max_examples=50)
@given(st.lists(st.floats(-1, 1, width=32), max_size=60))
def test_weights_are_shares(values: list[float]) -> None:
    found = closure.find(np.array(values, np.float32), 0.3)
    weight = found.weight(len(values))
    assert weight.shape == (len(values),)
    assert ((weight >= 0) & (weight <= 1)).all()


@pytest.mark.parametrize("rate", [24, 25, 30, 60])
def test_each_closure_is_seen_at_any_rate(basis: Basis, rate: int) -> None:
    gap = gaps(spoken(basis, syllables()), rate)
    times = np.arange(0.01, 6, 1 / rate)
    for moment in (np.arange(15, 286, 15) + 0.5) / RATE:
        near = np.abs(times - moment) <= 0.5 / rate + 1e-9
        assert gap[near].min() < 0.15 * np.quantile(gap, 0.9)


def test_between_closures_the_mouth_is_left_alone(basis: Basis) -> None:
    opening = syllables(every=30)
    gap = gaps(spoken(basis, opening))
    plain = 2 * SPREAD + opening
    far = closure.find(opening, SPREAD).weight(300) == 0
    assert far.sum() > 150
    assert np.abs(gap - plain)[far].max() < 0.003


@pytest.mark.parametrize("intensity", [0.5, 0.75, 1.0, 1.25, 1.5])
def test_closures_stay_closures_at_any_intensity(basis: Basis, intensity: float) -> None:
    gap = gaps(spoken(basis, syllables(), intensity))
    assert gap[np.arange(15, 286, 15)].max() < 0.008


def test_intensity_scales_how_far_the_mouth_moves(basis: Basis) -> None:
    moved = [np.ptp(gaps(spoken(basis, syllables(), x))) for x in (0.0, 0.5, 1.0, 1.5)]
    assert moved[0] == pytest.approx(0, abs=1e-5)
    assert moved[1] < moved[2] < moved[3]
    assert moved[3] > 1.3 * moved[2]


def test_without_intensity_the_mouth_rests(basis: Basis) -> None:
    still = spoken(basis, syllables(), 0.0)
    assert still.coefficients == pytest.approx(np.tile(still.style.rest, (300, 1)))


def test_pressing_moves_the_lips_only(basis: Basis) -> None:
    coefficients = np.ones((10, 2), np.float32)
    gap = np.full(10, 0.08, np.float32)
    weight = np.linspace(0, 1, 10, dtype=np.float32)
    pressed = closure.press(coefficients, weight, basis, gap, 0.0)
    assert pressed[:, 1] == pytest.approx(coefficients[:, 1])
    assert pressed[0] == pytest.approx(coefficients[0])
    assert (pressed[:, 0] - coefficients[:, 0]) * basis.opening[0] == pytest.approx(-0.08 * weight)
