"""Fit the linear filter of the motion network in closed form: PCA and ridge regression.

Hoerl & Kennard, "Ridge regression", 1970. There is one filter for each layer of the speech states,
and the network uses their mean, because filters with different inputs make different errors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lipwright.motion.basis import Basis
from lipwright.motion.resampling import STATE_RATE, resample
from lipwright.speech.encoder import LAYER_SIZE
from lipwright.types import Floats
from training.motion.data.batches import target_coefficients
from training.motion.data.corpus import Example, speaker_weights
from training.motion.network import TAP_STEP

DIRECTIONS = 224  # principal directions of the states
REACH = 8  # states on each side that the filter takes
PENALTY = 0.5  # on the square of a filter coefficient, per frame
CHUNK_FRAMES = 4000  # frames processed at once


def principal_directions(
    examples: Sequence[Example], size: int = DIRECTIONS
) -> tuple[Floats, Floats]:
    """Return the mean (C,) and the scaled principal directions (C, size) of speech states.

    Projected states have the square root of their standard deviation: half-way between whitened
    states, which amplify weak directions, and plain ones, in which strong directions dominate.
    """
    states = np.concatenate([e.states[::4] for e in examples]).astype(np.float32)
    mean = states.mean(0)
    powers, directions = np.linalg.eigh(np.cov((states - mean).T))
    powers, directions = powers[::-1][:size], directions[:, ::-1][:, :size]
    scaled = directions / np.maximum(powers, 1e-6) ** 0.25
    return mean, np.ascontiguousarray(scaled, np.float32)


def project(example: Example, mean: Floats, directions: Floats) -> Example:
    """Return an example with its states projected on principal directions."""
    states = (example.states.astype(np.float32) - mean) @ directions
    return replace(example, states=states.astype(np.float16))


def fit_by_layer(
    examples: Sequence[Example], basis: Basis, size: int = DIRECTIONS
) -> tuple[Floats, Floats]:
    """Fit one filter for each of the two layers and return their mean.

    Args:
        examples: with the full speech states, (S, 1024).
        basis: basis of the mouth motion.
        size: number of principal directions P of each layer.

    Returns:
        Directions (1024, 2 P) of both layers, side by side, and the filter (K, 2 P, T).
    """
    directions = np.zeros((2 * LAYER_SIZE, 2 * size), np.float32)
    taps = []
    for index in range(2):
        layer = slice(index * LAYER_SIZE, (index + 1) * LAYER_SIZE)
        own = [replace(e, states=e.states[:, layer]) for e in examples]
        mean, found = principal_directions(own, size)
        directions[layer, index * size : (index + 1) * size] = found
        taps.append(fit_ridge([project(e, mean, found) for e in own], basis) / 2)
    return directions, np.concatenate(taps, 1)


def fit_ridge(examples: Sequence[Example], basis: Basis) -> Floats:
    """Fit the filter (K, P, T) that best predicts the mouths, relative to the mean of each example.

    Args:
        examples: with projected states, (S, P).
        basis: basis of the mouth motion.
    """
    size = examples[0].states.shape[1]
    count = 2 * (REACH // TAP_STEP) + 1
    gram = np.zeros((size * count, size * count), np.float32)
    cross = np.zeros((size * count, basis.size), np.float32)
    frames = 0
    for inputs, targets, weight in _chunks(examples, basis):
        gram += inputs.T @ (inputs * weight)
        cross += inputs.T @ (targets * weight)
        frames += len(inputs)
    gram[np.diag_indices_from(gram)] += PENALTY * frames
    solution = np.linalg.solve(gram, cross)
    taps = solution.reshape(count, size, basis.size).transpose(2, 1, 0)
    return np.ascontiguousarray(taps, np.float32)


def tap_windows(states: NDArray[np.float16], times: NDArray[np.float64]) -> Floats:
    """Return the states (S, P) at all taps around each time (n,): (n, T P)."""
    values = states.astype(np.float32)
    steps = np.arange(-REACH, REACH + 1, TAP_STEP) / STATE_RATE
    return np.concatenate([resample(values, times + s) for s in steps], 1)


def _chunks(examples: Sequence[Example], basis: Basis) -> Iterator[tuple[Floats, Floats, Floats]]:
    """Yield the regression problem in chunks of a few thousand frames.

    Yields:
        Inputs (n, T P), target coefficients (n, K) and weights of the frames (n, 1).
    """
    rows: list[tuple[Floats, Floats, Floats]] = []
    for example, weight in zip(examples, speaker_weights(examples), strict=True):
        inputs = tap_windows(example.states, example.times + example.offset)
        weights = np.full((len(inputs), 1), weight, np.float32)
        rows.append((inputs - inputs.mean(0), target_coefficients(example, basis), weights))
        if sum(len(row[0]) for row in rows) > CHUNK_FRAMES or example is examples[-1]:
            x, y, weights = (np.concatenate(column) for column in zip(*rows, strict=True))
            yield x, y, weights
            rows = []
