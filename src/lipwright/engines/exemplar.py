"""The engine of this project: paint a mouth with this person's own pixels (DESIGN §2.4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from lipwright.engines.base import EngineSpec, Fetch, Floats, Patch, Portrait, Script, View
from lipwright.face.neutral import Drift, fit_drift
from lipwright.face.shape import MOUTH, Pose, align, opening, to_canonical
from lipwright.render.bank import Exemplar, choose, crop_box, cut
from lipwright.render.paint import Brush, Stroke, paint_mouth
from lipwright.render.path import Look, Mix, blend_runs, find_path

BANK_BYTES = 256 << 20
MAX_TURN = 50.0  # degrees of yaw or pitch beyond which a frame is no exemplar


@dataclass(frozen=True, kw_only=True)
class Speaker:
    """A studied face: its exemplars and how they look."""

    exemplars: tuple[Exemplar, ...]
    look: Look
    blur: Floats  #: (n,) 0 for the usual sharpness, 1 for half of it
    opening: Floats  #: (n,) of the exemplars' mouths, canonical
    drift: Drift  #: of the mouth with the head


class ExemplarEngine:
    """Keeps a bank of exemplars per speaker; warps the best path through it into each frame."""

    def __init__(self, bank_bytes: int = BANK_BYTES) -> None:
        self._bank_bytes = bank_bytes

    def study(self, portrait: Portrait, fetch: Fetch) -> Speaker:
        """Fill the bank from the frames that cover shape, pose and light best."""
        landmarks = portrait.landmarks
        pose = align(landmarks)
        mouth = to_canonical(landmarks[:, MOUTH], pose)
        drift = fit_drift(mouth, pose.angles())
        look = Look(
            mouth=mouth - drift.at(pose.angles()),
            angles=pose.angles(),
            light=portrait.light,
            index=np.arange(len(landmarks), dtype=np.float32),
        )
        seen = np.isfinite(landmarks[:, 0, 0]) & (portrait.confidence > 0)
        usable = seen & (np.abs(np.nan_to_num(look.angles[:, :2], nan=180)).max(1) < MAX_TURN)
        usable = usable if usable.any() else seen
        most = max(1, self._bank_bytes // _bytes_each(landmarks[usable], portrait.depth))
        frames = choose(look, sharpness=portrait.sharpness, usable=usable, most=most)
        exemplars = tuple(
            cut(view.rgb, view.box, landmarks[i])
            for i, view in zip(frames, fetch(frames), strict=True)
        )
        usual = float(np.median(portrait.sharpness[frames]))
        blur = np.clip(2 - 2 * portrait.sharpness[frames] / max(usual, 1e-6), 0, 2)
        return Speaker(
            exemplars=exemplars,
            look=look.at(frames),
            blur=blur.astype(np.float32),
            opening=opening(mouth[frames]),
            drift=drift,
        )

    def paint(
        self, speaker: Speaker, script: Script, views: Iterable[View | None]
    ) -> Iterator[Patch | None]:
        """Yield a painted patch for every view."""
        pose = align(script.landmarks)
        own = to_canonical(script.landmarks[:, MOUTH], pose)
        drift = speaker.drift.at(pose.angles())
        wanted = own + (script.mouth + drift - own) * script.strength[:, None, None]
        mixes = _mixes(speaker, script, pose, wanted - drift)
        for k, view in enumerate(views):
            if view is None or script.strength[k] <= 0:
                yield None
                continue
            brush = Brush(
                pose=pose[k : k + 1],
                landmarks=script.landmarks[k],
                own=own[k],
                wanted=wanted[k],
                top=255 if view.rgb.dtype == np.uint8 else 1023,
            )
            strokes = [
                Stroke(exemplar=speaker.exemplars[i], share=w, opening=float(speaker.opening[i]))
                for i, w in mixes[k]
            ]
            rgb, mask = paint_mouth(view.rgb, view.box, brush, strokes, float(script.strength[k]))
            yield Patch(rgb=rgb, mask=mask, box=view.box)

    def close(self) -> None:
        """Free nothing: speakers own their banks."""


def _mixes(speaker: Speaker, script: Script, pose: Pose, wanted: Floats) -> list[Mix]:
    """Return exemplars and shares of every output frame; empty where nothing is painted."""
    painted = np.flatnonzero(script.strength > 0)
    mixes: list[Mix] = [[] for _ in script.strength]
    if len(painted):
        goal = Look(
            mouth=wanted[painted],
            angles=pose[painted].angles(),
            light=script.light[painted],
            index=script.source[painted],
        )
        index = speaker.look.index.astype(np.int64)
        path = find_path(goal, speaker.look, speaker.blur)
        for k, mix in zip(painted, blend_runs(path, index), strict=True):
            mixes[k] = mix
    return mixes


def _bytes_each(landmarks: Floats, depth: int) -> int:
    """Return the bytes of the largest exemplar crop of these frames."""
    boxes = [crop_box(points) for points in landmarks[:: max(1, len(landmarks) // 50)]]
    area = max((b.x1 - b.x0) * (b.y1 - b.y0) for b in boxes)
    return area * 3 * (1 if depth == 8 else 2)


SPEC = EngineSpec(
    name="exemplar",
    summary="the speaker's own mouth, warped and blended at native resolution",
    licence="Apache-2.0",
    load=ExemplarEngine,
)
