"""How well a trained network does on examples that it did not learn from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from lipwright.motion.basis import Basis
from lipwright.types import Floats
from training.motion.batches import row
from training.motion.corpus import Example
from training.motion.measure import Agreement, compare, curves
from training.motion.network import MotionNet


def opening_spread(net: MotionNet, basis: Basis, examples: Sequence[Example]) -> float:
    """Return the standard deviation of the predicted opening, median over examples."""
    openings = [basis.coefficients(predict(net, basis, e)) @ basis.opening for e in examples]
    return float(np.median([o.std() for o in openings]))


def predict(net: MotionNet, basis: Basis, example: Example) -> Floats:
    """Return the predicted displacements (T, 61, 3) of a whole example."""
    span = slice(0, len(example.times))
    nothing = np.zeros((len(example.times), basis.size), np.float32)
    states, taps, weights, _ = row(example, nothing, span, net.reach)
    with torch.no_grad():
        out = net(torch.from_numpy(states)[None])[0].numpy()
    return basis.shapes((out[taps] * weights[..., None]).sum(1))


def evaluate(
    net: MotionNet, basis: Basis, examples: Sequence[Example]
) -> dict[str, tuple[Floats, Floats, float]]:
    """Return the predicted and the tracked curves (T, 2) and the length of each example."""
    found = {}
    for i, example in enumerate(examples):
        mouth = example.mouth.mean(0) + predict(net, basis, example)
        found[f"{example.name}#{i}"] = curves(mouth), curves(example.mouth), example.seconds
    return found


def by_speaker(net: MotionNet, basis: Basis, examples: Sequence[Example]) -> dict[str, Agreement]:
    """Return the agreement for each speaker, all clips of one put together."""
    people: dict[str, list[Example]] = {}
    for example in examples:
        people.setdefault(example.speaker, []).append(example)
    result = {}
    for speaker, clips in people.items():
        parts = list(evaluate(net, basis, clips).values())
        predicted = np.concatenate([p[0] for p in parts])
        tracked = np.concatenate([p[1] for p in parts])
        result[speaker] = compare(predicted, tracked, sum(p[2] for p in parts))
    return result
