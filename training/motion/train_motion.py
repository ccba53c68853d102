"""Stages ``validate`` and ``motion``: train the motion network."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lipwright.face import canonical
from lipwright.motion.basis import Basis, principal_directions
from lipwright.types import Floats
from training.motion.data.batches import Sampler
from training.motion.data.corpus import Example
from training.motion.linear_filter import DIRECTIONS, fit_by_layer, project
from training.motion.linear_filter import principal_directions as state_directions
from training.motion.network import ExponentialMovingAverage, MotionNet, TemporalNet
from training.motion.optimizer import OnStep, optimize


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Architecture and training of the network."""

    components: int = 12  #: directions of mouth motion
    directions: int = (
        DIRECTIONS  #: principal directions of the speech states; for the filter, of each layer
    )
    emphasis: tuple[float, ...] = (
        0.0,
        1.0,
        0.5,
        0.0,
    )  #: per network: power of its deviation that scales each direction
    hidden: int = 192
    dilations: tuple[int, ...] = (1, 2, 4)
    dropout: float = 0.4
    steps: int = 1200
    batch: int = 16
    rate: float = 1e-3  #: largest learning rate
    decay: float = 0.05  #: weight decay
    average: float = 0.995  #: decay of the moving average of the parameters
    noise: float = 0.8  #: added to the projected states, in their standard deviations
    absolute: float = 0.1  #: weights of the losses, see :func:`motion_loss`
    velocity: float = 0.5
    closure: float = 0.3
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """Weights of the coefficients in the losses."""

    opening: Tensor  #: (K,) opening of the lips per unit of each coefficient
    importance: Tensor  #: (K,) size of each component, the largest is 1


def loss_weights(basis: Basis) -> LossWeights:
    """Return the loss weights of a basis."""
    parts = basis.components
    size = np.sqrt((parts**2).sum((1, 2)))
    return LossWeights(
        opening=torch.from_numpy(basis.opening),
        importance=torch.from_numpy(size / size.max()),
    )


def fit_basis(examples: Sequence[Example], size: int) -> Basis:
    """Fit a basis of *size* components to the mouths of examples."""
    moved = [e.mouth - e.mouth.mean(0) for e in examples]
    basis = Basis(
        components=principal_directions(np.concatenate(moved)[::2], size),
        rest=np.zeros(size, np.float32),
        opening_spread=1.0,
        predicted_spread=1.0,
    )
    found = [basis.coefficients(m) for m in moved]
    closed = [c[_least_open(e.mouth)].mean(0) for c, e in zip(found, examples, strict=True)]
    return replace(
        basis,
        rest=np.mean(closed, 0).astype(np.float32),
        opening_spread=float(np.median([(c @ basis.opening).std() for c in found])),
    )


def _least_open(mouth: Floats) -> NDArray[np.bool_]:
    """Return a mask of the tenth of the frames with the least opening."""
    gap = canonical.mouth_opening(mouth)
    return gap <= np.quantile(gap, 0.1)


def motion_loss(
    out: Tensor, target: Tensor, mask: Tensor, weights: LossWeights, recipe: Recipe
) -> Tensor:
    """Return the loss of coefficients (B, n, K) against a target, where *mask* (B, n, 1) is 1.

    The terms are position and velocity of all coefficients relative to the mean of the segment,
    with a small weight the absolute position, and the opening where the lips are closer than usual.
    """
    count = mask.sum(1, keepdim=True)
    total = mask.sum() * out.shape[2]

    def centred(x: Tensor) -> Tensor:
        return (x - (x * mask).sum(1, keepdim=True) / count) * mask

    q, z = centred(out), centred(target)
    position = ((q - z).abs() * weights.importance).sum() / total
    absolute = ((out - target).abs() * weights.importance * mask).sum() / total
    both = mask[:, 1:] * mask[:, :-1]
    moves = (out.diff(dim=1) - target.diff(dim=1)).abs()
    velocity = (moves * weights.importance * both).sum() / total
    gap, truth = q @ weights.opening, z @ weights.opening
    scale = (truth.square().sum(1, keepdim=True) / count[:, 0]).sqrt() + 1e-3
    near_closed = torch.relu(-truth / scale - 0.5) * mask[..., 0]
    closure = ((gap - truth).abs() / scale * near_closed).sum() / mask.sum()
    parts = (position, recipe.absolute * absolute, recipe.velocity * velocity)
    return sum(parts, recipe.closure * closure)


def train(
    plain: Sequence[Example],
    varied: Sequence[Example],
    basis: Basis,
    recipe: Recipe,
    on_step: OnStep | None = None,
) -> MotionNet:
    """Train the motion network.

    Args:
        plain: examples with unchanged sound; the filter is fitted to these only, because others do
            not improve it.
        varied: the same with other sound; the networks are trained on both.
        basis: basis of the mouth motion.
        recipe: architecture and training.
        on_step: called with the number of each step, its loss and the averaged parameters.
    """
    examples = [*plain, *varied]
    mean, directions = state_directions(examples, recipe.directions)
    projected = [project(e, mean, directions) for e in examples] if recipe.emphasis else []
    members = [
        train_member(
            projected, basis, replace(recipe, seed=recipe.seed + i, emphasis=(power,)), on_step
        )
        for i, power in enumerate(recipe.emphasis)
    ]
    filter_directions, taps = fit_by_layer(plain, basis, recipe.directions)
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
    """Train the first network of a recipe; its parameters are averaged over the last steps.

    Args:
        examples: with projected states.
        basis: basis of the mouth motion.
        recipe: architecture and training.
        on_step: called with the number of each step, its loss and the averaged parameters.
    """
    torch.manual_seed(recipe.seed)
    net, deviation = build_member(examples, basis, recipe)
    sampler = Sampler(examples, basis, reach=net.reach, seed=recipe.seed)
    weights = loss_weights(basis)

    def draw_loss() -> Tensor:
        batch = sampler.draw(recipe.batch)
        noisy = batch.states + recipe.noise * deviation * torch.randn_like(batch.states)
        return motion_loss(batch.at_frames(net(noisy)), batch.target, batch.mask, weights, recipe)

    run_optimizer(net, draw_loss, recipe, on_step)
    return net


def build_member(
    examples: Sequence[Example], basis: Basis, recipe: Recipe
) -> tuple[TemporalNet, Tensor]:
    """Return an untrained network, and the standard deviation of its inputs (P,).

    Args:
        examples: with projected states.
        basis: basis of the mouth motion.
        recipe: architecture; the first emphasis scales the inputs.
    """
    net = TemporalNet(
        examples[0].states.shape[1],
        recipe.hidden,
        basis.size,
        dilations=recipe.dilations,
        dropout=recipe.dropout,
    )
    mean, deviation = state_statistics(examples)
    net.standardise(torch.zeros_like(mean), deviation ** -recipe.emphasis[0])
    return net, deviation


def run_optimizer(
    net: nn.Module, draw_loss: Callable[[], Tensor], recipe: Recipe, on_step: OnStep | None
) -> None:
    """Minimise the loss of a network with the settings of a recipe."""
    optimize(
        net,
        draw_loss,
        steps=recipe.steps,
        rate=recipe.rate,
        decay=recipe.decay,
        average=recipe.average,
        clip=1.0,
        on_step=on_step,
    )


def state_statistics(examples: Sequence[Example]) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation (1024,) of the speech states."""
    states = np.concatenate([e.states[::5] for e in examples]).astype(np.float32)
    return torch.from_numpy(states.mean(0)), torch.from_numpy(states.std(0))


class ProgressPrinter:
    """Prints the loss of training."""

    def __init__(self, every: int = 100) -> None:
        self._every = every
        self._start = time.monotonic()

    def __call__(self, step: int, value: float, average: ExponentialMovingAverage) -> None:
        """Print every *every*-th step."""
        if step % self._every == 0:
            print(f"step {step}: loss {value:.3f}, {time.monotonic() - self._start:.0f} s")
