"""Measure the two-minute baseline as `bench.motion` measures the product.

Usage: ``python -m bench.baseline --data ../shared/data --cache FOLDER [--seconds 120]``

The network, loss and sampling of the prototype behind the design: one convolution over the speech
states of a clip as they were heard, trained for so many seconds of wall time. Its parameters are
averaged, and it hears layers 2 and 4, as the better of its variants did. FOLDER holds what the
stage ``features`` of ``training.motion`` has found.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from training.motion import corpus
from training.motion.measure import LONG, SETS, compare
from training.motion.network import Average

from bench.motion import Predictor, Take, gather, set_means, side_by_side
from lipwright.motion.basis import principal
from lipwright.motion.model import MotionModel
from lipwright.motion.resampling import RATE
from lipwright.motion.sync_scorer import RATE as FRAMES
from lipwright.motion.sync_scorer import SyncScorer
from lipwright.types import Doubles, Floats

REACH = 8  # states on each side
COMPONENTS = 12
HIDDEN = 192
BATCH, STRETCH = 8, 32  # clips, and frames of each


class Baseline(nn.Module):
    """States around a moment (B, 2 REACH + 1, C) to coefficients (B, COMPONENTS)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, HIDDEN))
        convolutions: list[nn.Module] = []
        for stride in (1, 2, 2):
            convolutions += [nn.Conv1d(HIDDEN, HIDDEN, 5, stride=stride, padding=2), nn.GELU()]
        self.convolutions = nn.Sequential(*convolutions)
        self.leave = nn.Sequential(
            *(nn.Linear(HIDDEN * 5, HIDDEN), nn.GELU(), nn.Dropout(0.3)),
            nn.Linear(HIDDEN, COMPONENTS),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map states to coefficients."""
        out: Tensor = self.leave(self.convolutions(self.enter(x).transpose(1, 2)).flatten(1))
        return out


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The network and the motions that it speaks in."""

    net: Baseline
    directions: Floats  #: (COMPONENTS, 183) of mouth motion
    deviation: Floats  #: (COMPONENTS,) of the motion along each

    def predict(self, states: Floats, times: Doubles) -> Floats:
        """Return mouth displacements (n, 61, 3) at times (n,), seconds."""
        with torch.no_grad():
            found = self.net(torch.from_numpy(around(states, times))).numpy()
        moved: Floats = ((found * self.deviation) @ self.directions).reshape(len(times), -1, 3)
        return moved


def around(states: Floats, times: Doubles) -> Floats:
    """Return the states nearest to each time and beside it, (n, 2 REACH + 1, C)."""
    places = np.round((times * RATE - 0.5)[:, None] + np.arange(-REACH, REACH + 1)).astype(int)
    return states[np.clip(places, 0, len(states) - 1)].astype(np.float32)


def train(examples: Sequence[corpus.Example], seconds: float) -> Trained:
    """Train for so long, on clips as they are, without an offset."""
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    moved = [e.mouth - e.mouth.mean(0) for e in examples]
    directions = principal(np.concatenate(moved)[::4], COMPONENTS).reshape(COMPONENTS, -1)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    wanted = [m.reshape(len(m), -1) @ directions.T for m in moved]
    deviation = np.concatenate(wanted).std(0)
    weight = torch.from_numpy(deviation / deviation.max())
    net = Baseline(examples[0].states.shape[1])
    average = Average(net, 0.995)
    optimiser = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=0.05)
    chance = np.array([len(m) for m in moved], np.float64)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        loss = torch.zeros(())
        for k in random.choice(len(examples), BATCH, p=chance / chance.sum()):
            count = min(len(moved[k]), STRETCH)
            first = random.integers(0, len(moved[k]) - count + 1)
            some = slice(first, first + count)
            heard = torch.from_numpy(around(examples[k].states, examples[k].times[some]))
            true = torch.from_numpy(wanted[k][some] / deviation)
            found = net(heard + 0.05 * torch.randn_like(heard))
            shape = (found - found.mean(0)) - (true - true.mean(0))
            loss = loss + ((shape.abs() + 0.1 * (found - true).abs()) * weight).mean() / BATCH
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        average.update()
    net.load_state_dict(average.state_dict())
    return Trained(net=net.eval(), directions=directions, deviation=deviation)


def row(name: str, model: Predictor, takes: Sequence[tuple[Take, Doubles]]) -> str:
    """Return opening and width r, means over the runs of each set and of both sets' means.

    Args:
        name: of the row.
        model: that moves the mouths.
        takes: long runs, and the times (T,) of their sound that belong to their frames.
    """
    runs = []
    for take, times in takes:
        agreed = compare(*side_by_side(take, model, times), take.seconds)
        runs.append((take.name, agreed.opening, agreed.width))
    means = set_means(runs)
    cells = [f"{value:.3f}" for value in (*means.ravel(), *means.mean(0))]
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cache", type=Path, required=True, help="folder with features/")
    parser.add_argument("--seconds", type=float, nargs="+", default=[120.0], help="of training")
    options = parser.parse_args()
    examples, _ = corpus.read(options.cache / "features")
    scorer = SyncScorer()
    takes = [
        (take, take.times + scorer.offset(take.mouth, take.times, take.states).offset / FRAMES)
        for take in gather(options.data, options.cache / "features")
        if take.seconds >= LONG
    ]
    print(f"| | {' | '.join(f'{s} opening r | {s} width r' for s in (*SETS, 'mean'))} |")
    print("|---" * 7 + "|")
    for seconds in options.seconds:
        name, trained = f"baseline, {seconds:.0f} s", train(examples, seconds)
        print(row(name, trained, takes), flush=True)
    print(row("product", MotionModel(), takes))


if __name__ == "__main__":
    main()
