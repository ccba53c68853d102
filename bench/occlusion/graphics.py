"""Score how well graphics on the screen are kept, and count false marks on clips without any.

    python -m bench.occlusion.graphics [--clips NAME ...] [--kinds KIND ...] [--crf N ...]

Graphics with exact mattes (bench/occlusion/synthetic_graphics.py) are drawn into the first frames
of each development clip. The clips are encoded, dubbed with foreign speech, and compared with the
encoded source before the result is encoded. The last table runs the detector over the clips as they
are: every mark is false.
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
from bench.common.clips import DATA, Clip, find_clips
from bench.common.footage_cache import DEFAULT_CACHE, FootageCache
from bench.common.markdown import Column, score_table
from bench.occlusion.__main__ import SPEECHES, TOLERANCE, hull_mask, paint_dub
from bench.occlusion.synthetic_graphics import KINDS, draw_graphic, place_of
from lipwright.face.landmarks import LIPS
from lipwright.face.overlays.detector import OverlayDetector
from lipwright.face.track import Tracker
from lipwright.media.decode.video import read_video
from lipwright.media.encode.mux import VideoWriter
from lipwright.media.picture import Picture
from lipwright.media.probe import MediaInfo, require_video
from lipwright.media.shot_detection import split_shots
from lipwright.media.timeline import plan_timeline
from lipwright.types import Floats

FRAMES = 60  # of each clip that are dubbed
CRFS = (18, 23, 28)  # of the source, in turn over the clips
OPAQUE, NEAR = 0.98, 5  # matte from which a pixel is opaque; side in pixels of its border
PAINTED = 3.0  # codes, mean change of free lips from which a mouth counts as painted

COLUMNS = (
    Column(key="kept", head="opaque pixels kept %", form=".1f", factor=100, aim="100"),
    Column(key="worst", head="worst frame %", form=".0f", factor=100),
    Column(key="error", head="error inside, codes", form=".2f", aim="0"),
    Column(key="border", head="error at the border, codes", form=".2f"),
    Column(key="mouth", head="frames with a painted mouth %", form=".0f", factor=100),
)
FALSE_COLUMNS = (
    Column(key="frames", head="frames", form=".0f"),
    Column(key="graphics", head="graphics found", form=".0f", aim="0"),
)

Rows = Mapping[str, Mapping[str, float]]


def write_with_graphic(
    path: Path, clip: Clip, pictures: Sequence[Picture], kind: str, crf: int
) -> tuple[Path, list[Floats]]:
    """Draw a graphic into pictures and encode them; return the file and the mattes (H, W)."""
    info = clip.take.info
    place = place_of(
        clip.track.landmarks[: len(pictures)], (info.width, info.height), float(info.rate)
    )
    drawn = [draw_graphic(picture, kind, place, k) for k, picture in enumerate(pictures)]
    length = Fraction(len(pictures)) / info.rate
    timeline = plan_timeline("cut_off", video=length, audio=length, rate=info.rate)
    with VideoWriter(path, like=info, timeline=timeline, audio=None, crf=crf) as writer:
        for picture, _ in drawn:
            writer.write(picture)
    return path, [matte for _, matte in drawn]


def score_graphic(
    pairs: Sequence[tuple[Picture, Picture]], mattes: Sequence[Floats], landmarks: Floats
) -> dict[str, float]:
    """Compare sources with results, before encoding.

    Args:
        pairs: source and result of each frame.
        mattes: (H, W) of the graphic in each frame.
        landmarks: (T, 478, 3) of the clean clip.
    """
    shares, inside, border, mouth = [], [], [], []
    for (source, result), matte, face in zip(pairs, mattes, landmarks, strict=False):
        scale = 1 << (source.depth - 8)
        error = np.abs(source.rgb().astype(np.int16) - result.rgb()).max(-1) / scale
        reached = _lower_face(face, source)
        opaque = (matte >= OPAQUE) & reached
        if opaque.any():
            shares.append(float((error[opaque] <= TOLERANCE).mean()))
            inside.append(float(error[opaque].mean()))
            grown = cv2.dilate((matte >= OPAQUE).astype(np.uint8), np.ones((NEAR, NEAR), np.uint8))
            rim = (grown > 0) & (matte < OPAQUE) & reached
            border.append(float(error[rim].mean()) if rim.any() else 0.0)
        lips = hull_mask(face, LIPS, source) & (matte <= 0)
        mouth.append(bool(lips.any()) and float(error[lips].mean()) > PAINTED)
    return {
        "kept": float(np.mean(shares)) if shares else float("nan"),
        "worst": min(shares, default=float("nan")),
        "error": float(np.mean(inside)) if inside else float("nan"),
        "border": float(np.mean(border)) if border else float("nan"),
        "mouth": float(np.mean(mouth)),
    }


def _lower_face(face: Floats, picture: Picture) -> NDArray[np.bool_]:
    """Return the mask (H, W) of the area below the nose that painting may change."""
    unit = float(np.linalg.norm(face[263, :2] - face[33, :2]))
    mask = hull_mask(face, np.arange(468), picture)
    mask[: max(int(face[2, 1]), 0)] = False
    side = 2 * round(0.2 * unit) + 1
    grown: NDArray[np.bool_] = cv2.dilate(mask.astype(np.uint8), np.ones((side, side))) > 0
    return grown


def count_false_marks(pipeline: CachedPipeline, info: MediaInfo) -> dict[str, float]:
    """Run the detector over a clip without graphics."""
    tracker = Tracker(pipeline.resources.landmarker)
    detector, frames = OverlayDetector(float(require_video(info).rate)), 0
    for frame, cut in split_shots(read_video(info)):
        tracker.feed(frame.picture, cut=cut)
        detector.feed(frame.index, frame.picture, tracker.current_landmarks(), cut=cut)
        frames += 1
    return {"frames": frames, "graphics": len(detector.graphics())}


def mean_by_kind(rows: Rows) -> dict[str, dict[str, float]]:
    """Return the means of all clips for each kind."""
    kinds: dict[str, list[Mapping[str, float]]] = {}
    for name, row in rows.items():
        kinds.setdefault(name.rpartition(", ")[2], []).append(row)
    return {
        kind: {key: float(np.nanmean([row[key] for row in own])) for key in own[0]}
        for kind, own in kinds.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.occlusion.graphics")
    parser.add_argument("--data", type=Path, default=DATA, help="folder with clips/ and speech/")
    parser.add_argument("--clips", nargs="*", default=(), help="prefixes of file names")
    parser.add_argument("--kinds", nargs="*", default=tuple(KINDS), choices=tuple(KINDS))
    parser.add_argument("--crf", nargs="*", type=int, default=CRFS, help="of the sources, in turn")
    parser.add_argument("--false-marks", action="store_true", help="also search the clean clips")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE)
    arguments = parser.parse_args()
    pipeline = CachedPipeline(FootageCache(arguments.cache))
    rows: dict[str, dict[str, float]] = {}
    marks: dict[str, dict[str, float]] = {}
    for number, info in enumerate(find_clips(arguments.data / "clips")):
        if not info.path.name.startswith(tuple(arguments.clips) or ""):
            continue
        clip = pipeline.load_clip(info)
        if arguments.false_marks:
            marks[clip.name] = count_false_marks(pipeline, info)
        landmarks = np.asarray(clip.track.landmarks[:FRAMES])
        if not np.isfinite(landmarks[:, 0, 0]).all():
            continue
        pictures = [f.picture for f in read_video(info, stop=FRAMES)]
        speech = arguments.data / "speech" / SPEECHES[number % len(SPEECHES)]
        for kind in arguments.kinds:
            with tempfile.TemporaryDirectory(prefix="lipwright-bench-") as folder:
                crf = arguments.crf[number % len(arguments.crf)]
                path, mattes = write_with_graphic(
                    Path(folder) / "graphic.mp4", clip, pictures, kind, crf
                )
                pairs, _ = paint_dub(pipeline, path, speech)
            name = f"{clip.name}, {kind}"
            rows[name] = score_graphic(pairs, mattes, landmarks)
            print(name, {key: round(value, 3) for key, value in rows[name].items()}, flush=True)
    print(score_table(COLUMNS, mean_by_kind(rows), "kind"))
    if marks:
        print(score_table(FALSE_COLUMNS, marks))


if __name__ == "__main__":
    main()
