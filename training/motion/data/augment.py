"""Augment the sound of training clips: speed, equalisation, reverb and noise (pure).

The news anchors were all recorded in one studio, and the network must not depend on its sound. The
variants of a clip share its mouth motion; where the sound is played faster, so is the motion.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lipwright.speech.mel import SAMPLE_RATE

Samples = NDArray[np.float32]

MAX_LOG_SPEED = 0.15  # natural logarithm of the largest change
MAX_EQ_DB = 9.0  # dB, the largest gain or cut of a band
EQ_BANDS = 7  # from 60 Hz to 8 kHz, evenly spaced in octaves
REVERB_SECONDS = (0.1, 0.6)  # range of the time in which reverb falls by 60 dB
REVERB_LEVEL = (0.05, 0.6)  # range of the level, against the direct sound
SNR_DB = (3.0, 25.0)  # range of the signal-to-noise ratio
CUTOFF_HZ = (3000.0, 6000.0)  # range of the cut-off of a narrow channel
LOUDNESS_DB = (-25.0, 0.0)  # range of the peak level
CHANCE_SPEED, CHANCE_REVERB, CHANCE_NOISE, CHANCE_NARROW = 0.5, 0.5, 0.7, 0.2


def augment_sound(
    samples: Samples, others: Sequence[Samples], random: np.random.Generator
) -> tuple[Samples, float]:
    """Return a random variant of a sound, and its playback speed.

    Args:
        samples: mono, float32 (n,), 16 kHz.
        others: other voices, for background babble.
        random: source of randomness.
    """
    speed = 1.0
    if random.random() < CHANCE_SPEED:
        speed = float(np.exp(random.uniform(-MAX_LOG_SPEED, MAX_LOG_SPEED)))
        samples = change_speed(samples, speed)
    samples = equalize(samples, random, narrow=bool(random.random() < CHANCE_NARROW))
    if random.random() < CHANCE_REVERB:
        samples = add_reverb(samples, random)
    if random.random() < CHANCE_NOISE:
        samples = add_noise(samples, others, random)
    peak = max(float(np.abs(samples).max()), 1e-6)
    level = 10 ** (random.uniform(*LOUDNESS_DB) / 20)
    return (samples * (level / peak)).astype(np.float32), speed


def change_speed(samples: Samples, speed: float) -> Samples:
    """Play a sound *speed* times as fast; pitch and formants change with it."""
    positions = np.arange(round(len(samples) / speed)) * speed
    out: Samples = np.interp(positions, np.arange(len(samples)), samples).astype(np.float32)
    return out


def equalize(samples: Samples, random: np.random.Generator, *, narrow: bool) -> Samples:
    """Apply a random equalisation, as rooms and microphones do."""
    spectrum = np.fft.rfft(samples)
    hertz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
    bands = np.geomspace(60, SAMPLE_RATE / 2, EQ_BANDS)
    gains = random.uniform(-MAX_EQ_DB, MAX_EQ_DB, EQ_BANDS)
    decibel = np.interp(np.log(np.maximum(hertz, 20)), np.log(bands), gains)
    if narrow:
        decibel -= 48 * np.maximum(np.log2(np.maximum(hertz, 1) / random.uniform(*CUTOFF_HZ)), 0)
    out: Samples = np.fft.irfft(spectrum * 10 ** (decibel / 20), len(samples)).astype(np.float32)
    return out


def add_reverb(samples: Samples, random: np.random.Generator) -> Samples:
    """Add reverb: an exponentially falling tail of noise (Polack 1988)."""
    fall = random.uniform(*REVERB_SECONDS)
    count = int(fall * SAMPLE_RATE)
    tail = random.standard_normal(count) * 10 ** (-3 * np.arange(count) / count)
    tail *= random.uniform(*REVERB_LEVEL) / np.sqrt((tail**2).sum())
    tail[0] = 1.0
    size = len(samples) + count
    wet = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(tail, size), size)
    out: Samples = wet[: len(samples)].astype(np.float32)
    return out


def add_noise(samples: Samples, others: Sequence[Samples], random: np.random.Generator) -> Samples:
    """Add coloured noise or the babble of other voices."""
    count = len(samples)
    if others and random.random() < 0.4:
        noise = np.sum([np.resize(o, count) for o in others], 0)
    else:
        slope = random.uniform(0, 1)  # from white to pink
        white = np.fft.rfft(random.standard_normal(count))
        noise = np.fft.irfft(white / np.maximum(np.arange(len(white)), 1) ** slope, count)
    power = np.sqrt((noise**2).mean()) + 1e-9
    wanted = np.sqrt((samples**2).mean()) * 10 ** (-random.uniform(*SNR_DB) / 20)
    out: Samples = (samples + noise * (wanted / power)).astype(np.float32)
    return out
