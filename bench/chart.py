"""Line charts with logarithmic axes as SVG (pure)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 360, 260  # pixels of the plot
LEFT, TOP, BOTTOM, GAP = 60, 40, 50, 70
COLOURS = ("#0b6e99", "#c2571a", "#4f7f2a", "#7a4fa3")


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line and its name."""

    name: str
    points: tuple[tuple[float, float], ...]  #: x and y, both positive


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One chart: lines over marked axes."""

    title: str
    x: dict[float, str]  #: marks of the horizontal axis
    y: dict[float, str]
    lines: tuple[Line, ...]


def chart(panels: Sequence[Panel]) -> str:
    """Return the panels side by side as an SVG picture."""
    size = LEFT + len(panels) * (WIDTH + GAP), TOP + HEIGHT + BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size[0]} {size[1]}" '
        f'width="{size[0]}" height="{size[1]}" font-family="sans-serif" font-size="12">',
        f'<rect width="{size[0]}" height="{size[1]}" fill="#ffffff"/>',
    ]
    for index, panel in enumerate(panels):
        parts += _panel(panel, LEFT + index * (WIDTH + GAP))
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Panel, left: int) -> Iterator[str]:
    yield _text(left + WIDTH / 2, TOP - 16, panel.title, "#222222", "middle")
    for value, name in panel.y.items():
        y = TOP + HEIGHT * (1 - _share(value, panel.y))
        yield f'<path d="M{left} {y:.1f}h{WIDTH}" stroke="#dddddd"/>'
        yield _text(left - 6, y + 4, name, "#444444", "end")
    for value, name in panel.x.items():
        x = left + WIDTH * _share(value, panel.x)
        yield f'<path d="M{x:.1f} {TOP + HEIGHT}v5" stroke="#444444"/>'
        yield _text(x, TOP + HEIGHT + 20, name, "#444444", "middle")
    yield (
        f'<rect x="{left}" y="{TOP}" width="{WIDTH}" height="{HEIGHT}" fill="none" '
        'stroke="#444444"/>'
    )
    for line, colour in zip(panel.lines, COLOURS, strict=False):
        places = [
            (left + WIDTH * _share(x, panel.x), TOP + HEIGHT * (1 - _share(y, panel.y)))
            for x, y in line.points
        ]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
        yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places)
    for row, (line, colour) in enumerate(zip(panel.lines, COLOURS, strict=False)):
        yield _text(left + 10, TOP + 18 + 16 * row, line.name, colour)


def _share(value: float, marks: dict[float, str]) -> float:
    """Return where a value lies between the outermost marks, 0 to 1, by its logarithm."""
    low, high = math.log(min(marks)), math.log(max(marks))
    return (math.log(value) - low) / (high - low)


def _text(x: float, y: float, text: str, colour: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}">{text}</text>'
