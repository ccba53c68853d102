"""Stages ``scorer`` and ``offsets``: train the scorer, and find how far each sound is off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lipwright.motion import resampling as curve
from lipwright.motion import sync_scorer as scorer
from lipwright.types import Floats
from training.motion.corpus import Example
from training.motion.descent import OnStep, descend
from training.motion.fit import statistics
from training.motion.network import ScorerNet

DECAY = 0.02  # of the weights
VECTOR = 64  # channels of the vectors compared
LEAST_CONFIDENCE = 0.04  # below, the voice is taken not to be the face's own
PRIOR_SECONDS = 2.0  # of speech: so much does the mean of a recording chain weigh
MOST_OFFSET = 6.0  # frames of 25 Hz; more is taken for a mistake of the scorer


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """How the scorer is built and trained."""

    hidden: tuple[int, int] = (128, 96)  #: channels of the speech and of the mouth network
    steps: int = 500
    clips: int = 40  #: examples in a batch
    moments: int = 8  #: moments taken of each
    apart: int = 2  #: least distance of two moments of one example, frames of 25 Hz
    rate: float = 2e-3  #: learning rate at its height
    average: float = 0.99
    noise: float = 0.1  #: on the states, in their standard deviations
    shake: float = 0.1  #: on the mouth, in its standard deviations
    stretch: float = 0.3  #: the mouth's motion is scaled by e to ± this
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class _Clip:
    """An example at 25 Hz, its ends repeated for the networks' reach."""

    mouth: NDArray[Any]  #: (n + 2 reach, 183) float32
    states: NDArray[Any]  #: (S + 2 reach, 1024) float16
    places: NDArray[np.float64]  #: (n,) the state at each mouth shape, between two of them


def new_net(examples: Sequence[Example], recipe: Contrast) -> ScorerNet:
    """Return an untrained scorer that knows the statistics of its inputs."""
    torch.manual_seed(recipe.seed)
    inputs, points = examples[0].states.shape[1], examples[0].mouth.shape[1] * 3
    net = ScorerNet(inputs, points, VECTOR, hidden=recipe.hidden)
    net.speech.standardise(*statistics(examples))
    moved = np.concatenate([(e.mouth - e.mouth.mean(0))[::3] for e in examples])
    flat = torch.from_numpy(moved.reshape(len(moved), -1))
    net.mouth.standardise(torch.zeros(points), flat.std(0))
    return net


def train(
    examples: Sequence[Example],
    recipe: Contrast,
    on_step: OnStep | None = None,
) -> ScorerNet:
    """Return a trained scorer, with averaged parameters."""
    net = new_net(examples, recipe)
    clips = [_prepare(e, net) for e in examples]
    random = np.random.default_rng(recipe.seed)

    def draw() -> Tensor:
        picked = [clips[i] for i in random.integers(0, len(clips), recipe.clips)]
        return _contrast(net, *_draw(picked, net, recipe, random))

    descend(
        net,
        draw,
        steps=recipe.steps,
        rate=recipe.rate,
        decay=DECAY,
        average=recipe.average,
        on_step=on_step,
    )
    return net


def _prepare(example: Example, net: ScorerNet) -> _Clip:
    grid, shapes, _ = scorer.resample(example.mouth, example.times)
    flat = shapes.reshape(len(shapes), -1)
    places = (grid + example.offset) * curve.RATE - 0.5
    return _Clip(
        mouth=_hold(flat, net.mouth.reach),
        states=_hold(example.states, net.speech.reach),
        places=np.clip(places, 0, len(example.states) - 1.001),
    )


def _hold(values: NDArray[Any], reach: int) -> NDArray[Any]:
    """Repeat the first and the last row *reach* times."""
    return values[np.clip(np.arange(-reach, len(values) + reach), 0, len(values) - 1)]


def _draw(
    clips: Sequence[_Clip], net: ScorerNet, recipe: Contrast, random: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Return windows of speech (N, w, 1024) and of mouths (N, v, 183) of the same moments."""
    speech, mouth = [], []
    for clip in clips:
        slots = max((len(clip.places) - 1) // recipe.apart, 1)
        count = min(recipe.moments, slots)
        start = random.integers(0, recipe.apart)
        scale = np.exp(random.uniform(-recipe.stretch, recipe.stretch))
        for slot in random.choice(slots, count, replace=False):
            moment = min(start + slot * recipe.apart, len(clip.places) - 1)
            place = int(clip.places[moment] + random.random())
            speech.append(clip.states[place : place + 2 * net.speech.reach + 1])
            mouth.append(clip.mouth[moment : moment + 2 * net.mouth.reach + 1] * scale)
    heard = torch.from_numpy(np.stack(speech).astype(np.float32))
    seen = torch.from_numpy(np.stack(mouth).astype(np.float32))
    heard += recipe.noise * torch.randn_like(heard) / net.speech.scale
    seen += recipe.shake * torch.randn_like(seen) / net.mouth.scale
    return heard, seen


def _contrast(net: ScorerNet, speech: Tensor, mouth: Tensor) -> Tensor:
    """Return InfoNCE in both directions: each moment against all others of the batch."""
    heard = torch.nn.functional.normalize(net.speech(speech)[:, 0], dim=-1)
    seen = torch.nn.functional.normalize(net.mouth(mouth)[:, 0], dim=-1)
    alike = heard @ seen.T * net.sharpness.clamp(max=4.0).exp()
    right = torch.arange(len(alike))
    cross = torch.nn.functional.cross_entropy
    return 0.5 * (cross(alike, right) + cross(alike.T, right))


def scores(net: ScorerNet, example: Example) -> Floats:
    """Return what `SyncScorer.scores` returns, by the network in training."""
    grid, shapes, seen = scorer.resample(example.mouth, example.times)
    flat = _hold(shapes.reshape(len(shapes), -1), net.mouth.reach)
    states = _hold(example.states, net.speech.reach).astype(np.float32)
    with torch.no_grad():
        mouth = net.mouth(torch.from_numpy(flat)[None])[0]
        voice = net.speech(torch.from_numpy(states)[None])[0]
    unit = torch.nn.functional.normalize
    return scorer.match(unit(mouth, dim=-1).numpy()[seen], grid[seen], unit(voice, dim=-1).numpy())


def correct(net: ScorerNet, examples: Sequence[Example]) -> tuple[list[Example], int]:
    """Give each example its offset; leave out those whose voice seems not to be theirs.

    One short clip says little about its offset, so the scores of each are added to the mean of
    its recording chain, which weighs as two seconds of speech.

    Returns:
        The examples kept, and how many were not.
    """
    own = np.stack([scores(net, e) for e in examples])
    groups = [chain_of(e.name) for e in examples]
    kept = []
    for name in dict.fromkeys(groups):
        members = [i for i, g in enumerate(groups) if g == name]
        shared = own[members].mean(0)
        for i in members:
            mixed = own[i] * examples[i].seconds + shared * PRIOR_SECONDS
            found = scorer.best(mixed / (examples[i].seconds + PRIOR_SECONDS))
            if abs(found.offset) <= MOST_OFFSET and found.at(found.offset) > LEAST_CONFIDENCE:
                kept.append(replace(examples[i], offset=found.offset / scorer.RATE))
    return kept, len(examples) - len(kept)


def place(net: ScorerNet, examples: Sequence[Example]) -> list[Example]:
    """Give each example the offset at which it scores best by itself."""
    found = [scorer.best(scores(net, e)).offset for e in examples]
    return [
        replace(e, offset=offset / scorer.RATE) for e, offset in zip(examples, found, strict=True)
    ]


def chain_of(name: str) -> str:
    """Return the recording chain of a clip: its set, or itself where a set mixes many."""
    return name if "__misc__" in name else name.rpartition("__")[0]
