"""Stage ``curve``: how well strangers' mouths are moved, by the number of speakers learnt from.

The same recipe learns from a few speakers drawn at random, then from more, and is scored each time
on the clips that measure: people, rooms and languages that no draw holds. A second line learns from
every speaker, but only a share of each one's clips: it tells whether more speech of the same people
would do as well.
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
from training.motion.corpus import Example
from training.motion.measure import LONG, MEASURES, SETS, compare
from training.motion.network import MotionNet

COUNTS = (4, 8, 16, 28)  # speakers, and then all
SHARES = (0.125, 0.25, 0.5)  # of every speaker's clips
DRAWS = 3
EXPONENTS = (1.0, 0.3)  # of the law, the quickest and the slowest that are usually found
FURTHER = (100, 300, 1000)  # speakers to which the law is followed

Learn = Callable[[list[Example]], tuple[MotionNet, Basis]]
Scores = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Task:
    """One training: how many speakers, what share of their clips, by which draw."""

    speakers: int
    share: float
    draw: int


@dataclass(frozen=True, kw_only=True)
class Point:
    """A task, and what came of it."""

    speakers: int
    share: float
    draw: int
    seconds: float  #: learnt from, each heard many times
    scores: Scores  #: mean correlation over the long runs, by ``clips opening``, …

    @property
    def task(self) -> Task:
        """What was done."""
        return Task(speakers=self.speakers, share=self.share, draw=self.draw)


def tasks(speakers: int) -> Iterator[Task]:
    """Yield what there is to be trained, of so many speakers in all, quick ones first."""
    for count in (c for c in COUNTS if c < speakers):
        for draw in range(DRAWS):
            yield Task(speakers=count, share=1.0, draw=draw)
    for share in SHARES:
        for draw in range(DRAWS if share < SHARES[-1] else 1):
            yield Task(speakers=speakers, share=share, draw=draw)
    yield Task(speakers=speakers, share=1.0, draw=0)


def pick(examples: Sequence[Example], task: Task) -> list[Example]:
    """Return the examples that a task learns from; the same task, the same examples."""
    random = np.random.default_rng([task.draw, task.speakers, round(1000 * task.share)])
    people = sorted({e.speaker for e in examples})
    chosen = {people[i] for i in random.permutation(len(people))[: task.speakers]}
    if task.share == 1:
        return [e for e in examples if e.speaker in chosen]
    clips: set[str] = set()
    for speaker in people:
        names = sorted({e.name for e in examples if e.speaker == speaker})
        clips |= {names[i] for i in random.permutation(len(names))[: _share(len(names), task)]}
    return [e for e in examples if e.speaker in chosen and e.name in clips]


def _share(count: int, task: Task) -> int:
    return max(round(count * task.share), 1)


def grow(
    examples: Sequence[Example], measuring: Sequence[Example], learn: Learn, kept: Path
) -> list[Point]:
    """Do all tasks that are not yet done, and return all points.

    Args:
        examples: to learn from.
        measuring: runs of clips whose people are in none of the examples.
        learn: the recipe.
        kept: file of points, one JSON object a line; new ones are added as they are found.
    """
    points = load(kept)
    done = {p.task for p in points}
    for task in tasks(len({e.speaker for e in examples})):
        if task in done:
            continue
        chosen = pick(examples, task)
        net, basis = learn(chosen)
        seconds = sum(e.seconds for e in chosen)
        found = Point(**asdict(task), seconds=seconds, scores=score(net, basis, measuring))
        points.append(found)
        with kept.open("a") as file:
            file.write(json.dumps(asdict(found)) + "\n")
        print(json.dumps(asdict(found)))
    return points


def load(kept: Path) -> list[Point]:
    """Return the points in a file written by `grow`; none where there is no file."""
    lines = kept.read_text().splitlines() if kept.exists() else []
    return [Point(**json.loads(line)) for line in lines]


def score(net: MotionNet, basis: Basis, measuring: Iterable[Example]) -> Scores:
    """Return the mean correlation over the runs of `LONG` and more, for each set and measure."""
    found: dict[str, list[float]] = {}
    long = [e for e in measuring if float(e.times[-1] - e.times[0]) >= LONG]
    for example, (predicted, tracked, seconds) in zip(
        long, evaluate.evaluate(net, basis, long).values(), strict=True
    ):
        agreement = compare(predicted, tracked, seconds)
        for measure in MEASURES:
            key = f"{example.name.partition('__')[0]} {measure}"
            found.setdefault(key, []).append(getattr(agreement, measure))
    return {key: float(np.mean(values)) for key, values in found.items()}


@dataclass(frozen=True, kw_only=True)
class Law:
    """``r = ceiling - lack n ** -exponent``: how learning usually goes (Hestness et al. 2017)."""

    ceiling: float
    lack: float
    exponent: float

    def at(self, count: float) -> float:
        """Return the correlation expected of so many speakers."""
        return self.ceiling - self.lack * float(count**-self.exponent)


def extrapolate(counts: Sequence[float], values: Sequence[float], exponent: float) -> Law:
    """Fit the law to correlations by least squares, its ceiling not above 1.

    The exponent is given: so few points cannot tell it from the ceiling.
    """
    falling: NDArray[np.float64] = np.array(counts, np.float64) ** -exponent
    slope, ceiling = np.polyfit(falling, np.array(values), 1)
    if ceiling > 1:
        ceiling = 1.0
        slope = (falling * (np.array(values) - 1)).sum() / (falling**2).sum()
    return Law(ceiling=float(ceiling), lack=float(-slope), exponent=exponent)


def laws(points: Sequence[Point], key: str) -> tuple[Law, Law]:
    """Return the laws of one set and measure over the number of speakers: quickest, slowest."""
    whole = [p for p in points if p.share == 1]
    counts, values = [p.speakers for p in whole], [p.scores[key] for p in whole]
    return (
        extrapolate(counts, values, EXPONENTS[0]),
        extrapolate(counts, values, EXPONENTS[1]),
    )


def table(points: Sequence[Point]) -> Iterator[str]:
    """Yield the lines of the table: the mean over the draws, and their spread."""
    keys = [f"{s} {m}" for s in SETS for m in MEASURES]
    yield "| speakers | of their clips | minutes | " + " | ".join(f"{k} r" for k in keys) + " |"
    yield "|---|---|---|" + "---|" * len(keys)
    for speakers, share in dict.fromkeys((p.speakers, p.share) for p in points):
        group = [p for p in points if (p.speakers, p.share) == (speakers, share)]
        cells = [_spread([p.scores[k] for p in group]) for k in keys]
        minutes = np.mean([p.seconds for p in group]) / 60
        shared = "all" if share == 1 else f"1/{round(1 / share)}"
        yield f"| {speakers} | {shared} | {minutes:.1f} | " + " | ".join(cells) + " |"
    for count in FURTHER:
        found = [[law.at(count) for law in laws(points, key)] for key in keys]
        cells = [f"*{low:.2f}–{high:.2f}*" for low, high in found]
        yield f"| *{count}, extrapolated* | | | " + " | ".join(cells) + " |"


def _spread(values: list[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"
