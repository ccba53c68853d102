"""Measure the service under load, with few and with many rows in its ledger.

    python -m bench.service [--rows 0 1000 100000] [--seconds 10] [--calls 500] [--jobs 30]

It times concurrent submits, every call, the pick-up of jobs, and idling. For each number of rows,
``lipwright serve`` runs on loopback with its own data folder, whose ledger is filled before. Writes
bench/results/service.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import sys
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from bench.common.clips import RESULTS
from bench.service.load import (
    CALLS,
    CLIENTS,
    QUEUED_JOBS,
    SLOW_CALL_SHARE,
    LoadOptions,
    LoadResult,
    measure_load,
)
from lipwright.sample import make_sample
from lipwright.version import __version__

AIMS = {"status_queued": "p99 < 20", "status_ended": "p99 < 20"}  # milliseconds, by call


def report(results: Sequence[LoadResult], options: LoadOptions) -> str:
    """Return the result page as Markdown."""
    head = ["", *(f"{r.rows:,} rows".replace(",", " ") for r in results), "aim"]
    lines = [
        table_row(
            "submits/s, all connections", [f"{r.submits_per_second:.0f}" for r in results], "≥ 500"
        ),
        table_row("lost submits", [str(r.lost) for r in results], "0"),
        table_row(
            "submit, all connections, ms p50 / p99", [str(r.concurrent_submits) for r in results]
        ),
        table_row("pick-up ms, p50 / p99", [str(r.pick_up) for r in results], "p50 ≤ 100"),
        table_row("idle, % of one core", [f"{100 * r.idle_cpu:.1f}" for r in results]),
        *(
            table_row(
                f"{text}, ms p50 / p99", [str(r.calls[name]) for r in results], AIMS.get(name, "")
            )
            for name, text in CALLS.items()
        ),
    ]
    cores, load = os.cpu_count(), os.getloadavg()[0]
    return f"""# The service under load

`{command_line(options)}`: one `lipwright serve` with one slot on SQLite, on loopback. The service
and its clients share {cores} cores (load average {load:.1f} at the end; Lipwright {__version__},
Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}). Rows are ended jobs, each
added by a submit and a cancel. Concurrent submits come over {CLIENTS} connections for
{options.seconds:g} s while the slot is busy and jobs are queued. Every other call is repeated
{options.calls} times (events and uploads a {SLOW_CALL_SHARE}th of that, submits {QUEUED_JOBS}
times) on one connection, with {QUEUED_JOBS} queued jobs, and timed from the first byte sent to the
last byte received. Pick-up is the time from the commit of a submit to the claim by an idle slot, by
the database's clock, for {options.jobs} jobs one after the other. Idle is the processor time of all
processes of the service.

| {" | ".join(head)} |
| {" | ".join(["---", *["---:"] * (len(head) - 1)])} |
{chr(10).join(lines)}
"""


def table_row(name: str, cells: Sequence[str], aim: str = "") -> str:
    return f"| {' | '.join([name, *cells, aim])} |"


def command_line(options: LoadOptions) -> str:
    """Return the command line of the measurement."""
    rows = " ".join(map(str, options.rows))
    return (
        f"python -m bench.service --rows {rows} --seconds {options.seconds:g} "
        f"--calls {options.calls} --jobs {options.jobs}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.service",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--rows", type=int, nargs="+", default=[0, 1000, 100_000], help="ended jobs in the ledger"
    )
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="of concurrent submits, and of idling"
    )
    parser.add_argument("--calls", type=int, default=500, help="of each kind")
    parser.add_argument("--jobs", type=int, default=30, help="executed, to measure the pick-up")
    parser.add_argument("--out", type=Path, default=RESULTS / "service.md")
    arguments = parser.parse_args()
    options = LoadOptions(
        rows=tuple(arguments.rows),
        seconds=arguments.seconds,
        calls=arguments.calls,
        jobs=arguments.jobs,
    )
    results = []
    with tempfile.TemporaryDirectory(prefix="lipwright-bench-") as name:
        folder = Path(name)
        clip = make_sample(folder / "c.mp4", seconds=0.2, size=(96, 96), rate=Fraction(25)).path
        for rows in options.rows:
            (folder / str(rows)).mkdir()
            print(f"{rows} rows: filling and measuring …", file=sys.stderr, flush=True)
            results.append(measure_load(rows, clip.read_bytes(), options, folder / str(rows)))
            print(results[-1], flush=True)
    arguments.out.write_text(report(results, options), encoding="utf-8")
    print(arguments.out)


if __name__ == "__main__":
    main()
