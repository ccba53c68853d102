"""Sounds that are no speech, made by rule: what a mouth must not chatter to (16 kHz)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lipwright.speech.mel import SAMPLE_RATE
from lipwright.types import Floats

SECONDS = 6.0
TUNE = (262, 330, 392, 523, 440, 349, 392, 330, 294, 262, 330, 392)  # hertz


def coloured(count: int, low: float, high: float, tilt: float, seed: int) -> Floats:
    """Return noise (n,) between two frequencies, its power times f ** (2 tilt), loudest 1."""
    random, hertz = np.random.default_rng(seed), np.fft.rfftfreq(count, 1 / SAMPLE_RATE)
    spectrum = random.standard_normal(len(hertz)) + 1j * random.standard_normal(len(hertz))
    spectrum *= ((hertz > low) & (hertz < high)) * np.maximum(hertz, 50) ** tilt
    out = np.fft.irfft(spectrum, count)
    return (out / np.abs(out).max()).astype(np.float32)


def no_speech(voices: Sequence[Floats]) -> dict[str, Floats]:
    """Return some sounds (n,) of 6 s by name; *voices* are recordings to make a crowd of."""
    count = round(SECONDS * SAMPLE_RATE)
    return {
        "silence": np.zeros(count, np.float32),
        "noise, soft": 0.01 * coloured(count, 50, 7000, -0.5, 0),
        "noise, loud": 0.1 * coloured(count, 50, 7000, -0.5, 1),
        "breaths": _breaths(count),
        "melody": _melody(count),
        "clicks": _clicks(count),
        "laughter": _laughter(count),
        "crowd of 30": _crowd(count, voices),
    }


def _place(count: int, parts: Sequence[tuple[float, Floats]], level: float) -> Floats:
    out = np.zeros(count, np.float32)
    for seconds, part in parts:
        start = round(seconds * SAMPLE_RATE)
        kept = part[: max(0, count - start)]
        out[start : start + len(kept)] += kept
    return level * out / np.abs(out).max()


def _breaths(count: int) -> Floats:
    size = round(0.6 * SAMPLE_RATE)
    swell = np.sin(np.pi * np.arange(size) / size) ** 1.5
    breath = (coloured(size, 300, 5000, -0.5, 2) * swell).astype(np.float32)
    return _place(count, [(0.4 + 1.1 * k, breath) for k in range(5)], 0.08)


def _melody(count: int) -> Floats:
    t = np.arange(round(0.5 * SAMPLE_RATE)) / SAMPLE_RATE
    tones = [
        sum(np.sin(2 * np.pi * f * h * t) / h for h in range(1, 7)) * np.exp(-3 * t) for f in TUNE
    ]
    return _place(count, [(0.5 * k, tone) for k, tone in enumerate(tones)], 0.2)


def _clicks(count: int) -> Floats:
    click = coloured(80, 0, 8000, 0, 3) * np.exp(-np.arange(80) / 15)
    return _place(count, [(k, click) for k in np.arange(0.2, 5.8, 0.23)], 0.3)


def _laughter(count: int) -> Floats:
    size = round(0.12 * SAMPLE_RATE)
    t, parts = np.arange(size) / SAMPLE_RATE, []
    for k in np.arange(0.3, 5.5, 0.21):
        pitch = 230 - 15 * (k % 2.1)
        tone = sum(
            np.sin(2 * np.pi * pitch * h * t) * np.exp(-(((pitch * h - 800) / 700) ** 2))
            for h in range(1, 15)
        )
        air = 0.5 * coloured(size, 500, 4000, 0, round(1000 * k))
        parts.append((float(k), ((tone + air) * np.hanning(size)).astype(np.float32)))
    return _place(count, parts, 0.15)


def _crowd(count: int, voices: Sequence[Floats]) -> Floats:
    random = np.random.default_rng(4)
    parts = []
    for k in range(30):
        voice = voices[k % len(voices)]
        turned = np.roll(voice, -int(random.integers(0, len(voice))))
        parts.append((0.0, (np.resize(turned, count) * random.uniform(0.5, 1)).astype(np.float32)))
    return _place(count, parts, 0.1)
