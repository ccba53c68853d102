from __future__ import annotations

import numpy as np
import pytest

from lipwright.face import canonical
from lipwright.face.landmarks import MOUTH
from lipwright.motion.resampling import resample
from lipwright.motion.sync_scorer import SyncScorer, best_offset, score_vectors


@pytest.mark.parametrize("late", [-4.0, 0.0, 2.5, 3.3])
def test_best_offset_finds_the_delay_of_the_sound(late: float) -> None:
    noise = np.random.default_rng(0).standard_normal((408, 64))
    voice = np.stack([noise[i : i + 9].mean(0) for i in range(400)])
    voice /= np.linalg.norm(voice, axis=1, keepdims=True)
    voice = voice.astype(np.float32)
    times = (np.arange(30, 150) + 0.5) / 25
    found = best_offset(score_vectors(resample(voice, times + late / 25), times, voice))
    assert found.offset == pytest.approx(late, abs=0.1)
    assert found.confidence > 0.9
    assert found.confidence_at(late) == pytest.approx(found.confidence, abs=0.05)


@pytest.mark.model
def test_scorer_accepts_unseen_frames_and_any_rate() -> None:
    net = SyncScorer()
    random = np.random.default_rng(0)
    mouth = canonical.reference_face()[MOUTH] + 0.02 * random.standard_normal((90, 61, 3))
    mouth = mouth.astype(np.float32)
    mouth[20:30] = np.nan
    states = random.standard_normal((150, 1024)).astype(np.float32)
    found = net.estimate_offset(mouth, np.arange(90) / 30, states)
    assert np.isfinite(found.scores).all()
    assert -1 <= found.confidence <= 1
    again = net.estimate_offset(mouth, np.arange(90) / 30, states)
    assert (again.scores == found.scores).all()


@pytest.mark.model
def test_nothing_to_compare_gives_zero_confidence_and_offset() -> None:
    net = SyncScorer()
    unseen = np.full((30, 61, 3), np.nan, np.float32)
    assert (
        net.estimate_offset(unseen, np.arange(30) / 25, np.zeros((50, 1024), np.float32)).confidence
        == 0
    )
    seen = np.zeros((30, 61, 3), np.float32)
    assert (
        net.estimate_offset(seen, np.arange(30) / 25, np.zeros((0, 1024), np.float32)).offset == 0
    )
