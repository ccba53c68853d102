"""What is painted behind the lips when the speaker was only ever seen with them closed.

    python -m bench.interior [--clips NAME ...]

The bank is limited to the frames with a closed mouth; the true mouth shapes of the open ones are
painted over those very frames. Nothing else moves, so the pixels between the inner lips can be
compared with the true ones. docs/reference/measures.md says what the columns mean.
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

from bench import sheets
from bench.footage import CACHE, DATA, Clip, Cupboard, Studio, find, version
from bench.regions import Regions
from bench.retake import _fetch as fetch_of
from bench.tables import Column, table
from lipwright.engines.base import DrivingSequence
from lipwright.face.lips import INNER_LIPS
from lipwright.face.neutral import fit_drift
from lipwright.face.shape import align, mouth_shapes, opening
from lipwright.media.contact_sheet import sheet, write_png
from lipwright.media.decode.video import read_video
from lipwright.media.picture import Picture
from lipwright.pipeline.staging import view_of
from lipwright.types import Floats, Rgb

CLOSED, OPEN = 0.03, 0.07  # openings up to and from which a mouth counts as such
SAMPLES = 24  # frames painted of each clip
SHOWN = 8  # of them on the sheet
CALM = 0.015  # inter-ocular distances: finer detail is not compared
RESULTS = Path(__file__).parent / "results"

COLUMNS = (
    Column(key="frames", head="frames", form=".0f"),
    Column(key="luma", head="luma error", form=".1f"),
    Column(key="bias", head="luma bias", form="+.1f", aim="± 10"),
    Column(key="chroma", head="chroma error", form=".1f"),
    Column(key="contrast", head="contrast ×", aim="0.8–1.2"),
    Column(key="fine", head="fine detail ×", aim="0.7–1.3"),
)


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One frame painted, cut out around the mouth."""

    truth: Rgb  #: (s, s, 3)
    painted: Rgb
    inside: NDArray[np.bool_]  #: (s, s) between the inner lips
    unit: float  #: pixels per inter-ocular distance


def closed_only(clip: Clip, gap: Floats, limit: float) -> Clip:
    """Return the clip without the frames whose mouth opens by a *gap* (T,) over the limit."""
    confidence = np.where(np.nan_to_num(gap, nan=math.inf) <= limit, clip.track.confidence, 0)
    return replace(clip, track=replace(clip.track, confidence=confidence.astype(np.float32)))


def paint(studio: Studio, clip: Clip, limit: float) -> Iterator[Shot]:
    """Yield the most open frames of a clip, painted from its closed ones."""
    portrait = studio.portrait(clip.track, clip.take)
    landmarks = portrait.landmarks
    shapes, angles = mouth_shapes(landmarks), align(landmarks).angles()
    gap = np.nan_to_num(opening(shapes), nan=-1)
    usable = np.flatnonzero((gap >= OPEN) & (np.abs(np.nan_to_num(angles[:, 0], nan=90)) < 35))
    chosen = usable[np.linspace(0, len(usable) - 1, min(SAMPLES, len(usable))).astype(int)]
    if not len(chosen) or not (gap[gap >= 0] <= limit).any():
        return
    learnt = studio.portrait(closed_only(clip, opening(shapes), limit).track, clip.take)
    engine = studio.fresh_engine()
    speaker = engine.study(learnt, fetch_of(clip, learnt.landmarks))
    script = DrivingSequence(
        mouth=shapes[chosen] - fit_drift(shapes, angles).at(angles[chosen]),
        landmarks=landmarks[chosen],
        source=chosen.astype(np.float32),
        light=portrait.light[chosen],
        strength=np.ones(len(chosen), np.float32),
        shot=portrait.shot[chosen],
        occluder=portrait.occluder[chosen],
    )
    pictures = _pictures(clip, chosen)
    views = [view_of(p, landmarks[i]) for p, i in zip(pictures, chosen, strict=True)]
    regions = Regions.of(landmarks)
    patches = engine.paint(speaker, script, views)
    for before, i, patch in zip(pictures, chosen, patches, strict=True):
        assert patch is not None
        after = before.paste(patch.box, patch.rgb, patch.mask)
        yield Shot(
            truth=regions.crop(before, i),
            painted=regions.crop(after, i),
            inside=_inside(regions, before, i),
            unit=regions.unit,
        )


def _pictures(clip: Clip, chosen: NDArray[np.intp]) -> list[Picture]:
    wanted = set(chosen.tolist())
    with read_video(clip.info) as frames:
        return [frame.picture for frame in frames if frame.index in wanted]


def _inside(regions: Regions, picture: Picture, index: int) -> NDArray[np.bool_]:
    """Return which pixels of the crop lie between the inner lips."""
    flat = np.zeros((picture.height, picture.width), np.uint8)
    corners = np.round(regions.landmarks[index, INNER_LIPS, :2] * 16).astype(np.int32)
    cv2.fillPoly(flat, [corners], 255, shift=4)
    return regions.crop(Picture.from_rgb(cv2.merge([flat] * 3)), index)[..., 1] > 127


def measure(shots: Sequence[Shot]) -> dict[str, float]:
    """Return the row of a clip; NaN where it has no frame that can be compared."""
    row = dict.fromkeys((c.key for c in COLUMNS), math.nan) | {"frames": float(len(shots))}
    found = [_compare(shot) for shot in shots if shot.inside.sum() >= 12]
    if found:
        row |= {key: float(np.mean([f[key] for f in found])) for key in found[0]}
    return row


def _compare(shot: Shot) -> dict[str, float]:
    sigma = max(CALM * shot.unit, 0.5)
    pair = (shot.painted, shot.truth)
    calm = [
        cv2.cvtColor(cv2.GaussianBlur(rgb, (0, 0), sigma), cv2.COLOR_RGB2YCrCb).astype(np.float32)
        for rgb in pair
    ]
    fine = [
        cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32) - c[..., 0]
        for rgb, c in zip(pair, calm, strict=True)
    ]
    made, true = (c[shot.inside] for c in calm)
    detail = [float(f[shot.inside].std()) for f in fine]
    return {
        "luma": float(np.abs(made[:, 0] - true[:, 0]).mean()),
        "bias": float((made[:, 0] - true[:, 0]).mean()),
        "chroma": float(np.abs(made[:, 1:] - true[:, 1:]).sum(1).mean()),
        "contrast": float(made[:, 0].std() / max(true[:, 0].std(), 1.0)),
        "fine": detail[0] / max(detail[1], 0.5),
    }


def write_sheet(path: Path, name: str, shots: Sequence[Shot]) -> None:
    """Write true and painted mouths of a clip below each other."""
    shown = shots[:: max(1, len(shots) // SHOWN)][:SHOWN]
    rows = [[s.truth for s in shown], [s.painted for s in shown]]
    write_png(path, sheet(rows, [f"{name}: true", "painted from closed lips"]))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.interior", description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA / "clips", help="folder of clips")
    parser.add_argument("--clips", nargs="*", default=(), help="beginnings of names; default: all")
    parser.add_argument("--limit", type=float, default=CLOSED, help="widest mouth in the bank")
    parser.add_argument("--sheets", type=Path, default=Path("/tmp/lipwright-sheets"))
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of tracks and sounds")
    parser.add_argument("--out", type=Path, help="default: bench/results/interior.md")
    return parser.parse_args()


def main() -> None:
    asked = arguments()
    cv2.setNumThreads(1)
    folder = sheets.outside(asked.sheets)
    studio = Studio(Cupboard(asked.cache))
    rows = {}
    for info in find(asked.data, asked.clips):
        clip = studio.clip(info)
        if shots := list(paint(studio, clip, asked.limit)):
            rows[clip.name] = measure(shots)
            write_sheet(folder / f"interior_{clip.name}.png", clip.name, shots)
    page = (
        "# Behind the lips, painted from closed mouths\n\n"
        "The open mouths of each clip, painted when the bank holds its closed ones only. "
        "[What the columns mean](../../docs/reference/measures.md).\n\n"
        f"`python -m bench.interior`, code {version()}\n\n{table(COLUMNS, rows)}\n"
    )
    print(page)
    if asked.out or not asked.clips:
        (asked.out or RESULTS / "interior.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
