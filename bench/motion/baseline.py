"""Train a small baseline network and score it as `bench.motion` scores the product.

    python -m bench.motion.baseline --data ../shared/data --cache FOLDER [--seconds 120]

The baseline has the network, loss and sampling of the prototype behind the design: one convolution
over the speech states of unmodified clips, trained for a given wall time. Its parameters are
averaged, and it uses layers 2 and 4 of the speech encoder, as the better of its variants did.
FOLDER holds the output of the stage ``features`` of ``training.motion``.
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
from training.motion.data import corpus
from training.motion.metrics import MIN_RUN_SECONDS, TEST_SETS, compare
from training.motion.network import ExponentialMovingAverage

from bench.common.clips import DATA
from bench.motion.scores import Predictor, means_by_set, predicted_and_tracked
from bench.motion.segments import ClipSegment, load_segments
from lipwright.motion.basis import principal_directions
from lipwright.motion.model import MotionModel
from lipwright.motion.resampling import STATE_RATE
from lipwright.motion.sync_scorer import MOUTH_RATE, SyncScorer
from lipwright.types import Doubles, Floats

CONTEXT = 8  # states on each side
COMPONENTS = 12
HIDDEN = 192
BATCH, MAX_FRAMES = 8, 32  # clips of a batch, and frames of each
AVERAGE_DECAY = 0.995
LEARNING_RATE, WEIGHT_DECAY = 1e-3, 0.05
STATE_NOISE = 0.05  # standard deviation, added to the states
LEVEL_WEIGHT = 0.1  # of the absolute error in the loss, against the error around the mean


class BaselineNet(nn.Module):
    """Maps states around a moment (B, 2 CONTEXT + 1, C) to coefficients (B, COMPONENTS)."""

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
class BaselineModel:
    """The trained network and its motion basis."""

    net: BaselineNet
    directions: Floats  #: (COMPONENTS, 183) of mouth motion
    deviation: Floats  #: (COMPONENTS,) of the motion along each

    def predict_displacements(self, states: Floats, times: Doubles) -> Floats:
        """Return mouth displacements (n, 61, 3) at times (n,), seconds."""
        with torch.no_grad():
            coefficients = self.net(torch.from_numpy(states_around(states, times))).numpy()
        displacements: Floats = (coefficients * self.deviation) @ self.directions
        return displacements.reshape(len(times), -1, 3)


def states_around(states: Floats, times: Doubles) -> Floats:
    """Return the states around each time, (n, 2 CONTEXT + 1, C)."""
    offsets = np.arange(-CONTEXT, CONTEXT + 1)
    indices = np.round((times * STATE_RATE - 0.5)[:, None] + offsets).astype(int)
    return states[np.clip(indices, 0, len(states) - 1)].astype(np.float32)


def train(examples: Sequence[corpus.Example], seconds: float) -> BaselineModel:
    """Train for a wall time in seconds, on unmodified clips without an audio offset."""
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    displacements = [e.mouth - e.mouth.mean(0) for e in examples]
    directions = principal_directions(np.concatenate(displacements)[::4], COMPONENTS)
    directions = directions.reshape(COMPONENTS, -1)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    targets = [d.reshape(len(d), -1) @ directions.T for d in displacements]
    deviation = np.concatenate(targets).std(0)
    weight = torch.from_numpy(deviation / deviation.max())
    net = BaselineNet(examples[0].states.shape[1])
    average = ExponentialMovingAverage(net, AVERAGE_DECAY)
    optimizer = torch.optim.AdamW(net.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    lengths = np.array([len(d) for d in displacements], np.float64)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        loss = torch.zeros(())
        for k in random.choice(len(examples), BATCH, p=lengths / lengths.sum()):
            count = min(len(displacements[k]), MAX_FRAMES)
            first = random.integers(0, len(displacements[k]) - count + 1)
            chosen = slice(first, first + count)
            states = states_around(examples[k].states, examples[k].times[chosen])
            inputs = torch.from_numpy(states)
            target = torch.from_numpy(targets[k][chosen] / deviation)
            output = net(inputs + STATE_NOISE * torch.randn_like(inputs))
            around_mean = (output - output.mean(0)) - (target - target.mean(0))
            error = around_mean.abs() + LEVEL_WEIGHT * (output - target).abs()
            loss = loss + (error * weight).mean() / BATCH
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        average.update()
    net.load_state_dict(average.state_dict())
    return BaselineModel(net=net.eval(), directions=directions, deviation=deviation)


def table_row(name: str, model: Predictor, segments: Sequence[tuple[ClipSegment, Doubles]]) -> str:
    """Return opening and width r: means over the segments of each set, and of both sets' means.

    Args:
        name: of the row.
        model: to score.
        segments: each with the times (T,) of its sound that belong to its frames.
    """
    rows = []
    for segment, times in segments:
        agreement = compare(*predicted_and_tracked(segment, model, times), segment.seconds)
        rows.append((segment.name, agreement.opening, agreement.width))
    means = means_by_set(rows, TEST_SETS)
    cells = [f"{value:.3f}" for value in (*means.ravel(), *means.mean(0))]
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.motion.baseline",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, default=DATA, help="folder with clips/ and eval/")
    parser.add_argument("--cache", type=Path, required=True, help="folder with features/")
    parser.add_argument(
        "--seconds", type=float, nargs="+", default=[120.0], help="wall time of the training"
    )
    arguments = parser.parse_args()
    examples, _ = corpus.load_examples(arguments.cache / "features")
    scorer = SyncScorer()
    segments = []
    for segment in load_segments(arguments.data, arguments.cache / "features"):
        if segment.seconds >= MIN_RUN_SECONDS:
            sync = scorer.estimate_offset(segment.mouth, segment.times, segment.states)
            segments.append((segment, segment.times + sync.offset / MOUTH_RATE))
    print(f"| | {' | '.join(f'{s} opening r | {s} width r' for s in (*TEST_SETS, 'mean'))} |")
    print("|---" * 7 + "|")
    for seconds in arguments.seconds:
        name, model = f"baseline, {seconds:.0f} s", train(examples, seconds)
        print(table_row(name, model, segments), flush=True)
    print(table_row("product", MotionModel(), segments))


if __name__ == "__main__":
    main()
