"""Synthetic sounds that are not speech, during which a mouth should not move (16 kHz)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lipwright.speech.mel import SAMPLE_RATE
from lipwright.types import Floats

SECONDS = 6.0
TUNE = (262, 330, 392, 523, 440, 349, 392, 330, 294, 262, 330, 392)  # hertz


def coloured_noise(count: int, low: float, high: float, tilt: float, seed: int) -> Floats:
    """Return noise (n,) with a peak of 1.

    Args:
        count: samples.
        low: lowest frequency, hertz.
        high: highest frequency, hertz.
        tilt: exponent of the amplitude spectrum over frequency.
        seed: of the random generator.
    """
    random, hertz = np.random.default_rng(seed), np.fft.rfftfreq(count, 1 / SAMPLE_RATE)
    spectrum = random.standard_normal(len(hertz)) + 1j * random.standard_normal(len(hertz))
    spectrum *= ((hertz > low) & (hertz < high)) * np.maximum(hertz, 50) ** tilt
    out = np.fft.irfft(spectrum, count)
    return (out / np.abs(out).max()).astype(np.float32)


def make_sounds(voices: Sequence[Floats]) -> dict[str, Floats]:
    """Return sounds (n,) of `SECONDS` by name.

    Args:
        voices: recordings (m,) of 16 kHz, mixed into the sound of a crowd.
    """
    count = round(SECONDS * SAMPLE_RATE)
    return {
        "silence": np.zeros(count, np.float32),
        "noise, soft": 0.01 * coloured_noise(count, 50, 7000, -0.5, 0),
        "noise, loud": 0.1 * coloured_noise(count, 50, 7000, -0.5, 1),
        "breaths": _breaths(count),
        "melody": _melody(count),
        "clicks": _clicks(count),
        "laughter": _laughter(count),
        "crowd of 30": _crowd(count, voices),
    }


def _mix(count: int, parts: Sequence[tuple[float, Floats]], level: float) -> Floats:
    """Add (start in seconds, sound) parts up, and scale the peak to *level*."""
    out = np.zeros(count, np.float32)
    for seconds, part in parts:
        start = round(seconds * SAMPLE_RATE)
        audible = part[: max(0, count - start)]
        out[start : start + len(audible)] += audible
    return level * out / np.abs(out).max()


def _breaths(count: int) -> Floats:
    size = round(0.6 * SAMPLE_RATE)
    envelope = np.sin(np.pi * np.arange(size) / size) ** 1.5
    breath = (coloured_noise(size, 300, 5000, -0.5, 2) * envelope).astype(np.float32)
    return _mix(count, [(0.4 + 1.1 * k, breath) for k in range(5)], 0.08)


def _melody(count: int) -> Floats:
    t = np.arange(round(0.5 * SAMPLE_RATE)) / SAMPLE_RATE
    tones = [
        sum(np.sin(2 * np.pi * f * h * t) / h for h in range(1, 7)) * np.exp(-3 * t) for f in TUNE
    ]
    return _mix(count, [(0.5 * k, tone) for k, tone in enumerate(tones)], 0.2)


def _clicks(count: int) -> Floats:
    click = coloured_noise(80, 0, 8000, 0, 3) * np.exp(-np.arange(80) / 15)
    return _mix(count, [(k, click) for k in np.arange(0.2, 5.8, 0.23)], 0.3)


def _laughter(count: int) -> Floats:
    size = round(0.12 * SAMPLE_RATE)
    t, parts = np.arange(size) / SAMPLE_RATE, []
    for k in np.arange(0.3, 5.5, 0.21):
        pitch = 230 - 15 * (k % 2.1)
        tone = sum(
            np.sin(2 * np.pi * pitch * h * t) * np.exp(-(((pitch * h - 800) / 700) ** 2))
            for h in range(1, 15)
        )
        breath = 0.5 * coloured_noise(size, 500, 4000, 0, round(1000 * k))
        parts.append((float(k), ((tone + breath) * np.hanning(size)).astype(np.float32)))
    return _mix(count, parts, 0.15)


def _crowd(count: int, voices: Sequence[Floats]) -> Floats:
    random = np.random.default_rng(4)
    parts = []
    for k in range(30):
        voice = voices[k % len(voices)]
        shifted = np.roll(voice, -int(random.integers(0, len(voice))))
        parts.append((0.0, (np.resize(shifted, count) * random.uniform(0.5, 1)).astype(np.float32)))
    return _mix(count, parts, 0.1)
