"""Recordings of speech in every format."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import av
import numpy as np

from bench.inputs.case import Recipe
from bench.inputs.recipes.footage import BIT_RATE, VOICE_RATE, Floats, Footage, encode_sound

PCM_GUID = bytes.fromhex("0100000000001000800000aa00389b71")
MASKS = {"5.1": 0x3F, "7.1": 0x63F, "7.1.4": 0x2D63F, "quad": 0x33, "2.1": 0xB}


def voice(name: str = "voice.wav") -> Recipe:
    """A mono WAV of 16 bits with two seconds of speech."""
    return lambda folder, footage: write_wav(folder / name, footage.voice[None])


def encoded(name: str, codec: str, rate: int = 48_000, **options: str) -> Recipe:
    """Speech in a compressed format."""

    def make(folder: Path, footage: Footage) -> Path:
        path = folder / name
        with av.open(str(path), "w") as container:
            stream: Any = container.add_stream(
                codec, rate=rate, layout="mono", options={**BIT_RATE, **options}
            )
            encode_sound(container, stream, footage.voice)
        return path

    return make


def pcm(name: str, codec: str, rate: int = VOICE_RATE) -> Recipe:
    """Speech as plain samples of some format and rate."""

    def make(folder: Path, footage: Footage) -> Path:
        path = folder / name
        with av.open(str(path), "w") as container:
            encode_sound(
                container, container.add_stream(codec, rate=rate, layout="mono"), footage.voice
            )
        return path

    return make


def channels(count: int, index: int, layout: str | None = None) -> Recipe:
    """A WAV of which one channel holds the voice; without a layout their order is unknown."""

    def make(folder: Path, footage: Footage) -> Path:
        samples = np.zeros((count, len(footage.voice)), np.float32)
        samples[index] = footage.voice
        mask = None if layout is None else MASKS[layout]
        return write_wav(folder / "voice.wav", samples, mask=mask)

    return make


def surround(name: str, codec: str, layout: str = "7.1") -> Recipe:
    """Compressed surround with the voice in the centre."""

    def make(folder: Path, footage: Footage) -> Path:
        path, count = folder / name, av.AudioLayout(layout).nb_channels
        packed = np.zeros((len(footage.voice), count), np.int16)
        packed[:, 2] = footage.voice * 32767
        with av.open(str(path), "w") as container:
            rate = 48_000 if codec == "libopus" else VOICE_RATE
            stream: Any = container.add_stream(codec, rate=rate, layout=layout)
            frame = av.AudioFrame.from_ndarray(packed.reshape(1, -1), format="s16", layout=layout)
            frame.sample_rate = VOICE_RATE
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return make


def stereo(left: float, right: float) -> Recipe:
    """A stereo WAV with the voice in both channels, at these gains."""

    def make(folder: Path, footage: Footage) -> Path:
        return write_wav(
            folder / "voice.wav", np.stack([left * footage.voice, right * footage.voice])
        )

    return make


def without_speech(kind: str) -> Recipe:
    """Two seconds of ``silence``, a ``tone``, ``noise`` or a ``chord``."""

    def make(folder: Path, footage: Footage) -> Path:
        t = np.arange(2 * VOICE_RATE) / VOICE_RATE
        sounds = {
            "silence": 0 * t,
            "tone": 0.3 * np.sin(2 * np.pi * 440 * t),
            "noise": np.random.default_rng(0).normal(0, 0.1, len(t)),
            "chord": sum(0.1 * np.sin(2 * np.pi * f * t) for f in (220, 277, 330)),
        }
        return write_wav(folder / f"{kind}.wav", np.asarray(sounds[kind], np.float32)[None])

    return make


def long_voice(folder: Path, footage: Footage) -> Path:
    """A WAV with six seconds of speech."""
    return write_wav(folder / "voice.wav", np.tile(footage.voice, 3)[None])


def late(name: str, codec: str, seconds: float, picture: bool = True) -> Recipe:
    """A file whose sound begins late, with a picture from the start or without one."""

    def make(folder: Path, footage: Footage) -> Path:
        path = folder / name
        with av.open(str(path), "w") as container:
            video: Any = container.add_stream("mpeg4", rate=25) if picture else None
            if video is not None:
                video.width = video.height = 32
            stream: Any = container.add_stream(codec, rate=48_000, layout="mono")
            if video is not None:
                for k in range(50):
                    frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 4 * k, np.uint8))
                    frame.pts = k
                    container.mux(video.encode(frame))
                container.mux(video.encode(None))
            encode_sound(container, stream, footage.voice, start=seconds)
        return path

    return make


def two_tracks(name: str, codec: str, default: int | None = None) -> Recipe:
    """A silent track and one with the voice, second; one of them (0 or 1) may be the default."""

    def make(folder: Path, footage: Footage) -> Path:
        path = folder / name
        with av.open(str(path), "w") as container:
            streams: list[Any] = [
                container.add_stream(codec, rate=48_000, layout="mono") for _ in range(2)
            ]
            for k, (stream, language) in enumerate(zip(streams, ("eng", "deu"), strict=True)):
                stream.metadata["language"] = language
                flag = av.stream.Disposition.default if k == default else 0
                stream.disposition = flag
            encode_sound(container, streams[0], 0.0 * footage.voice)
            encode_sound(container, streams[1], footage.voice)
        return path

    return make


def write_wav(path: Path, samples: Floats, rate: int = VOICE_RATE, mask: int | None = None) -> Path:
    """Write (c, n) samples as 16 bits; without a mask the order of more than two is unknown."""
    count = len(samples)
    data = (np.clip(samples.T, -1, 1) * 32767).astype("<i2").tobytes()
    tag = 1 if mask is None else 0xFFFE
    header = struct.pack("<HHIIHH", tag, count, rate, 2 * rate * count, 2 * count, 16)
    if mask is not None:
        header += struct.pack("<HHI", 22, 16, mask) + PCM_GUID
    chunks = b"fmt " + struct.pack("<I", len(header)) + header
    chunks += b"data" + struct.pack("<I", len(data)) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks)
    return path
