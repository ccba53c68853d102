"""Estimate how well a prediction can agree with a tracked mouth, given the tracker's noise.

    python -m bench.motion.tracker_reliability --data ../shared/data

Each measuring clip is tracked in three variants: as it is, mirrored, and shrunk with a little
noise. The reliability of a track is its correlation with the track of another variant; a perfect
prediction correlates with a track by the square root of that (Spearman 1904). Errors that all
variants share (a hidden lip, a poor codec) do not show, so the true ceiling lies lower.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from pathlib import Path

import cv2
import numpy as np
from training.motion.data.corpus import continuous_runs
from training.motion.data.features import find_clips
from training.motion.metrics import MEASURES, TEST_SETS, compare, opening_and_width

from bench.common.clips import DATA
from bench.common.metrics import mean_and_interval
from lipwright.face.canonical import estimate_pose, mouth_shapes
from lipwright.face.landmarker import FaceLandmarker
from lipwright.face.smoothing import smooth_landmarks
from lipwright.face.track import Tracker
from lipwright.media.decode.video import read_video
from lipwright.media.picture import Picture
from lipwright.media.probe import probe, require_video
from lipwright.motion.basis import mirror
from lipwright.types import Floats, Rgb

SECONDS = 5.0  # of each clip that are tracked
MAX_SIDE = 512  # pixels, the longer side of the pictures
SCALE, NOISE = 0.8, 3.0  # of the shrunk variant: size, and standard deviation in codes
MIN_FRAMES = 40  # of a segment
TURNED_YAW = 16.0  # degrees, median over a segment


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """Mean correlation between the variants of one segment."""

    folder: str
    yaw: float  #: degrees, median
    opening: float
    width: float


def picture_variants(random: np.random.Generator) -> dict[str, Callable[[Rgb], Rgb]]:
    """Return functions that make each variant of a picture (h, w, 3)."""

    def shrink(rgb: Rgb) -> Rgb:
        small = cv2.resize(rgb, None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_AREA)
        noisy = small + NOISE * random.standard_normal(small.shape)
        out: Rgb = np.clip(noisy, 0, 255).astype(np.uint8)
        return out

    return {"plain": lambda rgb: rgb, "mirrored": lambda rgb: rgb[:, ::-1].copy(), "small": shrink}


def track_variants(path: Path, landmarker: FaceLandmarker) -> dict[str, Floats]:
    """Return the landmarks (T, 478, 3) of the main face by variant, without faceless variants."""
    info = probe(path)
    variants = picture_variants(np.random.default_rng(0))
    trackers = {name: Tracker(landmarker) for name in variants}
    frames = round(SECONDS * float(require_video(info).rate))
    for frame in islice(read_video(info), frames):
        rgb, _ = frame.picture.small_rgb(MAX_SIDE)
        for name, variant in variants.items():
            trackers[name].feed(Picture.from_rgb(variant(rgb)))
    tracks = {name: tracker.tracks() for name, tracker in trackers.items()}
    return {name: np.asarray(faces[0].landmarks) for name, faces in tracks.items() if faces}


def measure_reliability(path: Path, landmarker: FaceLandmarker) -> Iterator[Reliability]:
    """Yield the reliability of each segment of a clip; none if a variant shows no face."""
    landmarks = track_variants(path, landmarker)
    if len(landmarks) < len(picture_variants(np.random.default_rng(0))):
        return
    seen = np.all([np.isfinite(points[:, 0, 0]) for points in landmarks.values()], 0)
    plain = np.where(seen[:, None, None], landmarks["plain"], np.nan)
    for segment in continuous_runs(plain):
        if segment.stop - segment.start < MIN_FRAMES:
            continue
        mouths = {
            name: mouth_shapes(smooth_landmarks(points[segment]))
            for name, points in landmarks.items()
        }
        mouths["mirrored"] = mirror(mouths["mirrored"])
        pairs = [
            compare(opening_and_width(a), opening_and_width(b), 0)
            for a, b in combinations(mouths.values(), 2)
        ]
        yaw = estimate_pose(plain[segment]).angles()[:, 0]
        yield Reliability(
            folder=path.parent.name,
            yaw=float(np.median(np.abs(yaw))),
            **{m: float(np.mean([getattr(p, m) for p in pairs])) for m in MEASURES},
        )


def report(rows: Sequence[Reliability]) -> Iterator[str]:
    """Yield the lines of the Markdown table."""
    yield "| | segments | opening: two tracks | ceiling of r | width: two tracks | ceiling of r |"
    yield "|---|---|---|---|---|---|"
    for label, chosen in (
        *((f"{folder}/", [r for r in rows if r.folder == folder]) for folder in TEST_SETS),
        (f"yaw under {TURNED_YAW:.0f}°", [r for r in rows if r.yaw < TURNED_YAW]),
        (f"yaw of {TURNED_YAW:.0f}° and more", [r for r in rows if r.yaw >= TURNED_YAW]),
    ):
        cells = []
        for name in MEASURES:
            values = [getattr(r, name) for r in chosen]
            mean, low, high = mean_and_interval(values)
            ceiling = np.mean([math.sqrt(max(v, 0.0)) for v in values])
            cells += [f"{mean:.3f} ({low:.2f}–{high:.2f})", f"{ceiling:.2f}"]
        yield f"| {label} | {len(chosen)} | " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.motion.tracker_reliability",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, default=DATA, help="folder with clips/ and eval/")
    arguments = parser.parse_args()
    landmarker = FaceLandmarker()
    paths = [p for p in find_clips(arguments.data) if p.parent.name in TEST_SETS]
    rows = [row for path in paths for row in measure_reliability(path, landmarker)]
    print("\n".join(report(rows)))


if __name__ == "__main__":
    main()
