"""How far can a prediction agree with a tracked mouth, when the track itself is noisy?

Usage: ``python -m bench.reliability --data ../shared/data``

Each clip that measures is tracked three times: as it is, seen in a mirror, and shrunk with a little
noise. A perfect prediction would agree with one of these tracks as their correlation's square root
(Spearman 1904): a look's reliability is its correlation with another look. What all looks get wrong
together (a hidden lip, a poor codec) does not show, so the true ceiling lies lower.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations, islice
from pathlib import Path

import cv2
import numpy as np
from training.motion.corpus import unbroken
from training.motion.features import find
from training.motion.measure import MEASURES, SETS, compare, curves, mean_and_interval

from lipwright.face import shape
from lipwright.face.landmarker import FaceLandmarker
from lipwright.face.smooth import smooth
from lipwright.face.track import Tracker
from lipwright.media.decode.video import read_video
from lipwright.media.picture import Picture
from lipwright.media.probe import probe
from lipwright.motion.basis import mirror
from lipwright.types import Floats, Rgb

SECONDS = 5.0  # of each clip that are looked at
SIDE = 512  # pixels, the longer side of the pictures looked at
SHRUNK, NOISE = 0.8, 3.0  # scale, and standard deviation in codes
LEAST_FRAMES = 40  # of a run
TURNED = 16.0  # degrees of yaw, median over a run


@dataclass(frozen=True, kw_only=True)
class Row:
    """One run: mean correlation of two looks."""

    folder: str
    yaw: float  #: degrees, median
    opening: float
    width: float


def looks(random: np.random.Generator) -> dict[str, Callable[[Rgb], Rgb]]:
    """Return the ways to look at a picture (h, w, 3)."""

    def shrink(rgb: Rgb) -> Rgb:
        small = cv2.resize(rgb, None, fx=SHRUNK, fy=SHRUNK, interpolation=cv2.INTER_AREA)
        noisy = small + NOISE * random.standard_normal(small.shape)
        out: Rgb = np.clip(noisy, 0, 255).astype(np.uint8)
        return out

    return {"plain": lambda rgb: rgb, "mirrored": lambda rgb: rgb[:, ::-1].copy(), "small": shrink}


def track(path: Path, landmarker: FaceLandmarker) -> dict[str, Floats]:
    """Return the landmarks (T, 478, 3) of the face most seen, by look; empty where it is lost."""
    info = probe(path)
    ways = looks(np.random.default_rng(0))
    trackers = {name: Tracker(landmarker) for name in ways}
    assert info.video is not None
    for frame in islice(read_video(info), round(SECONDS * float(info.video.rate))):
        rgb, _ = frame.picture.small_rgb(SIDE)
        for name, way in ways.items():
            trackers[name].feed(Picture.from_rgb(way(rgb)))
    tracks = {name: tracker.tracks() for name, tracker in trackers.items()}
    return {name: found[0].landmarks for name, found in tracks.items() if found}


def measure(path: Path, landmarker: FaceLandmarker) -> Iterator[Row]:
    """Yield the reliability of each run of a clip."""
    found = track(path, landmarker)
    if len(found) < len(looks(np.random.default_rng(0))):
        return
    seen = np.all([np.isfinite(marks[:, 0, 0]) for marks in found.values()], 0)
    plain = np.where(seen[:, None, None], found["plain"], np.nan)
    for run in unbroken(plain):
        if run.stop - run.start < LEAST_FRAMES:
            continue
        mouths = {name: shape.mouth_shapes(smooth(marks[run])) for name, marks in found.items()}
        mouths["mirrored"] = mirror(mouths["mirrored"])
        pairs = [compare(curves(a), curves(b), 0) for a, b in combinations(mouths.values(), 2)]
        yaw = shape.align(plain[run]).angles()[:, 0]
        yield Row(
            folder=path.parent.name,
            yaw=float(np.median(np.abs(yaw))),
            **{m: float(np.mean([getattr(p, m) for p in pairs])) for m in MEASURES},
        )


def report(rows: list[Row]) -> Iterator[str]:
    """Yield the lines of the table."""
    yield "| | runs | opening: two looks | ceiling of r | width: two looks | ceiling of r |"
    yield "|---|---|---|---|---|---|"
    for label, chosen in (
        *((f"{folder}/", [r for r in rows if r.folder == folder]) for folder in SETS),
        (f"yaw under {TURNED:.0f}°", [r for r in rows if r.yaw < TURNED]),
        (f"yaw of {TURNED:.0f}° and more", [r for r in rows if r.yaw >= TURNED]),
    ):
        cells = []
        for name in MEASURES:
            values = [getattr(r, name) for r in chosen]
            mean, low, high = mean_and_interval(values)
            ceiling = np.mean([math.sqrt(max(v, 0.0)) for v in values])
            cells += [f"{mean:.3f} ({low:.2f}–{high:.2f})", f"{ceiling:.2f}"]
        yield f"| {label} | {len(chosen)} | " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    options = parser.parse_args()
    landmarker = FaceLandmarker()
    paths = [p for p in find(options.data) if p.parent.name in SETS]
    rows = [row for path in paths for row in measure(path, landmarker)]
    print("\n".join(report(rows)))


if __name__ == "__main__":
    main()
