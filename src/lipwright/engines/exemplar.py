"""The default engine: paints a mouth with pixels of the same speaker's own footage."""

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
from lipwright.face.canonical import Pose, estimate_pose, mouth_opening, mouth_shapes, to_canonical
from lipwright.face.landmarks import MOUTH
from lipwright.face.pose_drift import PoseDrift, fit_pose_drift
from lipwright.motion.close_mouth import close_mouth
from lipwright.render.bank import (
    RUN_FRAMES,
    Exemplar,
    ExemplarStore,
    choose_exemplars,
    crop_exemplar,
    estimate_teeth_level,
    exemplar_cost,
    interior_features,
    largest_exemplar_bytes,
    opening_speed,
)
from lipwright.render.occlusion import covered_share
from lipwright.render.paint import MouthTarget, WeightedExemplar, paint_mouth
from lipwright.render.path import ExemplarMix, FrameFeatures, blend_runs, find_path
from lipwright.render.restore import Restorer
from lipwright.runtime.device import Device
from lipwright.runtime.disk_array import CHUNK_ROWS, sample_runs
from lipwright.types import Floats, Ints
from lipwright.weights.store import WeightStore

BANK_BYTES = 256 << 20  # bytes of exemplars per speaker, in a temporary file
MAX_OCCLUSION = 0.0  # covered share of the pasted area above which a frame is no exemplar
MAX_STUDIED_FRAMES = 3000  # frames that exemplars are chosen from, in runs spread over the take
MIN_FREE_FRAMES = 25  # without a graphic, from which on frames under one are no exemplars
GRAPHIC_COST = 8.0  # cost of an exemplar that is wholly under a graphic
MAX_TURN = 50.0  # degrees of yaw or pitch beyond which a frame is no exemplar


@dataclass(frozen=True, kw_only=True)
class Speaker:
    """A studied face: its n exemplars and their features."""

    exemplars: tuple[Exemplar, ...]
    features: FrameFeatures  #: of the exemplars, without pose drift
    cost: Floats  #: (n,) of each exemplar's own defects
    opening: Floats  #: (n,) of the exemplars' mouths, canonical
    drift: PoseDrift  #: how the canonical mouth changes with the head pose
    closed_mouth: Floats  #: (61, 3) canonical mouth shape when closed, in a frontal pose
    interior: Floats  #: (n, c) visible mouth interior, see :attr:`Exemplar.interior`
    shot: Ints  #: (n,) number of each exemplar's shot


class ExemplarEngine:
    """Keeps a bank of exemplars per speaker; warps the best path through it into each frame."""

    def __init__(
        self,
        store: WeightStore | None = None,
        *,
        bank_bytes: int = BANK_BYTES,
        device: Device = Device.CPU,
    ) -> None:
        """Open no network yet: super-resolution loads on first use.

        Args:
            store: weights; None: those that came with the package.
            bank_bytes: size of the exemplar bank of each speaker.
            device: runs super-resolution.
        """
        self._bank_bytes = bank_bytes
        self._restorer = Restorer(store, device=device)

    def study(self, face: FaceTrack, fetch_views: FetchViews) -> Speaker:
        """Fill the bank with frames that cover the speaker's mouth shapes, poses and light."""
        visible = np.flatnonzero(np.isfinite(face.landmarks[:, 0, 0]) & (face.confidence > 0))
        frames = visible[sample_runs(len(visible), MAX_STUDIED_FRAMES, RUN_FRAMES)]
        pose = estimate_pose(face.landmarks, frames)
        mouth = mouth_shapes(face.landmarks, frames)
        drift = fit_pose_drift(mouth, pose.angles())
        features = FrameFeatures(
            mouth=mouth - drift.at(pose.angles()),
            angles=pose.angles(),
            light=face.light[frames],
            source_frame=frames.astype(np.float32),
        )
        usable = np.abs(features.angles[:, :2]).max(1) < MAX_TURN
        usable &= covered_share(face.occluder, frames) <= MAX_OCCLUSION
        under_graphic = _graphic_share(face, frames)
        if (usable & (under_graphic <= MAX_OCCLUSION)).sum() >= MIN_FREE_FRAMES:
            usable &= under_graphic <= MAX_OCCLUSION
        usable = usable if usable.any() else np.ones(len(frames), bool)
        size = largest_exemplar_bytes(face.landmarks, frames[usable], face.depth)
        sharpness, shot = face.sharpness[frames], face.shot[frames]
        chosen = choose_exemplars(
            features,
            sharpness=sharpness,
            usable=usable,
            limit=max(1, self._bank_bytes // size),
            shot=shot,
        )
        exemplars, interiors, hues, store = [], [], [], ExemplarStore()
        for i, view in zip(frames[chosen], fetch_views(frames[chosen]), strict=True):
            exemplar = crop_exemplar(store, view.rgb, view.box, face.landmarks[i])
            exemplars.append(exemplar)
            interiors.append(exemplar.interior)  # measured while its pixels are in memory
            hues.append(exemplar.hue)
        openings, interior = mouth_opening(mouth), np.array(interiors)
        speed = opening_speed(openings, frames)[chosen]
        features = features.at(chosen)
        gaps = mouth_opening(features.mouth)  # without pose drift
        teeth_level = estimate_teeth_level(interior, gaps)
        return Speaker(
            exemplars=tuple(replace(e, teeth_level=teeth_level) for e in exemplars),
            features=features,
            cost=exemplar_cost(sharpness[chosen], np.array(hues), speed)
            + GRAPHIC_COST * under_graphic[chosen],
            opening=openings[chosen],
            drift=drift,
            closed_mouth=close_mouth(features.mouth[int(np.argmin(gaps))]),
            interior=interior_features(interior, gaps),
            shot=shot[chosen],
        )

    def paint(
        self, speaker: Speaker, driving: DrivingSequence, views: Iterable[FaceView | None]
    ) -> Iterator[Patch | None]:
        """Yield a painted patch for every view; None for a None view or where nothing changes."""
        frames = np.arange(len(driving.strength))
        mixes = _exemplar_mixes(speaker, driving)
        for k, view in enumerate(views):
            if k % CHUNK_ROWS == 0:
                faces = _TargetFaces.of(speaker, driving, frames[k : k + CHUNK_ROWS])
            mix = next(mixes)
            if view is None or not mix:
                yield None
                continue
            i, strength = k % CHUNK_ROWS, float(driving.strength[k])
            target = MouthTarget(
                pose=faces.pose[i : i + 1],
                landmarks=faces.landmarks[i],
                own=faces.own[i],
                wanted=faces.wanted[i],
                shown=_mean_mouth(speaker.features.mouth, mix) + faces.drift[i],
                closed_mouth=speaker.closed_mouth + faces.drift[i],
                top=255 if view.rgb.dtype == np.uint8 else 1023,
            )
            exemplars = [
                WeightedExemplar(
                    exemplar=speaker.exemplars[j],
                    share=share,
                    opening=float(speaker.opening[j]),
                    restored=self._restorer.restore(
                        speaker.exemplars[j], driving.restore, target.landmarks
                    ),
                )
                for j, share in mix
            ]
            rgb, mask = paint_mouth(view.rgb, view.box, target, exemplars, strength, view.occluder)
            yield Patch(rgb=rgb, mask=mask, box=view.box)

    def close(self) -> None:
        """Do nothing: each speaker owns its bank."""


@dataclass(frozen=True, kw_only=True)
class _TargetFaces:
    """The faces of m output frames, and the mouths to paint on them."""

    pose: Pose
    landmarks: Floats  #: (m, 478, 3) pixels
    own: Floats  #: (m, 61, 3) canonical mouth shape of the frame
    wanted: Floats  #: (m, 61, 3) canonical mouth shape to paint
    drift: Floats  #: (m, 61, 3) its part that follows the head pose

    @classmethod
    def of(cls, speaker: Speaker, driving: DrivingSequence, frames: Ints) -> _TargetFaces:
        landmarks = driving.landmarks[frames]
        pose = estimate_pose(landmarks)
        own = to_canonical(landmarks[:, MOUTH], pose)
        drift = speaker.drift.at(pose.angles())
        change = driving.mouth[frames] + drift - own
        wanted = own + change * driving.strength[frames, None, None]
        return cls(pose=pose, landmarks=landmarks, own=own, wanted=wanted, drift=drift)


@dataclass(frozen=True, kw_only=True)
class _DrivingFeatures:
    """The features of painted frames (m,), computed in parts."""

    speaker: Speaker
    driving: DrivingSequence
    frames: Ints

    def __len__(self) -> int:
        return len(self.frames)

    def at(self, part: slice) -> FrameFeatures:
        """Return the features of some of the frames."""
        frames, driving = self.frames[part], self.driving
        faces = _TargetFaces.of(self.speaker, driving, frames)
        return FrameFeatures(
            mouth=faces.wanted - faces.drift,
            angles=faces.pose.angles(),
            light=driving.light[frames],
            source_frame=driving.source_frame[frames],
        )


def _exemplar_mixes(speaker: Speaker, driving: DrivingSequence) -> Iterator[ExemplarMix]:
    """Yield the exemplars and shares of every output frame; none where nothing is painted.

    Runs neither continue nor dissolve across a cut.
    """
    done = 0
    for frames in _split_at_cuts(np.flatnonzero(driving.strength > 0), driving.shot):
        members = exemplars_of_shot(speaker.shot, int(driving.shot[frames[0]]))
        bank = speaker.features.at(members)
        target = _DrivingFeatures(speaker=speaker, driving=driving, frames=frames)
        path = find_path(target, bank, speaker.cost[members], speaker.interior[members])
        mixes = blend_runs(path, bank.source_frame.astype(np.int64))
        for k, mix in zip(frames, mixes, strict=True):
            yield from ([] for _ in range(done, k))
            yield [(int(members[i]), share) for i, share in mix]
            done = k + 1
    yield from ([] for _ in range(done, len(driving.strength)))


def _graphic_share(face: FaceTrack, frames: Ints) -> Floats:
    """Return the share (m,), 0 to 1, of the pasted area that a graphic hides in frames (m,)."""
    if face.overlay_cells is None:
        return np.zeros(len(frames), np.float32)
    return covered_share(face.overlay_cells, frames)


def _mean_mouth(mouth: Floats, mix: ExemplarMix) -> Floats:
    """Return the mean mouth shape (61, 3) of a mix of exemplars with the shapes (n, 61, 3)."""
    mean: Floats = np.sum([mouth[i] * np.float32(share) for i, share in mix], axis=0)
    return mean


def exemplars_of_shot(shot: Ints, number: int) -> Ints:
    """Return the exemplars (m,) of a shot; all of them if it has none.

    Args:
        shot: (n,) number of each exemplar's shot.
        number: of the shot.
    """
    members = np.flatnonzero(shot == number)
    return members if len(members) else np.arange(len(shot))


def _split_at_cuts(frames: Ints, shot: Ints) -> list[Ints]:
    """Return output frames (m,) in parts that each lie within one shot."""
    if not len(frames):
        return []
    return np.split(frames, np.flatnonzero(np.diff(shot[frames])) + 1)


SPEC = EngineSpec(
    name="exemplar",
    summary="the speaker's own mouth, warped and blended at native resolution",
    licence="Apache-2.0",
    load=lambda device, store: ExemplarEngine(store, device=device),
    devices=(Device.CPU, Device.CUDA),
)
