"""The linear part of the motion network, in closed form: principal components and ridge regression.

Hoerl & Kennard, "Ridge regression", 1970.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from lipwright.motion import curve
from lipwright.motion.basis import Basis
from lipwright.motion.train.batches import wanted
from lipwright.motion.train.corpus import Example
from lipwright.motion.train.network import TAP_STEP

Floats = NDArray[np.float32]

DIRECTIONS = 224  # of the states that are looked at
REACH = 8  # states on each side that the filter sees
PENALTY = 0.3  # of the square of a coefficient, for each frame
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
    for inputs, targets in _chunks(examples, basis):
        square += inputs.T @ inputs
        product += inputs.T @ targets
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


def _chunks(examples: Sequence[Example], basis: Basis) -> Iterator[tuple[Floats, Floats]]:
    """Yield windows (n, T P) and wanted coefficients (n, K) of some thousand frames at a time."""
    inputs: list[Floats] = []
    targets: list[Floats] = []
    for example in examples:
        seen = windows(example.states, example.times + example.offset)
        inputs.append(seen - seen.mean(0))
        targets.append(wanted(example, basis))
        if sum(map(len, inputs)) > AT_ONCE or example is examples[-1]:
            yield np.concatenate(inputs), np.concatenate(targets)
            inputs, targets = [], []
