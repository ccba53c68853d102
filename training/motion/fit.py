"""Stages ``validate`` and ``motion``: train the network that moves the mouth."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lipwright.face import shape
from lipwright.motion.basis import Basis, principal
from lipwright.types import Floats
from training.motion import linear
from training.motion.batches import Sampler
from training.motion.corpus import Example
from training.motion.descent import OnStep, descend
from training.motion.network import Average, MotionNet, TemporalNet


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the network is built and trained."""

    components: int = 12  #: directions of mouth motion
    directions: int = linear.DIRECTIONS  #: of the speech states; for the filter, of each layer
    emphasis: tuple[float, ...] = (
        0.0,
        1.0,
        0.5,
        0.0,
    )  #: power of its deviation that scales a direction
    hidden: int = 192
    dilations: tuple[int, ...] = (1, 2, 4)
    dropout: float = 0.4
    steps: int = 1200
    batch: int = 16
    rate: float = 1e-3  #: learning rate at its height
    decay: float = 0.05  #: weight decay
    average: float = 0.995  #: of the parameters
    noise: float = 0.8  #: added to the states, in their standard deviations
    absolute: float = 0.1  #: weights of the losses, see `loss`
    velocity: float = 0.5
    closure: float = 0.3
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Probes:
    """What the losses know of the coefficients."""

    opening: Tensor  #: (K,) of the lips per unit of each
    importance: Tensor  #: (K,) of each coefficient in the shape


def probes(basis: Basis) -> Probes:
    """Return the probes of a basis."""
    parts = basis.components
    size = np.sqrt((parts**2).sum((1, 2)))
    return Probes(
        opening=torch.from_numpy(basis.opening),
        importance=torch.from_numpy(size / size.max()),
    )


def find_basis(examples: Sequence[Example], size: int) -> Basis:
    """Return the directions in which the mouths of examples move."""
    moved = [e.mouth - e.mouth.mean(0) for e in examples]
    basis = Basis(
        components=principal(np.concatenate(moved)[::2], size),
        rest=np.zeros(size, np.float32),
        opening_spread=1.0,
        predicted_spread=1.0,
    )
    found = [basis.coefficients(m) for m in moved]
    closed = [c[_calmest(e.mouth)].mean(0) for c, e in zip(found, examples, strict=True)]
    return replace(
        basis,
        rest=np.mean(closed, 0).astype(np.float32),
        opening_spread=float(np.median([(c @ basis.opening).std() for c in found])),
    )


def _calmest(mouth: Floats) -> NDArray[np.bool_]:
    """Return the tenth of the frames with the least opening."""
    gap = shape.opening(mouth)
    return gap <= np.quantile(gap, 0.1)


def loss(out: Tensor, wanted: Tensor, known: Tensor, probe: Probes, recipe: Recipe) -> Tensor:
    """Return how far coefficients (B, n, K) are from the wanted ones, where these are known.

    Position and velocity of all coefficients about the stretch's mean, a little of the position
    itself, and the opening at moments at which the lips are closer than usual.
    """
    count = known.sum(1, keepdim=True)
    total = known.sum() * out.shape[2]

    def centred(x: Tensor) -> Tensor:
        return (x - (x * known).sum(1, keepdim=True) / count) * known

    q, z = centred(out), centred(wanted)
    position = ((q - z).abs() * probe.importance).sum() / total
    absolute = ((out - wanted).abs() * probe.importance * known).sum() / total
    both = known[:, 1:] * known[:, :-1]
    moves = (out.diff(dim=1) - wanted.diff(dim=1)).abs()
    velocity = (moves * probe.importance * both).sum() / total
    gap, truth = q @ probe.opening, z @ probe.opening
    scale = (truth.square().sum(1, keepdim=True) / count[:, 0]).sqrt() + 1e-3
    shut = torch.relu(-truth / scale - 0.5) * known[..., 0]
    closure = ((gap - truth).abs() / scale * shut).sum() / known.sum()
    parts = (position, recipe.absolute * absolute, recipe.velocity * velocity)
    return sum(parts, recipe.closure * closure)


def train(
    plain: Sequence[Example],
    varied: Sequence[Example],
    basis: Basis,
    recipe: Recipe,
    on_step: OnStep | None = None,
) -> MotionNet:
    """Return the trained network.

    Args:
        plain: with the sound as it is; the filter learns from these alone, for others teach it
            nothing.
        varied: the same, heard otherwise; the networks learn from both.
        basis: of the mouths.
        recipe: how to train.
        on_step: told the number of each step, its loss and the averaged parameters.
    """
    heard = [*plain, *varied]
    mean, directions = linear.main_directions(heard, recipe.directions)
    seen = [linear.project(e, mean, directions) for e in heard] if recipe.emphasis else []
    members = [
        train_member(seen, basis, replace(recipe, seed=recipe.seed + i, emphasis=(power,)), on_step)
        for i, power in enumerate(recipe.emphasis)
    ]
    filter_directions, taps = linear.by_layer(plain, basis, recipe.directions)
    parts = [torch.from_numpy(x) for x in (mean, directions, filter_directions, taps)]
    net = MotionNet(parts[0], parts[1], parts[2], parts[3], members)
    net.eval()
    return net


def train_member(
    examples: Sequence[Example],
    basis: Basis,
    recipe: Recipe,
    on_step: OnStep | None = None,
) -> TemporalNet:
    """Return the first of the recipe's networks, its parameters averaged over the last steps.

    Args:
        examples: with states along their main directions.
        basis: of the mouths.
        recipe: how to train.
        on_step: told the number of each step, its loss and the averaged parameters.
    """
    torch.manual_seed(recipe.seed)
    net, deviation = new_member(examples, basis, recipe)
    sampler = Sampler(examples, basis, reach=net.reach, seed=recipe.seed)
    probe = probes(basis)

    def draw() -> Tensor:
        batch = sampler.draw(recipe.batch)
        noisy = batch.states + recipe.noise * deviation * torch.randn_like(batch.states)
        return loss(batch.at_frames(net(noisy)), batch.wanted, batch.known, probe, recipe)

    learn(net, draw, recipe, on_step)
    return net


def new_member(
    examples: Sequence[Example], basis: Basis, recipe: Recipe
) -> tuple[TemporalNet, Tensor]:
    """Return a network that has not learnt, and the deviation of its inputs (P,).

    Args:
        examples: with states along their main directions.
        basis: of the mouths.
        recipe: how it is built; its inputs are scaled as the recipe's first network has them.
    """
    net = TemporalNet(
        examples[0].states.shape[1],
        recipe.hidden,
        basis.size,
        dilations=recipe.dilations,
        dropout=recipe.dropout,
    )
    mean, deviation = statistics(examples)
    net.standardise(torch.zeros_like(mean), deviation ** -recipe.emphasis[0])
    return net, deviation


def learn(
    net: nn.Module, draw: Callable[[], Tensor], recipe: Recipe, on_step: OnStep | None
) -> None:
    """Take a network down a loss as a recipe says."""
    descend(
        net,
        draw,
        steps=recipe.steps,
        rate=recipe.rate,
        decay=recipe.decay,
        average=recipe.average,
        clip=1.0,
        on_step=on_step,
    )


def statistics(examples: Sequence[Example]) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation (1024,) of the speech states."""
    states = np.concatenate([e.states[::5] for e in examples]).astype(np.float32)
    return torch.from_numpy(states.mean(0)), torch.from_numpy(states.std(0))


class Clock:
    """Prints how training goes."""

    def __init__(self, every: int = 100) -> None:
        self._every = every
        self._start = time.monotonic()

    def __call__(self, step: int, value: float, average: Average) -> None:
        """Print every some steps."""
        if step % self._every == 0:
            print(f"step {step}: loss {value:.3f}, {time.monotonic() - self._start:.0f} s")
