"""Turn speech into the mouth and head motion of a synthetic clip."""

from __future__ import annotations

import numpy as np

from lipwright.face.canonical import mouth_opening
from lipwright.face.landmarks import CORNER_ROWS
from lipwright.types import Doubles, Floats

SAMPLE_RATE = 16000  # Hz, of the audio that drives the mouth
STEPS_PER_SECOND = 100  # of the curves, before they are sampled at frame times
MAX_OPENING = 0.24  # inter-ocular distances, at the loudest sound
NARROWEST, WIDEST = 0.76, 1.0  # mouth width as a share of the portrait's smile
CORNER_DROP = 0.05  # inter-ocular distances that the mouth corners leave the portrait's smile by
SWAY_DEGREES = 1.5  # largest roll of the head
SWAY_SHIFT = 0.05  # largest shift of the head, inter-ocular distances
SWAY_SCALE = 0.012  # largest relative change of the head's size
SWAY_FREQUENCY = (0.1, 0.5)  # Hz: range of head motion
LOUD_PERCENTILE = 95  # of loudness: counts as the loudest sound, so that a click does not
BRIGHT_PERCENTILE = 90  # of brightness: counts as the brightest
LOWER_LIP_SHARE, UPPER_LIP_SHARE = 0.7, 0.3  # of the closing motion
JAW_FOLLOW = 0.85  # share of the lower lip's motion that the jaw follows
JAW_REACH = 0.6  # inter-ocular distances from the middle at which that falls to 1 / e

# Rows of a mouth shape (61, 3); inner lips from corner to corner.
LOWER_INNER = np.arange(20, 31)
UPPER_INNER = np.arange(31, 40)
LOWER = np.concatenate([np.arange(0, 11), LOWER_INNER])
UPPER = np.concatenate([np.arange(11, 20), UPPER_INNER])
LIPS = np.arange(40)
JAW = np.arange(40, 61)


def mouth_curves(samples: Floats, times: Doubles) -> tuple[Floats, Floats]:
    """Return how far a mouth opens and spreads to a sound.

    The lips open with its loudness and spread with its brightness.

    Args:
        samples: (n,) mono at 16 kHz, -1 to 1.
        times: (T,) seconds.

    Returns:
        Opening (T,) in inter-ocular distances and width (T,) as a share of the portrait's.
    """
    hop = SAMPLE_RATE // STEPS_PER_SECOND
    count = max(len(samples) // hop, 1)
    sound = np.zeros(count * hop, np.float64)
    sound[: min(len(samples), len(sound))] = samples[: len(sound)]
    loudness = _rms(sound, hop)
    brightness = _rms(np.diff(sound, prepend=0.0), hop) / (loudness + 1e-4)
    level = _smooth(loudness / max(np.percentile(loudness, LOUD_PERCENTILE), 1e-4), 4)  # 40 ms
    opening = MAX_OPENING * np.clip(1.15 * level - 0.1, 0, 1) ** 0.8
    tone = _smooth(np.clip(brightness, 0, 1.2), 8)
    tone = np.clip(tone / max(np.percentile(tone, BRIGHT_PERCENTILE), 1e-4), 0, 1)
    width = NARROWEST + (WIDEST - NARROWEST) * tone * np.clip(3 * level, 0, 1)
    step_times = (np.arange(count) + 0.5) / STEPS_PER_SECOND
    return (
        np.interp(times, step_times, _smooth(opening, 3), right=0.0).astype(np.float32),
        np.interp(times, step_times, _smooth(width, 6), right=NARROWEST).astype(np.float32),
    )


def _rms(sound: Doubles, hop: int) -> Doubles:
    root: Doubles = np.sqrt((sound.reshape(-1, hop) ** 2).mean(1))
    return root


def _smooth(curve: Doubles, sigma: float) -> Doubles:
    """Convolve with a Gaussian of *sigma* steps, ends repeated."""
    reach = int(3 * sigma) + 1
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return np.convolve(np.pad(curve, reach, mode="edge"), kernel / kernel.sum(), mode="valid")


def mouth_displacements(rest: Floats, opening: Floats, width: Floats) -> Floats:
    """Return the displacements (T, 61, 3) that give a mouth an opening and a width.

    Args:
        rest: (61, 3) canonical mouth shape of the portrait, lips apart.
        opening: (T,) distance of the inner lips, inter-ocular distances.
        width: (T,) share of the mouth's width at rest.
    """
    x = rest[:, 0] - rest[list(CORNER_ROWS), 0].mean()
    half = float(np.abs(x[LOWER_INNER]).max())
    upper = rest[np.r_[20, UPPER_INNER, 30]]
    lower = rest[LOWER_INNER]
    gap = np.interp(rest[:, 0], lower[:, 0], lower[:, 1]) - np.interp(
        rest[:, 0], upper[:, 0], upper[:, 1]
    )
    rest_opening = float(mouth_opening(rest[None])[0])
    profile = np.clip(1 - (x / half) ** 2, 0, 1) ** 0.7
    closing = np.minimum(opening / rest_opening, 1)[:, None] - 1  # -1 is closed
    more = np.maximum(opening - rest_opening, 0)[:, None]
    moves = np.zeros((len(opening), len(rest), 3), np.float32)
    moves[:, LOWER, 1] = (LOWER_LIP_SHARE * closing * gap + more * profile)[:, LOWER]
    moves[:, UPPER, 1] = (-UPPER_LIP_SHARE * closing * gap)[:, UPPER]
    hinge = np.exp(-((x[JAW] / JAW_REACH) ** 2))  # the jaw turns about the ears
    moves[:, JAW, 1] = JAW_FOLLOW * (LOWER_LIP_SHARE * closing * gap.max() + more) * hinge
    moves[:, LIPS, 0] = (width[:, None] - 1) * x[LIPS]
    moves[:, LIPS, 1] += CORNER_DROP * (x[LIPS] / half) ** 2
    return moves


def head_motion(times: Doubles, unit: float, centre: Doubles, seed: int) -> Doubles:
    """Return smooth head motion as similarity matrices (T, 2, 3) about a point.

    Args:
        times: (T,) seconds.
        unit: pixels per inter-ocular distance.
        centre: (2,) x, y of the point, pixels.
        seed: of the motion.
    """
    random = np.random.default_rng([seed, 1])
    waves = [_wave(times, random) for _ in range(4)]
    angle, scale = np.radians(SWAY_DEGREES) * waves[0], 1 + SWAY_SCALE * waves[1]
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    linear = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], 1)
    shift = centre + SWAY_SHIFT * unit * np.stack(waves[2:], -1) - linear @ centre
    return np.concatenate([linear, shift[..., None]], -1)


def _wave(times: Doubles, random: np.random.Generator) -> Doubles:
    """Return a smooth random curve (T,) between -1 and 1."""
    frequency, phase = random.uniform(*SWAY_FREQUENCY, 3), random.uniform(0, 2 * np.pi, 3)
    return np.asarray(np.sin(2 * np.pi * np.outer(times, frequency) + phase).mean(1))
