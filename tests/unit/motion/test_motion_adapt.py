"""Adaptation to a speaker: what is known to be there is learnt, what is not is left alone."""

from __future__ import annotations

import numpy as np
import pytest

from lipwright.face import shape
from lipwright.motion import adaptation as adapt
from lipwright.motion import resampling as curve
from lipwright.motion.adaptation import LEAST_SECONDS, Adaptation, Pairs, learn, pair
from lipwright.motion.basis import Basis
from lipwright.motion.speaking_style import fit
from lipwright.motion.sync_scorer import Sync
from lipwright.runtime.disk_array import DiskArray

CHANNELS, SIZE = 1024, 12
SYNC = Sync(offset=0.0, confidence=0.4, scores=np.ones(61, np.float32))


@pytest.fixture(scope="module")
def basis() -> Basis:
    random = np.random.default_rng(5)
    mouth = shape.reference()[shape.MOUTH]
    components = 0.005 * random.standard_normal((SIZE, 61, 3)).astype(np.float32)
    components[0] = 0
    lips = [*shape.UPPER_INNER, *shape.LOWER_INNER]
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


def known(states: np.ndarray, seed: int, size: int, scale: float) -> np.ndarray:
    """Something linear in the states, (S, size)."""
    weights = np.random.default_rng(seed).standard_normal((CHANNELS, size))
    out = states @ weights
    return (scale * out / out.std(0)).astype(np.float32)


def speaker(basis: Basis, states: np.ndarray, *, own: float, noise: float = 0.3) -> Pairs:
    """A speaker who moves as predicted, and otherwise by *own*, and by chance."""
    prediction = known(states, 1, SIZE, 0.8)
    times = np.arange(0.02, len(states) / 50, 1 / 25)
    chance = noise * np.random.default_rng(7).standard_normal((len(times), SIZE))
    true = curve.read(prediction + known(states, 2, SIZE, own), times) + chance
    mouth = shape.reference()[shape.MOUTH] + basis.shapes(true.astype(np.float32))
    return pair(mouth, times, states, prediction, SYNC)


def test_the_manner_of_a_speaker_is_learnt_and_carries_over(basis: Basis) -> None:
    learnt = learn(basis, speaker(basis, speech(1500, 0), own=0.6))
    assert learnt is not None
    assert learnt.opening > 0.02
    assert "own speech" in learnt.text
    new = speech(1000, 3)
    prediction = known(new, 1, SIZE, 0.8)
    wanted = prediction + known(new, 2, SIZE, 0.6)
    corrected = learnt.correct(prediction, new)
    before, after = (np.square(x - wanted).mean() for x in (prediction, corrected))
    assert after < 0.6 * before


def test_who_moves_as_predicted_is_left_alone(basis: Basis) -> None:
    found = [learn(basis, speaker(basis, speech(700, seed), own=0.0)) for seed in range(4)]
    assert found == [None] * 4


@pytest.mark.parametrize("seed", [8, 9, 10, 11])
def test_a_sound_that_has_nothing_to_do_with_the_mouth_teaches_nothing(
    basis: Basis, seed: int
) -> None:
    pairs, other = speaker(basis, speech(1500, 0), own=0.6), speech(1500, seed)
    prediction = known(other, 1, SIZE, 0.8)
    dubbed = Pairs(mouth=pairs.mouth, times=pairs.times, states=other, prediction=prediction)
    assert learn(basis, dubbed) is None


@pytest.mark.parametrize("sync", [(0.0, 0.10), (14.5, 0.4), (-13.0, 0.4), (0.0, 0.0)])
def test_pairs_whose_sync_is_doubtful_are_not_used(basis: Basis, sync: tuple[float, float]) -> None:
    good = speaker(basis, speech(1500, 0), own=0.6)
    offset, confidence = sync
    doubtful = Sync(offset=offset, confidence=confidence, scores=np.ones(61, np.float32))
    found = pair(good.mouth, good.times, good.states, good.prediction, doubtful)
    assert len(found.times) == 0
    assert learn(basis, found) is None


def test_only_frames_seen_and_heard_make_pairs() -> None:
    mouth = np.zeros((100, 61, 3), np.float32)
    mouth[10:20] = np.nan
    states = np.zeros((150, CHANNELS), np.float32)  # 3 s for 4 s of pictures
    sync = Sync(offset=-5.0, confidence=0.3, scores=np.ones(61, np.float32))
    found = pair(mouth, np.arange(100) / 25, states, np.zeros((150, SIZE), np.float32), sync)
    assert found.times.min() == pytest.approx(0)
    assert found.times.max() <= 3
    assert len(found.times) == 100 - 5 - 10 - 19


def test_too_little_speech_teaches_nothing(basis: Basis) -> None:
    short = speaker(basis, speech(round(LEAST_SECONDS * 50) - 10, 0), own=0.6)
    assert short.seconds < LEAST_SECONDS
    assert learn(basis, short) is None


def test_speech_on_disk_is_corrected_as_if_it_were_in_memory(basis: Basis) -> None:
    learnt = learn(basis, speaker(basis, speech(1500, 0), own=0.6))
    assert isinstance(learnt, Adaptation)
    states = speech(700, 4)
    on_disk = DiskArray((CHANNELS,), np.float32)
    on_disk.extend(states)
    prediction, spoken = known(states, 1, SIZE, 1), np.arange(700) % 200 < 130
    whole = learnt.correct(prediction, states, spoken)
    assert whole.shape == (700, SIZE)
    assert whole.dtype == np.float32
    assert np.abs(whole - prediction).max() > 0.1
    assert np.allclose(learnt.correct(prediction, on_disk, spoken), whole, atol=1e-4)


def test_the_level_of_a_voice_does_not_move_the_mouth(basis: Basis) -> None:
    learnt = learn(basis, speaker(basis, speech(1500, 0), own=0.6))
    assert learnt is not None
    states = speech(3000, 4)
    louder = states + states[:1]
    still = np.zeros((3000, SIZE), np.float32)
    a, b = (learnt.correct(still, s) for s in (states, louder))
    assert np.abs(a - b).max() < 0.1 * np.abs(a).max()


def test_slow_drift_is_not_speech() -> None:
    drift = np.linspace(0, 3, 500)[:, None] ** 2
    fast = np.sin(np.arange(500) * 0.9)[:, None]
    kept = adapt._fast((drift + fast).astype(np.float32), 25)[50:450]
    assert kept == pytest.approx(fast[50:450], abs=0.05)


def test_the_result_tells_how_the_speaker_was_fitted(basis: Basis) -> None:
    pairs = speaker(basis, speech(1500, 0), own=0.6)
    learnt = learn(basis, pairs)
    assert learnt is not None
    style = fit(basis, pairs.mouth, pairs.prediction, learnt=learnt)
    assert learnt.text in style.text
    assert "own range" in fit(basis, pairs.mouth, pairs.prediction).text
