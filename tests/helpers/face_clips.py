"""Short clips of the animated portrait for tests of whole jobs."""

from __future__ import annotations

import wave
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np

from lipwright.media.encode.mux import VideoWriter
from lipwright.media.picture import Picture
from lipwright.media.probe import VideoInfo
from lipwright.media.timeline import plan_timeline
from lipwright.sample import speech_asset
from lipwright.sample.curves import SAMPLE_RATE, head_motion, mouth_displacements
from lipwright.sample.portrait import AnimatedPortrait
from lipwright.speech import audio

SIDE = 224  # pixels of the frames
FRAMES = 20
RATE = Fraction(25)


@cache
def frames(count: int = FRAMES, side: int = SIDE) -> tuple[np.ndarray, ...]:
    """Return frames (side, side, 3) uint8 RGB of a moving head that opens and closes its mouth."""
    portrait = AnimatedPortrait(size=(side, side))
    times = np.arange(count) / float(RATE)
    opening = (0.06 + 0.05 * np.sin(2 * np.pi * 3 * times)).astype(np.float32)
    mouths = mouth_displacements(portrait.mouth, opening, np.full(count, 0.9, np.float32))
    heads = head_motion(times, portrait.unit, portrait.centre, seed=1)
    grain = np.random.default_rng(0)
    drawn = (portrait.draw(*moves) for moves in zip(mouths, heads, strict=True))
    noisy = (rgb + grain.normal(0, 1.2, (side, side, 1)) for rgb in drawn)
    return tuple(np.clip(rgb + 0.5, 0, 255).astype(np.uint8) for rgb in noisy)


def wall(seed: int = 0, side: int = SIDE) -> np.ndarray:
    """Return a frame (side, side, 3) uint8 RGB without a face."""
    coarse = np.random.default_rng(seed).integers(60, 130, (side // 16 + 1, side // 16 + 1, 3))
    return coarse.astype(np.uint8).repeat(16, 0).repeat(16, 1)[:side, :side]


def shifted(rgb: np.ndarray, x: int, y: int) -> np.ndarray:
    """Move a frame by pixels; the wall fills the uncovered area."""
    out = wall(9, len(rgb))
    height, width = out.shape[:2]
    target = slice(max(y, 0), max(height + y, 0)), slice(max(x, 0), max(width + x, 0))
    source = slice(max(-y, 0), max(height - y, 0)), slice(max(-x, 0), max(width - x, 0))
    out[target] = rgb[source]
    return out


def write_clip(
    path: Path,
    pictures: list[np.ndarray] | tuple[np.ndarray, ...],
    *,
    rate: Fraction = RATE,
    rotation: int = 0,
) -> Path:
    """Write pictures (h, w, 3) RGB: uint8 as 8-bit video, uint16 as 10-bit video."""
    height, width = pictures[0].shape[:2]
    length = len(pictures) / rate
    ten_bit = pictures[0].dtype == np.uint16
    like = VideoInfo(
        width=width,
        height=height,
        rate=rate,
        variable_rate=False,
        duration=length,
        frames=len(pictures),
        rotation=rotation,
        codec="h264",
        pix_fmt="yuv420p10le" if ten_bit else "yuv420p",
        bit_depth=10 if ten_bit else 8,
        color_range=1,
        color_primaries=1,
        color_trc=1,
        colorspace=1,
    )
    timeline = plan_timeline("cut_off", video=length, audio=length, rate=rate)
    with VideoWriter(path, like=like, timeline=timeline, audio=None, crf=12) as writer:
        for rgb in pictures:
            writer.write(Picture.from_rgb(rgb))
    return path


def write_speech(path: Path, seconds: float, *, then_silent: float = 0.0) -> Path:
    """Write *seconds* of English speech as WAV, followed by silence."""
    recording = audio.load_audio(speech_asset("en"))
    sound = np.resize(recording, round(seconds * SAMPLE_RATE))
    sound = np.concatenate([sound, np.zeros(round(then_silent * SAMPLE_RATE), np.float32)])
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes())
    return path
