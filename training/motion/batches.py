"""Random stretches of examples as tensors, for the motion network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lipwright.motion import resampling as curve
from lipwright.motion.basis import Basis
from lipwright.types import Floats
from training.motion.corpus import Example, weights


@dataclass(frozen=True, kw_only=True)
class Batch:
    """B stretches of up to n frames, with their speech."""

    states: Tensor  #: (B, L, 1024) float32
    taps: Tensor  #: (B, n, 4) which outputs of the network to mix for each frame
    weights: Tensor  #: (B, n, 4) and how much of each
    wanted: Tensor  #: (B, n, K) coefficients of the tracked mouth
    known: Tensor  #: (B, n, 1) 1 for frames, 0 for padding

    def at_frames(self, out: Tensor) -> Tensor:
        """Read outputs (B, L - 2 reach, K) of the network at the frames: (B, n, K)."""
        b, n, k = self.taps.shape
        index = self.taps.reshape(b, n * k, 1).expand(-1, -1, out.shape[2])
        read = out.gather(1, index).reshape(b, n, k, -1)
        return (read * self.weights[..., None]).sum(2)


class Sampler:
    """Draws batches; the same seed, the same batches."""

    def __init__(
        self,
        examples: Sequence[Example],
        basis: Basis,
        *,
        reach: int,
        frames: int = 40,
        seed: int = 0,
    ) -> None:
        self._examples = examples
        self._wanted = [wanted(e, basis) for e in examples]
        self._reach = reach
        self._frames = frames
        self._random = np.random.default_rng(seed)
        lengths = np.array([min(e.seconds, 4.0) for e in examples])
        chance = lengths * weights(examples)
        self._chance = chance / chance.sum()

    def draw(self, size: int, jitter: float = 0.005) -> Batch:
        """Return a batch of *size* stretches, their sound moved by up to ± jitter seconds."""
        picked = self._random.choice(len(self._examples), size, p=self._chance)
        rows = [self._stretch(int(i), float(self._random.uniform(-jitter, jitter))) for i in picked]
        return collate(rows)

    def _stretch(self, i: int, shift: float) -> Row:
        example = self._examples[i]
        count = min(len(example.times), self._frames)
        start = int(self._random.integers(0, len(example.times) - count + 1))
        span = slice(start, start + count)
        return row(example, self._wanted[i][span], span, self._reach, shift)


Row = tuple[Floats, NDArray[np.int64], Floats, Floats]


def wanted(example: Example, basis: Basis) -> Floats:
    """Return the coefficients (T, K) of an example's mouth, its mean taken off."""
    return basis.coefficients(example.mouth - example.mouth.mean(0))


def row(example: Example, target: Floats, span: slice, reach: int, shift: float = 0.0) -> Row:
    """Return states, taps, tap weights and target of the frames *span* of an example."""
    times = example.times[span] + example.offset + shift
    first = math.floor(float(times[0]) * curve.RATE - 0.5) - 1
    last = math.floor(float(times[-1]) * curve.RATE - 0.5) + 2
    index = np.arange(first - reach, last + reach + 1)
    states = example.states[np.clip(index, 0, len(example.states) - 1)].astype(np.float32)
    taps, weights = curve.taps(last - first + 1, times - first / curve.RATE)
    return states, taps, weights, target


def collate(rows: Sequence[Row]) -> Batch:
    """Put rows of different lengths together, the shorter ones padded."""
    length = max(len(r[0]) for r in rows)
    count = max(len(r[3]) for r in rows)
    known = np.stack([(np.arange(count) < len(r[3])).astype(np.float32) for r in rows])
    columns = [
        np.stack([_pad(r[0], length) for r in rows]),
        *(np.stack([_pad(r[i], count) for r in rows]) for i in (1, 2, 3)),
    ]
    states, taps, weights, target = (torch.from_numpy(c) for c in columns)
    return Batch(
        states=states,
        taps=taps,
        weights=weights,
        wanted=target,
        known=torch.from_numpy(known)[..., None],
    )


def _pad(values: NDArray[np.generic], length: int) -> NDArray[np.generic]:
    """Repeat the last row until there are *length*."""
    return values[np.minimum(np.arange(length), len(values) - 1)]
