"""Adaptation finds a known difference of a speaker, and nothing where there is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lipwright.face import canonical
from lipwright.face.landmarks import LOWER_INNER_ROWS, MOUTH, UPPER_INNER_ROWS
from lipwright.motion.adaptation import (
    MIN_SECONDS,
    Adaptation,
    TrainingPairs,
    _high_pass,
    fit_adaptation,
    pair_speech_with_mouth,
)
from lipwright.motion.basis import Basis
from lipwright.motion.resampling import resample
from lipwright.motion.speaking_style import fit_style
from lipwright.motion.sync_scorer import SyncEstimate
from lipwright.runtime.disk_array import DiskArray

pytestmark = pytest.mark.model

CHANNELS, SIZE = 1024, 12
SYNC = SyncEstimate(offset=0.0, confidence=0.4, scores=np.ones(61, np.float32))


@pytest.fixture(scope="module")
def basis() -> Basis:
    random = np.random.default_rng(5)
    mouth = canonical.reference_face()[MOUTH]
    components = 0.005 * random.standard_normal((SIZE, 61, 3)).astype(np.float32)
    components[0] = 0
    lips = [*UPPER_INNER_ROWS, *LOWER_INNER_ROWS]
    components[0, mouth[:, 1] > mouth[lips, 1].mean(), 1] = 0.04  # opens
    components[1] = 0
    components[1, :, 0] = 0.04 * np.sign(mouth[:, 0])  # widens
    return Basis(
        components=components,
        rest=np.zeros(SIZE, np.float32),
        opening_spread=0.04,
        predicted_spread=0.03,
    )


def speech(count: int, seed: int) -> np.ndarray:
    """Smooth noise with a few strong directions, as states are: (count, 1024)."""
    random = np.random.default_rng(seed)
    ways = np.random.default_rng(99).standard_normal((40, CHANNELS)) / np.sqrt(CHANNELS)
    raw = random.standard_normal((count + 5, 40)) * np.geomspace(40, 4, 40)
    smooth = np.stack([raw[i : i + count] for i in range(6)]).mean(0)
    return (smooth @ ways).astype(np.float32)


def linear_in(states: np.ndarray, seed: int, size: int, scale: float) -> np.ndarray:
    """Something linear in the states, (S, size)."""
    weights = np.random.default_rng(seed).standard_normal((CHANNELS, size))
    out = states @ weights
    return (scale * out / out.std(0)).astype(np.float32)


def speaker(basis: Basis, states: np.ndarray, *, own: float, noise: float = 0.3) -> TrainingPairs:
    """A speaker who moves as predicted, plus *own* times a linear difference, plus noise."""
    prediction = linear_in(states, 1, SIZE, 0.8)
    times = np.arange(0.02, len(states) / 50, 1 / 25)
    chance = noise * np.random.default_rng(7).standard_normal((len(times), SIZE))
    true = resample(prediction + linear_in(states, 2, SIZE, own), times) + chance
    mouth = canonical.reference_face()[MOUTH] + basis.shapes(true.astype(np.float32))
    return pair_speech_with_mouth(mouth, times, states, prediction, SYNC)


def test_learnt_correction_improves_prediction_of_new_speech(basis: Basis) -> None:
    adaptation = fit_adaptation(basis, speaker(basis, speech(1500, 0), own=0.6))
    assert adaptation is not None
    assert adaptation.opening_gain > 0.02
    assert "own speech" in adaptation.description
    new = speech(1000, 3)
    prediction = linear_in(new, 1, SIZE, 0.8)
    wanted = prediction + linear_in(new, 2, SIZE, 0.6)
    corrected = adaptation.correct(prediction, new)
    before, after = (np.square(x - wanted).mean() for x in (prediction, corrected))
    assert after < 0.6 * before


def test_speaker_who_moves_as_predicted_gets_no_correction(basis: Basis) -> None:
    found = [fit_adaptation(basis, speaker(basis, speech(700, seed), own=0.0)) for seed in range(4)]
    assert found == [None] * 4


@pytest.mark.parametrize("seed", [8, 9, 10, 11])
def test_unrelated_sound_gives_no_correction(basis: Basis, seed: int) -> None:
    pairs, other = speaker(basis, speech(1500, 0), own=0.6), speech(1500, seed)
    prediction = linear_in(other, 1, SIZE, 0.8)
    dubbed = replace(pairs, states=other, prediction=prediction)
    assert fit_adaptation(basis, dubbed) is None


@pytest.mark.parametrize("sync", [(0.0, 0.10), (14.5, 0.4), (-13.0, 0.4), (0.0, 0.0)])
def test_pairs_with_unreliable_sync_are_not_used(basis: Basis, sync: tuple[float, float]) -> None:
    good = speaker(basis, speech(1500, 0), own=0.6)
    offset, confidence = sync
    doubtful = SyncEstimate(offset=offset, confidence=confidence, scores=np.ones(61, np.float32))
    found = pair_speech_with_mouth(good.mouth, good.times, good.states, good.prediction, doubtful)
    assert len(found.times) == 0
    assert fit_adaptation(basis, found) is None


def test_pairs_hold_only_frames_both_seen_and_heard() -> None:
    mouth = np.zeros((100, 61, 3), np.float32)
    mouth[10:20] = np.nan
    states = np.zeros((150, CHANNELS), np.float32)  # 3 s for 4 s of pictures
    prediction = np.zeros((150, SIZE), np.float32)
    sync = SyncEstimate(offset=-5.0, confidence=0.3, scores=np.ones(61, np.float32))
    found = pair_speech_with_mouth(mouth, np.arange(100) / 25, states, prediction, sync)
    assert found.times.min() == pytest.approx(0)
    assert found.times.max() <= 3
    assert len(found.times) == 100 - 5 - 10 - 19


def test_too_little_speech_gives_no_correction(basis: Basis) -> None:
    short = speaker(basis, speech(round(MIN_SECONDS * 50) - 10, 0), own=0.6)
    assert short.seconds < MIN_SECONDS
    assert fit_adaptation(basis, short) is None


def test_correction_is_the_same_for_states_on_disk_and_in_memory(basis: Basis) -> None:
    adaptation = fit_adaptation(basis, speaker(basis, speech(1500, 0), own=0.6))
    assert isinstance(adaptation, Adaptation)
    states = speech(700, 4)
    on_disk = DiskArray((CHANNELS,), np.float32)
    on_disk.extend(states)
    prediction, spoken = linear_in(states, 1, SIZE, 1), np.arange(700) % 200 < 130
    whole = adaptation.correct(prediction, states, spoken)
    assert whole.shape == (700, SIZE)
    assert whole.dtype == np.float32
    assert np.abs(whole - prediction).max() > 0.1
    assert np.allclose(adaptation.correct(prediction, on_disk, spoken), whole, atol=1e-4)


def test_constant_offset_of_the_states_does_not_move_the_mouth(basis: Basis) -> None:
    adaptation = fit_adaptation(basis, speaker(basis, speech(1500, 0), own=0.6))
    assert adaptation is not None
    states = speech(3000, 4)
    louder = states + states[:1]
    still = np.zeros((3000, SIZE), np.float32)
    a, b = (adaptation.correct(still, s) for s in (states, louder))
    assert np.abs(a - b).max() < 0.1 * np.abs(a).max()


def test_high_pass_removes_slow_drift() -> None:
    drift = np.linspace(0, 3, 500)[:, None] ** 2
    fast = np.sin(np.arange(500) * 0.9)[:, None]
    kept = _high_pass((drift + fast).astype(np.float32), 25)[50:450]
    assert kept == pytest.approx(fast[50:450], abs=0.05)


def test_style_description_says_how_the_speaker_was_fitted(basis: Basis) -> None:
    pairs = speaker(basis, speech(1500, 0), own=0.6)
    adaptation = fit_adaptation(basis, pairs)
    assert adaptation is not None
    style = fit_style(basis, pairs.mouth, pairs.prediction, adaptation=adaptation)
    assert adaptation.description in style.description
    assert "own range" in fit_style(basis, pairs.mouth, pairs.prediction).description
