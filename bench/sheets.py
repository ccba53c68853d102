"""Contact sheets for a person to look at. They show real people: never inside the project."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lipwright.errors import OutputUnwritable
from lipwright.media.contact_sheet import sheet, write_png
from lipwright.types import Rgb

PROJECT = Path(__file__).parents[1].resolve()
GAIN = 4  # of the difference
ACROSS, PAGE_ROWS = 10, 6  # of pages that show every mouth


def outside(folder: Path) -> Path:
    """Make a folder for pictures.

    Raises:
        OutputUnwritable: it lies inside the project.
    """
    folder = folder.resolve()
    if folder.is_relative_to(PROJECT):
        raise OutputUnwritable(
            f"{folder} lies inside the project, and pictures of real people never do: "
            "choose a folder outside"
        )
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def strip(pairs: Sequence[tuple[Rgb, Rgb]]) -> list[list[Rgb]]:
    """Return three rows of consecutive frames, of (result, source): source, result, difference."""
    difference = [
        np.clip(GAIN * np.abs(a.astype(np.int16) - b), 0, 255).astype(np.uint8) for a, b in pairs
    ]
    return [[b for _, b in pairs], [a for a, _ in pairs], difference]


def write(path: Path, strips: Sequence[tuple[str, Sequence[tuple[Rgb, Rgb]]]]) -> None:
    """Write strips of consecutive frames, each under its label, as one PNG."""
    rows: list[list[Rgb]] = []
    labels: list[str] = []
    for label, pairs in strips:
        rows += strip(pairs)
        labels += [f"{label}: source", "result", f"difference x {GAIN}"]
    write_png(path, sheet(rows, labels))


def write_every(folder: Path, name: str, mouths: Sequence[Rgb]) -> None:
    """Write every mouth of a result as numbered pages: what lasts one frame shows only there."""
    rows = [mouths[at : at + ACROSS] for at in range(0, len(mouths), ACROSS)]
    labels = [f"{name} {ACROSS * j}" for j in range(len(rows))]
    for page, at in enumerate(range(0, len(rows), PAGE_ROWS)):
        part = slice(at, at + PAGE_ROWS)
        write_png(folder / f"{name}_{page:02}.png", sheet(rows[part], labels[part]))
