"""The linear part of the motion network, in closed form: principal components and ridge regression.

Hoerl & Kennard, "Ridge regression", 1970. There is one filter for each layer of the speech states,
and their mean is used: two filters that see different things err differently.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lipwright.motion import resampling as curve
from lipwright.motion.basis import Basis
from lipwright.speech.encoder import LAYER
from lipwright.types import Floats
from training.motion.batches import wanted
from training.motion.corpus import Example, weights
from training.motion.network import TAP_STEP

DIRECTIONS = 224  # of the states that are looked at
REACH = 8  # states on each side that the filter sees
PENALTY = 0.5  # of the square of a coefficient, for each frame
AT_ONCE = 4000  # frames


def main_directions(examples: Sequence[Example], size: int = DIRECTIONS) -> tuple[Floats, Floats]:
    """Return the mean (C,) and the main directions (C, size) of speech states.

    Seen along a direction, states have the square root of their standard deviation: between
    whitened (the weak ones would shout) and plain (the strong ones would drown the rest).
    """
    states = np.concatenate([e.states[::4] for e in examples]).astype(np.float32)
    mean = states.mean(0)
    powers, directions = np.linalg.eigh(np.cov((states - mean).T))
    powers, directions = powers[::-1][:size], directions[:, ::-1][:, :size]
    scaled = directions / np.maximum(powers, 1e-6) ** 0.25
    return mean, np.ascontiguousarray(scaled, np.float32)


def project(example: Example, mean: Floats, directions: Floats) -> Example:
    """Return an example whose states are seen along their main directions."""
    states = (example.states.astype(np.float32) - mean) @ directions
    return replace(example, states=states.astype(np.float16))


def by_layer(
    examples: Sequence[Example], basis: Basis, size: int = DIRECTIONS
) -> tuple[Floats, Floats]:
    """Return the mean of two filters, each of which sees one layer along its main directions.

    Args:
        examples: with the speech states themselves, (S, 1024).
        basis: of the mouths.
        size: directions P of each layer.

    Returns:
        Directions (1024, 2 P) of both layers, side by side, and the filter (K, 2 P, T).
    """
    directions = np.zeros((2 * LAYER, 2 * size), np.float32)
    taps = []
    for index in range(2):
        layer = slice(index * LAYER, (index + 1) * LAYER)
        own = [replace(e, states=e.states[:, layer]) for e in examples]
        mean, found = main_directions(own, size)
        directions[layer, index * size : (index + 1) * size] = found
        taps.append(ridge([project(e, mean, found) for e in own], basis) / 2)
    return directions, np.concatenate(taps, 1)


def ridge(examples: Sequence[Example], basis: Basis) -> Floats:
    """Return the filter (K, P, T) that best predicts the mouths, clip by clip about their means.

    Args:
        examples: with states already seen along their main directions, (S, P).
        basis: of the mouths.
    """
    size = examples[0].states.shape[1]
    count = 2 * (REACH // TAP_STEP) + 1
    square = np.zeros((size * count, size * count), np.float32)
    product = np.zeros((size * count, basis.size), np.float32)
    frames = 0
    for inputs, targets, weight in _chunks(examples, basis):
        square += inputs.T @ (inputs * weight)
        product += inputs.T @ (targets * weight)
        frames += len(inputs)
    square[np.diag_indices_from(square)] += PENALTY * frames
    solution = np.linalg.solve(square, product)
    taps = solution.reshape(count, size, basis.size).transpose(2, 1, 0)
    return np.ascontiguousarray(taps, np.float32)


def windows(states: NDArray[np.float16], times: NDArray[np.float64]) -> Floats:
    """Return the states (S, P) around each time (n,), tap by tap: (n, T P)."""
    values = states.astype(np.float32)
    steps = np.arange(-REACH, REACH + 1, TAP_STEP) / curve.RATE
    return np.concatenate([curve.read(values, times + s) for s in steps], 1)


def _chunks(examples: Sequence[Example], basis: Basis) -> Iterator[tuple[Floats, Floats, Floats]]:
    """Yield some thousand frames at a time.

    Yields:
        Windows (n, T P), wanted coefficients (n, K) and how much each frame counts (n, 1).
    """
    rows: list[tuple[Floats, Floats, Floats]] = []
    for example, weight in zip(examples, weights(examples), strict=True):
        seen = windows(example.states, example.times + example.offset)
        counts = np.full((len(seen), 1), weight, np.float32)
        rows.append((seen - seen.mean(0), wanted(example, basis), counts))
        if sum(len(row[0]) for row in rows) > AT_ONCE or example is examples[-1]:
            inputs, targets, shares = (np.concatenate(column) for column in zip(*rows, strict=True))
            yield inputs, targets, shares
            rows = []
