"""Draw the learning curve with matplotlib."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from training.motion.learning_curve import CurvePoint, power_laws
from training.motion.metrics import MEASURES, TEST_SETS

PANEL_SIZE = (4.6, 4.2)  # inches, of one measure's panel
SPEAKERS = (3.0, 1200.0)  # range of the horizontal axis, logarithmic
TICKS = (4, 10, 30, 100, 300, 1000)
COLOURS = {"clips": "#0b6e99", "eval": "#c2571a"}
DRAWS, SHARES = "draws", "shares"  # prefixes of the ids of the marks in an SVG file


def draw_chart(points: Sequence[CurvePoint], path: Path) -> None:
    """Write the chart to a file: one panel for each measure, one line for each test set.

    Dots are draws of speakers and solid lines their means. Dashed lines are the power laws between
    which the curve may continue. Squares are trainings on a share of every speaker's clips, drawn
    at the number of speakers with as much speech.

    Args:
        points: all points of the curve.
        path: file to write; the suffix chooses the format, for example ``.svg``.
    """
    width, height = PANEL_SIZE
    figure = Figure(figsize=(width * len(MEASURES), height), layout="constrained")
    panels = figure.subplots(1, len(MEASURES), sharey=True, squeeze=False)[0]
    for axes, measure in zip(panels, MEASURES, strict=True):
        _set_up(axes, measure)
        for name in TEST_SETS:
            _draw_set(axes, f"{name} {measure}", COLOURS[name], points)
    panels[0].set_ylim(*_limits(points))
    panels[0].legend(handles=_legend(), loc="lower right", fontsize="small")
    figure.savefig(path)


def _set_up(axes: Axes, measure: str) -> None:
    axes.set_title(f"{measure} r")
    axes.set_xlabel("speakers in training")
    axes.set_xscale("log")
    axes.set_xlim(*SPEAKERS)
    axes.set_xticks(TICKS, [str(count) for count in TICKS])
    axes.minorticks_off()
    axes.grid(axis="y", color="#dddddd")


def _limits(points: Sequence[CurvePoint]) -> tuple[float, float]:
    """Return the ends of the vertical axis, in tenths."""
    values = [v for p in points for v in p.scores.values()]
    values += [law.at(SPEAKERS[1]) for key in points[0].scores for law in power_laws(points, key)]
    return math.floor(10 * min(values)) / 10, math.ceil(10 * max(values)) / 10


def _draw_set(axes: Axes, key: str, colour: str, points: Sequence[CurvePoint]) -> None:
    """Draw the points of one test set and measure, their means and the power laws."""
    whole = [p for p in points if p.share == 1]
    shares = [p for p in points if p.share != 1]
    dots = axes.plot([p.speakers for p in whole], [p.scores[key] for p in whole], "o")[0]
    dots.set(color=colour, markersize=4, alpha=0.6, gid=f"{DRAWS} {key}")
    squares = axes.plot(
        [p.speakers * p.share for p in shares], [p.scores[key] for p in shares], "s"
    )[0]
    squares.set(color=colour, markersize=5, fillstyle="none", gid=f"{SHARES} {key}")
    counts = sorted({p.speakers for p in whole})
    means = [np.mean([p.scores[key] for p in whole if p.speakers == c]) for c in counts]
    axes.plot(counts, means, color=colour, linewidth=2)
    further = np.geomspace(counts[-1], SPEAKERS[1], 24)
    for law in power_laws(points, key):
        axes.plot(further, [law.at(n) for n in further], "--", color=colour, alpha=0.7)


def _legend() -> list[Line2D]:
    grey = "#444444"
    return [
        *(Line2D([], [], color=COLOURS[name], linewidth=2, label=f"{name}/") for name in TEST_SETS),
        Line2D([], [], color=grey, marker="o", linestyle="", label="all clips of drawn speakers"),
        Line2D([], [], color=grey, linestyle="--", label="range of the extrapolation"),
        Line2D(
            *([], []),
            color=grey,
            marker="s",
            linestyle="",
            fillstyle="none",
            label="fewer clips of all speakers",
        ),
    ]
