"""Score how well occluders in front of the mouth are kept, and count false alarms.

    python -m bench.occlusion [--clips NAME ...] [--kinds KIND ...]

Occluders with exact masks (bench/occlusion/synthetic_occluders.py) are drawn into the first frames
of each development clip. The clips are dubbed with foreign speech, and the pixels of the occluder
are compared before encoding. The second table runs the detector over the clips as they are, so
every detection is a false alarm. docs/reference/measures.md explains the columns.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.common.cached_pipeline import CachedPipeline
from bench.common.clips import DATA, RESULTS, Clip, code_version, find_clips
from bench.common.footage_cache import DEFAULT_CACHE, FootageCache
from bench.common.markdown import Column, score_table
from bench.occlusion.synthetic_occluders import (
    KINDS,
    Occluder,
    approach,
    draw_occluder,
    occluder_matrix,
)
from lipwright.engines.base import DrivingSequence
from lipwright.face.landmarks import LIPS
from lipwright.face.lower_face_raster import raster_layout
from lipwright.face.occlusion import covered_lip_share, strength_limit
from lipwright.media.decode.random_access import RandomAccessReader
from lipwright.media.decode.video import read_video
from lipwright.media.encode.mux import VideoWriter
from lipwright.media.frame_cache import FrameCache
from lipwright.media.picture import Picture
from lipwright.media.probe import probe, require_audio
from lipwright.media.timeline import plan_timeline
from lipwright.options import SyncMode
from lipwright.pipeline import stages
from lipwright.pipeline.timing import plan_output
from lipwright.render.composite import MOUTH_LOOP
from lipwright.types import Floats

FRAMES = 60  # of each clip that are dubbed
MISSING_FRAMES = 5  # by which a clip may be shorter
TOLERANCE = 6  # codes (of 255) by which a kept pixel may differ
FREE, MOSTLY = 0.02, 0.5  # share of the lips behind the occluder
MIN_PIXELS = 100  # of an occluder, for its frame to be the worst
CHEEK = 205  # a landmark on it
SPEECHES = ("zh_1.wav", "de_1.wav", "ar_1.wav", "es_1.wav")

KEPT_COLUMNS = (
    Column(key="kept", head="occluder kept %", form=".1f", factor=100, aim="≥ 95"),
    Column(key="worst", head="worst frame %", form=".0f", factor=100),
    Column(key="covered", head="mouth covered at most %", form=".0f", factor=100),
    Column(key="free", head="effect while free", aim="1"),
    Column(key="partly", head="effect while partly covered"),
    Column(key="mostly", head="effect while mostly covered", aim="0"),
)
ALARM_COLUMNS = (
    Column(key="frames", head="frames flagged %", form=".1f", factor=100),
    Column(key="cells", head="cells flagged %", form=".2f", factor=100),
    Column(key="lips", head="frames with lips flagged %", form=".1f", factor=100),
    Column(key="faded", head="frames faded %", form=".1f", factor=100, aim="0"),
)

Rows = Mapping[str, Mapping[str, float]]


def write_clip(path: Path, clip: Clip, pictures: Sequence[Picture]) -> Path:
    """Write pictures to a file with the frame rate and format of *clip*."""
    info = clip.take.info
    length = Fraction(len(pictures)) / info.rate
    timeline = plan_timeline("cut_off", video=length, audio=length, rate=info.rate)
    with VideoWriter(path, like=info, timeline=timeline, audio=None, crf=8) as writer:
        for picture in pictures:
            writer.write(picture)
    return path


def skin_colour(picture: Picture, landmarks: Floats) -> Floats:
    """Return the mean R, G, B (3,) of a cheek, 0 to 255."""
    x, y = landmarks[CHEEK, :2].astype(int)
    cheek = picture.rgb()[y - 4 : y + 5, x - 4 : x + 5].reshape(-1, 3).mean(0)
    return (cheek / (1 << (picture.depth - 8))).astype(np.float32)


def hull_mask(landmarks: Floats, indices: NDArray[np.int64], picture: Picture) -> NDArray[np.bool_]:
    """Return the convex hull (H, W) of some landmarks."""
    mask = np.zeros((picture.height, picture.width), np.uint8)
    hull = cv2.convexHull(landmarks[indices, :2].astype(np.float32))
    cv2.fillConvexPoly(mask, np.rint(hull).astype(np.int32), 1)
    return mask > 0


def draw_into_clip(
    clip: Clip, occluder: Occluder, pictures: Sequence[Picture]
) -> tuple[list[Picture], list[NDArray[np.bool_]]]:
    """Draw an occluder that passes the mouth into each picture; return pictures and masks."""
    landmarks, rate = clip.track.landmarks, float(clip.take.info.rate)
    shares = approach(len(pictures))
    drawn, masks = [], []
    for k, picture in enumerate(pictures):
        matrix = occluder_matrix(occluder, landmarks[k], float(shares[k]), k / rate)
        with_occluder, mask = draw_occluder(picture, occluder, matrix)
        drawn.append(with_occluder)
        masks.append(mask)
    return drawn, masks


def paint_dub(
    pipeline: CachedPipeline, source: Path, speech: Path
) -> tuple[list[tuple[Picture, Picture]], DrivingSequence]:
    """Dub a file up to the encoding; return (source, result) frames and the driving sequence."""
    info, audio, resources = probe(source), probe(speech), pipeline.resources
    cache = FrameCache()
    take = stages.track(info, resources, cache=cache)
    timeline = plan_output(take, require_audio(audio), SyncMode.CUT_OFF)
    heard = stages.hear(audio, timeline, info, resources)
    (face,) = stages.select_faces(take, info, resources)
    animated = stages.animate(face, take, heard, resources)
    plan = stages.plan(info, take, timeline, [animated], cache=cache)
    (driving,) = plan.driving_sequences()
    results = stages.paint(plan, pipeline.engine, resources, drivings=[driving])
    sources = RandomAccessReader(info).read(plan.indices)
    return [*zip(sources, results, strict=True)], driving


def score_occluder(
    pipeline: CachedPipeline,
    clip: Clip,
    occluder: Occluder,
    pictures: Sequence[Picture],
    speech: Path,
) -> dict[str, float]:
    """Draw an occluder into pictures of a clip, dub them with a speech, and score the result."""
    landmarks = clip.track.landmarks
    drawn, masks = draw_into_clip(clip, occluder, pictures)
    with tempfile.TemporaryDirectory(prefix="lipwright-bench-") as folder:
        path = write_clip(Path(folder) / "occluded.mp4", clip, drawn)
        pairs, driving = paint_dub(pipeline, path, speech)
    kept, pixels, worst, rows = 0, 0, 1.0, []
    for k, (source, result) in enumerate(pairs):
        occluded = hull_mask(landmarks[k], MOUTH_LOOP, source) & masks[k]
        lips = hull_mask(landmarks[k], LIPS, source)
        rows.append(((lips & masks[k]).sum() / max(lips.sum(), 1), driving.strength[k]))
        if not occluded.any():
            continue
        difference = np.abs(source.rgb().astype(np.int16) - result.rgb()).max(-1)
        same = (difference <= TOLERANCE << (source.depth - 8)) & occluded
        kept, pixels = kept + int(same.sum()), pixels + int(occluded.sum())
        if occluded.sum() > MIN_PIXELS:
            worst = min(worst, same.sum() / occluded.sum())
    covered, effect = np.array(rows).T

    def mean_effect(where: NDArray[np.bool_]) -> float:
        return float(effect[where].mean()) if where.any() else float("nan")

    return {
        "kept": kept / max(pixels, 1),
        "pixels": pixels,
        "worst": worst,
        "covered": float(covered.max()),
        "free": mean_effect(covered <= FREE),
        "partly": mean_effect((covered > FREE) & (covered <= MOSTLY)),
        "mostly": mean_effect(covered > MOSTLY),
    }


def count_false_alarms(pipeline: CachedPipeline, clip: Clip) -> dict[str, float]:
    """Run the detector over a clip in which nothing is in front of the mouth."""
    occluder = np.asarray(pipeline.face_track(clip.track, clip.take).occluder)
    return {
        "frames": float(occluder.any((1, 2)).mean()),
        "cells": float(occluder[:, raster_layout().searched].mean()),
        "lips": float((covered_lip_share(occluder) > FREE).mean()),
        "faded": float((strength_limit(occluder) < 1).mean()),
    }


def kept_of_all_pixels(kept: Rows) -> str:
    """Return the share kept of all pixels of all occluders."""
    pixels = sum(row["pixels"] for row in kept.values())
    share = sum(row["kept"] * row["pixels"] for row in kept.values()) / max(pixels, 1)
    return f"All together: {100 * share:.1f} % of {pixels:,.0f} occluder pixels kept."


def report(kept: Rows, alarms: Rows) -> str:
    """Return the result page as Markdown."""
    return f"""# Occluders

`python -m bench.occlusion`, code and weights {code_version()}.
[What the columns mean](../../docs/reference/measures.md).

## Occluders drawn into real clips

{score_table(KEPT_COLUMNS, kept, "clip, occluder")}

{kept_of_all_pixels(kept)}

## False alarms on the clips as they are

{score_table(ALARM_COLUMNS, alarms)}
"""


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.occlusion",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, default=DATA, help="folder with clips/ and speech/")
    parser.add_argument(
        "--clips", nargs="*", default=(), help="prefixes of file names; default: all clips"
    )
    parser.add_argument("--kinds", nargs="*", default=tuple(KINDS), choices=tuple(KINDS))
    parser.add_argument(
        "--cache", type=Path, default=DEFAULT_CACHE, help="folder for tracked faces and sound"
    )
    parser.add_argument("--out", type=Path, help="default: bench/results/occlusion.md")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    pipeline = CachedPipeline(FootageCache(arguments.cache))
    kept, alarms = {}, {}
    for number, info in enumerate(find_clips(arguments.data / "clips")):
        if not info.path.name.startswith(tuple(arguments.clips) or ""):
            continue
        clip = pipeline.load_clip(info)
        alarms[clip.name] = count_false_alarms(pipeline, clip)
        seen = np.isfinite(clip.track.landmarks[:FRAMES, 0, 0])
        if not seen.all() or len(seen) < FRAMES - MISSING_FRAMES:
            print(
                f"{clip.name}: no occluders drawn: not all of its first {FRAMES} frames show a face"
            )
            continue
        pictures = [f.picture for f in read_video(info, stop=FRAMES)]
        for kind in arguments.kinds:
            random = np.random.default_rng([number, list(KINDS).index(kind)])
            occluder = KINDS[kind](random, skin_colour(pictures[0], clip.track.landmarks[0]))
            speech = arguments.data / "speech" / SPEECHES[number % len(SPEECHES)]
            name = f"{clip.name}, {kind}"
            kept[name] = score_occluder(pipeline, clip, occluder, pictures, speech)
            print(name, {k: round(v, 3) for k, v in kept[name].items()}, flush=True)
    page = report(kept, alarms)
    print(page)
    if arguments.out or (not arguments.clips and set(arguments.kinds) == set(KINDS)):
        (arguments.out or RESULTS / "occlusion.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
