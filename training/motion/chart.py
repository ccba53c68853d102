"""The learning curve as a picture, SVG (pure)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from training.motion.growth import Point, laws
from training.motion.measure import MEASURES, SETS

PANEL, HEIGHT = 330, 300  # pixels of one measure's panel
LEFT, TOP, BOTTOM, GAP = 48, 34, 46, 18
SPEAKERS = (3.0, 1200.0)  # the axis, logarithmic
TICKS = (4, 10, 30, 100, 300, 1000)
COLOURS = {"clips": "#0b6e99", "eval": "#c2571a"}
KEY = (
    ("□ fewer clips of all speakers", "#444444"),
    ("– – may go on between", "#444444"),
    ("● draws of speakers, all their clips", "#444444"),
    ("eval/", COLOURS["eval"]),
    ("clips/", COLOURS["clips"]),
)


def chart(points: Sequence[Point]) -> str:
    """Return the picture: one panel for each measure, one line for each set.

    Dots are draws, lines their means, dashes the laws between which it may go on; squares are a
    share of the clips of every speaker, at the number of speakers that would say as much in whole.
    """
    size = LEFT + len(MEASURES) * (PANEL + GAP), TOP + HEIGHT + BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size[0]} {size[1]}" '
        f'width="{size[0]}" height="{size[1]}" font-family="sans-serif" font-size="12">',
        f'<rect width="{size[0]}" height="{size[1]}" fill="#ffffff"/>',
    ]
    low, high = _limits(points)
    for index, measure in enumerate(MEASURES):
        left = LEFT + index * (PANEL + GAP)
        parts += _frame(left, measure, low, high, numbers=index == 0)
        for name in SETS:
            parts += _line(left, f"{name} {measure}", COLOURS[name], points, (low, high))
    for row, (label, colour) in enumerate(KEY):
        parts.append(_text(LEFT + PANEL - 10, TOP + HEIGHT - 14 - 16 * row, label, colour, "end"))
    return "\n".join([*parts, "</svg>", ""])


def _limits(points: Sequence[Point]) -> tuple[float, float]:
    """Return the ends of the vertical axis, tenths."""
    values = [v for p in points for v in p.scores.values()]
    values += [law.at(SPEAKERS[1]) for key in points[0].scores for law in laws(points, key)]
    return math.floor(10 * min(values)) / 10, math.ceil(10 * max(values)) / 10


def _x(left: int, count: float) -> float:
    low, high = np.log(SPEAKERS)
    return left + PANEL * float((math.log(count) - low) / (high - low))


def _y(value: float, limits: tuple[float, float]) -> float:
    return TOP + HEIGHT * (limits[1] - value) / (limits[1] - limits[0])


def _frame(left: int, measure: str, low: float, high: float, *, numbers: bool) -> Iterator[str]:
    yield _text(left + PANEL / 2, TOP - 14, f"{measure} r", "#222222", "middle")
    for step in range(round((high - low) * 10) + 1):
        value = low + step / 10
        y = _y(value, (low, high))
        yield f'<path d="M{left} {y:.1f}h{PANEL}" stroke="#dddddd"/>'
        if numbers:
            yield _text(left - 6, y + 4, f"{value:.1f}", "#444444", "end")
    for count in TICKS:
        x = _x(left, count)
        yield f'<path d="M{x:.1f} {TOP + HEIGHT}v5" stroke="#444444"/>'
        yield _text(x, TOP + HEIGHT + 18, str(count), "#444444", "middle")
    yield _text(left + PANEL / 2, TOP + HEIGHT + 36, "speakers learnt from", "#222222", "middle")
    yield (
        f'<rect x="{left}" y="{TOP}" width="{PANEL}" height="{HEIGHT}" fill="none" '
        'stroke="#444444"/>'
    )


def _line(
    left: int, key: str, colour: str, points: Sequence[Point], limits: tuple[float, float]
) -> Iterator[str]:
    whole = [p for p in points if p.share == 1]
    most = max(p.speakers for p in whole)
    for point in points:
        x, y = _x(left, point.speakers * point.share), _y(point.scores[key], limits)
        if point.share == 1:
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}" opacity="0.6"/>'
        else:
            box = f'x="{x - 3:.1f}" y="{y - 3:.1f}" width="6" height="6"'
            yield f'<rect {box} fill="none" stroke="{colour}"/>'
    counts = sorted({p.speakers for p in whole})
    means = [np.mean([p.scores[key] for p in whole if p.speakers == c]) for c in counts]
    solid = [(float(c), float(m)) for c, m in zip(counts, means, strict=True)]
    yield _path(left, solid, colour, limits)
    further = np.geomspace(most, SPEAKERS[1], 24).tolist()
    for law in laws(points, key):
        dashes = ' stroke-dasharray="5 4" opacity="0.7"'
        yield _path(left, [(n, law.at(n)) for n in further], colour, limits, dashes)


def _path(
    left: int,
    places: Sequence[tuple[float, float]],
    colour: str,
    limits: tuple[float, float],
    style: str = "",
) -> str:
    steps = [f"{_x(left, n):.1f} {_y(r, limits):.1f}" for n, r in places]
    return f'<path d="M{" L".join(steps)}" fill="none" stroke="{colour}" stroke-width="2"{style}/>'


def _text(x: float, y: float, text: str, colour: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}">{text}</text>'
