"""Stage ``fit``: learn to tell what is covered from what is not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lipwright.face.expected import Expectation, values_of
from lipwright.face.raster import layout
from lipwright.face.uncovered import CHANNELS, Frames, Uncovered
from lipwright.types import Floats
from training.face import takes
from training.face.footage import Face, drawn
from training.face.network import CellNet
from training.face.takes import Varied

HELD = 40  # clips held back, to see how well it goes
AGAIN = {"misc": 8, "drawn": 4}  # so many times do these count: few, and of other kinds
DRAWN = 6
TAKES = 3  # at a step
COVERED, CLEAR = 0.3, 0.04  # cover from which a cell is, and up to which it is not
MISSED = 2.5  # how much more a covered cell counts
TOLD = 0.15  # share of takes for which part of the truth is known beforehand
FIRST = 0.5  # weight of the first look, before the face is known well
EVERY = 50  # steps between two reports

Weights = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How it is trained."""

    steps: int = 3400
    rate: float = 4e-3
    seed: int = 0
    kept: float = 0.0  #: share of the network that it starts from in what comes out


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Takes of m frames together."""

    first: Tensor  #: (m, C, S, S) inputs while the face is known by deviations alone
    second: Tensor  #: the same once the network has looked
    covered: Tensor  #: (m, S, S) 0 or 1
    weight: Tensor  #: (m, S, S)


def train(
    faces: list[Face], recipe: Recipe, kept: Path | None = None, start: Path | None = None
) -> CellNet:
    """Train the network; the same faces, recipe and number of threads give the same one.

    Args:
        faces: to learn from.
        recipe: how.
        kept: where what is learnt so far is kept.
        start: what was kept of an earlier training, to go on from.
    """
    torch.manual_seed(recipe.seed)
    random = np.random.default_rng(recipe.seed)
    order = [faces[i] for i in random.permutation(len(faces))]
    held, learnt = order[:HELD], [*order[HELD:], *drawn(DRAWN)]
    learnt = [f for f in learnt for _ in range(_weight(f))]
    skins = [takes.plain(f) for f in order[HELD:]]
    net: CellNet = CellNet(CHANNELS).to(memory_format=torch.channels_last)
    before = torch.load(start) if start is not None else None
    if before is not None:
        net.load_state_dict(before)
    optimiser = torch.optim.AdamW(net.parameters(), recipe.rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, recipe.steps)
    asked = [takes.vary(np.random.default_rng(i), f, skins) for i, f in enumerate(held)]
    started, losses = time.monotonic(), list[float]()
    for step in range(1, recipe.steps + 1):
        some = [learnt[i] for i in random.integers(0, len(learnt), TAKES)]
        loss = loss_of(net, batch(net, [takes.vary(random, f, skins) for f in some], random))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
        if step % EVERY == 0:
            print(
                f"{step}: loss {np.mean(losses[-EVERY:]):.4f}, {time.monotonic() - started:.0f} s"
            )
            if kept is not None:
                torch.save(net.state_dict(), kept)
    if before is not None:
        net.load_state_dict(mixed(net.state_dict(), before, recipe.kept))
    print("held back: recall {:.3f}, false {:.4f}".format(*rates(net, asked)))
    net.eval()
    return net


def mixed(learnt: Weights, before: Weights, share: float) -> Weights:
    """Return weights between those learnt and those before, of which there is a *share*.

    The mean of a network and of what it became finds nearly all that either finds, with the fewer
    false alarms (Wortsman et al. 2022, "Model soups", arXiv:2203.05482).
    """
    return {
        name: torch.lerp(value.float(), before[name].float(), share).to(value.dtype)
        for name, value in learnt.items()
    }


def batch(net: CellNet, varied: list[Varied], random: np.random.Generator) -> Batch:
    """Look at takes as the detector does: twice, the second time knowing the face better."""
    looked, seconds = [*_looked(varied, random)], list[Floats]()
    firsts = [face.inputs(face.frames, face.free) for face in looked]
    chances = _chances(net, firsts)
    for face, chance in zip(looked, chances, strict=True):
        known = Uncovered(frames=face.frames, free=1 - chance)
        seconds.append(known.inputs(face.frames, known.free))
    cover = np.concatenate([v.cover for v in varied])
    counts = np.concatenate([v.visible for v in varied]) & layout().judged
    counts &= (cover < CLEAR) | (cover > COVERED)
    covered = (cover > COVERED).astype(np.float32)
    return Batch(
        first=_tensor(firsts),
        second=_tensor(seconds),
        covered=torch.from_numpy(covered),
        weight=torch.from_numpy(counts * (1 + (MISSED - 1) * covered)),
    )


def loss_of(net: CellNet, asked: Batch) -> Tensor:
    """Return the weighted cross entropy of both looks."""
    net.train()
    parts = [
        functional.binary_cross_entropy_with_logits(
            net(inputs), asked.covered, asked.weight, reduction="sum"
        )
        / asked.weight.sum()
        for inputs in (asked.first, asked.second)
    ]
    return FIRST * parts[0] + parts[1]


def rates(net: CellNet, varied: list[Varied]) -> tuple[float, float]:
    """Return the share of covered cells that is found, and that of others taken for covered."""
    asked = batch(net, varied, np.random.default_rng(0))
    (chances,) = _chances(net, [asked.second.numpy()])
    found, covered = chances > 0.5, asked.covered.numpy() > 0
    known = asked.weight.numpy() > 0
    return float(found[known & covered].mean()), float(found[known & ~covered].mean())


def _weight(face: Face) -> int:
    return next((times for kind, times in AGAIN.items() if face.name.startswith(kind)), 1)


def _looked(varied: list[Varied], random: np.random.Generator) -> Iterator[Uncovered]:
    for take in varied:
        values = values_of(take.rasters)
        model = Expectation.fit(values, take.causes, take.visible)
        shot = np.zeros(len(values), np.int64)
        number = np.arange(len(values))
        frames = Frames.of(model, values, take.causes, take.visible, shot, number)
        free = frames.free()
        if random.random() < TOLD:
            share = np.float32(random.random())
            free = share * (take.cover < COVERED) + (1 - share) * free
        yield Uncovered(frames=frames, free=free)


def _chances(net: CellNet, inputs: list[Floats]) -> list[Floats]:
    net.eval()
    with torch.no_grad():
        found = torch.sigmoid(net(_tensor(inputs))).numpy()
    return np.split(found, np.cumsum([len(x) for x in inputs])[:-1])


def _tensor(parts: list[Floats]) -> Tensor:
    joined = torch.from_numpy(np.concatenate(parts))
    return joined.contiguous(memory_format=torch.channels_last)
