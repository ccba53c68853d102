"""The engine of this project: paint a mouth with this person's own pixels (DESIGN §2.4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from lipwright.engines.base import (
    DrivingSequence,
    EngineSpec,
    FaceTrack,
    FaceView,
    FetchViews,
    Patch,
)
from lipwright.face.neutral import Drift, fit_drift
from lipwright.face.shape import MOUTH, Pose, align, mouth_shapes, opening, pose_of, to_canonical
from lipwright.motion.close_mouth import shut
from lipwright.render.bank import (
    RUN_FRAMES,
    Exemplar,
    Shelf,
    choose,
    cut,
    faults,
    inner_looks,
    most_bytes,
    speed_of,
    tone_of,
)
from lipwright.render.occlusion import covered
from lipwright.render.paint import Brush, Stroke, paint_mouth
from lipwright.render.path import Look, Mix, blend_runs, find_path
from lipwright.render.restore import Restorer
from lipwright.runtime.device import Device
from lipwright.runtime.disk_array import CHUNK_ROWS, sample_runs
from lipwright.types import Floats, Ints

BANK_BYTES = 256 << 20
HIDDEN = 0.0  # share of the pasted part behind something, over which a frame is no exemplar
MOST_STUDIED = 3000  # frames that exemplars are chosen from, in runs spread over the take
MAX_TURN = 50.0  # degrees of yaw or pitch beyond which a frame is no exemplar


@dataclass(frozen=True, kw_only=True)
class Speaker:
    """A studied face: its exemplars and how they look."""

    exemplars: tuple[Exemplar, ...]
    look: Look
    faults: Floats  #: (n,) what those of each exemplar cost
    opening: Floats  #: (n,) of the exemplars' mouths, canonical
    drift: Drift  #: of the mouth with the head
    calm: Floats  #: (61, 3) canonical mouth when closed, the head looking into the camera
    inside: Floats  #: (n, c) what shows between their lips, see :attr:`Exemplar.inside`
    shot: Ints  #: (n,) number of the shot that each is from


class ExemplarEngine:
    """Keeps a bank of exemplars per speaker; warps the best path through it into each frame."""

    def __init__(self, bank_bytes: int = BANK_BYTES, device: Device = Device.CPU) -> None:
        self._bank_bytes = bank_bytes
        self._restorer = Restorer(device=device)

    def study(self, portrait: FaceTrack, fetch: FetchViews) -> Speaker:
        """Fill the bank from the frames that cover shape, pose and light best."""
        seen = np.flatnonzero(np.isfinite(portrait.landmarks[:, 0, 0]) & (portrait.confidence > 0))
        some = seen[sample_runs(len(seen), MOST_STUDIED, RUN_FRAMES)]
        pose = pose_of(portrait.landmarks, some)
        mouth = mouth_shapes(portrait.landmarks, some)
        drift = fit_drift(mouth, pose.angles())
        look = Look(
            mouth=mouth - drift.at(pose.angles()),
            angles=pose.angles(),
            light=portrait.light[some],
            index=some.astype(np.float32),
        )
        usable = np.abs(look.angles[:, :2]).max(1) < MAX_TURN
        usable &= covered(portrait.occluder, some) <= HIDDEN
        usable = usable if usable.any() else np.ones(len(some), bool)
        most = self._bank_bytes // most_bytes(portrait.landmarks, some[usable], portrait.depth)
        sharpness, shot = portrait.sharpness[some], portrait.shot[some]
        kept = choose(look, sharpness=sharpness, usable=usable, most=max(1, most), shot=shot)
        exemplars, inside, hue, shelf = [], [], [], Shelf()
        for i, view in zip(some[kept], fetch(some[kept]), strict=True):
            exemplars.append(cut(shelf, view.rgb, view.box, portrait.landmarks[i]))
            inside.append(exemplars[-1].inside)  # while its pixels are at hand
            hue.append(exemplars[-1].hue)
        look, shown, given = look.at(kept), np.array(inside), opening(mouth)
        gap = opening(look.mouth)  # as it is without what follows the head
        tone = tone_of(shown, gap)
        return Speaker(
            exemplars=tuple(replace(e, tone=tone) for e in exemplars),
            look=look,
            faults=faults(sharpness[kept], np.array(hue), speed_of(given, some)[kept]),
            opening=given[kept],
            drift=drift,
            calm=shut(look.mouth[int(np.argmin(gap))]),
            inside=inner_looks(shown, gap),
            shot=shot[kept],
        )

    def paint(
        self, speaker: Speaker, script: DrivingSequence, views: Iterable[FaceView | None]
    ) -> Iterator[Patch | None]:
        """Yield a painted patch for every view."""
        frames = np.arange(len(script.strength))
        mixes = _mixes(speaker, script)
        for k, view in enumerate(views):
            if k % CHUNK_ROWS == 0:
                scene = _Scene.of(speaker, script, frames[k : k + CHUNK_ROWS])
            mix = next(mixes)
            if view is None or not mix:
                yield None
                continue
            i, strength = k % CHUNK_ROWS, float(script.strength[k])
            brush = Brush(
                pose=scene.pose[i : i + 1],
                landmarks=scene.landmarks[i],
                own=scene.own[i],
                wanted=scene.wanted[i],
                shown=_mean(speaker.look.mouth, mix) + scene.drift[i],
                calm=speaker.calm + scene.drift[i],
                top=255 if view.rgb.dtype == np.uint8 else 1023,
            )
            strokes = [
                Stroke(
                    exemplar=speaker.exemplars[j],
                    share=share,
                    opening=float(speaker.opening[j]),
                    fine=self._restorer.fine(speaker.exemplars[j], script.restore, brush.landmarks),
                )
                for j, share in mix
            ]
            rgb, mask = paint_mouth(view.rgb, view.box, brush, strokes, strength, view.occluder)
            yield Patch(rgb=rgb, mask=mask, box=view.box)

    def close(self) -> None:
        """Free nothing: speakers own their banks."""


@dataclass(frozen=True, kw_only=True)
class _Scene:
    """Some output frames (m,): the faces to paint on, and the mouths they shall have."""

    pose: Pose
    landmarks: Floats  #: (m, 478, 3) pixels
    own: Floats  #: (m, 61, 3) canonical mouth of the frame
    wanted: Floats  #: (m, 61, 3) to be painted
    drift: Floats  #: (m, 61, 3) what of it follows the pose of the head

    @classmethod
    def of(cls, speaker: Speaker, script: DrivingSequence, frames: Ints) -> _Scene:
        landmarks = script.landmarks[frames]
        pose = align(landmarks)
        own = to_canonical(landmarks[:, MOUTH], pose)
        drift = speaker.drift.at(pose.angles())
        change = script.mouth[frames] + drift - own
        wanted = own + change * script.strength[frames, None, None]
        return cls(pose=pose, landmarks=landmarks, own=own, wanted=wanted, drift=drift)


@dataclass(frozen=True, kw_only=True)
class _Goal:
    """How painted frames (m,) shall look, made part by part."""

    speaker: Speaker
    script: DrivingSequence
    frames: Ints

    def __len__(self) -> int:
        return len(self.frames)

    def at(self, part: slice) -> Look:
        """Return how some of them shall look."""
        frames, script = self.frames[part], self.script
        scene = _Scene.of(self.speaker, script, frames)
        return Look(
            mouth=scene.wanted - scene.drift,
            angles=scene.pose.angles(),
            light=script.light[frames],
            index=script.source[frames],
        )


def _mixes(speaker: Speaker, script: DrivingSequence) -> Iterator[Mix]:
    """Yield exemplars and shares of every output frame; none where nothing is painted.

    No run goes on over a cut, and none gives way over it to the next.
    """
    done = 0
    for frames in _scenes(np.flatnonzero(script.strength > 0), script.shot):
        kept = of_shot(speaker.shot, int(script.shot[frames[0]]))
        bank = speaker.look.at(kept)
        goal = _Goal(speaker=speaker, script=script, frames=frames)
        path = find_path(goal, bank, speaker.faults[kept], speaker.inside[kept])
        mixes = blend_runs(path, bank.index.astype(np.int64))
        for k, mix in zip(frames, mixes, strict=True):
            yield from ([] for _ in range(done, k))
            yield [(int(kept[i]), share) for i, share in mix]
            done = k + 1
    yield from ([] for _ in range(done, len(script.strength)))


def _mean(mouth: Floats, mix: Mix) -> Floats:
    """Return the mouth (61, 3) that exemplars of a bank (n, 61, 3) show in a mix."""
    shown: Floats = np.sum([mouth[i] * np.float32(share) for i, share in mix], axis=0)
    return shown


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
    load=lambda device: ExemplarEngine(device=device),
    devices=(Device.CPU, Device.CUDA),
)
