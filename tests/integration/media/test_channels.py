"""Recordings of any number and order of channels are decoded, heard and written."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from lipwright.media.decode.audio import iter_channels, read_audio
from lipwright.media.encode.mux import VideoWriter
from lipwright.media.picture import Picture
from lipwright.media.probe import VideoInfo, probe, require_audio
from lipwright.media.timeline import plan_timeline
from lipwright.options import SyncMode
from media_clips import noise

RATE = 16000
VOICE = 0.5 * noise(1.0, RATE).astype(np.float32)
PCM_GUID = bytes.fromhex("0100000000001000800000aa00389b71")
LIKE = VideoInfo(
    width=64,
    height=64,
    rate=Fraction(10),
    variable_rate=False,
    duration=Fraction(1),
    frames=10,
    rotation=0,
    codec="h264",
    pix_fmt="yuv420p",
)
MASK_51, MASK_71, MASK_714 = 0x3F, 0x63F, 0x2D63F


def level(samples: np.ndarray) -> float:
    """Return the level in decibels, against that of the voice."""
    power = np.square(samples, dtype=np.float64).mean() / np.square(VOICE).mean()
    return float(10 * np.log10(power + 1e-12))


def write_wav(path: Path, channels: np.ndarray, mask: int | None = None) -> Path:
    """Write (c, n) channels; without a mask their order is unknown."""
    count = len(channels)
    data = (channels.T * 32767).astype("<i2").tobytes()
    tag = 1 if mask is None else 0xFFFE
    header = struct.pack("<HHIIHH", tag, count, RATE, 2 * RATE * count, 2 * count, 16)
    if mask is not None:
        header += struct.pack("<HHI", 22, 16, mask) + PCM_GUID
    chunks = b"fmt " + struct.pack("<I", len(header)) + header
    chunks += b"data" + struct.pack("<I", len(data)) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks)
    return path


def only(count: int, index: int) -> np.ndarray:
    """Return channels of which one holds the voice."""
    channels = np.zeros((count, len(VOICE)), np.float32)
    channels[index] = VOICE
    return channels


def written(path: Path, layout: str, codec: str, samples: np.ndarray) -> Path:
    with av.open(str(path), "w") as container:
        rate = 48000 if codec == "libopus" else RATE
        stream = container.add_stream(codec, rate=rate, layout=layout)
        packed = np.ascontiguousarray(samples.T * 32767).astype(np.int16).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(packed, format="s16", layout=layout)
        frame.sample_rate = RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("mask", [None, 0])
@pytest.mark.parametrize(("count", "index"), [(3, 2), (4, 3), (6, 3), (8, 7), (16, 15), (24, 20)])
def test_a_voice_in_any_channel_of_unknown_order_is_heard_and_kept(tmp_path, count, index, mask):
    info = probe(write_wav(tmp_path / "poly.wav", only(count, index), mask))
    assert level(read_audio(info, rate=RATE)) > -10
    for layout in ("mono", "stereo"):
        out = np.concatenate([*iter_channels(info, rate=RATE, layout=layout)], 1)
        assert level(out[0]) == pytest.approx(0, abs=0.5)


@pytest.mark.parametrize("index", range(6))
def test_a_voice_in_any_channel_of_5_1_is_heard_and_kept(tmp_path, index):
    info = probe(write_wav(tmp_path / "surround.wav", only(6, index), MASK_51))
    assert require_audio(info).layout == "5.1"
    assert level(read_audio(info, rate=RATE)) > -10
    for layout in ("stereo", "5.1"):
        out = np.concatenate([*iter_channels(info, rate=RATE, layout=layout)], 1)
        loudest = max(level(channel) for k, channel in enumerate(out) if layout != "5.1" or k != 3)
        assert loudest > -10  # and not in the channel that codecs cut at 100 Hz


@pytest.mark.parametrize(("mask", "count"), [(MASK_71, 8), (MASK_714, 12)])
def test_7_1_is_read(tmp_path, mask, count):
    info = probe(write_wav(tmp_path / "surround.wav", only(count, 2), mask))
    assert level(read_audio(info, rate=RATE)) > -1
    assert sum(chunk.shape[1] for chunk in iter_channels(info, rate=RATE, layout="7.1")) == RATE


@pytest.mark.parametrize(
    ("name", "codec"),
    [("v.flac", "flac"), ("v.opus", "libopus"), ("v.m4a", "aac"), ("v.mka", "aac")],
)
def test_7_1_of_other_codecs_is_read(tmp_path, name, codec):
    if name == "v.opus":
        name = "v.ogg"
    info = probe(written(tmp_path / name, "7.1", codec, only(8, 2)))
    assert require_audio(info).channels == 8
    assert level(read_audio(info, rate=RATE)) > -2
    assert len(next(iter_channels(info, rate=RATE, layout="7.1"))) == 8


def test_opposite_channels_are_heard_and_stay_as_they_are(tmp_path):
    info = probe(write_wav(tmp_path / "opposite.wav", np.stack([VOICE, -VOICE])))
    assert level(read_audio(info, rate=RATE)) == pytest.approx(0, abs=0.5)
    out = np.concatenate([*iter_channels(info, rate=RATE, layout="stereo")], 1)
    np.testing.assert_allclose(out[0], -out[1], atol=1e-4)


def test_channels_that_turn_opposite_are_heard(tmp_path):
    sign = np.repeat([1.0, -1.0], len(VOICE) // 2)
    info = probe(write_wav(tmp_path / "turning.wav", np.stack([VOICE, VOICE * sign])))
    heard = read_audio(info, rate=RATE)
    for half in (heard[: RATE // 2], heard[RATE // 2 :]):
        assert level(half) > -2


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_7_1_is_written(tmp_path, suffix):
    speech = probe(write_wav(tmp_path / "surround.wav", only(8, 2), MASK_71))
    timeline = plan_timeline(
        SyncMode.CUT_OFF, video=LIKE.duration, audio=LIKE.duration, rate=LIKE.rate
    )
    out = tmp_path / f"out{suffix}"
    with VideoWriter(out, like=LIKE, timeline=timeline, audio=speech) as writer:
        for _ in range(timeline.frames):
            writer.write(Picture.from_rgb(np.zeros((64, 64, 3), np.uint8)))
    assert level(read_audio(out, rate=RATE)) > -6
