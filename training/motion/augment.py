"""Other sounds of the same words: speed, room, microphone and noise, for the training clips (pure).

The news anchors were all recorded in one studio, and what Whisper hears of a mouth must not depend
on it. A clip's variants have the same mouth; where the sound is played faster, so is the video.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lipwright.speech.mel import SAMPLE_RATE

Samples = NDArray[np.float32]

SPEED = 0.15  # natural logarithm, at most
TONE = 9.0  # dB, at most, by which a band is louder or softer
TONE_BANDS = 7  # from 60 Hz to 8 kHz, evenly in octaves
ECHO_SECONDS = (0.1, 0.6)  # for the echo to fall by 60 dB
ECHO_LEVEL = (0.05, 0.6)  # of the direct sound
NOISE_DB = (3.0, 25.0)  # of the speech above the noise
NARROW_HZ = (3000.0, 6000.0)  # upper end of a poor channel
LOUDNESS_DB = (-25.0, 0.0)
CHANCE_SPEED, CHANCE_ECHO, CHANCE_NOISE, CHANCE_NARROW = 0.5, 0.5, 0.7, 0.2


def vary(
    samples: Samples, others: Sequence[Samples], random: np.random.Generator
) -> tuple[Samples, float]:
    """Return a variant of a sound, and how much faster it is played.

    Args:
        samples: mono, float32 (n,), 16 kHz.
        others: some other voices, for a murmur behind.
        random: where chance comes from.
    """
    speed = 1.0
    if random.random() < CHANCE_SPEED:
        speed = float(np.exp(random.uniform(-SPEED, SPEED)))
        samples = faster(samples, speed)
    samples = recolour(samples, random, narrow=bool(random.random() < CHANCE_NARROW))
    if random.random() < CHANCE_ECHO:
        samples = echo(samples, random)
    if random.random() < CHANCE_NOISE:
        samples = add_noise(samples, others, random)
    peak = max(float(np.abs(samples).max()), 1e-6)
    level = 10 ** (random.uniform(*LOUDNESS_DB) / 20)
    return (samples * (level / peak)).astype(np.float32), speed


def faster(samples: Samples, speed: float) -> Samples:
    """Play a sound *speed* times as fast, its pitch and formants moving along."""
    places = np.arange(round(len(samples) / speed)) * speed
    out: Samples = np.interp(places, np.arange(len(samples)), samples).astype(np.float32)
    return out


def recolour(samples: Samples, random: np.random.Generator, *, narrow: bool) -> Samples:
    """Change the loudness of frequencies, as rooms and microphones do."""
    spectrum = np.fft.rfft(samples)
    hertz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
    bands = np.geomspace(60, SAMPLE_RATE / 2, TONE_BANDS)
    gains = random.uniform(-TONE, TONE, TONE_BANDS)
    decibel = np.interp(np.log(np.maximum(hertz, 20)), np.log(bands), gains)
    if narrow:
        decibel -= 48 * np.maximum(np.log2(np.maximum(hertz, 1) / random.uniform(*NARROW_HZ)), 0)
    out: Samples = np.fft.irfft(spectrum * 10 ** (decibel / 20), len(samples)).astype(np.float32)
    return out


def echo(samples: Samples, random: np.random.Generator) -> Samples:
    """Put a sound in a room: an exponentially falling tail of noise (Polack 1988)."""
    fall = random.uniform(*ECHO_SECONDS)
    count = int(fall * SAMPLE_RATE)
    tail = random.standard_normal(count) * 10 ** (-3 * np.arange(count) / count)
    tail *= random.uniform(*ECHO_LEVEL) / np.sqrt((tail**2).sum())
    tail[0] = 1.0
    size = len(samples) + count
    wet = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(tail, size), size)
    out: Samples = wet[: len(samples)].astype(np.float32)
    return out


def add_noise(samples: Samples, others: Sequence[Samples], random: np.random.Generator) -> Samples:
    """Add coloured noise or the murmur of other voices."""
    count = len(samples)
    if others and random.random() < 0.4:
        noise = np.sum([np.resize(o, count) for o in others], 0)
    else:
        slope = random.uniform(0, 1)  # white to pink and somewhat below
        white = np.fft.rfft(random.standard_normal(count))
        noise = np.fft.irfft(white / np.maximum(np.arange(len(white)), 1) ** slope, count)
    power = np.sqrt((noise**2).mean()) + 1e-9
    wanted = np.sqrt((samples**2).mean()) * 10 ** (-random.uniform(*NOISE_DB) / 20)
    out: Samples = (samples + noise * (wanted / power)).astype(np.float32)
    return out
