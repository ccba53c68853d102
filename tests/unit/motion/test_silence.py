from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lipwright.motion.animate import synthesize_motion
from lipwright.motion.model import MotionModel
from lipwright.motion.silence import speech_mask, speech_weight
from lipwright.motion.speaking_style import fit_style
from lipwright.speech.activity import speech_activity
from lipwright.speech.encoder import SpeechEncoder
from motion_samples import mouths, speech, wave


def test_short_gaps_are_not_pauses() -> None:
    assert speech_weight(speech(1, 0.16, 1)) == pytest.approx(1, abs=1e-6)
    assert speech_mask(speech(1, 0.16, 1)).all()


def test_mouth_rests_throughout_long_pauses() -> None:
    share = speech_weight(speech(1, 1, 1))
    assert share[:40] == pytest.approx(1, abs=1e-5)
    assert share[65:85] == pytest.approx(0, abs=1e-6)
    assert np.abs(np.diff(share)).max() < 0.25
    assert (speech_mask(speech(1, 1, 1)) == (speech(1, 1, 1) > 0)).all()


def test_longer_pauses_have_less_motion() -> None:
    least = [speech_weight(speech(1, pause, 1)).min() for pause in (0.2, 0.3, 0.4, 0.5, 0.7)]
    assert least == sorted(least, reverse=True)
    assert least[0] == pytest.approx(1)
    assert least[-1] == pytest.approx(0, abs=1e-6)


def test_clicks_are_not_speech() -> None:
    quiet = np.zeros(200, np.float32)
    quiet[100:102] = 1
    assert (speech_weight(quiet) == 0).all()


def test_sound_that_is_never_surely_speech_is_not_speech() -> None:
    breath = np.zeros(300, np.float32)
    breath[120:150] = 0.45  # typical of breath and music
    assert (speech_weight(breath) == 0).all()
    unsure_end = breath + 0
    unsure_end[105:122] = 0.95  # the same, as the end of a word
    assert speech_weight(unsure_end)[115:145].min() > 0.99


def noise(seed: int, seconds: float, low: float, high: float) -> np.ndarray:
    """Noise between two frequencies, loudest 1."""
    count = round(seconds * 16000)
    hertz = np.fft.rfftfreq(count, 1 / 16000)
    random = np.random.default_rng(seed)
    spectrum = random.standard_normal(len(hertz)) + 1j * random.standard_normal(len(hertz))
    sound = np.fft.irfft(spectrum * ((hertz > low) & (hertz < high)), count)
    return (sound / np.abs(sound).max()).astype(np.float32)


def breaths() -> np.ndarray:
    one = 0.08 * noise(0, 0.6, 300, 5000) * np.hanning(9600)
    return np.tile(np.concatenate([one, np.zeros(8000)]), 5).astype(np.float32)


def melody() -> np.ndarray:
    t = np.arange(5600) / 16000
    tones = [
        sum(np.sin(2 * np.pi * f * h * t) / h for h in range(1, 7)) * np.exp(-4 * t)
        for f in (262, 330, 392, 523, 440, 349, 392, 330, 294, 262)
    ]
    return (0.1 * np.concatenate(tones)).astype(np.float32)


def clicks() -> np.ndarray:
    out = np.zeros(64000, np.float32)
    for start in range(3000, 60000, 3700):
        out[start : start + 80] = (
            0.3 * noise(start, 80 / 16000, 0, 8000) * np.exp(-np.arange(80) / 15)
        )
    return out


@pytest.mark.model
@pytest.mark.parametrize(
    "sound",
    [breaths(), melody(), clicks(), 0.1 * noise(1, 4, 50, 7000)],
    ids=["breaths", "melody", "clicks", "noise"],
)
def test_mouth_stays_still_for_sounds_that_are_not_speech(
    model: MotionModel, sound: np.ndarray
) -> None:
    basis = model.basis
    prediction = model.predict_coefficients(SpeechEncoder().encode(sound))
    style = fit_style(basis, mouths(basis, wave(200, basis.size)), prediction)
    spoken = synthesize_motion(basis, style, prediction, speech_activity(sound))
    moved = spoken.displacements(np.arange(0, len(sound) / 16000, 1 / 25))
    assert np.abs(np.diff(moved, axis=0)).max() < 1e-3


@settings(max_examples=30)
@given(st.lists(st.floats(0, 1, width=32), max_size=80))
def test_speech_weight_lies_between_0_and_1(values: list[float]) -> None:
    share = speech_weight(np.array(values, np.float32))
    assert share.shape == (len(values),)
    assert ((share >= -1e-6) & (share <= 1 + 1e-6)).all()
