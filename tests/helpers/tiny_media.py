"""Small media files, written in milliseconds: valid ones, and ones with a defect."""

from __future__ import annotations

import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def write_wav(path: Path, seconds: float = 0.6, rate: int = 16000) -> Path:
    """Write a vowel-like tone of varying loudness."""
    t = np.arange(round(seconds * rate)) / rate
    sound = 0.3 * np.sin(2 * np.pi * 3 * t) ** 2 * np.sign(np.sin(2 * np.pi * 140 * t))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((sound * 32767).astype("<i2").tobytes())
    return path


def write_silent_hours(path: Path, hours: float, rate: int = 1000) -> Path:
    """Write silence as FLAC in packets of one minute: a few kilobytes that are scanned quickly."""
    block = np.zeros((1, 60 * rate), np.int16)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "flac", rate=rate, layout="mono", options={"frame_size": str(60 * rate)}
        )
        for index in range(round(hours * 60)):
            frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
            frame.sample_rate, frame.pts = rate, index * 60 * rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_video(
    path: Path,
    *,
    size: tuple[int, int] = (96, 64),
    frames: int = 10,
    rate: Fraction = Fraction(25),
    moov_first: bool = False,
) -> Path:
    """Write a moving pattern without a face."""
    options = {"movflags": "faststart"} if moov_first else {}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        random = np.random.default_rng(0)
        noise = random.integers(60, 200, (size[1] // 8 + 1, size[0] // 8 + 1), np.uint8)
        for index in range(frames):
            picture = np.roll(noise, index, 1).repeat(8, 0).repeat(8, 1)[: size[1], : size[0]]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="gray")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_cover_art(path: Path) -> Path:
    """Write an .m4a file with a cover picture and no audio."""
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("mjpeg", rate=1)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuvj420p"
        stream.disposition = av.stream.Disposition.attached_pic
        frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 90, np.uint8), format="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def truncate(path: Path, share: float) -> Path:
    """Keep only a share (0 to 1) of a file, from its beginning."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path
