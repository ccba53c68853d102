"""Things in front of the mouth: are they kept, and is nothing taken for them?

    python -m bench.occlusion [--clips NAME ...] [--kinds KIND ...]

Draws occluders with exact masks (bench/occluders.py) into stretches of the development clips, dubs
them with foreign speech and looks, before encoding, at which pixels of the occluder changed. The
second table runs the detector over the clips as they are: whatever it finds there is a false alarm.
docs/reference/measures.md says what the columns mean.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.footage import DATA, Clip, Cupboard, Studio, find, version
from bench.occluders import KINDS, Occluder, course, place, put_in_front
from bench.tables import Column, table
from lipwright.engines.base import DrivingSequence
from lipwright.face.lips import LIPS
from lipwright.face.occlusion import bearable, lips_covered
from lipwright.face.raster import layout
from lipwright.media.decode.video import Reader, read_video
from lipwright.media.encode.mux import VideoWriter
from lipwright.media.picture import Picture
from lipwright.media.timeline import plan
from lipwright.options import SyncOptions
from lipwright.pipeline.paint import RenderPlan
from lipwright.pipeline.pipeline import Pipeline
from lipwright.progress import ProgressReporter
from lipwright.render.composite import LOOP
from lipwright.types import Floats

RESULTS = Path(__file__).parent / "results"
FRAMES = 60
SAME = 6  # codes (of 255) by which a kept pixel may differ
FREE, MOSTLY = 0.02, 0.5  # share of the lips behind the thing
SPEECHES = ("zh_1.wav", "de_1.wav", "ar_1.wav", "es_1.wav")

KEPT = (
    Column(key="kept", head="occluder kept %", form=".1f", factor=100, aim="≥ 95"),
    Column(key="worst", head="worst frame %", form=".0f", factor=100),
    Column(key="covered", head="mouth covered at most %", form=".0f", factor=100),
    Column(key="free", head="effect while free", aim="1"),
    Column(key="beside", head="effect while partly covered"),
    Column(key="mostly", head="effect while mostly covered", aim="0"),
)
ALARMS = (
    Column(key="frames", head="frames flagged %", form=".1f", factor=100),
    Column(key="cells", head="cells flagged %", form=".2f", factor=100),
    Column(key="lips", head="frames with lips flagged %", form=".1f", factor=100),
    Column(key="faded", head="frames faded %", form=".1f", factor=100, aim="0"),
)


class Watching(Pipeline):
    """The product, which keeps what it pasted and by which script."""

    def __init__(self) -> None:
        super().__init__()
        self.pairs: list[tuple[Picture, Picture]] = []
        self.script: DrivingSequence | None = None

    def _paint_here(
        self,
        brief: RenderPlan,
        script: DrivingSequence | None,
        every: range,
        writer: VideoWriter,
        watch: ProgressReporter,
    ) -> None:
        write, after = writer.write, list[Picture]()

        def keep(picture: Picture) -> None:
            after.append(picture)
            write(picture)

        writer.write = keep  # type: ignore[method-assign]
        super()._paint_here(brief, script, every, writer, watch)
        self.script = script
        self.pairs = [*zip(Reader(brief.source).at(brief.picks), after, strict=True)]


def write(path: Path, clip: Clip, pictures: list[Picture]) -> Path:
    """Write pictures as a clip like *clip*."""
    info = clip.take.info
    length = Fraction(len(pictures)) / info.rate
    timeline = plan("cut_off", video=length, audio=length, rate=info.rate)
    with VideoWriter(path, like=info, timeline=timeline, audio=None, crf=8) as writer:
        for picture in pictures:
            writer.write(picture)
    return path


def skin_of(picture: Picture, landmarks: Floats) -> Floats:
    """Return the mean R, G, B (3,) of a cheek."""
    x, y = landmarks[205, :2].astype(int)
    cheek = picture.rgb()[y - 4 : y + 5, x - 4 : x + 5].reshape(-1, 3).mean(0)
    return (cheek / (1 << (picture.depth - 8))).astype(np.float32)


def region(landmarks: Floats, points: NDArray[np.int64], picture: Picture) -> NDArray[np.bool_]:
    """Return the hull (H, W) of some landmarks."""
    mask = np.zeros((picture.height, picture.width), np.uint8)
    hull = cv2.convexHull(landmarks[points, :2].astype(np.float32))
    cv2.fillConvexPoly(mask, np.rint(hull).astype(np.int32), 1)
    return mask > 0


def occlude(
    pipeline: Watching, clip: Clip, thing: Occluder, pictures: list[Picture], speech: Path
) -> dict[str, float]:
    """Draw the thing into the pictures, dub them, and measure."""
    landmarks, rate = clip.track.landmarks, float(clip.take.info.rate)
    shares = course(len(pictures))
    spoilt, masks = [], []
    for k, picture in enumerate(pictures):
        matrix = place(thing, landmarks[k], float(shares[k]), k / rate)
        drawn, mask = put_in_front(picture, thing, matrix)
        spoilt.append(drawn)
        masks.append(mask)
    with tempfile.TemporaryDirectory(prefix="lipwright-bench-") as folder:
        path = write(Path(folder) / "occluded.mp4", clip, spoilt)
        pipeline.sync(path, speech, Path(folder) / "dub.mp4", options=SyncOptions())
    script = pipeline.script
    assert script is not None
    kept, at_stake, worst, rows = 0, 0, 1.0, []
    for k, (before, after) in enumerate(pipeline.pairs):
        mouth = region(landmarks[k], LOOP, before) & masks[k]
        lips = region(landmarks[k], LIPS, before)
        rows.append(((lips & masks[k]).sum() / max(lips.sum(), 1), script.strength[k]))
        if not mouth.any():
            continue
        apart = np.abs(before.rgb().astype(np.int16) - after.rgb()).max(-1)
        same = (apart <= SAME << (before.depth - 8)) & mouth
        kept, at_stake = kept + int(same.sum()), at_stake + int(mouth.sum())
        worst = min(worst, same.sum() / mouth.sum()) if mouth.sum() > 100 else worst
    covered, effect = np.array(rows).T
    part = (covered > FREE) & (covered <= MOSTLY)

    def mean(where: NDArray[np.bool_]) -> float:
        return float(effect[where].mean()) if where.any() else float("nan")

    return {
        "kept": kept / max(at_stake, 1),
        "pixels": at_stake,
        "worst": worst,
        "covered": float(covered.max()),
        "free": mean(covered <= FREE),
        "beside": mean(part),
        "mostly": mean(covered > MOSTLY),
    }


def alarms(studio: Studio, clip: Clip) -> dict[str, float]:
    """Run the detector over a clip in which nothing is in front of the mouth."""
    portrait = studio.portrait(clip.track, clip.take)
    found = portrait.occluder
    return {
        "frames": float(found.any((1, 2)).mean()),
        "cells": float(found[:, layout().judged].mean()),
        "lips": float((lips_covered(found) > FREE).mean()),
        "faded": float((bearable(found) < 1).mean()),
    }


def pooled(kept: Mapping[str, Mapping[str, float]]) -> str:
    """Return how much is kept of all things together, pixel by pixel."""
    pixels = sum(row["pixels"] for row in kept.values())
    share = sum(row["kept"] * row["pixels"] for row in kept.values()) / max(pixels, 1)
    return f"All together: {100 * share:.1f} % of {pixels:,.0f} pixels of the things kept."


def report(
    kept: Mapping[str, Mapping[str, float]], false: Mapping[str, Mapping[str, float]]
) -> str:
    return f"""# Occluders

`python -m bench.occlusion`, code and weights {version()}.
[What the columns mean](../../docs/reference/measures.md).

## Things drawn into real clips

{table(KEPT, kept, "clip, thing")}

{pooled(kept)}

## The clips as they are

{table(ALARMS, false)}
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--clips", nargs="*", default=())
    parser.add_argument("--kinds", nargs="*", default=tuple(KINDS))
    args = parser.parse_args()
    studio, pipeline = Studio(Cupboard()), Watching()
    kept, false = {}, {}
    for number, info in enumerate(find(DATA / "clips", args.clips)):
        clip = studio.clip(info)
        false[clip.name] = alarms(studio, clip)
        first = np.isfinite(clip.track.landmarks[:FRAMES, 0, 0])
        if not first.all() or len(first) < FRAMES - 5:
            print(
                f"{clip.name}: no face throughout the first {FRAMES} frames, left out of the first"
            )
            continue
        pictures = [f.picture for f in read_video(info, stop=FRAMES)]
        for kind in args.kinds:
            random = np.random.default_rng([number, list(KINDS).index(kind)])
            thing = KINDS[kind](random, skin_of(pictures[0], clip.track.landmarks[0]))
            speech = DATA / "speech" / SPEECHES[number % len(SPEECHES)]
            name = f"{clip.name}, {kind}"
            kept[name] = occlude(pipeline, clip, thing, pictures, speech)
            print(name, {k: round(v, 3) for k, v in kept[name].items()}, flush=True)
    text = report(kept, false)
    print(text)
    if not args.clips and set(args.kinds) == set(KINDS):
        (RESULTS / "occlusion.md").write_text(text)


if __name__ == "__main__":
    main()
