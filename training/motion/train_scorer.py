"""Stages ``scorer`` and ``offsets``: train the sync scorer and estimate the offset of each clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lipwright.motion.resampling import STATE_RATE
from lipwright.motion.sync_scorer import MOUTH_RATE, best_offset, resample_mouth, score_vectors
from lipwright.types import Floats
from training.motion.data.corpus import Example
from training.motion.network import ScorerNet
from training.motion.optimizer import OnStep, optimize
from training.motion.train_motion import state_statistics

WEIGHT_DECAY = 0.02
VECTOR_SIZE = 64  # channels of the compared vectors
MIN_CONFIDENCE = 0.04  # below, the voice counts as another person's
PRIOR_SECONDS = 2.0  # of speech: weight of the mean over a recording chain
MAX_OFFSET = 6.0  # frames at 25 Hz; more counts as an error of the scorer


@dataclass(frozen=True, kw_only=True)
class ScorerRecipe:
    """Architecture and training of the scorer."""

    hidden: tuple[int, int] = (128, 96)  #: channels of the speech and of the mouth network
    steps: int = 500
    clips: int = 40  #: examples in a batch
    moments: int = 8  #: moments drawn from each
    spacing: int = 2  #: least distance of two moments of one example, frames at 25 Hz
    rate: float = 2e-3  #: largest learning rate
    average: float = 0.99  #: decay of the moving average of the parameters
    noise: float = 0.1  #: on the states, in their standard deviations
    mouth_noise: float = 0.1  #: on the mouth, in its standard deviations
    max_log_scale: float = 0.3  #: natural logarithm of the largest scaling of mouth motion
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class _Clip:
    """An example at 25 Hz, padded at its ends by the reach of the networks."""

    mouth: NDArray[Any]  #: (n + 2 reach, 183) float32
    states: NDArray[Any]  #: (S + 2 reach, 1024) float16
    positions: NDArray[np.float64]  #: (n,) fractional index of the state at each mouth shape


def build_scorer(examples: Sequence[Example], recipe: ScorerRecipe) -> ScorerNet:
    """Return an untrained scorer that knows the state_statistics of its inputs."""
    torch.manual_seed(recipe.seed)
    inputs, points = examples[0].states.shape[1], examples[0].mouth.shape[1] * 3
    net = ScorerNet(inputs, points, VECTOR_SIZE, hidden=recipe.hidden)
    net.speech.standardise(*state_statistics(examples))
    moved = np.concatenate([(e.mouth - e.mouth.mean(0))[::3] for e in examples])
    flat = torch.from_numpy(moved.reshape(len(moved), -1))
    net.mouth.standardise(torch.zeros(points), flat.std(0))
    return net


def train(
    examples: Sequence[Example],
    recipe: ScorerRecipe,
    on_step: OnStep | None = None,
) -> ScorerNet:
    """Train the scorer and return it with averaged parameters."""
    net = build_scorer(examples, recipe)
    clips = [_prepare(e, net) for e in examples]
    random = np.random.default_rng(recipe.seed)

    def draw_loss() -> Tensor:
        picked = [clips[i] for i in random.integers(0, len(clips), recipe.clips)]
        return _info_nce(net, *_draw(picked, net, recipe, random))

    optimize(
        net,
        draw_loss,
        steps=recipe.steps,
        rate=recipe.rate,
        decay=WEIGHT_DECAY,
        average=recipe.average,
        on_step=on_step,
    )
    return net


def _prepare(example: Example, net: ScorerNet) -> _Clip:
    grid, shapes, _ = resample_mouth(example.mouth, example.times)
    flat = shapes.reshape(len(shapes), -1)
    positions = (grid + example.offset) * STATE_RATE - 0.5
    return _Clip(
        mouth=_pad_ends(flat, net.mouth.reach),
        states=_pad_ends(example.states, net.speech.reach),
        positions=np.clip(positions, 0, len(example.states) - 1.001),
    )


def _pad_ends(values: NDArray[Any], reach: int) -> NDArray[Any]:
    """Repeat the first and the last row *reach* times."""
    return values[np.clip(np.arange(-reach, len(values) + reach), 0, len(values) - 1)]


def _draw(
    clips: Sequence[_Clip], net: ScorerNet, recipe: ScorerRecipe, random: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Return windows of speech (N, w, 1024) and of mouths (N, v, 183) at the same moments."""
    speech, mouth = [], []
    for clip in clips:
        slots = max((len(clip.positions) - 1) // recipe.spacing, 1)
        count = min(recipe.moments, slots)
        start = random.integers(0, recipe.spacing)
        scale = np.exp(random.uniform(-recipe.max_log_scale, recipe.max_log_scale))
        for slot in random.choice(slots, count, replace=False):
            moment = min(start + slot * recipe.spacing, len(clip.positions) - 1)
            state = int(clip.positions[moment] + random.random())
            speech.append(clip.states[state : state + 2 * net.speech.reach + 1])
            mouth.append(clip.mouth[moment : moment + 2 * net.mouth.reach + 1] * scale)
    states = torch.from_numpy(np.stack(speech).astype(np.float32))
    shapes = torch.from_numpy(np.stack(mouth).astype(np.float32))
    states += recipe.noise * torch.randn_like(states) / net.speech.scale
    shapes += recipe.mouth_noise * torch.randn_like(shapes) / net.mouth.scale
    return states, shapes


def _info_nce(net: ScorerNet, speech: Tensor, mouth: Tensor) -> Tensor:
    """Return InfoNCE in both directions: each moment against all others of the batch."""
    voices = torch.nn.functional.normalize(net.speech(speech)[:, 0], dim=-1)
    mouths = torch.nn.functional.normalize(net.mouth(mouth)[:, 0], dim=-1)
    logits = voices @ mouths.T * net.log_inverse_temperature.clamp(max=4.0).exp()
    target = torch.arange(len(logits))
    cross_entropy = torch.nn.functional.cross_entropy
    return 0.5 * (cross_entropy(logits, target) + cross_entropy(logits.T, target))


def score_offsets(net: ScorerNet, example: Example) -> Floats:
    """Return the result of :meth:`SyncScorer.score_offsets` for a network in PyTorch."""
    grid, shapes, seen = resample_mouth(example.mouth, example.times)
    flat = _pad_ends(shapes.reshape(len(shapes), -1), net.mouth.reach)
    states = _pad_ends(example.states, net.speech.reach).astype(np.float32)
    with torch.no_grad():
        mouth = net.mouth(torch.from_numpy(flat)[None])[0]
        voice = net.speech(torch.from_numpy(states)[None])[0]
    unit = torch.nn.functional.normalize
    return score_vectors(unit(mouth, dim=-1).numpy()[seen], grid[seen], unit(voice, dim=-1).numpy())


def assign_offsets(net: ScorerNet, examples: Sequence[Example]) -> tuple[list[Example], int]:
    """Estimate the offset of each example; drop those whose voice seems to be another person's.

    One short clip says little about its offset, so its scores are averaged with the mean over its
    recording chain, which has the weight of two seconds of speech.

    Returns:
        The kept examples, and the number of dropped ones.
    """
    own = np.stack([score_offsets(net, e) for e in examples])
    groups = [recording_chain(e.name) for e in examples]
    kept = []
    for name in dict.fromkeys(groups):
        members = [i for i, g in enumerate(groups) if g == name]
        shared = own[members].mean(0)
        for i in members:
            mixed = own[i] * examples[i].seconds + shared * PRIOR_SECONDS
            found = best_offset(mixed / (examples[i].seconds + PRIOR_SECONDS))
            if (
                abs(found.offset) <= MAX_OFFSET
                and found.confidence_at(found.offset) > MIN_CONFIDENCE
            ):
                kept.append(replace(examples[i], offset=found.offset / MOUTH_RATE))
    return kept, len(examples) - len(kept)


def assign_best_offsets(net: ScorerNet, examples: Sequence[Example]) -> list[Example]:
    """Give each example the offset at which it alone scores best."""
    found = [best_offset(score_offsets(net, e)).offset for e in examples]
    return [
        replace(e, offset=offset / MOUTH_RATE) for e, offset in zip(examples, found, strict=True)
    ]


def recording_chain(name: str) -> str:
    """Return the recording chain of a clip: its folder, or the clip if the folder has many."""
    return name if "__misc__" in name else name.rpartition("__")[0]
