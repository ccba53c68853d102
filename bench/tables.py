"""Tables in Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.measures import mean_and_interval


@dataclass(frozen=True, kw_only=True)
class Column:
    """One measure in a table."""

    key: str  #: in each row
    head: str
    form: str = ".2f"
    aim: str = ""
    factor: float = 1.0


def number(value: float, column: Column) -> str:
    """Return a value as text; a dash where it could not be measured."""
    return format(value * column.factor, column.form) if math.isfinite(value) else "–"


def table(
    columns: Sequence[Column], rows: Mapping[str, Mapping[str, float]], first: str = "clip"
) -> str:
    """Return a table: a row for each name, then mean, 95 % interval over rows, and aim."""
    cells = [[first, *(c.head for c in columns)], ["---", *("---:" for _ in columns)]]
    for name, row in rows.items():
        cells.append([name, *(number(row[c.key], c) for c in columns)])
    means = [mean_and_interval([row[c.key] for row in rows.values()]) for c in columns]
    cells.append(
        ["**mean**", *(f"**{number(m[0], c)}**" for m, c in zip(means, columns, strict=True))]
    )
    spans = [
        f"{number(low, c)} … {number(high, c)}"
        for (_, low, high), c in zip(means, columns, strict=True)
    ]
    cells.append(["95 % interval", *spans])
    if any(c.aim for c in columns):
        cells.append(["aim", *(c.aim for c in columns)])
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)
