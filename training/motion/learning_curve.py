"""Stage ``curve``: measure accuracy on unseen speakers against the number of training speakers.

The same recipe is trained on a few speakers drawn at random, then on more, and scored each time on
the test clips, whose people, rooms and languages are in no draw. A second series is trained on
every speaker, but only on a share of each speaker's clips: it shows whether more speech of the same
people would help as much.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lipwright.motion.basis import Basis
from training.motion import evaluate
from training.motion.data.corpus import Example
from training.motion.metrics import MEASURES, MIN_RUN_SECONDS, TEST_SETS, compare
from training.motion.network import MotionNet

SPEAKER_COUNTS = (4, 8, 16, 28)  # speakers per training; the last training has all
CLIP_SHARES = (0.125, 0.25, 0.5)  # of every speaker's clips, in the second series
DRAWS = 3  # random draws per training size
EXPONENTS = (1.0, 0.3)  # of the power law: the fastest and the slowest that are common
EXTRAPOLATED_COUNTS = (100, 300, 1000)  # speakers for which the table extrapolates

Train = Callable[[list[Example]], tuple[MotionNet, Basis]]
Scores = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class TrainingTask:
    """One training of the curve."""

    speakers: int  #: number of speakers
    share: float  #: of their clips
    draw: int  #: number of the random draw


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """A training and its scores; one line of the file of points."""

    speakers: int
    share: float
    draw: int
    seconds: float  #: of training speech
    scores: Scores  #: mean correlation over the long runs, by ``clips opening``, …

    @property
    def task(self) -> TrainingTask:
        """The training."""
        return TrainingTask(speakers=self.speakers, share=self.share, draw=self.draw)


def plan_tasks(speakers: int) -> Iterator[TrainingTask]:
    """Yield all trainings for a number of speakers in all, the short ones first."""
    for count in (c for c in SPEAKER_COUNTS if c < speakers):
        for draw in range(DRAWS):
            yield TrainingTask(speakers=count, share=1.0, draw=draw)
    for share in CLIP_SHARES:
        for draw in range(DRAWS if share < CLIP_SHARES[-1] else 1):
            yield TrainingTask(speakers=speakers, share=share, draw=draw)
    yield TrainingTask(speakers=speakers, share=1.0, draw=0)


def select_examples(examples: Sequence[Example], task: TrainingTask) -> list[Example]:
    """Return the training examples of a task; the same task gives the same examples."""
    random = np.random.default_rng([task.draw, task.speakers, round(1000 * task.share)])
    speakers = sorted({e.speaker for e in examples})
    chosen = {speakers[i] for i in random.permutation(len(speakers))[: task.speakers]}
    if task.share == 1:
        return [e for e in examples if e.speaker in chosen]
    clips: set[str] = set()
    for speaker in speakers:
        names = sorted({e.name for e in examples if e.speaker == speaker})
        clips |= {names[i] for i in random.permutation(len(names))[: _clip_count(len(names), task)]}
    return [e for e in examples if e.speaker in chosen and e.name in clips]


def _clip_count(count: int, task: TrainingTask) -> int:
    return max(round(count * task.share), 1)


def measure_curve(
    examples: Sequence[Example], test_examples: Sequence[Example], train: Train, path: Path
) -> list[CurvePoint]:
    """Run all trainings that are not yet done, and return all points.

    Args:
        examples: training examples.
        test_examples: runs of clips whose people are in none of the training examples.
        train: trains a network and its basis on examples.
        path: file of points, one JSON object a line; each new point is appended.
    """
    points = load_points(path)
    done = {p.task for p in points}
    for task in plan_tasks(len({e.speaker for e in examples})):
        if task in done:
            continue
        chosen = select_examples(examples, task)
        net, basis = train(chosen)
        seconds = sum(e.seconds for e in chosen)
        found = CurvePoint(
            **asdict(task), seconds=seconds, scores=score_network(net, basis, test_examples)
        )
        points.append(found)
        with path.open("a") as file:
            file.write(json.dumps(asdict(found)) + "\n")
        print(json.dumps(asdict(found)))
    return points


def load_points(path: Path) -> list[CurvePoint]:
    """Return the points in a file of :func:`measure_curve`; none if there is no file."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [CurvePoint(**json.loads(line)) for line in lines]


def score_network(net: MotionNet, basis: Basis, test_examples: Iterable[Example]) -> Scores:
    """Return the mean correlation over long runs, for each test set and measure."""
    found: dict[str, list[float]] = {}
    long = [e for e in test_examples if float(e.times[-1] - e.times[0]) >= MIN_RUN_SECONDS]
    for example, (predicted, tracked, seconds) in zip(
        long, evaluate.evaluate(net, basis, long).values(), strict=True
    ):
        agreement = compare(predicted, tracked, seconds)
        for measure in MEASURES:
            key = f"{example.name.partition('__')[0]} {measure}"
            found.setdefault(key, []).append(getattr(agreement, measure))
    return {key: float(np.mean(values)) for key, values in found.items()}


@dataclass(frozen=True, kw_only=True)
class PowerLaw:
    """``r = ceiling - deficit n ** -exponent`` (Hestness et al. 2017)."""

    ceiling: float
    deficit: float
    exponent: float

    def at(self, count: float) -> float:
        """Return the expected correlation with a number of speakers."""
        return self.ceiling - self.deficit * float(count**-self.exponent)


def fit_power_law(counts: Sequence[float], values: Sequence[float], exponent: float) -> PowerLaw:
    """Fit the power law to correlations by least squares, with a ceiling of at most 1.

    The exponent is given, because a few points cannot tell it from the ceiling.
    """
    falling: NDArray[np.float64] = np.array(counts, np.float64) ** -exponent
    slope, ceiling = np.polyfit(falling, np.array(values), 1)
    if ceiling > 1:
        ceiling = 1.0
        slope = (falling * (np.array(values) - 1)).sum() / (falling**2).sum()
    return PowerLaw(ceiling=float(ceiling), deficit=float(-slope), exponent=exponent)


def power_laws(points: Sequence[CurvePoint], key: str) -> tuple[PowerLaw, PowerLaw]:
    """Return the fastest and the slowest power law of one test set and measure."""
    whole = [p for p in points if p.share == 1]
    counts, values = [p.speakers for p in whole], [p.scores[key] for p in whole]
    return (
        fit_power_law(counts, values, EXPONENTS[0]),
        fit_power_law(counts, values, EXPONENTS[1]),
    )


def format_table(points: Sequence[CurvePoint]) -> Iterator[str]:
    """Yield the lines of a Markdown table with the mean and standard deviation over draws."""
    keys = [f"{s} {m}" for s in TEST_SETS for m in MEASURES]
    yield "| speakers | of their clips | minutes | " + " | ".join(f"{k} r" for k in keys) + " |"
    yield "|---|---|---|" + "---|" * len(keys)
    for speakers, share in dict.fromkeys((p.speakers, p.share) for p in points):
        group = [p for p in points if (p.speakers, p.share) == (speakers, share)]
        cells = [_spread([p.scores[k] for p in group]) for k in keys]
        minutes = np.mean([p.seconds for p in group]) / 60
        shared = "all" if share == 1 else f"1/{round(1 / share)}"
        yield f"| {speakers} | {shared} | {minutes:.1f} | " + " | ".join(cells) + " |"
    for count in EXTRAPOLATED_COUNTS:
        found = [[law.at(count) for law in power_laws(points, key)] for key in keys]
        cells = [f"*{low:.2f}–{high:.2f}*" for low, high in found]
        yield f"| *{count}, extrapolated* | | | " + " | ".join(cells) + " |"


def _spread(values: list[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"
