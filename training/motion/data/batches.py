"""Draw random segments of examples as tensors, for the motion network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lipwright.motion.basis import Basis
from lipwright.motion.resampling import STATE_RATE, spline_weights
from lipwright.types import Floats
from training.motion.data.corpus import Example, speaker_weights

MAX_SECONDS = 4.0  # of an example that count for how often it is drawn


@dataclass(frozen=True, kw_only=True)
class Batch:
    """B segments of up to n frames, with their speech."""

    states: Tensor  #: (B, L, 1024) float32
    taps: Tensor  #: (B, n, 4) int64, outputs of the network to mix for each frame
    weights: Tensor  #: (B, n, 4) weights of the taps
    target: Tensor  #: (B, n, K) coefficients of the tracked mouth
    mask: Tensor  #: (B, n, 1) 1 for frames, 0 for padding

    def at_frames(self, out: Tensor) -> Tensor:
        """Resample outputs (B, L - 2 reach, K) of the network to the frames: (B, n, K)."""
        b, n, k = self.taps.shape
        index = self.taps.reshape(b, n * k, 1).expand(-1, -1, out.shape[2])
        gathered = out.gather(1, index).reshape(b, n, k, -1)
        return (gathered * self.weights[..., None]).sum(2)


class Sampler:
    """Draws batches; the same seed gives the same batches."""

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
        self._targets = [target_coefficients(e, basis) for e in examples]
        self._reach = reach
        self._frames = frames
        self._random = np.random.default_rng(seed)
        lengths = np.array([min(e.seconds, MAX_SECONDS) for e in examples])
        probability = lengths * speaker_weights(examples)
        self._probability = probability / probability.sum()

    def draw(self, size: int, jitter: float = 0.005) -> Batch:
        """Return a batch of *size* segments, their sound moved by up to ± *jitter* seconds."""
        picked = self._random.choice(len(self._examples), size, p=self._probability)
        items = [
            self._segment(int(i), float(self._random.uniform(-jitter, jitter))) for i in picked
        ]
        return collate(items)

    def _segment(self, index: int, shift: float) -> Item:
        example = self._examples[index]
        count = min(len(example.times), self._frames)
        start = int(self._random.integers(0, len(example.times) - count + 1))
        span = slice(start, start + count)
        return make_item(example, self._targets[index][span], span, self._reach, shift)


Item = tuple[Floats, NDArray[np.int64], Floats, Floats]  #: states, taps, weights, target


def target_coefficients(example: Example, basis: Basis) -> Floats:
    """Return the coefficients (T, K) of an example's mouth, relative to its mean."""
    return basis.coefficients(example.mouth - example.mouth.mean(0))


def make_item(
    example: Example, target: Floats, span: slice, reach: int, shift: float = 0.0
) -> Item:
    """Return states, taps, weights of the taps and target of the frames *span* of an example.

    Args:
        example: with its offset.
        target: coefficients (n, K) of the frames.
        span: the frames.
        reach: states that the network needs on each side.
        shift: seconds by which the sound is moved.
    """
    times = example.times[span] + example.offset + shift
    first = math.floor(float(times[0]) * STATE_RATE - 0.5) - 1
    last = math.floor(float(times[-1]) * STATE_RATE - 0.5) + 2
    index = np.arange(first - reach, last + reach + 1)
    states = example.states[np.clip(index, 0, len(example.states) - 1)].astype(np.float32)
    taps, weights = spline_weights(last - first + 1, times - first / STATE_RATE)
    return states, taps, weights, target


def collate(items: Sequence[Item]) -> Batch:
    """Stack items of different lengths; the shorter ones are padded."""
    length = max(len(item[0]) for item in items)
    count = max(len(item[3]) for item in items)
    mask = np.stack([(np.arange(count) < len(item[3])).astype(np.float32) for item in items])
    columns = [
        np.stack([_pad(item[0], length) for item in items]),
        *(np.stack([_pad(item[i], count) for item in items]) for i in (1, 2, 3)),
    ]
    states, taps, weights, target = (torch.from_numpy(c) for c in columns)
    return Batch(
        states=states,
        taps=taps,
        weights=weights,
        target=target,
        mask=torch.from_numpy(mask)[..., None],
    )


def _pad(values: NDArray[np.generic], length: int) -> NDArray[np.generic]:
    """Repeat the last row up to *length* rows."""
    return values[np.minimum(np.arange(length), len(values) - 1)]
