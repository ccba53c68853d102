"""What the table of articulation counts."""

from __future__ import annotations

import numpy as np
import pytest
from bench import articulation, phones, sounds
from bench.phones import Phone


def said(text: str, length: float = 0.1) -> list[Phone]:
    """Phones of 0.1 s each, one a letter."""
    return [Phone(symbol=c, start=i * length, stop=(i + 1) * length) for i, c in enumerate(text)]


def test_neighbouring_closures_count_once() -> None:
    assert phones.closures(said("ampa")) == [pytest.approx((0.1, 0.3))]
    assert phones.closures(said("bab")) == [pytest.approx((0, 0.1)), pytest.approx((0.2, 0.3))]
    assert phones.closures(said("tasə")) == []


def test_every_language_has_sentences_and_a_voice() -> None:
    assert set(phones.SENTENCES) == set(phones.LANGUAGES)
    assert all(len(texts) >= 5 for texts in phones.SENTENCES.values())


def test_lips_close_within_a_frame_of_the_phone_or_not_at_all() -> None:
    times = np.arange(0, 2, 0.04)
    gap = np.full(len(times), 0.1, np.float32)
    gap[25] = 0.01  # at 1.0 s
    spans = [(1.03, 1.1), (1.05, 1.1), (0.9, 0.97), (0.5, 0.6)]
    assert articulation.closed(gap, times, spans, 0.02) == [True, False, True, False]
    assert articulation.closed(gap, times, [(3.0, 3.1)], 0.02) == []


def test_pauses_are_told_by_their_length() -> None:
    activity = np.ones(400, np.float32)
    activity[50:65] = 0  # 0.3 s
    activity[150:200] = 0  # 1 s
    activity[300:305] = 0  # 0.1 s
    times = np.arange(0, 8, 0.04)
    found = articulation.pauses(activity, times)
    short, long = found["0.2 s to 0.4 s"], found["from 0.4 s on"]
    assert times[short] == pytest.approx(np.arange(1.0, 1.3, 0.04), abs=0.041)
    assert times[long].min() >= 3.12
    assert times[long].max() <= 3.88
    assert not (short & long).any()


def test_sounds_that_are_no_speech_are_the_same_each_time_and_audible() -> None:
    voice = [np.sin(np.arange(30000) / 9).astype(np.float32)]
    first, second = sounds.no_speech(voice), sounds.no_speech(voice)
    for name, sound in first.items():
        assert np.array_equal(sound, second[name])
        assert len(sound) == sounds.SECONDS * 16000
        assert np.abs(sound).max() <= 1
        assert (np.abs(sound).max() > 0.005) == (name != "silence")
