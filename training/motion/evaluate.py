"""Evaluate a trained network on examples that it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from lipwright.motion.basis import Basis
from lipwright.types import Floats
from training.motion.data.batches import make_item
from training.motion.data.corpus import Example
from training.motion.metrics import Agreement, compare, opening_and_width
from training.motion.network import MotionNet


def opening_spread(net: MotionNet, basis: Basis, examples: Sequence[Example]) -> float:
    """Return the standard deviation of the predicted opening, median over examples."""
    openings = [basis.coefficients(predict(net, basis, e)) @ basis.opening for e in examples]
    return float(np.median([o.std() for o in openings]))


def predict(net: MotionNet, basis: Basis, example: Example) -> Floats:
    """Return the predicted displacements (T, 61, 3) of a whole example."""
    span = slice(0, len(example.times))
    no_target = np.zeros((len(example.times), basis.size), np.float32)
    states, taps, weights, _ = make_item(example, no_target, span, net.reach)
    with torch.no_grad():
        out = net(torch.from_numpy(states)[None])[0].numpy()
    return basis.shapes((out[taps] * weights[..., None]).sum(1))


def evaluate(
    net: MotionNet, basis: Basis, examples: Sequence[Example]
) -> dict[str, tuple[Floats, Floats, float]]:
    """Return predicted curves (T, 2), tracked curves (T, 2) and the length of each example.

    The curves are opening and width; the length is in seconds.
    """
    found = {}
    for i, example in enumerate(examples):
        mouth = example.mouth.mean(0) + predict(net, basis, example)
        found[f"{example.name}#{i}"] = (
            opening_and_width(mouth),
            opening_and_width(example.mouth),
            example.seconds,
        )
    return found


def evaluate_by_speaker(
    net: MotionNet, basis: Basis, examples: Sequence[Example]
) -> dict[str, Agreement]:
    """Return the agreement for each speaker, over all clips of the speaker joined."""
    by_speaker: dict[str, list[Example]] = {}
    for example in examples:
        by_speaker.setdefault(example.speaker, []).append(example)
    result = {}
    for speaker, clips in by_speaker.items():
        parts = list(evaluate(net, basis, clips).values())
        predicted = np.concatenate([p[0] for p in parts])
        tracked = np.concatenate([p[1] for p in parts])
        result[speaker] = compare(predicted, tracked, sum(p[2] for p in parts))
    return result
