"""From a take to what an engine sees of it: portrait, script, views (pure)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lipwright.engines.base import DrivingSequence, FaceTrack, FaceView, Patch
from lipwright.face.occlusion import OcclusionDetector, bearable, occluded
from lipwright.face.presence import strength
from lipwright.face.shape import interocular
from lipwright.face.smooth import smooth
from lipwright.face.track import RawTrack, Take
from lipwright.media.picture import Box, Picture
from lipwright.media.probe import AudioInfo, VideoInfo
from lipwright.media.timeline import Timeline, plan
from lipwright.motion.animate import Performance
from lipwright.options import SyncMode
from lipwright.render.occlusion import in_front
from lipwright.runtime.disk_array import Array, LazyArray
from lipwright.types import Bools, Floats, Ints

VIEW_MARGIN = 0.6  # around the landmarks, inter-ocular distances
ALBUM_MARGIN = 0.75  # of what is kept for a view before the landmarks are smoothed


def plan_take(take: Take, sound: AudioInfo, mode: SyncMode) -> Timeline:
    """Plan the output from what was really decoded, not from what the container claims.

    A still picture has no length of its own: it lasts as long as the sound, in any mode.
    """
    info = take.info
    if info.still:
        return plan(mode, video=sound.duration, audio=sound.duration, rate=info.rate)
    length = take.info.duration if info.variable_rate else Fraction(len(take.times)) / info.rate
    return plan(mode, video=length, audio=sound.duration, rate=info.rate)


def expected(picture: VideoInfo, sound: AudioInfo, mode: SyncMode) -> Timeline:
    """Plan the output from what the container claims, before anything is decoded."""
    length = picture.duration
    if picture.frames and not picture.variable_rate:
        length = Fraction(picture.frames) / picture.rate
    if picture.still or length <= 0:
        length = sound.duration
    return plan(mode, video=length, audio=sound.duration, rate=picture.rate)


def whole_at_cuts(
    picks: Iterable[tuple[int, float]], cuts: tuple[int, ...]
) -> list[tuple[int, float]]:
    """Return picks (frame, share of the next) that mix no two shots: the nearer frame is shown."""
    firsts = set(cuts)
    return [
        (i + round(share), 0.0) if share and i + 1 in firsts else (i, share) for i, share in picks
    ]


def portrait_of(track: RawTrack, take: Take, detector: OcclusionDetector) -> FaceTrack:
    """Return the speaker's face as engines see it, without the tracker's jitter."""
    shots = take.shots[: len(track.confidence)]
    landmarks = smooth(track.landmarks, shots)
    return FaceTrack(
        landmarks=landmarks,
        confidence=track.confidence,
        sharpness=track.sharpness,
        light=track.light,
        depth=8 if take.info.bit_depth <= 8 else 10,
        shot=shots,
        occluder=occluded(track.rasters, landmarks, detector, shots),
    )


def script_for(
    portrait: FaceTrack, performance: Performance, picks: list[tuple[int, float]], info: VideoInfo
) -> DrivingSequence:
    """Lay the performance over the frames that the timeline shows."""
    rate = float(info.rate)
    index = np.array([i for i, _ in picks])
    share = np.array([f for _, f in picks], np.float32)
    after = np.minimum(index + (share > 0), len(portrait.light) - 1)
    # Frame k belongs to the moment k/f: so real footage is timed on average, by the scorer.
    times = np.arange(len(picks), dtype=np.float64) / rate
    size = info.width, info.height
    shown = strength(
        portrait.landmarks,
        portrait.confidence,
        rate,
        size,
        portrait.shot,
        bearable(portrait.occluder),
    )

    def between(values: Array, asked: Ints) -> Floats:
        s = share[asked].reshape(-1, *[1] * (values.ndim - 1))
        mixed: Floats = (values[index[asked]] * (1 - s) + values[after[asked]] * s).astype(
            np.float32
        )
        return mixed

    def laid(row: tuple[int, ...], make: Callable[[Ints], NDArray[Any]], kind: Any) -> LazyArray:
        return LazyArray(len(picks), row, kind, make)

    return DrivingSequence(
        mouth=laid(
            performance.style.mean.shape,
            lambda asked: performance.style.mean + performance.at(times[asked]),
            np.float32,
        ),
        landmarks=laid(
            portrait.landmarks.shape[1:],
            lambda asked: between(portrait.landmarks, asked),
            np.float32,
        ),
        source=(index + share).astype(np.float32),
        light=between(portrait.light, np.arange(len(picks))),
        strength=np.minimum(shown[index], shown[after]),
        shot=portrait.shot[index],
        occluder=laid(
            portrait.occluder.shape[1:],
            lambda asked: portrait.occluder[index[asked]] | portrait.occluder[after[asked]],
            np.bool_,
        ),
    )


def around(landmarks: Floats, margin: float = VIEW_MARGIN) -> Box:
    """Return a box around a face (478, 3), wider by a margin in inter-ocular distances.

    It may reach beyond the frame.
    """
    room = margin * interocular(landmarks)
    low, high = landmarks[:, :2].min(0) - room, landmarks[:, :2].max(0) + room
    return Box(int(low[0]), int(low[1]), int(high[0]) + 1, int(high[1]) + 1)


def view_of(picture: Picture, landmarks: Floats, occluder: Bools | None = None) -> FaceView:
    """Cut the view around a face out of a picture.

    Args:
        picture: the whole frame.
        landmarks: (478, 3) pixels.
        occluder: (32, 32) cells of the lower face with something in front, if looked for.
    """
    box = picture.align(around(landmarks))
    hidden = None
    if occluder is not None and occluder.any():
        hidden = in_front(occluder, landmarks, box)
    return FaceView(rgb=picture.rgb(box), box=box, landmarks=landmarks, occluder=hidden)


def behind(patch: Patch, view: FaceView) -> Floats:
    """Return the patch's mask (h, w) without what is in front of the face, whoever painted it."""
    return patch.mask if view.occluder is None else patch.mask * (1 - view.occluder)
