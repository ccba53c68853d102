"""A picture or a sound that begins late stays late."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from lipwright.media.decode.audio import read_audio
from lipwright.media.encode.mux import VideoWriter
from lipwright.media.picture import Picture
from lipwright.media.probe import VideoInfo, probe, require_audio, video_delay, with_lead
from lipwright.media.timeline import plan_timeline
from media_clips import noise

RATE = 16000
TONE = 0.4 * noise(1.0, RATE).astype(np.float32)
LIKE = VideoInfo(
    width=64,
    height=64,
    rate=Fraction(25),
    variable_rate=False,
    duration=Fraction(1),
    frames=25,
    rotation=0,
    codec="h264",
    pix_fmt="yuv420p",
)


def write(path, *, video_at=None, audio_at=None):
    """Write one second of picture and of sound that begin at these seconds."""
    with av.open(str(path), "w") as container:
        video = audio = None
        if video_at is not None:
            video = container.add_stream("mpeg4", rate=25)
            video.width = video.height = 64
        if audio_at is not None:
            codec = "mp2" if path.suffix == ".ts" else "aac"
            audio = container.add_stream(
                codec, rate=RATE if codec == "aac" else 48000, layout="mono"
            )
        if video is not None:
            for k in range(25):
                frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 9 * k, np.uint8))
                frame.pts, frame.time_base = k + round(25 * video_at), Fraction(1, 25)
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
        if audio is not None:
            rate = audio.codec_context.sample_rate
            samples = np.repeat(TONE, rate // RATE)[None]
            first = round(audio_at * rate)
            for start in range(0, rate, 1152):
                part = np.ascontiguousarray(samples[:, start : start + 1152])
                frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
                frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
                frame.pts = first + start
                container.mux(audio.encode(frame))
            container.mux(audio.encode(None))
    return path


def first_sound(info):
    samples = read_audio(info, rate=RATE)
    return np.flatnonzero(np.abs(samples) > 0.05)[0] / RATE, len(samples) / RATE


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".ts"])
@pytest.mark.parametrize("delay", [0.0, 0.6])
def test_speech_that_begins_after_its_picture_begins_late(tmp_path, suffix, delay):
    info = with_lead(probe(write(tmp_path / f"talk{suffix}", video_at=0, audio_at=delay)))
    begin, length = first_sound(info)
    assert begin == pytest.approx(delay, abs=0.05)
    assert length == pytest.approx(1 + delay, abs=0.08)
    assert float(require_audio(info).duration) == pytest.approx(length, abs=0.001)


def test_sound_alone_begins_as_players_play_it(tmp_path):
    """MP4 states the silence before; Matroska and MPEG-TS only have a clock."""
    for suffix, expected in ((".m4a", 0.6), (".mka", 0.0), (".ts", 0.0)):
        info = with_lead(probe(write(tmp_path / f"voice{suffix}", audio_at=0.6)))
        assert first_sound(info)[0] == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".ts"])
@pytest.mark.parametrize(("video_at", "audio_at", "delay"), [(0.6, 0, 0.6), (0, 0, 0), (0, 0.6, 0)])
def test_the_delay_of_a_picture_is_found(tmp_path, suffix, video_at, audio_at, delay):
    path = write(tmp_path / f"talk{suffix}", video_at=video_at, audio_at=audio_at)
    assert float(video_delay(probe(path))) == pytest.approx(delay, abs=0.05)


def test_the_clock_of_a_recording_is_no_delay(tmp_path):
    info = probe(write(tmp_path / "talk.mkv", video_at=36000, audio_at=36000))
    assert video_delay(info) == 0
    assert with_lead(info) == info


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_the_result_shows_its_picture_as_late_as_the_source(tmp_path, suffix):
    speech = probe(write(tmp_path / "voice.mka", audio_at=0))
    timeline = plan_timeline(
        "cut_off",
        video=Fraction(1),
        audio=require_audio(speech).duration,
        rate=Fraction(25),
        offset=Fraction(2, 5),
    )
    out = tmp_path / f"out{suffix}"
    with VideoWriter(out, like=LIKE, timeline=timeline, audio=speech) as writer:
        for _ in range(timeline.frames):
            writer.write(Picture.from_rgb(np.zeros((64, 64, 3), np.uint8)))
    result = probe(out)
    assert float(video_delay(result)) == pytest.approx(0.4, abs=0.002)
    assert float(require_audio(result).duration) == pytest.approx(
        float(timeline.duration), abs=0.01
    )
    assert first_sound(result)[0] < 0.05
