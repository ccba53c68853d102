"""The table of quality: held-back halves of real clips, re-animated with their own sound.

    python -m bench.quality [--clips NAME ...] [--oracle]

docs/reference/measures.md says what each column means.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from bench import measures, sheets
from bench.footage import CACHE, DATA, Agreement, Clip, Cupboard, Studio, find, version
from bench.regions import Regions, lips_of, luma_in, mouth_of
from bench.retake import Retake, middle, own_mouth, own_speech, retake
from bench.tables import Column, table
from lipwright.face.lips import LIPS
from lipwright.face.shape import mouth_shapes, opening, width
from lipwright.face.smooth import smooth
from lipwright.media.decode.video import read_video
from lipwright.motion.resampling import RATE
from lipwright.types import Bools, Floats

FULL = 0.99  # strength from which a frame counts: below, the frame's own mouth shows through
LEAST_FRAMES = 20  # of a clip, to measure it
LEAST_PAUSE_FRAMES = 12
SHEET_FRAMES = 6
RESULTS = Path(__file__).parent / "results"

COLUMNS = (
    Column(key="frames", head="frames", form=".0f"),
    Column(key="opening", head="opening r", aim="≥ 0.80"),
    Column(key="width", head="width r", aim="≥ 0.70"),
    Column(key="asked_opening", head="asked opening r"),
    Column(key="asked_width", head="asked width r"),
    Column(key="closed", head="closures closed %", form=".0f", factor=100, aim="≥ 85"),
    Column(key="true", head="closures true %", form=".0f", factor=100),
    Column(key="closures", head="closures", form=".0f"),
    Column(key="amplitude", head="amplitude", aim="0.8 – 1.2"),
    Column(key="lag", head="lag ms", form="+.0f", factor=1000, aim="± 20"),
    Column(key="distance", head="landmarks %", form=".1f", aim="≤ 2.5"),
    Column(key="sharpness", head="sharpness", aim="0.95 – 1.05"),
    Column(key="unpainted", head="sharpness, source's halves"),
    Column(key="acceleration", head="acceleration", aim="≤ 1.1"),
    Column(key="flicker", head="flicker", aim="≤ 1.1"),
    Column(key="flash", head="flash", aim="≤ 1.0"),
    Column(key="silence", head="silence", aim="≤ 1.0"),
    Column(key="touched", head="touched outside", form=".0f", aim="0"),
    Column(key="below", head="below chin", form=".1f", aim="≤ 3"),
    Column(key="starts", head="new runs %", form=".0f", factor=100),
    Column(key="offset", head="A/V offset ms", form="+.0f", factor=1000),
    Column(key="study", head="study ms", form=".1f"),
    Column(key="paint", head="paint ms", form=".1f"),
)


@dataclass(frozen=True, kw_only=True)
class Half:
    """What is compared: mouths of the second half, n frames."""

    times: NDArray[np.float64]  #: (n,) seconds
    truth: Floats  #: (n, 61, 3) canonical, smoothed; NaN where there is no face
    result: Floats  #: the same of the painted pictures
    asked: Floats  #: the same, as the painter was asked for it
    raw_truth: Floats  #: as tracked, jitter and all
    raw_result: Floats
    used: Bools  #: (n,) frames that count
    gap: measures.Gap  #: of the speaker


def compare(clip: Clip, take: Retake) -> Half:
    """Bring truth and result side by side."""
    mouth = clip.mouth()
    result = mouth_shapes(smooth(take.landmarks))
    truth = mouth[take.frames]
    seen = np.isfinite(truth[:, 0, 0]) & np.isfinite(result[:, 0, 0])
    return Half(
        times=clip.times[take.frames],
        truth=truth,
        result=result,
        asked=take.asked,
        raw_truth=mouth_shapes(clip.track.landmarks[take.frames]),
        raw_result=mouth_shapes(take.landmarks),
        used=seen & (take.strength > FULL),
        gap=measures.gap_of(opening(mouth)),
    )


def shape_row(half: Half) -> dict[str, float]:
    """Measure how the mouth moves."""
    used, times = half.used, half.times
    truth, result, asked = half.truth[used], half.result[used], half.asked[used]
    a, b = opening(result), opening(truth)
    return {
        "opening": measures.correlation(a, b),
        "width": measures.correlation(width(result), width(truth)),
        "asked_opening": measures.correlation(opening(asked), b),
        "asked_width": measures.correlation(width(asked), width(truth)),
        "amplitude": measures.amplitude(a, b),
        "lag": measures.lag(a, b, times[used]),
        "distance": measures.landmark_distance(result[:, : len(LIPS)], truth[:, : len(LIPS)]),
        **closure_row(half),
    }


def closure_row(half: Half) -> dict[str, float]:
    """Measure which closures are there."""
    a = np.where(half.used, opening(half.result), np.nan)
    b = np.where(half.used, opening(half.truth), np.nan)
    frame = float(np.median(np.diff(half.times)))
    true, made = (measures.closures(x, half.gap, frame) for x in (b, a))
    return {
        "closures": len(true),
        "made": len(made),
        "closed": measures.closed_again(a, true, half.gap),
        "true": measures.closed_again(b, made, half.gap),
    }


def calm_row(half: Half, take: Retake, quiet: Bools) -> dict[str, float]:
    """Measure quiver, flicker and motion in pauses, result over truth."""
    lips = [m[:, : len(LIPS), :2] for m in (half.raw_result, half.raw_truth)]
    moved = [measures.acceleration(x, half.used) for x in lips]
    still = [measures.motion(x, half.used & quiet) for x in lips]
    light = [measures.acceleration(take.cells[:, i], half.used) for i in (0, 1)]
    enough = (half.used & quiet).sum() >= LEAST_PAUSE_FRAMES
    mouths = [np.array([mouth_of(pair[i]) for pair in take.crops]) for i in (0, 1)]
    return {
        "acceleration": measures.ratio(*moved),
        "flicker": math.sqrt(measures.ratio(*light)),
        "flash": measures.ratio(*(measures.flash(x, half.used) for x in mouths)),
        "silence": measures.ratio(*still) if enough else math.nan,
    }


def pixel_row(half: Half, take: Retake) -> dict[str, float]:
    """Measure sharpness, what was touched, and the path of exemplars."""
    fine = take.fine[half.used].mean(0)
    return {
        "sharpness": measures.ratio(float(fine[0]), float(fine[1])),
        "touched": take.touched,
        "below": float(np.nanmean(take.below[half.used])),
        "starts": float(take.starts.mean()) if len(take.starts) else math.nan,
        "study": take.study_ms,
        "paint": take.paint_ms,
    }


def halves(clip: Clip) -> float:
    """Return how fine the first half of a clip is against its second, with nothing painted."""
    regions, fine = Regions.of(smooth(clip.track.landmarks)), np.full(len(clip.take.times), np.nan)
    with read_video(clip.info) as frames:
        for frame in frames:
            if np.isfinite(regions.landmarks[frame.index, 0, 0]):
                box, loop = regions.loop(frame.index)
                fine[frame.index] = measures.fine_energy(luma_in(frame.picture, box), loop)
    m = middle(clip)
    return measures.ratio(float(np.nanmean(fine[:m])), float(np.nanmean(fine[m:])))


def pauses(clip: Clip, times: NDArray[np.float64], offset: float) -> Bools:
    """Return at which frame times (n,) nobody speaks."""
    quiet = measures.quiet(clip.sound.activity, RATE)
    at = np.floor((times + offset) * RATE).astype(int)
    found: Bools = quiet[np.clip(at, 0, len(quiet) - 1)]
    return found


def measure(clip: Clip, take: Retake, sync: Agreement) -> dict[str, float]:
    """Return a row of the table; NaN where a clip shows too little to measure."""
    half = compare(clip, take)
    row = dict.fromkeys((c.key for c in COLUMNS), math.nan)
    row |= {"frames": int(half.used.sum()), "offset": sync.offset}
    if row["frames"] >= LEAST_FRAMES:
        row |= shape_row(half)
        row |= calm_row(half, take, pauses(clip, half.times, sync.offset))
        row |= pixel_row(half, take) | {"unpainted": halves(clip)}
    return row | {"touched": take.touched}


def windows(half: Half, take: Retake) -> dict[str, int]:
    """Return first frames of what a person should look at: the worst, the widest, the roughest."""
    error = np.linalg.norm((half.result - half.truth)[:, : len(LIPS), :2], axis=-1).mean(1)
    bend = np.abs(np.diff(take.cells[:, 0] - take.cells[:, 1], axis=0)).mean(1)
    scores = {
        "largest error": error,
        "widest": opening(half.truth),
        "largest change of light": np.append(0, bend),
    }
    last = max(0, len(error) - SHEET_FRAMES)
    found, left = {}, half.used.copy()
    for name, score in scores.items():
        if left.any():
            peak = int(np.nanargmax(np.where(left, score, -1)))
            found[name] = min(max(peak - 2, 0), last)
            left[max(0, found[name] - SHEET_FRAMES + 1) : found[name] + SHEET_FRAMES] = False
    return found


def write_sheet(folder: Path, clip: Clip, half: Half, take: Retake, every: bool) -> None:
    """Write the contact sheet of a clip, and every mouth of it if asked for."""
    strips = [
        (f"{clip.name} frame {take.frames[k]} ({name})", take.crops[k : k + SHEET_FRAMES])
        for name, k in windows(half, take).items()
    ]
    sheets.write(folder / f"quality_{clip.name}.png", strips)
    if every:
        mouths = [lips_of(result) for result, _ in take.crops]
        sheets.write_every(folder, f"every_{clip.name}", mouths)


def run(
    clips: Sequence[Clip], studio: Studio, folder: Path, *, oracle: bool, every: bool
) -> dict[str, dict[str, float]]:
    """Re-animate and measure every clip."""
    rows = {}
    for clip in clips:
        began = time.perf_counter()
        sync = studio.agreement(clip.mouth(), clip.times, clip.sound)
        acting = own_mouth(clip) if oracle else own_speech(studio, clip, sync.offset)
        take = retake(studio, clip, acting)
        rows[clip.name] = measure(clip, take, sync)
        if rows[clip.name]["frames"]:
            write_sheet(folder, clip, compare(clip, take), take, every)
        print(f"{clip.name}: {len(take.frames)} frames in {time.perf_counter() - began:.0f} s")
    return rows


def pooled(rows: dict[str, dict[str, float]]) -> str:
    """Return the closures of all clips together: single clips have few."""
    true, made = (
        sum(row.get(count, 0) for row in rows.values() if math.isfinite(row.get(count, 0)))
        for count in ("closures", "made")
    )
    closed, right = (
        sum(row[count] * row[share] for row in rows.values() if math.isfinite(row[share]))
        for count, share in (("closures", "closed"), ("made", "true"))
    )
    return (
        f"All clips together: {100 * measures.ratio(closed, true):.0f} % of {true:.0f} true "
        f"closures closed, {100 * measures.ratio(right, made):.0f} % of {made:.0f} painted "
        "closures true."
    )


def report(rows: dict[str, dict[str, float]], oracle: bool) -> str:
    """Return the page that is stored."""
    what = (
        "The true mouth shapes instead of the motion network: what the painter alone loses."
        if oracle
        else "The second half of each clip, re-animated with its own sound; exemplars and style "
        "from its first half."
    )
    return (
        f"# Quality on real footage{' (oracle)' if oracle else ''}\n\n{what} "
        "[What the columns mean](../../docs/reference/measures.md).\n\n"
        f"`python -m bench.quality{' --oracle' if oracle else ''}`, code and weights "
        f"{version()}\n\n{table(COLUMNS, rows)}\n\n{pooled(rows)}\n"
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.quality", description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA / "clips", help="folder of clips")
    parser.add_argument("--clips", nargs="*", default=(), help="beginnings of names; default: all")
    parser.add_argument("--oracle", action="store_true", help="paint the true mouth shapes")
    parser.add_argument("--sheets", type=Path, default=Path("/tmp/lipwright-sheets"))
    parser.add_argument("--every", action="store_true", help="sheets of every mouth, too")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of tracks and sounds")
    parser.add_argument("--out", type=Path, help="default: bench/results/quality[-oracle].md")
    return parser.parse_args()


def main() -> None:
    asked = arguments()
    cv2.setNumThreads(1)  # so that the times are those of one core
    folder = sheets.outside(asked.sheets)
    studio = Studio(Cupboard(asked.cache))
    clips = [studio.clip(info) for info in find(asked.data, asked.clips)]
    if not clips:
        raise SystemExit(f"no clip with sound in {asked.data}: say where they are with --data")
    rows = run(clips, studio, folder, oracle=asked.oracle, every=asked.every)
    page = report(rows, asked.oracle)
    print(page)
    if asked.out or not asked.clips:  # a table of some clips is not kept unless asked for
        out = asked.out or RESULTS / f"quality{'-oracle' if asked.oracle else ''}.md"
        out.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
