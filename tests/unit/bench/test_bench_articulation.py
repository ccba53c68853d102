"""Scores of articulation, timed phones, and sounds that are not speech."""

from __future__ import annotations

import numpy as np
import pytest
from bench.motion import articulation, non_speech, timed_speech
from bench.motion.timed_speech import Phone

pytestmark = pytest.mark.model  # slow


def phones_of(text: str, length: float = 0.1) -> list[Phone]:
    """Return one phone per letter, all of the same length in seconds."""
    return [Phone(symbol=c, start=i * length, stop=(i + 1) * length) for i, c in enumerate(text)]


def test_adjacent_bilabials_are_one_span() -> None:
    assert timed_speech.bilabial_spans(phones_of("ampa")) == [pytest.approx((0.1, 0.3))]
    assert timed_speech.bilabial_spans(phones_of("bab")) == [
        pytest.approx((0, 0.1)),
        pytest.approx((0.2, 0.3)),
    ]
    assert timed_speech.bilabial_spans(phones_of("tasə")) == []


def test_every_language_has_sentences_and_a_voice() -> None:
    assert set(timed_speech.SENTENCES) == set(timed_speech.LANGUAGES)
    assert all(len(texts) >= 5 for texts in timed_speech.SENTENCES.values())


def test_lips_close_in_spans_within_a_frame() -> None:
    times = np.arange(0, 2, 0.04)
    gap = np.full(len(times), 0.1, np.float32)
    gap[25] = 0.01  # at 1.0 s
    spans = [(1.03, 1.1), (1.05, 1.1), (0.9, 0.97), (0.5, 0.6)]
    assert articulation.closes_in_spans(gap, times, spans, 0.02) == [True, False, True, False]
    assert articulation.closes_in_spans(gap, times, [(3.0, 3.1)], 0.02) == []


def test_pauses_are_classified_by_length() -> None:
    activity = np.ones(400, np.float32)
    activity[50:65] = 0  # 0.3 s
    activity[150:200] = 0  # 1 s
    activity[300:305] = 0  # 0.1 s
    times = np.arange(0, 8, 0.04)
    masks = articulation.find_pauses(activity, times)
    short, long = masks[articulation.SHORT_PAUSE], masks[articulation.LONG_PAUSE]
    assert times[short] == pytest.approx(np.arange(1.0, 1.3, 0.04), abs=0.041)
    assert times[long].min() >= 3.12
    assert times[long].max() <= 3.88
    assert not (short & long).any()


def test_non_speech_sounds_are_reproducible_and_audible() -> None:
    voice = [np.sin(np.arange(30000) / 9).astype(np.float32)]
    first, second = non_speech.make_sounds(voice), non_speech.make_sounds(voice)
    for name, sound in first.items():
        assert np.array_equal(sound, second[name])
        assert len(sound) == non_speech.SECONDS * 16000
        assert np.abs(sound).max() <= 1
        assert (np.abs(sound).max() > 0.005) == (name != "silence")
