"""Writes small synthetic video and audio files."""

from __future__ import annotations

import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

SAMPLE_RATE = 16_000  # per second


def write_clip(path: Path, *, frames: int, rate: Fraction = Fraction(25)) -> Path:
    """Write a silent video of 64 x 64 pixels."""
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for n in range(frames):
            picture = np.full((64, 64, 3), 5 * n % 256, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode())
    return path


def write_voice(path: Path, *, seconds: float) -> Path:
    """Write an audio file of constant samples."""
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(SAMPLE_RATE)
        out.writeframes(b"\1\0" * round(SAMPLE_RATE * seconds))
    return path
