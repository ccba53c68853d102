"""Stage 5: train the network that moves the mouth."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lipwright.face import shape
from lipwright.motion.basis import Basis, principal
from lipwright.motion.train.batches import Batch, Sampler, row
from lipwright.motion.train.corpus import Example
from lipwright.motion.train.measure import Agreement, compare, curves
from lipwright.motion.train.network import Average, TemporalNet

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the network is built and trained."""

    components: int = 12  #: directions of mouth motion
    hidden: int = 192
    dilations: tuple[int, ...] = (1, 2, 4)
    dropout: float = 0.2
    steps: int = 1500
    batch: int = 24
    rate: float = 1e-3  #: learning rate at its height
    decay: float = 0.05  #: weight decay
    average: float = 0.995  #: of the parameters
    noise: float = 0.1  #: added to the states, in their standard deviations
    absolute: float = 0.1  #: weights of the losses, see `loss`
    velocity: float = 0.5
    shape: float = 0.5
    closure: float = 1.0
    spread: float = 0.05
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Probes:
    """Opening and width as linear functions of the coefficients, for the losses."""

    opening: Tensor  #: (K,)
    width: Tensor  #: (K,)
    importance: Tensor  #: (K,) of each coefficient in the shape


def probes(basis: Basis) -> Probes:
    """Return the probes of a basis."""
    parts = basis.components
    gap = parts[:, shape.LOWER_INNER, 1].mean(1) - parts[:, shape.UPPER_INNER, 1].mean(1)
    corners = parts[:, shape.CORNERS[1], 0] - parts[:, shape.CORNERS[0], 0]
    size = np.sqrt((parts**2).sum((1, 2)))
    return Probes(
        opening=torch.from_numpy(gap),
        width=torch.from_numpy(corners),
        importance=torch.from_numpy(size / size.max()),
    )


def find_basis(examples: Sequence[Example], size: int) -> Basis:
    """Return the directions in which the mouths of examples move."""
    moved = np.concatenate([e.mouth - e.mouth.mean(0) for e in examples])
    components = principal(moved[::2], size)
    none, one = np.zeros(size, np.float32), np.ones(size, np.float32)
    plain = Basis(components=components, rest=none, spread=one, predicted=one)
    found = [plain.coefficients(e.mouth - e.mouth.mean(0)) for e in examples]
    closed = [c[_calmest(e.mouth)].mean(0) for c, e in zip(found, examples, strict=True)]
    return Basis(
        components=components,
        rest=np.mean(closed, 0).astype(np.float32),
        spread=np.median([c.std(0) for c in found], 0).astype(np.float32),
        predicted=one,
    )


def _calmest(mouth: Floats) -> NDArray[np.bool_]:
    """Return the tenth of the frames with the least opening."""
    gap = shape.opening(mouth)
    return gap <= np.quantile(gap, 0.1)


def loss(out: Tensor, batch: Batch, probe: Probes, recipe: Recipe) -> Tensor:
    """Return how far coefficients (B, n, K) are from the wanted ones.

    Position and velocity of all coefficients; opening and width by their correlation, closed
    moments counting more; and the spread of the opening, against the shrink to the mean.
    """
    known, count = batch.known, batch.known.sum(1, keepdim=True)
    total = known.sum() * out.shape[2]

    def centred(x: Tensor) -> Tensor:
        return (x - (x * known).sum(1, keepdim=True) / count) * known

    q, z = centred(out), centred(batch.wanted)
    position = ((q - z).abs() * probe.importance).sum() / total
    absolute = ((out - batch.wanted).abs() * probe.importance * known).sum() / total
    both = known[:, 1:] * known[:, :-1]
    dq, dz = out.diff(dim=1), batch.wanted.diff(dim=1)
    velocity = ((dq - dz).abs() * probe.importance * both).sum() / total
    value = position + recipe.absolute * absolute + recipe.velocity * velocity
    for direction, weight in ((probe.opening, 1.0), (probe.width, 1.0)):
        a, b = q @ direction, z @ direction
        power_a, power_b = (a * a).sum(1), (b * b).sum(1)
        r = (a * b).sum(1) / (power_a * power_b + 1e-8).sqrt()
        value = value + recipe.shape * weight * (1 - r).mean()
        spread = 0.5 * ((power_a + 1e-6) / (power_b + 1e-6)).log()
        value = value + recipe.spread * spread.square().mean()
    gap, truth = q @ probe.opening, z @ probe.opening
    scale = (truth.square().sum(1, keepdim=True) / count[:, 0]).sqrt() + 1e-3
    shut = torch.relu(-truth / scale - 0.5) * known[..., 0]
    return value + recipe.closure * ((gap - truth).abs() / scale * shut).sum() / known.sum()


def train(
    examples: Sequence[Example],
    basis: Basis,
    recipe: Recipe,
    on_step: Callable[[int, float, Average], None] | None = None,
) -> TemporalNet:
    """Return the trained network, with averaged parameters."""
    torch.manual_seed(recipe.seed)
    inputs = examples[0].states.shape[1]
    net = TemporalNet(
        inputs,
        recipe.hidden,
        basis.size,
        dilations=recipe.dilations,
        dropout=recipe.dropout,
    )
    deviation = statistics(examples)[1]
    sampler = Sampler(examples, basis, reach=net.reach, seed=recipe.seed)
    probe, average = probes(basis), Average(net, recipe.average)
    step = _stepper(net, recipe)
    for index in range(recipe.steps):
        batch = sampler.draw(recipe.batch)
        noisy = batch.states + recipe.noise * deviation * torch.randn_like(batch.states)
        value = loss(batch.at_frames(net(noisy)), batch, probe, recipe)
        step(value)
        average.update()
        if on_step:
            on_step(index + 1, float(value.detach()), average)
    net.load_state_dict(average.state_dict())
    net.eval()
    return net


def _stepper(net: TemporalNet, recipe: Recipe) -> Callable[[Tensor], None]:
    """Return what takes one step of AdamW down a loss, on a one-cycle schedule."""
    optimiser = torch.optim.AdamW(net.parameters(), recipe.rate, weight_decay=recipe.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.rate, total_steps=recipe.steps, pct_start=0.1
    )

    def step(value: Tensor) -> None:
        optimiser.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()

    return step


def statistics(examples: Sequence[Example]) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation (1024,) of the speech states."""
    states = np.concatenate([e.states[::5] for e in examples]).astype(np.float32)
    return torch.from_numpy(states.mean(0)), torch.from_numpy(states.std(0))


def calibrate(net: TemporalNet, basis: Basis, examples: Sequence[Example]) -> Basis:
    """Return the basis with the spread of what the network predicts for examples not learnt."""
    found = [basis.coefficients(predict(net, basis, e)).std(0) for e in examples]
    return replace(basis, predicted=np.median(found, 0).astype(np.float32))


def predict(net: TemporalNet, basis: Basis, example: Example) -> Floats:
    """Return the predicted displacements (T, 61, 3) of a whole example."""
    span = slice(0, len(example.times))
    nothing = np.zeros((len(example.times), basis.size), np.float32)
    states, taps, weights, _ = row(example, nothing, span, net.reach)
    with torch.no_grad():
        out = net(torch.from_numpy(states)[None])[0].numpy()
    return basis.shapes((out[taps] * weights[..., None]).sum(1))


def evaluate(
    net: TemporalNet, basis: Basis, examples: Sequence[Example]
) -> dict[str, tuple[Floats, Floats, float]]:
    """Return the predicted and the tracked curves (T, 2) and the length of each example."""
    found = {}
    for i, example in enumerate(examples):
        mouth = example.mouth.mean(0) + predict(net, basis, example)
        found[f"{example.name}#{i}"] = curves(mouth), curves(example.mouth), example.seconds
    return found


def by_speaker(net: TemporalNet, basis: Basis, examples: Sequence[Example]) -> dict[str, Agreement]:
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


class Clock:
    """Prints how training goes."""

    def __init__(self, every: int = 100) -> None:
        self._every = every
        self._start = time.monotonic()

    def __call__(self, step: int, value: float, average: Average) -> None:
        """Print every some steps."""
        if step % self._every == 0:
            print(f"step {step}: loss {value:.3f}, {time.monotonic() - self._start:.0f} s")
