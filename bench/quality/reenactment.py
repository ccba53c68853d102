"""Self-reenactment: paint the second half of a clip from its first half, and track the result."""

from __future__ import annotations

import math
import tempfile
import time
import wave
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np

from bench.common.cached_pipeline import CachedPipeline
from bench.common.clips import Clip
from bench.common.exemplar_runs import record_run_starts
from bench.common.face_regions import FaceRegions
from bench.common.frame_comparison import compare_frames
from bench.common.metrics import count_changed_samples
from bench.common.tracks import nearest_track
from lipwright.engines.base import DrivingSequence, Engine, FaceView, FetchViews, Patch
from lipwright.face.canonical import estimate_pose, mouth_shapes
from lipwright.face.pose_drift import fit_pose_drift
from lipwright.face.smoothing import smooth_landmarks
from lipwright.face.track import RawTrack, Tracker
from lipwright.media.decode.video import read_video
from lipwright.media.picture import Picture
from lipwright.media.probe import probe, require_audio
from lipwright.media.timeline import plan_timeline
from lipwright.pipeline.driving import build_driving_sequence
from lipwright.pipeline.views import crop_view
from lipwright.runtime.disk_array import Array
from lipwright.speech.mel import SAMPLE_RATE
from lipwright.types import Bools, Doubles, Floats, Ints, Rgb

WARM_UP = 10  # frames before the second half that the tracker sees


class Motion(Protocol):
    """The parts of a `MouthMotion` that painting needs."""

    @property
    def style(self) -> Any:
        """The speaker's ``mean`` shape (61, 3), and the fit's ``description``."""

    def displacements(self, times: Doubles) -> Floats:
        """Return displacements (n, 61, 3) from ``style.mean`` at times (n,) in seconds."""


@dataclass(frozen=True, kw_only=True)
class Reenactment:
    """The second half of a clip, n frames, painted and tracked again."""

    frames: Ints  #: (n,) their indices in the source
    strength: Floats  #: (n,) strength of the effect, 0 to 1
    target: Floats  #: (n, 61, 3) canonical mouth shapes that the painter received
    landmarks: Floats  #: (n, 478, 3) of the painted face, pixels, NaN where it was not found
    detail: Floats  #: (n, 2) detail energy in the mouth region: result, source; NaN if not painted
    neck_change: Floats  #: (n,) 95th percentile of the change below the chin, 8-bit levels of luma
    skin_luma: Floats  #: (n, 2, c) luma of skin around the lips: result, source
    crops: tuple[tuple[Rgb, Rgb], ...]  #: result and source at native size
    changed_outside: int  #: samples that differ from the source outside the mask
    run_starts: Bools  #: (m,) painted frames that start a new run; empty if the engine has none
    study_ms: float  #: processor time per frame of the first half
    paint_ms: float  #: processor time per painted frame
    style: str  #: how the mouth was fitted to the speaker


def split_frame(clip: Clip) -> int:
    """Return the index of the first frame of the second half."""
    return len(clip.take.times) // 2


def first_half_track(clip: Clip) -> RawTrack:
    """Return the speaker's track without the second half."""
    split, track = split_frame(clip), clip.track
    landmarks, confidence = np.array(track.landmarks), track.confidence.copy()
    landmarks[split:], confidence[split:] = np.nan, 0
    return replace(track, landmarks=landmarks, confidence=confidence)


def predict_own_motion(pipeline: CachedPipeline, clip: Clip, offset: float) -> Motion:
    """Predict the motion for the clip's own sound, in the style of the first half.

    Args:
        pipeline: with the product's models.
        clip: to be re-animated.
        offset: seconds by which the sound that belongs to a picture comes after it.
    """
    shift = round(offset * SAMPLE_RATE)
    samples = clip.speech.samples
    moved = np.pad(samples, (-shift, 0)) if shift < 0 else samples[shift:]
    with tempfile.TemporaryDirectory(prefix="lipwright-bench-") as folder:
        speech = probe(write_wav(Path(folder) / "own.wav", moved))
        length = require_audio(speech).duration
        timeline = plan_timeline("cut_off", video=length, audio=length, rate=clip.take.info.rate)
        face = pipeline.face_track(first_half_track(clip), clip.take)
        return pipeline.animate(face, clip, speech, timeline)


def oracle_motion(clip: Clip) -> Motion:
    """Return the true mouth shapes as a motion: any loss is then the painter's."""
    landmarks = smooth_landmarks(clip.track.landmarks)
    angles, shapes = estimate_pose(landmarks).angles(), mouth_shapes(landmarks)
    split = split_frame(clip)
    truth = shapes - fit_pose_drift(shapes[:split], angles[:split]).at(angles)

    class Oracle:
        style = SimpleNamespace(mean=np.zeros_like(truth[0]), description="the true mouth")

        def displacements(self, times: Doubles) -> Floats:
            shown: Floats = truth[np.searchsorted(clip.times, times, "right") - 1]
            return shown

    return Oracle()


def write_wav(path: Path, samples: Floats) -> Path:
    """Write mono sound (n,), 16 kHz, -1 to 1, as 16-bit PCM."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return path


def reenact(pipeline: CachedPipeline, clip: Clip, motion: Motion) -> Reenactment:
    """Paint the second half with a motion and exemplars of the first half, and track the result.

    Args:
        pipeline: with the product's engine.
        clip: to be re-animated.
        motion: of the mouth.
    """
    engine, study_timer, paint_timer = pipeline.engine, CpuTimer(), CpuTimer()
    face = pipeline.face_track(first_half_track(clip), clip.take)
    with study_timer:
        speaker = engine.study(face, decode_views(clip, face.landmarks))
    observer = _FrameObserver(
        clip, _driving_sequence(pipeline, clip, motion), Tracker(pipeline.resources.landmarker)
    )
    with record_run_starts() as starts:
        for k, source, result, patch in _paint_frames(engine, speaker, observer, paint_timer):
            observer.add(k, source, result, patch)
    painted = max(1, int((observer.driving.strength > 0).sum()))
    return observer.reenactment(
        run_starts=np.concatenate(starts) if starts else np.zeros(0, bool),
        study_ms=1000 * study_timer.seconds / split_frame(clip),
        paint_ms=1000 * paint_timer.seconds / painted,
        style=motion.style.description,
    )


def _driving_sequence(pipeline: CachedPipeline, clip: Clip, motion: Motion) -> DrivingSequence:
    """Return the driving sequence of the second half, each frame at its own time."""
    face = pipeline.face_track(clip.track, clip.take)
    frames = range(split_frame(clip), len(clip.take.times))
    times = clip.times[frames.start :]
    rate = float(clip.take.info.rate)

    class Shifted:  # a driving sequence counts frames from 0; these are in the middle of a clip
        style = motion.style

        def displacements(self, output_times: Doubles) -> Floats:
            return motion.displacements(times[np.rint(output_times * rate).astype(int)])

    shifted: Any = Shifted()
    return build_driving_sequence(face, shifted, [(i, 0.0) for i in frames], clip.take.info)


def decode_views(clip: Clip, landmarks: Array) -> FetchViews:
    """Return a function that decodes the views of a clip that an engine studies.

    Args:
        clip: to decode.
        landmarks: (T, 478, 3) pixels.
    """

    def fetch(indices: Iterable[int]) -> Iterator[FaceView]:
        wanted = {int(i) for i in indices}
        with read_video(clip.info, stop=max(wanted) + 1) as frames:
            for frame in frames:
                if frame.index in wanted:
                    yield crop_view(frame.picture, landmarks[frame.index])

    return fetch


def _paint_frames(
    engine: Engine, speaker: Any, observer: _FrameObserver, timer: CpuTimer
) -> Iterator[tuple[int, Picture, Picture, Patch | None]]:
    """Yield index, source, result and patch of each frame of the second half."""
    pending: list[Picture] = []
    driving = observer.driving

    def views() -> Iterator[FaceView | None]:
        for k in range(len(driving.strength)):
            with timer.paused():
                picture = next(frames).picture
            pending.append(picture)
            yield crop_view(picture, driving.landmarks[k]) if driving.strength[k] > 0 else None

    start = split_frame(observer.clip) - observer.warm_up
    with read_video(observer.clip.info, start=start) as frames:
        for _ in range(observer.warm_up):
            observer.warm_up_tracker(next(frames).picture)
        patches = engine.paint(speaker, driving, views())
        for k in range(len(driving.strength)):
            with timer:
                patch = next(patches)
                source = pending.pop(0)
                result = source
                if patch is not None:
                    result = source.paste(patch.box, patch.rgb, patch.mask)
            yield k, source, result, patch


class _FrameObserver:
    """Tracks the result frame by frame, and collects the metrics of each."""

    def __init__(self, clip: Clip, driving: DrivingSequence, tracker: Tracker) -> None:
        self.clip, self.driving = clip, driving
        self._regions = FaceRegions.from_landmarks(smooth_landmarks(clip.track.landmarks))
        self._tracker = tracker
        self.warm_up = min(WARM_UP, split_frame(clip))
        self._changed_outside = 0
        self._detail: list[tuple[float, float]] = []
        self._neck_change: list[float] = []
        self._skin_luma: list[Floats] = []
        self._crops: list[tuple[Rgb, Rgb]] = []

    def warm_up_tracker(self, picture: Picture) -> None:
        """Track a frame before the second half, as in the source."""
        self._tracker.feed(picture)

    def add(self, k: int, source: Picture, result: Picture, patch: Patch | None) -> None:
        """Add frame *k* of the second half."""
        self._tracker.feed(result)
        self._changed_outside += count_changed_samples(
            source.planes, result.planes, _allowed_mask(source, patch)
        )
        index = split_frame(self.clip) + k
        regions = self._regions
        if patch is None:
            self._detail.append((math.nan, math.nan))
            self._neck_change.append(math.nan)
            self._skin_luma.append(np.full((2, len(regions.skin_cells)), np.nan, np.float32))
            self._crops.append((regions.blank_crop(), regions.blank_crop()))
            return
        comparison = compare_frames(regions, index, source, result)
        self._detail.append(comparison.detail)
        self._neck_change.append(comparison.neck_change)
        self._skin_luma.append(comparison.skin_luma)
        self._crops.append((regions.mouth_crop(result, index), regions.mouth_crop(source, index)))

    def reenactment(self, **measured: Any) -> Reenactment:
        """Return all that was collected, with the other fields as *measured*."""
        split = split_frame(self.clip)
        truth = self.clip.track.landmarks[split - self.warm_up :]
        return Reenactment(
            frames=np.arange(split, len(self.clip.take.times)),
            strength=self.driving.strength,
            target=np.asarray(self.driving.mouth),
            landmarks=nearest_track(self._tracker.tracks(), truth)[self.warm_up :],
            detail=np.array(self._detail, np.float32),
            neck_change=np.array(self._neck_change, np.float32),
            skin_luma=np.array(self._skin_luma),
            crops=tuple(self._crops),
            changed_outside=self._changed_outside,
            **measured,
        )


def _allowed_mask(picture: Picture, patch: Patch | None) -> Bools | None:
    """Return where a patch may change its frame (H, W); None: nowhere."""
    if patch is None:
        return None
    mask = np.zeros((picture.height, picture.width), bool)
    mask[patch.box.y0 : patch.box.y1, patch.box.x0 : patch.box.x1] = patch.mask > 0
    return mask


class CpuTimer:
    """Adds up the processor time of this process, which excludes waiting for disk or others."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> CpuTimer:
        self.seconds -= time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds += time.process_time()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Exclude a block from the running time."""
        self.seconds += time.process_time()
        yield
        self.seconds -= time.process_time()
