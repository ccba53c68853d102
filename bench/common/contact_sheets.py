"""Contact sheets for visual inspection. They show real people: never write them in the project."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lipwright.cli.contact_sheet import make_sheet, write_png
from lipwright.errors import OutputUnwritable
from lipwright.types import Rgb

PROJECT = Path(__file__).parents[2].resolve()
DIFFERENCE_GAIN = 4
MOUTHS_PER_ROW, ROWS_PER_PAGE = 10, 6  # of the pages that show every mouth


def make_sheet_folder(folder: Path) -> Path:
    """Create a folder for contact sheets and return it resolved.

    Raises:
        OutputUnwritable: the folder lies inside the project.
    """
    folder = folder.resolve()
    if folder.is_relative_to(PROJECT):
        raise OutputUnwritable(
            f"{folder} lies inside the project, which must not contain pictures of real people: "
            "choose a folder outside"
        )
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def comparison_rows(pairs: Sequence[tuple[Rgb, Rgb]]) -> list[list[Rgb]]:
    """Return three rows (source, result, difference) of consecutive (result, source) frames."""
    difference = [
        np.clip(DIFFERENCE_GAIN * np.abs(a.astype(np.int16) - b), 0, 255).astype(np.uint8)
        for a, b in pairs
    ]
    return [[b for _, b in pairs], [a for a, _ in pairs], difference]


def write_comparison(path: Path, strips: Sequence[tuple[str, Sequence[tuple[Rgb, Rgb]]]]) -> None:
    """Write strips of consecutive frames to one PNG.

    Args:
        path: PNG to write.
        strips: label and (result, source) frames of each strip.
    """
    rows: list[list[Rgb]] = []
    labels: list[str] = []
    for label, pairs in strips:
        rows += comparison_rows(pairs)
        labels += [f"{label}: source", "result", f"difference x {DIFFERENCE_GAIN}"]
    write_png(path, make_sheet(rows, labels))


def write_all_mouths(folder: Path, name: str, mouths: Sequence[Rgb]) -> None:
    """Write every mouth of a result as numbered pages, to find defects that last one frame."""
    step = MOUTHS_PER_ROW
    rows = [mouths[i : i + step] for i in range(0, len(mouths), step)]
    labels = [f"{name} {step * j}" for j in range(len(rows))]
    for page, i in enumerate(range(0, len(rows), ROWS_PER_PAGE)):
        part = slice(i, i + ROWS_PER_PAGE)
        write_png(folder / f"{name}_{page:02}.png", make_sheet(rows[part], labels[part]))
