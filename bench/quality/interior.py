"""Score the mouth interior that is painted when the bank shows closed mouths only.

    python -m bench.quality.interior [--clips NAME ...]

The bank is limited to frames with a closed mouth. Open frames are painted over themselves with
their true mouth shapes. Nothing else moves, so the pixels between the inner lips can be compared
with the true ones. docs/reference/measures.md explains the columns.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.common.cached_pipeline import CachedPipeline
from bench.common.clips import DATA, RESULTS, Clip, code_version, find_clips
from bench.common.contact_sheets import make_sheet_folder
from bench.common.face_regions import FaceRegions
from bench.common.footage_cache import DEFAULT_CACHE, FootageCache
from bench.common.markdown import Column, score_table
from bench.quality.reenactment import decode_views
from lipwright.cli.contact_sheet import make_sheet, write_png
from lipwright.engines.base import DrivingSequence
from lipwright.face.canonical import estimate_pose, mouth_opening, mouth_shapes
from lipwright.face.landmarks import INNER_LIPS
from lipwright.face.pose_drift import fit_pose_drift
from lipwright.media.decode.video import read_video
from lipwright.media.picture import Picture
from lipwright.pipeline.views import crop_view
from lipwright.types import Floats, Rgb

MAX_CLOSED, MIN_OPEN = 0.03, 0.07  # openings of closed and of open mouths
MAX_YAW = 35  # degrees, of the frames painted
SAMPLES = 24  # frames painted of each clip
SHEET_FRAMES = 8
BLUR = 0.015  # inter-ocular distances: finer detail is compared separately
MIN_PIXELS = 12  # between the inner lips, to compare a frame

COLUMNS = (
    Column(key="frames", head="frames", form=".0f"),
    Column(key="luma", head="luma error", form=".1f"),
    Column(key="bias", head="luma bias", form="+.1f", aim="± 10"),
    Column(key="chroma", head="chroma error", form=".1f"),
    Column(key="contrast", head="contrast ×", aim="0.8–1.2"),
    Column(key="detail", head="fine detail ×", aim="0.7–1.3"),
)


@dataclass(frozen=True, kw_only=True)
class PaintedMouth:
    """The mouth of one frame, true and painted."""

    truth: Rgb  #: (s, s, 3)
    painted: Rgb  #: (s, s, 3)
    interior: NDArray[np.bool_]  #: (s, s) between the inner lips
    unit: float  #: pixels per inter-ocular distance


def keep_closed_frames(clip: Clip, openings: Floats, limit: float) -> Clip:
    """Return the clip without the frames whose opening (T,) exceeds the limit."""
    closed = np.nan_to_num(openings, nan=math.inf) <= limit
    confidence = np.where(closed, clip.track.confidence, 0)
    return replace(clip, track=replace(clip.track, confidence=confidence.astype(np.float32)))


def paint_open_mouths(pipeline: CachedPipeline, clip: Clip, limit: float) -> Iterator[PaintedMouth]:
    """Yield open frames of a clip, painted from frames whose opening is below *limit*."""
    face = pipeline.face_track(clip.track, clip.take)
    landmarks = face.landmarks
    shapes, angles = mouth_shapes(landmarks), estimate_pose(landmarks).angles()
    openings = np.nan_to_num(mouth_opening(shapes), nan=-1)
    frontal = np.abs(np.nan_to_num(angles[:, 0], nan=90)) < MAX_YAW
    usable = np.flatnonzero((openings >= MIN_OPEN) & frontal)
    chosen = usable[np.linspace(0, len(usable) - 1, min(SAMPLES, len(usable))).astype(int)]
    if not len(chosen) or not (openings[openings >= 0] <= limit).any():
        return
    closed_clip = keep_closed_frames(clip, mouth_opening(shapes), limit)
    closed_face = pipeline.face_track(closed_clip.track, clip.take)
    engine = pipeline.engine
    speaker = engine.study(closed_face, decode_views(clip, closed_face.landmarks))
    driving = DrivingSequence(
        mouth=shapes[chosen] - fit_pose_drift(shapes, angles).at(angles[chosen]),
        landmarks=landmarks[chosen],
        source_frame=chosen.astype(np.float32),
        light=face.light[chosen],
        strength=np.ones(len(chosen), np.float32),
        shot=face.shot[chosen],
        occluder=face.occluder[chosen],
    )
    pictures = _decode_frames(clip, chosen)
    views = [crop_view(p, landmarks[i]) for p, i in zip(pictures, chosen, strict=True)]
    regions = FaceRegions.from_landmarks(landmarks)
    patches = engine.paint(speaker, driving, views)
    for source, i, patch in zip(pictures, chosen, patches, strict=True):
        assert patch is not None
        result = source.paste(patch.box, patch.rgb, patch.mask)
        yield PaintedMouth(
            truth=regions.mouth_crop(source, i),
            painted=regions.mouth_crop(result, i),
            interior=_interior_mask(regions, source, i),
            unit=regions.unit,
        )


def _decode_frames(clip: Clip, indices: NDArray[np.intp]) -> list[Picture]:
    wanted = set(indices.tolist())
    with read_video(clip.info) as frames:
        return [frame.picture for frame in frames if frame.index in wanted]


def _interior_mask(regions: FaceRegions, picture: Picture, index: int) -> NDArray[np.bool_]:
    """Return which pixels (s, s) of the crop lie between the inner lips."""
    mask = np.zeros((picture.height, picture.width), np.uint8)
    corners = np.round(regions.landmarks[index, INNER_LIPS, :2] * 16).astype(np.int32)
    cv2.fillPoly(mask, [corners], 255, shift=4)
    return regions.mouth_crop(Picture.from_rgb(cv2.merge([mask] * 3)), index)[..., 1] > 127


def score_mouths(mouths: Sequence[PaintedMouth]) -> dict[str, float]:
    """Return the mean scores of a clip; NaN where no frame can be compared."""
    scores = dict.fromkeys((c.key for c in COLUMNS), math.nan) | {"frames": float(len(mouths))}
    each = [_score_mouth(mouth) for mouth in mouths if mouth.interior.sum() >= MIN_PIXELS]
    if each:
        scores |= {key: float(np.mean([s[key] for s in each])) for key in each[0]}
    return scores


def _score_mouth(mouth: PaintedMouth) -> dict[str, float]:
    sigma = max(BLUR * mouth.unit, 0.5)
    pair = (mouth.painted, mouth.truth)
    blurred = [
        cv2.cvtColor(cv2.GaussianBlur(rgb, (0, 0), sigma), cv2.COLOR_RGB2YCrCb).astype(np.float32)
        for rgb in pair
    ]
    detail = [
        cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32) - b[..., 0]
        for rgb, b in zip(pair, blurred, strict=True)
    ]
    painted, true = (b[mouth.interior] for b in blurred)
    deviation = [float(d[mouth.interior].std()) for d in detail]
    return {
        "luma": float(np.abs(painted[:, 0] - true[:, 0]).mean()),
        "bias": float((painted[:, 0] - true[:, 0]).mean()),
        "chroma": float(np.abs(painted[:, 1:] - true[:, 1:]).sum(1).mean()),
        "contrast": float(painted[:, 0].std() / max(true[:, 0].std(), 1.0)),
        "detail": deviation[0] / max(deviation[1], 0.5),
    }


def write_sheet(path: Path, name: str, mouths: Sequence[PaintedMouth]) -> None:
    """Write some true mouths of a clip with the painted ones below."""
    shown = mouths[:: max(1, len(mouths) // SHEET_FRAMES)][:SHEET_FRAMES]
    rows = [[m.truth for m in shown], [m.painted for m in shown]]
    write_png(path, make_sheet(rows, [f"{name}: true", "painted from closed lips"]))


def report(rows: dict[str, dict[str, float]]) -> str:
    """Return the result page as Markdown."""
    return (
        "# Mouth interior, painted from closed mouths\n\n"
        "The open mouths of each clip are painted while the bank holds its closed mouths only. "
        "[What the columns mean](../../docs/reference/measures.md).\n\n"
        f"`python -m bench.quality.interior`, code {code_version()}\n\n"
        f"{score_table(COLUMNS, rows)}\n"
    )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.quality.interior",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, default=DATA / "clips", help="folder of clips")
    parser.add_argument(
        "--clips", nargs="*", default=(), help="prefixes of file names; default: all clips"
    )
    parser.add_argument(
        "--limit", type=float, default=MAX_CLOSED, help="widest opening in the bank"
    )
    parser.add_argument(
        "--sheets",
        type=Path,
        default=Path("/tmp/lipwright-sheets"),
        help="folder for contact sheets, outside the project",
    )
    parser.add_argument(
        "--cache", type=Path, default=DEFAULT_CACHE, help="folder for tracked faces and sound"
    )
    parser.add_argument("--out", type=Path, help="default: bench/results/interior.md")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    cv2.setNumThreads(1)
    folder = make_sheet_folder(arguments.sheets)
    pipeline = CachedPipeline(FootageCache(arguments.cache))
    rows = {}
    for info in find_clips(arguments.data, arguments.clips):
        clip = pipeline.load_clip(info)
        if mouths := list(paint_open_mouths(pipeline, clip, arguments.limit)):
            rows[clip.name] = score_mouths(mouths)
            write_sheet(folder / f"interior_{clip.name}.png", clip.name, mouths)
    page = report(rows)
    print(page)
    if arguments.out or not arguments.clips:
        (arguments.out or RESULTS / "interior.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
