from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lipwright.errors import WeightsMissing
from lipwright.speech import activity, audio, encoder
from lipwright.speech.activity import speech_activity
from lipwright.speech.encoder import HOP, STATE_SIZE, SpeechEncoder, fill_sinks, raw_states
from lipwright.speech.features import extract_speech_features, iter_states
from lipwright.speech.mel import SAMPLE_RATE, log_mel, mel_filters
from lipwright.weights.store import WeightStore, onnx_session

Samples = encoder.Samples


def chirp(seconds: float) -> Samples:
    """A rising, throbbing tone, float32 (n,), 16 kHz."""
    t = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    tone = np.sin(2 * np.pi * (120 * t + 400 * t * t)) * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * t))
    return (0.4 * tone).astype(np.float32)


@pytest.fixture(scope="module")
def speech_encoder() -> SpeechEncoder:
    return SpeechEncoder()


@pytest.fixture(scope="module")
def voice() -> Samples:
    """4.7 s of English."""
    return audio.load_audio(Path(str(files("lipwright") / "assets" / "speech_en.flac")))


# ----------------------------------------------------------------------------------------- mel
def test_log_mel_equals_whispers():
    """Numbers of faster-whisper 1.2.1's ``FeatureExtractor`` for the same sound."""
    mel = log_mel(chirp(2.0))
    assert mel.shape == (80, 200)
    assert mel.dtype == np.float32
    expected = {(0, 0): 1.16976, (5, 20): 0.979, (20, 60): -0.36537, (79, 199): -0.49094}
    for cell, value in expected.items():
        assert mel[cell] == pytest.approx(value, abs=1e-4)
    assert mel.mean() == pytest.approx(-0.441078, abs=1e-5)


def test_mel_filters_have_equal_area_and_cover_the_band():
    weights = mel_filters()
    assert weights.shape == (80, 201)
    assert (weights >= 0).all()
    assert (weights.max(1) > 0).all()
    assert (weights.sum(0)[2:199] > 0).all()
    # triangles of area 1 Hz/Hz sampled each 40 Hz; narrow ones at the bottom sample coarsely
    assert weights[20:].sum(1) * 40 == pytest.approx(np.ones(60), rel=0.12)


def test_log_mel_of_silence_is_flat():
    mel = log_mel(np.zeros(SAMPLE_RATE, np.float32))
    assert mel == pytest.approx(np.full((80, 100), -1.5))


# ------------------------------------------------------------------------------------- encoder
@pytest.mark.model
def test_network_gives_the_verified_states():
    """Numbers of the export that agrees with CTranslate2 (scripts/verify_whisper_export.py)."""
    session = onnx_session(WeightStore().path("whisper_base_encoder"))
    states = raw_states(session, chirp(2.0))
    assert states.shape == (100, STATE_SIZE)
    expected = {(0, 0): 0.8855, (10, 100): 0.7424, (50, 300): 0.5321, (90, 511): 0.7975}
    expected |= {(10, 512): -0.5428, (50, 700): 0.5158, (90, 1000): 1.4485}
    for cell, value in expected.items():
        assert states[cell] == pytest.approx(value, abs=5e-3)


@pytest.mark.model
@pytest.mark.parametrize("length", [0, 1, 100, 319, 320, 321, 16000, 160_000, 160_001, 160_321])
def test_one_state_per_started_320_samples(speech_encoder: SpeechEncoder, length: int):
    states = speech_encoder.encode(chirp(11.0)[:length])
    assert states.shape == (-(-length // HOP), STATE_SIZE)
    assert states.dtype == np.float32
    assert np.isfinite(states).all()


@pytest.mark.model
def test_encoding_is_deterministic(speech_encoder: SpeechEncoder, voice: Samples):
    assert np.array_equal(speech_encoder.encode(voice), speech_encoder.encode(voice.copy()))


@pytest.mark.model
def test_stream_gives_the_same_states_as_encode(speech_encoder: SpeechEncoder, voice: Samples):
    sound = np.tile(voice, 4)
    chunks = np.split(sound, [1, 5000, 170_000, 170_001])
    assert np.array_equal(
        np.concatenate(list(speech_encoder.stream(chunks))), speech_encoder.encode(sound)
    )


@pytest.mark.model
def test_states_fit_float16_and_contain_no_sinks(speech_encoder: SpeechEncoder, voice: Samples):
    states = speech_encoder.encode(voice)
    assert np.abs(states).max() < 20
    assert 0.1 < states[:, :512].std() < 0.5
    assert 0.3 < states[:, 512:].std() < 1.0


@pytest.mark.model
def test_position_in_the_window_hardly_matters(speech_encoder: SpeechEncoder, voice: Samples):
    here = speech_encoder.encode(voice)
    later = speech_encoder.encode(np.concatenate([np.zeros(4 * SAMPLE_RATE, np.float32), voice]))[
        200:
    ]
    inner = slice(30, len(here) - 30)
    for half in (slice(0, 512), slice(512, 1024)):
        change = (later - here)[inner, half]
        assert np.median(np.abs(change)) < 0.35 * here[inner, half].std()


@pytest.mark.model
def test_states_at_a_window_seam_are_close_to_those_inside_a_window(
    speech_encoder: SpeechEncoder, voice: Samples
):
    """A moment at a seam has about the same states as inside a window."""
    sound = np.tile(voice, 4)
    seam = encoder.STRIDE + encoder.MARGIN
    across = speech_encoder.encode(sound)[seam : seam + encoder.FADE]
    start = 300  # states; the same moments, now in the middle of the first window
    inside = speech_encoder.encode(sound[start * HOP :])[seam - start : seam - start + encoder.FADE]
    assert np.median(np.abs(across - inside)) < 0.35 * inside.std()


class _Means:
    """Stub of the network: each state is the mean of its samples."""

    def __call__(self, session: object, window: Samples) -> encoder.States:
        means = np.pad(window, (0, -len(window) % HOP)).reshape(-1, HOP).mean(1)
        return np.repeat(means[:, None], STATE_SIZE, 1).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(
    length=st.integers(1, 30 * SAMPLE_RATE),
    cuts=st.lists(st.integers(0, 30 * SAMPLE_RATE), max_size=5),
)
def test_every_sample_counts_in_its_own_state(length: int, cuts: list[int]):
    sound = np.random.default_rng(length).uniform(-1, 1, length).astype(np.float32)
    stub_encoder = SpeechEncoder.__new__(SpeechEncoder)
    stub_encoder._session, stub_encoder._centre = (
        None,
        np.zeros((encoder.WINDOW, STATE_SIZE), np.float32),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoder, "raw_states", _Means())
        states = np.concatenate(list(stub_encoder.stream(np.split(sound, sorted(cuts)))))
    truth = _Means()(None, sound)
    assert states.shape == truth.shape
    assert np.abs(states[:-1] - truth[:-1]).max(initial=0) < 1e-5


def test_windows_of_a_stream_have_bounded_size():
    def endless() -> Iterator[Samples]:
        for _ in range(100):
            yield np.zeros(SAMPLE_RATE, np.float32)

    lengths = [len(window) for window, _ in encoder.split_windows(endless())]
    assert len(lengths) > 10
    assert max(lengths) == encoder.WINDOW * HOP


def test_sinks_are_interpolated_from_their_neighbours():
    states = np.arange(6, dtype=np.float32)[:, None] * np.ones((1, STATE_SIZE), np.float32)
    states[:, encoder.SINK_CHANNEL] = 0.5
    truth = states.copy()
    states[[0, 3], 512:] = -400.0
    filled = fill_sinks(states)
    assert np.array_equal(filled[:, :512], truth[:, :512])
    assert np.array_equal(filled[3], truth[3])
    assert np.array_equal(filled[0, 512:], truth[1, 512:])
    assert (states[3, 512:] == -400).all()


def test_states_that_are_all_sinks_are_unchanged():
    states = np.full((2, STATE_SIZE), -400, np.float32)
    assert np.array_equal(fill_sinks(states), states)


def test_missing_weight_is_named(tmp_path: Path):
    with pytest.raises(WeightsMissing, match="speech_centre"):
        SpeechEncoder(WeightStore(tmp_path))


# ------------------------------------------------------------------------------------ activity
@pytest.mark.model
def test_speech_is_detected_and_silence_and_noise_are_not(voice: Samples):
    noise = (0.05 * np.random.default_rng(0).standard_normal(2 * SAMPLE_RATE)).astype(np.float32)
    quiet = np.zeros(2 * SAMPLE_RATE, np.float32)
    probability = speech_activity(np.concatenate([quiet, voice, noise]))
    assert probability[:90].max() < 0.2
    assert np.median(probability[110:320]) > 0.9
    assert probability[-60:].max() < 0.3


@pytest.mark.model
@pytest.mark.parametrize("length", [0, 1, 320, 321, 511, 512, 513, 16001])
def test_activity_is_aligned_with_the_states(voice: Samples, length: int):
    probability = speech_activity(voice[:length])
    assert probability.shape == (-(-length // HOP),)
    assert probability.dtype == np.float32
    assert ((probability >= 0) & (probability <= 1)).all()


@pytest.mark.model
def test_activity_of_a_stream_equals_that_of_the_whole(voice: Samples):
    sound = np.tile(voice, 8)
    chunks = np.split(sound, [1, 5000, 170_000, 170_001])
    assert np.array_equal(speech_activity(iter(chunks)), speech_activity(sound))


def test_activity_is_interpolated_linearly():
    ramp = np.arange(10, dtype=np.float32)
    values = activity._at_states(ramp, 10 * activity.FRAME)
    centres = (np.arange(len(values)) + 0.5) * HOP
    expected = np.clip((centres - activity.FRAME / 2) / activity.FRAME, 0, 9)
    assert values == pytest.approx(expected)


# --------------------------------------------------------------------------------------- audio
@pytest.mark.model
@pytest.mark.parametrize("language", ["en", "es", "de"])
def test_demonstration_recordings_are_clean_speech(language: str):
    sound = audio.load_audio(Path(str(files("lipwright") / "assets" / f"speech_{language}.flac")))
    assert 4 * SAMPLE_RATE < len(sound) < 6.5 * SAMPLE_RATE
    assert sound.dtype == np.float32
    assert 0.5 < np.abs(sound).max() < 0.9
    loud = np.flatnonzero(np.abs(sound) > 0.01)
    assert loud[0] < 0.3 * SAMPLE_RATE
    assert len(sound) - loud[-1] < 0.4 * SAMPLE_RATE
    assert (speech_activity(sound) > 0.5).mean() > 0.6


# ----------------------------------------------------------------------------------- features
@pytest.mark.model
def test_speech_features_equal_those_of_the_networks(speech_encoder: SpeechEncoder, voice: Samples):
    features_on_disk = extract_speech_features(
        lambda: np.array_split(voice, 13), speech_encoder, WeightStore()
    )
    assert np.asarray(features_on_disk.states) == pytest.approx(
        speech_encoder.encode(voice), rel=1e-3, abs=1e-3
    )
    assert features_on_disk.activity == pytest.approx(speech_activity(voice), abs=1e-4)
    assert np.array_equal(
        np.concatenate(list(iter_states(features_on_disk.states))),
        np.asarray(features_on_disk.states),
    )
    assert len(features_on_disk.states) == len(features_on_disk.activity)
