"""The engine of this project: paint a mouth with this person's own pixels (DESIGN §2.4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from lipwright.engines.base import EngineSpec, Fetch, Floats, Patch, Portrait, Script, View
from lipwright.face.neutral import Drift, fit_drift
from lipwright.face.shape import MOUTH, Ints, Pose, align, opening, to_canonical
from lipwright.motion.shut import shut
from lipwright.render.bank import Exemplar, choose, cut, most_bytes
from lipwright.render.occlusion import covered
from lipwright.render.paint import Brush, Stroke, paint_mouth
from lipwright.render.path import Look, Mix, blend_runs, find_path
from lipwright.render.restore import Restorer

BANK_BYTES = 256 << 20
HIDDEN = 0.0  # share of the pasted part behind something, over which a frame is no exemplar
MAX_TURN = 50.0  # degrees of yaw or pitch beyond which a frame is no exemplar


@dataclass(frozen=True, kw_only=True)
class Speaker:
    """A studied face: its exemplars and how they look."""

    exemplars: tuple[Exemplar, ...]
    look: Look
    blur: Floats  #: (n,) 0 for the usual sharpness, 1 for half of it
    opening: Floats  #: (n,) of the exemplars' mouths, canonical
    drift: Drift  #: of the mouth with the head
    calm: Floats  #: (61, 3) canonical mouth when closed, the head looking into the camera
    teeth: Ints  #: (n,) which rows of teeth show, see :attr:`Exemplar.teeth`
    shot: Ints  #: (n,) number of the shot that each is from


class ExemplarEngine:
    """Keeps a bank of exemplars per speaker; warps the best path through it into each frame."""

    def __init__(self, bank_bytes: int = BANK_BYTES) -> None:
        self._bank_bytes = bank_bytes
        self._restorer = Restorer()

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
        usable &= covered(portrait.occluder) <= HIDDEN
        usable = usable if usable.any() else seen
        most = max(1, self._bank_bytes // most_bytes(landmarks[usable], portrait.depth))
        frames = choose(
            look, sharpness=portrait.sharpness, usable=usable, most=most, shot=portrait.shot
        )
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
            calm=shut(look.mouth[frames[int(np.argmin(opening(look.mouth[frames])))]]),
            teeth=np.array([e.teeth for e in exemplars]),
            shot=portrait.shot[frames],
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
                calm=speaker.calm + drift[k],
                top=255 if view.rgb.dtype == np.uint8 else 1023,
            )
            strokes = [
                Stroke(
                    exemplar=speaker.exemplars[i],
                    share=w,
                    opening=float(speaker.opening[i]),
                    fine=self._restorer.fine(
                        speaker.exemplars[i], script.restore, script.landmarks[k]
                    ),
                )
                for i, w in mixes[k]
            ]
            rgb, mask = paint_mouth(
                view.rgb, view.box, brush, strokes, float(script.strength[k]), view.occluder
            )
            yield Patch(rgb=rgb, mask=mask, box=view.box)

    def close(self) -> None:
        """Free nothing: speakers own their banks."""


def _mixes(speaker: Speaker, script: Script, pose: Pose, wanted: Floats) -> list[Mix]:
    """Return exemplars and shares of every output frame; empty where nothing is painted.

    No run goes on over a cut, and none gives way over it to the next.
    """
    mixes: list[Mix] = [[] for _ in script.strength]
    for frames in _scenes(np.flatnonzero(script.strength > 0), script.shot):
        goal = Look(
            mouth=wanted[frames],
            angles=pose[frames].angles(),
            light=script.light[frames],
            index=script.source[frames],
        )
        kept = of_shot(speaker.shot, int(script.shot[frames[0]]))
        bank = speaker.look.at(kept)
        path = find_path(goal, bank, speaker.blur[kept], speaker.teeth[kept])
        for k, mix in zip(frames, blend_runs(path, bank.index.astype(np.int64)), strict=True):
            mixes[k] = [(int(kept[i]), share) for i, share in mix]
    return mixes


def of_shot(shot: Ints, number: int) -> Ints:
    """Return which exemplars (n,) are of a shot; all of them if that has none."""
    own = np.flatnonzero(shot == number)
    return own if len(own) else np.arange(len(shot))


def _scenes(painted: Ints, shot: Ints) -> list[Ints]:
    """Return the painted frames (m,) in parts that lie within one shot."""
    if not len(painted):
        return []
    return np.split(painted, np.flatnonzero(np.diff(shot[painted])) + 1)


SPEC = EngineSpec(
    name="exemplar",
    summary="the speaker's own mouth, warped and blended at native resolution",
    licence="Apache-2.0",
    load=ExemplarEngine,
)
