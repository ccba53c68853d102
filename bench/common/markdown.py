"""Markdown tables of scores, one row per clip."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.common.metrics import mean_and_interval


@dataclass(frozen=True, kw_only=True)
class Column:
    """One score in a table."""

    key: str  #: of the score in each row
    head: str
    form: str = ".2f"  #: format specification of the numbers
    aim: str = ""  #: value the project aims for
    factor: float = 1.0  #: from the score's unit to the unit shown


def format_score(value: float, column: Column) -> str:
    """Return a score as text; a dash where it could not be measured."""
    return format(value * column.factor, column.form) if math.isfinite(value) else "–"


def score_table(
    columns: Sequence[Column], rows: Mapping[str, Mapping[str, float]], first: str = "clip"
) -> str:
    """Return a Markdown table: one row per name, then mean, 95 % interval over rows, and aim.

    Args:
        columns: scores to show.
        rows: name of the row → scores by key.
        first: heading of the names.
    """
    cells = [[first, *(c.head for c in columns)], ["---", *("---:" for _ in columns)]]
    for name, row in rows.items():
        cells.append([name, *(format_score(row[c.key], c) for c in columns)])
    means = [mean_and_interval([row[c.key] for row in rows.values()]) for c in columns]
    cells.append(
        ["**mean**", *(f"**{format_score(m[0], c)}**" for m, c in zip(means, columns, strict=True))]
    )
    intervals = [
        f"{format_score(low, c)} … {format_score(high, c)}"
        for (_, low, high), c in zip(means, columns, strict=True)
    ]
    cells.append(["95 % interval", *intervals])
    if any(c.aim for c in columns):
        cells.append(["aim", *(c.aim for c in columns)])
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)
