"""Build what an engine receives: the face track of the source and the driving sequence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lipwright.engines.base import DrivingSequence, FaceTrack
from lipwright.face.effect_strength import effect_strength
from lipwright.face.occlusion import OcclusionDetector, detect_occluders, strength_limit
from lipwright.face.overlays.cover import overlay_cells, without_overlays
from lipwright.face.smoothing import smooth_landmarks
from lipwright.face.track import RawTrack, Take
from lipwright.media.probe import VideoInfo
from lipwright.motion.animate import MouthMotion
from lipwright.pipeline.timing import SourceIndices
from lipwright.runtime.disk_array import Array, LazyArray
from lipwright.types import Floats, Ints

# Share of the lips under an opaque graphic: up to the first full effect, from the second none. What
# is left of the lips can be painted well, since the edge of a graphic is known to the pixel.
OVERLAY_COVER = (0.75, 0.9)


@dataclass(frozen=True, kw_only=True)
class AnimatedFace:
    """A person in the source, and the new motion of their mouth."""

    face: FaceTrack
    motion: MouthMotion


def build_face_track(track: RawTrack, take: Take, detector: OcclusionDetector) -> FaceTrack:
    """Return the speaker's face over the source, without the jitter of the tracker."""
    shots = take.shots[: len(track.confidence)]
    landmarks = smooth_landmarks(track.landmarks, shots)
    occluder = detect_occluders(track.rasters, landmarks, detector, shots)
    overlays, cells = take.overlays, None
    if overlays:
        occluder = without_overlays(occluder, overlays, landmarks)
        cells = overlay_cells(overlays, landmarks)
    return FaceTrack(
        landmarks=landmarks,
        confidence=track.confidence,
        sharpness=track.sharpness,
        light=track.light,
        depth=8 if take.info.bit_depth <= 8 else 10,
        shot=shots,
        occluder=occluder,
        overlays=overlays or None,
        overlay_cells=cells,
    )


def build_driving_sequence(
    face: FaceTrack,
    motion: MouthMotion,
    indices: SourceIndices,
    info: VideoInfo,
    offset: float = 0.0,
) -> DrivingSequence:
    """Return the mouth motion for the n output frames that *indices* lists.

    Args:
        face: over the T frames of the source.
        motion: of the mouth, at any time of the output.
        indices: source frame of each output frame, and the share of the next one.
        info: rate and size of the video.
        offset: seconds of speech before the first frame.
    """
    rate = float(info.rate)
    index = np.array([i for i, _ in indices])
    share = np.array([f for _, f in indices], np.float32)
    after = np.minimum(index + (share > 0), len(face.light) - 1)
    # Frame k shows the moment k/f: real footage is timed like this on average, by the scorer.
    times = np.arange(len(indices), dtype=np.float64) / rate + offset
    size = info.width, info.height
    shown = effect_strength(
        face.landmarks,
        face.confidence,
        rate,
        size,
        face.shot,
        visibility_limit(face),
    )

    def blend(values: Array, rows: Ints) -> Floats:
        s = share[rows].reshape(-1, *[1] * (values.ndim - 1))
        blended: Floats = (values[index[rows]] * (1 - s) + values[after[rows]] * s).astype(
            np.float32
        )
        return blended

    def lazy(row: tuple[int, ...], compute: Callable[[Ints], NDArray[Any]], kind: Any) -> LazyArray:
        return LazyArray(len(indices), row, kind, compute)

    return DrivingSequence(
        mouth=lazy(
            motion.style.mean.shape,
            lambda rows: motion.style.mean + motion.displacements(times[rows]),
            np.float32,
        ),
        landmarks=lazy(
            face.landmarks.shape[1:],
            lambda rows: blend(face.landmarks, rows),
            np.float32,
        ),
        source_frame=(index + share).astype(np.float32),
        light=blend(face.light, np.arange(len(indices))),
        strength=np.minimum(shown[index], shown[after]),
        shot=face.shot[index],
        occluder=lazy(
            face.occluder.shape[1:],
            lambda rows: face.occluder[index[rows]] | face.occluder[after[rows]],
            np.bool_,
        ),
        overlays=face.overlays,
    )


def visibility_limit(face: FaceTrack) -> Floats:
    """Return the maximum strength of the effect, (T,) 0 to 1: none on a covered mouth."""
    limit = strength_limit(face.occluder)
    if face.overlay_cells is None:
        return limit
    return np.minimum(limit, strength_limit(face.overlay_cells, *OVERLAY_COVER))
