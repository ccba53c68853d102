"""A job says when no speech is heard, when speech is cut, and when its input is damaged."""

from __future__ import annotations

import wave
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest

from lipwright.face.track import Take
from lipwright.media.decode.audio import read_audio
from lipwright.media.probe import VideoInfo, probe, require_audio
from lipwright.media.timeline import plan_timeline
from lipwright.options import SyncMode
from lipwright.pipeline import stages
from lipwright.pipeline.resources import Resources
from lipwright.pipeline.warnings.speech import damage_warnings, speech_warnings
from lipwright.sample import speech_asset

RATE = 16000


@pytest.fixture(scope="module")
def resources():
    return Resources(threads=1)


@pytest.fixture(scope="module")
def voice():
    """Three seconds of speech."""
    return read_audio(speech_asset("en"), rate=RATE)[: 3 * RATE]


def write(path, samples):
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return path


def take(frames, damaged=0, rate=25):
    info = VideoInfo(
        width=64,
        height=64,
        rate=Fraction(rate),
        variable_rate=False,
        duration=Fraction(frames, rate),
        frames=frames,
        rotation=0,
        codec="h264",
        pix_fmt="yuv420p",
    )
    times = tuple(Fraction(i, rate) for i in range(frames))
    return Take(info=info, times=times, tracks=(), damaged=damaged)


def warnings_of(path, resources, *, frames=100, mode=SyncMode.CUT_OFF, activity=None):
    video, speech = take(frames), probe(path)
    timeline = plan_timeline(
        mode,
        video=video.info.duration,
        audio=require_audio(speech).duration,
        rate=video.info.rate,
    )
    features = stages.hear_speech(speech, timeline, resources)
    if activity is not None:
        features = replace(features, activity=np.full_like(features.activity, activity))
    return [*speech_warnings(speech, features, video, timeline, resources.store)]


def test_speech_that_fits_has_no_warning(tmp_path, resources, voice):
    assert warnings_of(write(tmp_path / "v.wav", voice), resources) == []


@pytest.mark.parametrize("gain", [0.02, 1.0])
def test_quiet_and_noisy_speech_is_heard(tmp_path, resources, voice, gain):
    noise = np.random.default_rng(0).normal(0, 0.3 * np.abs(voice).std(), len(voice))
    assert warnings_of(write(tmp_path / "v.wav", gain * (voice + noise)), resources) == []


SECONDS = np.arange(2 * RATE) / RATE
NO_SPEECH = {
    "silence": 0 * SECONDS,
    "noise": np.random.default_rng(0).normal(0, 0.1, len(SECONDS)),
    "a tone": 0.3 * np.sin(2 * np.pi * 440 * SECONDS),
    "a chord": sum(0.1 * np.sin(2 * np.pi * f * SECONDS) for f in (220, 277, 330)),
    "clicks": 0.8 * (np.arange(len(SECONDS)) % 8000 < 20),
}


@pytest.mark.parametrize("name", NO_SPEECH)
def test_sound_without_speech_is_said(tmp_path, resources, name):
    path = write(tmp_path / "v.wav", NO_SPEECH[name])
    assert warnings_of(path, resources) == ["no speech was heard in v.wav: the mouth stays at rest"]


def test_doubtful_speech_moves_the_mouth_without_a_word(tmp_path, resources, voice):
    path = write(tmp_path / "v.wav", voice)
    assert warnings_of(path, resources, activity=0.4) == []
    assert len(warnings_of(path, resources, activity=0.2)) == 1


@pytest.mark.parametrize("mode", SyncMode)
def test_speech_that_is_cut_is_said(tmp_path, resources, voice, mode):
    path = write(tmp_path / "v.wav", voice)
    warnings = warnings_of(path, resources, frames=25, mode=mode)
    if mode is SyncMode.CUT_OFF:
        (warning,) = warnings
        assert warning.split(": ")[0] in (
            "1.9 of 2.9 s of speech are cut",
            "2.0 of 3.0 s of speech are cut",
        )
        assert "--mode loop" in warning
    else:
        assert warnings == []


def test_silence_that_is_cut_is_not_worth_a_word(tmp_path, resources, voice):
    padded = np.concatenate([voice[:RATE], np.zeros(3 * RATE)])
    assert warnings_of(write(tmp_path / "v.wav", padded), resources, frames=40) == []


def test_speech_that_begins_after_the_end_is_said(tmp_path, resources, voice):
    late = np.concatenate([np.zeros(2 * RATE), voice])
    first, second = warnings_of(write(tmp_path / "v.wav", late), resources, frames=25)
    assert first.startswith("no speech is heard before the end of the result")
    assert second.split(" of ")[1].startswith(("4.9 s", "5.0 s"))


@pytest.mark.parametrize(
    ("mode", "how"), [("loop", "repeated"), ("silence", "held"), ("remap", "slowed down")]
)
def test_a_single_frame_with_long_speech_is_said(tmp_path, resources, voice, mode, how):
    path = write(tmp_path / "v.wav", voice)
    (warning,) = warnings_of(path, resources, frames=1, mode=SyncMode(mode))
    assert warning == f"the video has only 1 frame (0.04 s): it is {how} for 3.0 s of speech"


def test_damaged_sound_is_counted(tmp_path, resources, voice):
    path = tmp_path / "v.m4a"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(voice[None], format="fltp", layout="mono")
        frame.sample_rate = RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size) for p in container.demux() if p.size]
    data = bytearray(path.read_bytes())
    for pos, size in packets[10:15]:
        data[pos : pos + size] = np.random.default_rng(1).bytes(size)
    path.write_bytes(data)
    (warning,) = warnings_of(path, resources)
    count = int(warning.split()[0])
    assert 1 <= count <= 5
    assert warning.endswith(
        "packets of the sound in v.m4a are damaged: they are silent in the result"
    )


def test_damaged_frames_are_counted():
    assert [*damage_warnings(take(50))] == []
    (warning,) = damage_warnings(take(50, damaged=3))
    assert warning.startswith("3 of 50 frames of the video are damaged")
