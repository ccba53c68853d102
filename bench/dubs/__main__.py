"""Dub every clip with three foreign voices in all five modes, and check and score the results.

    python -m bench.dubs [--clips NAME ...] [--modes MODE ...]

Each result is compared with its timeline to the frame and the sample. The synchrony of the
``cut_off`` dubs is scored. Runs of the same code and weights are not repeated.
docs/reference/measures.md explains the columns.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np

from bench.common.cached_pipeline import CachedPipeline
from bench.common.clips import DATA, RESULTS, find_clips
from bench.common.contact_sheets import make_sheet_folder
from bench.common.footage_cache import DEFAULT_CACHE, FootageCache
from bench.common.markdown import Column, score_table
from bench.common.metrics import ratio
from bench.dubs.runs import DubBench, DubRun, run_all
from lipwright.options import SyncMode

VOICES = 3  # per clip, by default

SYNC_COLUMNS = (
    Column(key="own", head="own voice"),
    Column(key="zero", head="dub at 0", aim="≥ own"),
    Column(key="ratio", head="dub / own", aim="≥ 0.8"),
    Column(key="still_own", head="own voice, head still"),
    Column(key="still_zero", head="dub at 0, head still", aim="≥ own"),
    Column(key="still_ratio", head="dub / own, head still", aim="≥ 0.8"),
    Column(key="best", head="dub at best"),
    Column(key="offset", head="best offset ms", form="+.0f", factor=1000, aim="± 20"),
    Column(key="undubbed", head="not dubbed"),
)
PICTURE_COLUMNS = (
    Column(key="sharpness", head="sharpness"),
    Column(key="flicker", head="flicker", aim="≤ 1.1"),
    Column(key="neck_change", head="below chin", form=".1f"),
    Column(key="run_starts", head="new runs %", form=".0f", factor=100, aim="≤ 10"),
)


def frame_table(runs: Sequence[DubRun]) -> str:
    """Return the number of frames of each run, and a list of all deviations."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for run in runs:
        text = str(run.planned_frames) if not run.deviations else f"**{run.planned_frames} ✗**"
        rows.setdefault((run.clip, run.speech), {})[run.mode] = text
    modes = [m.value for m in SyncMode]
    lines = [["clip", "speech", *modes], ["---", "---", *("---:" for _ in modes)]]
    lines += [
        [clip, speech, *(row.get(m, "") for m in modes)] for (clip, speech), row in rows.items()
    ]
    deviations = [f"- {run.key}: {'; '.join(run.deviations)}" for run in runs if run.deviations]
    return "\n".join([*("| " + " | ".join(line) + " |" for line in lines), "", *deviations, ""])


def cut_off_table(runs: Sequence[DubRun], columns: Sequence[Column]) -> str:
    """Return scores of the ``cut_off`` dubs, a row per clip: means over its voices."""
    dubs = [r for r in runs if r.mode == SyncMode.CUT_OFF and not np.isnan(r.zero)]
    rows = {}
    for clip in dict.fromkeys(r.clip for r in dubs):
        scores = [asdict(r) for r in dubs if r.clip == clip]
        keys = {k for s in scores for k, v in s.items() if isinstance(v, float)}
        row = {k: float(np.mean([s[k] for s in scores])) for k in keys}
        row |= {f"{p}ratio": ratio(row[f"{p}zero"], row[f"{p}own"]) for p in ("", "still_")}
        rows[clip] = {c.key: row[c.key] for c in columns}
    return score_table(columns, rows)


def report(runs: Sequence[DubRun]) -> str:
    """Return the result page as Markdown."""
    exact = sum(not run.deviations for run in runs)
    versions = ", ".join(sorted({run.version for run in runs}))
    cost = sum(r.seconds for r in runs) / max(1e-9, sum(r.output_seconds for r in runs))
    return (
        "# Dubs of real footage\n\n"
        f"**{exact} of {len(runs)} runs as planned**: frame count, frame times, length and "
        "decoded samples are all exact. The numbers are frames. "
        "[What the columns mean](../../docs/reference/measures.md).\n\n"
        f"`python -m bench.dubs`, code and weights {versions}. Speech encoding, painting and video "
        f"encoding took {cost:.2f} s of processor time per second of output.\n\n"
        f"{frame_table(runs)}\n## Synchrony of the cut_off dubs\n\n"
        f"{cut_off_table(runs, SYNC_COLUMNS)}\n\n"
        f"## Picture of the cut_off dubs\n\n{cut_off_table(runs, PICTURE_COLUMNS)}\n"
    )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.dubs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, default=DATA, help="folder with clips/ and speech/")
    parser.add_argument(
        "--clips", nargs="*", default=(), help="prefixes of file names; default: all clips"
    )
    parser.add_argument("--modes", nargs="*", default=(), choices=[*SyncMode], metavar="MODE")
    parser.add_argument(
        "--voices", type=int, default=VOICES, help="recordings per clip, 1 to 6; default: 3"
    )
    parser.add_argument(
        "--sheets",
        type=Path,
        default=Path("/tmp/lipwright-sheets"),
        help="folder for contact sheets, outside the project",
    )
    parser.add_argument("--every", action="store_true", help="also write sheets of every mouth")
    parser.add_argument(
        "--cache",
        type=Path,
        default=DEFAULT_CACHE,
        help="folder for tracked faces, sound and finished runs",
    )
    parser.add_argument(
        "--any-version", action="store_true", help="also use finished runs of other code"
    )
    parser.add_argument("--out", type=Path, help="default: bench/results/dubs.md")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    cv2.setNumThreads(1)
    pipeline = CachedPipeline(FootageCache(arguments.cache))
    bench = DubBench(
        pipeline,
        arguments.cache / "dubs",
        make_sheet_folder(arguments.sheets),
        any_version=arguments.any_version,
        all_mouths=arguments.every,
    )
    chosen = {
        number: info
        for number, info in enumerate(find_clips(arguments.data / "clips"))
        if info.path.name.startswith(tuple(arguments.clips) or "")
    }
    if not chosen:
        raise SystemExit(
            f"no clip with sound in {arguments.data / 'clips'}: give their folder with --data"
        )
    clips = {number: pipeline.load_clip(info) for number, info in chosen.items()}
    modes = [SyncMode(m) for m in arguments.modes] or [*SyncMode]
    runs = list(run_all(bench, clips, arguments.data / "speech", modes, arguments.voices))
    page = report(runs)
    print(page)
    complete = not (arguments.clips or arguments.modes or arguments.voices < VOICES)
    if arguments.out or complete:  # a part of the runs does not replace the results
        (arguments.out or RESULTS / "dubs.md").write_text(page, encoding="utf-8")
    sys.exit(any(run.deviations for run in runs))


if __name__ == "__main__":
    main()
