"""Line charts with logarithmic axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

COLOURS = ("#0b6e99", "#c2571a", "#4f7f2a", "#7a4fa3")
PANEL_INCHES = 4.6, 3.6  # width and height
#: Text stays text, and the file does not depend on the day or on chance.
SVG_SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "lipwright",
    "font.family": "sans-serif",
}


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line and its name."""

    name: str
    points: tuple[tuple[float, float], ...]  #: x and y, both positive


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One chart: lines over labelled logarithmic axes."""

    title: str
    x_ticks: Mapping[float, str]
    y_ticks: Mapping[float, str]
    lines: tuple[Line, ...]


def draw_chart(panels: Sequence[Panel], path: Path) -> None:
    """Draw panels side by side and write them as SVG."""
    with matplotlib.rc_context(SVG_SETTINGS):
        width, height = PANEL_INCHES
        figure = Figure(figsize=(width * len(panels), height), layout="constrained")
        FigureCanvasSVG(figure)
        for axes, panel in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
        ):
            axes.set_title(panel.title, fontsize="medium")
            for line, colour in zip(panel.lines, COLOURS, strict=False):
                x, y = zip(*line.points, strict=True)
                axes.loglog(x, y, marker="o", color=colour, label=line.name)
            axes.set_xticks([*panel.x_ticks], [*panel.x_ticks.values()])
            axes.set_yticks([*panel.y_ticks], [*panel.y_ticks.values()])
            axes.minorticks_off()
            axes.grid(axis="y", color="#dddddd")
            axes.legend(frameon=False, loc="upper left")
        figure.savefig(path, metadata={"Date": None})
