"""Score the self-reenactment of held-back footage.

    python -m bench.quality [--clips NAME ...] [--oracle]

The second half of each clip is re-animated with the clip's own sound. The painter uses exemplars of
the first half only. docs/reference/measures.md explains the columns.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from bench.common.cached_pipeline import CachedPipeline
from bench.common.clips import DATA, RESULTS, Clip, code_version, find_clips
from bench.common.contact_sheets import make_sheet_folder, write_all_mouths, write_comparison
from bench.common.face_regions import lip_crop
from bench.common.footage_cache import DEFAULT_CACHE, FootageCache
from bench.common.markdown import score_table
from bench.common.metrics import ratio
from bench.quality.reenactment import Reenactment, oracle_motion, predict_own_motion, reenact
from bench.quality.scores import COLUMNS, MouthComparison, compare_mouths, score_reenactment
from lipwright.face.canonical import mouth_opening
from lipwright.face.landmarks import LIPS

SHEET_FRAMES = 6

Scores = dict[str, float]


def choose_windows(mouths: MouthComparison, reenactment: Reenactment) -> dict[str, int]:
    """Return the first frame of each window to inspect: largest error, widest, roughest."""
    error = np.linalg.norm((mouths.result - mouths.truth)[:, : len(LIPS), :2], axis=-1).mean(1)
    luma = reenactment.skin_luma
    luma_change = np.abs(np.diff(luma[:, 0] - luma[:, 1], axis=0)).mean(1)
    scores = {
        "largest error": error,
        "widest": mouth_opening(mouths.truth),
        "largest change of light": np.append(0, luma_change),
    }
    last = max(0, len(error) - SHEET_FRAMES)
    windows, free = {}, mouths.used.copy()
    for name, score in scores.items():
        if free.any():
            peak = int(np.nanargmax(np.where(free, score, -1)))
            windows[name] = min(max(peak - 2, 0), last)
            free[max(0, windows[name] - SHEET_FRAMES + 1) : windows[name] + SHEET_FRAMES] = False
    return windows


def write_sheet(folder: Path, clip: Clip, reenactment: Reenactment, *, all_mouths: bool) -> None:
    """Write the contact sheet of a clip and, if wanted, pages with every mouth."""
    windows = choose_windows(compare_mouths(clip, reenactment), reenactment)
    strips = [
        (
            f"{clip.name} frame {reenactment.frames[k]} ({name})",
            reenactment.crops[k : k + SHEET_FRAMES],
        )
        for name, k in windows.items()
    ]
    write_comparison(folder / f"quality_{clip.name}.png", strips)
    if all_mouths:
        mouths = [lip_crop(result) for result, _ in reenactment.crops]
        write_all_mouths(folder, f"every_{clip.name}", mouths)


def score_clips(
    clips: Sequence[Clip],
    pipeline: CachedPipeline,
    folder: Path,
    *,
    oracle: bool,
    all_mouths: bool,
) -> dict[str, Scores]:
    """Re-animate and score every clip.

    Args:
        clips: to re-animate.
        pipeline: of the product.
        folder: for contact sheets.
        oracle: paint the true mouth shapes instead of predicted ones.
        all_mouths: also write pages with every mouth.
    """
    rows = {}
    for clip in clips:
        began = time.perf_counter()
        sync = pipeline.score_sync(clip.mouth_shapes(), clip.times, clip.speech)
        motion = oracle_motion(clip) if oracle else predict_own_motion(pipeline, clip, sync.offset)
        reenactment = reenact(pipeline, clip, motion)
        rows[clip.name] = score_reenactment(clip, reenactment, sync)
        if rows[clip.name]["frames"]:
            write_sheet(folder, clip, reenactment, all_mouths=all_mouths)
        seconds = time.perf_counter() - began
        print(f"{clip.name}: {len(reenactment.frames)} frames in {seconds:.0f} s")
    return rows


def closures_of_all_clips(rows: dict[str, Scores]) -> str:
    """Return closure recall and precision over all clips, since single clips have few closures."""

    def total(count: str) -> float:
        return sum(row[count] for row in rows.values() if math.isfinite(row.get(count, math.nan)))

    def hits(count: str, share: str) -> float:
        return sum(row[count] * row[share] for row in rows.values() if math.isfinite(row[share]))

    true, painted = total("closures"), total("painted_closures")
    recall = ratio(hits("closures", "closure_recall"), true)
    precision = ratio(hits("painted_closures", "closure_precision"), painted)
    return (
        f"All clips together: {100 * recall:.0f} % of {true:.0f} true closures closed, "
        f"{100 * precision:.0f} % of {painted:.0f} painted closures true."
    )


def report(rows: dict[str, Scores], *, oracle: bool) -> str:
    """Return the result page as Markdown."""
    what = (
        "The painter receives the true mouth shapes instead of predicted ones, so every loss is "
        "the painter's."
        if oracle
        else "The second half of each clip is re-animated with its own sound. Exemplars and style "
        "come from its first half."
    )
    return (
        f"# Quality on real footage{' (oracle)' if oracle else ''}\n\n{what} "
        "[What the columns mean](../../docs/reference/measures.md).\n\n"
        f"`python -m bench.quality{' --oracle' if oracle else ''}`, code and weights "
        f"{code_version()}\n\n{score_table(COLUMNS, rows)}\n\n{closures_of_all_clips(rows)}\n"
    )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.quality",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, default=DATA / "clips", help="folder of clips")
    parser.add_argument(
        "--clips", nargs="*", default=(), help="prefixes of file names; default: all clips"
    )
    parser.add_argument("--oracle", action="store_true", help="paint the true mouth shapes")
    parser.add_argument(
        "--sheets",
        type=Path,
        default=Path("/tmp/lipwright-sheets"),
        help="folder for contact sheets, outside the project",
    )
    parser.add_argument("--every", action="store_true", help="also write sheets of every mouth")
    parser.add_argument(
        "--cache", type=Path, default=DEFAULT_CACHE, help="folder for tracked faces and sound"
    )
    parser.add_argument("--out", type=Path, help="default: bench/results/quality[-oracle].md")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    cv2.setNumThreads(1)  # so that times are those of one core
    folder = make_sheet_folder(arguments.sheets)
    pipeline = CachedPipeline(FootageCache(arguments.cache))
    clips = [pipeline.load_clip(info) for info in find_clips(arguments.data, arguments.clips)]
    if not clips:
        raise SystemExit(f"no clip with sound in {arguments.data}: give their folder with --data")
    rows = score_clips(clips, pipeline, folder, oracle=arguments.oracle, all_mouths=arguments.every)
    page = report(rows, oracle=arguments.oracle)
    print(page)
    if arguments.out or not arguments.clips:  # a part of the clips does not replace the results
        out = arguments.out or RESULTS / f"quality{'-oracle' if arguments.oracle else ''}.md"
        out.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
