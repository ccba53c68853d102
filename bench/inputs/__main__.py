"""Command: ``python -m bench.inputs [--only TEXT] [--jobs N] [--list] [--table FILE]``."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from bench.inputs.case import Case
from bench.inputs.cases import CASES
from bench.inputs.outcome import Verdict, run_case
from bench.inputs.recipes.footage import Footage

KINDS = ("right", "warned", "refused", "wrong")


def main() -> None:
    """Run the cases and print a table; exit with 1 if one is wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench.inputs", description=__doc__)
    parser.add_argument("--only", default="", help="run the cases whose name contains this")
    parser.add_argument("--jobs", type=int, default=2, help="cases at once")
    parser.add_argument("--list", action="store_true", help="print the names and end")
    parser.add_argument("--json", type=Path, help="write the verdicts to this file")
    parser.add_argument("--table", type=Path, help="write a Markdown table to this file")
    parser.add_argument("--keep", type=Path, help="keep the files in this folder")
    options = parser.parse_args()
    cases = [case for case in CASES if options.only in case.name]
    if options.list:
        print("\n".join(case.name for case in cases))
        return
    with tempfile.TemporaryDirectory(prefix="lipwright-inputs-") as temporary:
        verdicts = run_all(cases, options.keep or Path(temporary), options.jobs)
    counts = Counter(verdict.kind for verdict in verdicts)
    print(f"\n{len(verdicts)} cases: " + ", ".join(f"{counts[kind]} {kind}" for kind in KINDS))
    if options.json:
        options.json.write_text(json.dumps([asdict(verdict) for verdict in verdicts], indent=1))
    if options.table:
        options.table.write_text(table(verdicts), encoding="utf-8")
    sys.exit(1 if counts["wrong"] else 0)


def table(verdicts: list[Verdict]) -> str:
    """Return the number of cases by topic and verdict, as Markdown."""
    rows = ["| topic | cases | " + " | ".join(KINDS) + " |", "|---|---:|" + "---:|" * len(KINDS)]
    topics = [*dict.fromkeys(verdict.topic for verdict in verdicts)]
    for topic, own in [
        *((t, [v for v in verdicts if v.topic == t]) for t in topics),
        ("all", verdicts),
    ]:
        counts = Counter(verdict.kind for verdict in own)
        cells = (str(counts[kind]) for kind in KINDS)
        rows.append(f"| {topic} | {len(own)} | {' | '.join(cells)} |")
    return "# Inputs\n\n`python -m bench.inputs --table FILE`\n\n" + "\n".join(rows) + "\n"


def run_all(cases: list[Case], folder: Path, jobs: int) -> list[Verdict]:
    """Run cases side by side; print each verdict as it comes."""
    footage = Footage(folder)
    _ = footage.face, footage.voice

    def run(numbered: tuple[int, Case]) -> Verdict:
        number, case = numbered
        try:
            verdict = run_case(case, folder / f"{number:03d}", footage)
        except Exception as error:  # a fault of the bench itself must not end the others
            verdict = Verdict(case.name, case.topic, "wrong", f"{type(error).__name__}: {error}")
        print(f"{verdict.kind:8} {verdict.name:40} {verdict.text[:180]}", flush=True)
        return verdict

    with ThreadPoolExecutor(jobs) as pool:
        return [*pool.map(run, enumerate(cases))]


if __name__ == "__main__":
    main()
