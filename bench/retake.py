"""Re-animate the second half of a clip from what its first half shows, and follow the result."""

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

from bench.footage import Clip, Studio
from bench.measures import change, differing, fine_energy
from bench.regions import Regions, luma_in
from lipwright.engines import exemplar
from lipwright.engines.base import DrivingSequence, Engine, FaceView, FetchViews, Patch
from lipwright.face.neutral import fit_drift
from lipwright.face.shape import EYE_LEFT, EYE_RIGHT, align, mouth_shapes
from lipwright.face.smooth import smooth
from lipwright.face.track import RawTrack, Tracker
from lipwright.media.decode.video import read_video
from lipwright.media.picture import Picture
from lipwright.media.probe import probe, require_audio
from lipwright.media.timeline import plan
from lipwright.pipeline.staging import script_for, view_of
from lipwright.render.path import jumps
from lipwright.speech.mel import SAMPLE_RATE
from lipwright.types import Bools, Doubles, Floats, Ints, Rgb

WARM_UP = 10  # frames before the second half that the tracker sees


class Acting(Protocol):
    """What the painter needs of a performance."""

    @property
    def style(self) -> Any:
        """Return how the mouth was fitted: ``mean`` (61, 3) and ``text``."""

    def at(self, times: Doubles) -> Floats:
        """Return displacements (n, 61, 3) from ``style.mean`` at times (n,) in seconds."""


@dataclass(frozen=True, kw_only=True)
class Retake:
    """The second half of a clip, n frames, painted and followed again."""

    frames: Ints  #: (n,) their numbers in the source
    strength: Floats  #: (n,) share of the effect that the product gives them
    asked: Floats  #: (n, 61, 3) canonical mouth shapes that the painter was asked for
    landmarks: Floats  #: (n, 478, 3) of the painted face, pixels, NaN where it was not found
    fine: Floats  #: (n, 2) fine energy in the mouth region: result, source; NaN if not painted
    below: Floats  #: (n,) 95th percentile of the change below the chin, 8-bit levels of luma
    cells: Floats  #: (n, 2, c) luma of skin around the lips: result, source
    crops: tuple[tuple[Rgb, Rgb], ...]  #: result and source at native size, or empty
    touched: int  #: samples that differ from the source outside the mask
    starts: Bools  #: (m,) painted frames that start a new run; empty if the engine has none
    study_ms: float  #: processor time per frame of the first half
    paint_ms: float  #: the same per painted frame
    style: str  #: how the mouth was fitted to the speaker


def middle(clip: Clip) -> int:
    """Return the first frame of the second half."""
    return len(clip.take.times) // 2


def first_half(clip: Clip) -> RawTrack:
    """Return the speaker's track, blind to the second half."""
    m, track = middle(clip), clip.track
    landmarks, confidence = track.landmarks.copy(), track.confidence.copy()
    landmarks[m:], confidence[m:] = np.nan, 0
    return replace(track, landmarks=landmarks, confidence=confidence)


def own_speech(studio: Studio, clip: Clip, offset: float) -> Acting:
    """Perform the clip's own sound, moved by its offset, with the manner of the first half.

    Args:
        studio: with the product's models.
        clip: to be re-animated.
        offset: seconds by which the sound that belongs to a picture comes after it.
    """
    shift = round(offset * SAMPLE_RATE)
    sound = clip.sound.samples
    moved = np.pad(sound, (-shift, 0)) if shift < 0 else sound[shift:]
    with tempfile.TemporaryDirectory(prefix="lipwright-bench-") as folder:
        speech = probe(write_wav(Path(folder) / "own.wav", moved))
        length = require_audio(speech).duration
        timeline = plan("cut_off", video=length, audio=length, rate=clip.take.info.rate)
        portrait = studio.portrait(first_half(clip), clip.take)
        return studio.perform(portrait, speech, timeline, clip)


def own_mouth(clip: Clip) -> Acting:
    """Perform the true mouth: what is lost then is lost by the painter alone."""
    landmarks = smooth(clip.track.landmarks)
    angles, shapes = align(landmarks).angles(), mouth_shapes(landmarks)
    m = middle(clip)
    still = shapes - fit_drift(shapes[:m], angles[:m]).at(angles)
    text = "the true mouth"

    class Oracle:
        style = SimpleNamespace(mean=np.zeros_like(still[0]), text=text)

        def at(self, times: Doubles) -> Floats:
            found: Floats = still[np.searchsorted(clip.times, times, "right") - 1]
            return found

    return Oracle()


def write_wav(path: Path, samples: Floats) -> Path:
    """Write mono sound (n,), 16 kHz, -1 to 1, as 16-bit PCM."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return path


def retake(studio: Studio, clip: Clip, acting: Acting) -> Retake:
    """Paint the second half with *acting* and exemplars of the first half, and follow the result.

    Args:
        studio: with the product's engine.
        clip: to be re-animated.
        acting: what the mouth shall do.
    """
    engine, study, paint = studio.fresh_engine(), Stopwatch(), Stopwatch()
    learnt = studio.portrait(first_half(clip), clip.take)
    with study:
        speaker = engine.study(learnt, _fetch(clip, learnt.landmarks))
    scene = _Scene(clip, _script(studio, clip, acting), Tracker(studio.landmarker()))
    with run_starts() as starts:
        for k, before, after, patch in _painted(engine, speaker, scene, paint):
            scene.see(k, before, after, patch)
    painted = max(1, int((scene.script.strength > 0).sum()))
    return scene.retake(
        starts=np.concatenate(starts) if starts else np.zeros(0, bool),
        study_ms=1000 * study.seconds / middle(clip),
        paint_ms=1000 * paint.seconds / painted,
        style=acting.style.text,
    )


def _script(studio: Studio, clip: Clip, acting: Acting) -> DrivingSequence:
    """Lay *acting* over the second half, each frame at its own time."""
    portrait = studio.portrait(clip.track, clip.take)
    frames = range(middle(clip), len(clip.take.times))
    times = clip.times[frames.start :]  # as the pipeline does
    rate = float(clip.take.info.rate)

    class Timed:  # the pipeline counts frames from 0; here they are in the middle of a clip
        style = acting.style

        def at(self, asked: Doubles) -> Floats:
            return acting.at(times[np.rint(asked * rate).astype(int)])

    timed: Any = Timed()
    return script_for(portrait, timed, [(i, 0.0) for i in frames], clip.take.info)


def _fetch(clip: Clip, landmarks: Floats) -> FetchViews:
    def fetch(indices: Iterable[int]) -> Iterator[FaceView]:
        wanted = {int(i) for i in indices}
        with read_video(clip.info, stop=max(wanted) + 1) as frames:
            for frame in frames:
                if frame.index in wanted:
                    yield view_of(frame.picture, landmarks[frame.index])

    return fetch


def _painted(
    engine: Engine, speaker: Any, scene: _Scene, watch: Stopwatch
) -> Iterator[tuple[int, Picture, Picture, Patch | None]]:
    """Yield number, source, result and patch of each frame of the second half."""
    waiting: list[Picture] = []
    script = scene.script

    def views() -> Iterator[FaceView | None]:
        for k in range(len(script.strength)):
            with watch.paused():
                picture = next(frames).picture
            waiting.append(picture)
            yield view_of(picture, script.landmarks[k]) if script.strength[k] > 0 else None

    with read_video(scene.clip.info, start=middle(scene.clip) - scene.warm_up) as frames:
        for _ in range(scene.warm_up):
            scene.follow(next(frames).picture)
        patches = engine.paint(speaker, script, views())
        for k in range(len(script.strength)):
            with watch:
                patch = next(patches)
                before = waiting.pop(0)
                after = before if patch is None else before.paste(patch.box, patch.rgb, patch.mask)
            yield k, before, after, patch


class _Scene:
    """Sees source and result frame by frame, and keeps what the measures need."""

    def __init__(self, clip: Clip, script: DrivingSequence, tracker: Tracker) -> None:
        self.clip, self.script = clip, script
        self._regions = Regions.of(smooth(clip.track.landmarks))
        self._tracker = tracker
        self.warm_up = min(WARM_UP, middle(clip))
        self._touched = 0
        self._fine: list[tuple[float, float]] = []
        self._below: list[float] = []
        self._cells: list[Floats] = []
        self._crops: list[tuple[Rgb, Rgb]] = []

    def follow(self, picture: Picture) -> None:
        """Let the tracker see a frame before the second half, as it saw those of the source."""
        self._tracker.feed(picture)

    def see(self, k: int, before: Picture, after: Picture, patch: Patch | None) -> None:
        """Look at frame *k* of the second half."""
        self._tracker.feed(after)
        self._touched += differing(before.planes, after.planes, _allowed(before, patch))
        index = middle(self.clip) + k
        regions, blank = self._regions, np.full((2, len(self._regions.cells)), np.nan, np.float32)
        if patch is None:
            self._fine.append((math.nan, math.nan))
            self._below.append(math.nan)
            self._cells.append(blank)
            self._crops.append((regions.blank(), regions.blank()))
            return
        fine, below, cells = compared(regions, index, before, after)
        self._fine.append(fine)
        self._below.append(below)
        self._cells.append(cells)
        self._crops.append((regions.crop(after, index), regions.crop(before, index)))

    def retake(self, **facts: Any) -> Retake:
        """Return all that was seen."""
        m = middle(self.clip)
        return Retake(
            frames=np.arange(m, len(self.clip.take.times)),
            strength=self.script.strength,
            asked=self.script.mouth,
            landmarks=same_face(
                self._tracker.tracks(), self.clip.track.landmarks[m - self.warm_up :]
            )[self.warm_up :],
            fine=np.array(self._fine, np.float32),
            below=np.array(self._below, np.float32),
            cells=np.array(self._cells),
            crops=tuple(self._crops),
            touched=self._touched,
            **facts,
        )


def compared(
    regions: Regions, index: int, before: Picture, after: Picture
) -> tuple[tuple[float, float], float, Floats]:
    """Compare a frame of the source with the same frame of a result.

    Returns:
        Fine energy in the mouth region (result, source), change below the chin, and luma of skin
        around the lips (2, c): result, source.
    """
    pair = (after, before)
    box, loop = regions.loop(index)
    fine = (fine_energy(luma_in(after, box), loop), fine_energy(luma_in(before, box), loop))
    box, neck = regions.beneath(index)
    below = change(luma_in(before, box), luma_in(after, box), neck, before.depth)
    return fine, below, np.stack([regions.luma_of_cells(p, index) for p in pair])


def _allowed(picture: Picture, patch: Patch | None) -> Bools | None:
    """Return where a patch may change its frame (H, W)."""
    if patch is None:
        return None
    mask = np.zeros((picture.height, picture.width), bool)
    mask[patch.box.y0 : patch.box.y1, patch.box.x0 : patch.box.x1] = patch.mask > 0
    return mask


def same_face(tracks: Iterable[RawTrack], truth: Floats) -> Floats:
    """Return the landmarks (n, 478, 3) of the track that lies nearest to the true face."""
    best, nearest = np.full_like(truth, np.nan), math.inf
    eyes = np.linalg.norm(truth[:, EYE_LEFT] - truth[:, EYE_RIGHT], axis=-1)
    for track in tracks:
        landmarks = np.asarray(track.landmarks)
        away = np.linalg.norm(landmarks - truth, axis=-1).mean(1) / eyes
        score = float(np.where(np.isfinite(away), away, 1.0).mean())
        if score < nearest:
            best, nearest = landmarks, score
    return best


class Stopwatch:
    """Adds up this process's processor time: waiting for the disk or others does not count."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> Stopwatch:
        self.seconds -= time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds += time.process_time()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave something out."""
        self.seconds += time.process_time()
        yield
        self.seconds -= time.process_time()


@contextmanager
def run_starts() -> Iterator[list[Bools]]:
    """Collect, while the exemplar engine paints, which painted frames (m,) start a new run."""
    painter: Any = exemplar
    kept, starts = painter.find_path, list[Bools]()

    def spy(wanted: Any, bank: Any, *rest: Any, **more: Any) -> Ints:
        path: Ints = kept(wanted, bank, *rest, **more)
        starts.append(jumps(path, bank.index.astype(np.int64)))
        return path

    painter.find_path = spy
    try:
        yield starts
    finally:
        painter.find_path = kept
