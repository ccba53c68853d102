"""Build the dataset: lower faces of real clips, without occluders (stage ``track``)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lipwright.errors import InputError
from lipwright.face.appearance_model import predictors_of
from lipwright.face.landmarker import LANDMARKS, FaceLandmarker
from lipwright.face.lower_face_raster import RASTER_SIDE, Raster, sample_lower_face, visible_cells
from lipwright.face.smoothing import smooth_landmarks
from lipwright.face.track import Tracker
from lipwright.media.decode.video import read_video
from lipwright.media.probe import probe
from lipwright.types import Bools, Floats

#: For each folder below the data: take every n-th clip, and how many at most.
CLIP_SETS = {"train/arabic_anchors": (3, 1000), "train/grid_s1": (1, 40), "train/misc": (1, 1000)}
SUFFIXES = (".mp4", ".mov", ".mkv", ".mpg")
MAX_FRAMES = 75  # of a clip that are used
MIN_FRAMES = 8


@dataclass(frozen=True, kw_only=True)
class FaceClip:
    """An unoccluded lower face over n frames of a clip."""

    name: str
    rasters: Raster  #: (n, SIDE, SIDE, 3) L, a, b
    predictors: Floats  #: (n, k)
    visible: Bools  #: (n, SIDE, SIDE)

    @classmethod
    def of(cls, name: str, rasters: Raster, landmarks: Floats) -> FaceClip:
        """Compute predictors and visible cells from landmarks (n, 478, 3)."""
        seen = np.ones(len(landmarks), bool)
        predictors = predictors_of(landmarks, seen)
        return cls(
            name=name, rasters=rasters, predictors=predictors, visible=visible_cells(landmarks)
        )


def find_clips(data: Path) -> Iterator[Path]:
    """Yield the paths of the clips of all sets, in order."""
    for folder, (step, most) in CLIP_SETS.items():
        paths = sorted(p for p in (data / folder).glob("*") if p.suffix in SUFFIXES)
        yield from paths[::step][:most]


def track_clips(data: Path, cache: Path) -> None:
    """Track the face of every clip and save it in the cache; cached clips are skipped."""
    cache.mkdir(parents=True, exist_ok=True)
    landmarker = FaceLandmarker()
    for path in find_clips(data):
        out = cache / f"{path.parent.name}__{path.stem}.npz"
        if not out.exists():
            partial = out.with_suffix(".partial")
            with partial.open("wb") as file:
                rasters, landmarks = _track_clip(path, landmarker)
                np.savez(file, rasters=rasters, landmarks=landmarks)
            os.replace(partial, out)


def load_clips(cache: Path) -> list[FaceClip]:
    """Return all clips of the cache that are long enough."""
    clips = []
    for path in sorted(cache.glob("*.npz")):
        with np.load(path) as data:
            if len(data["rasters"]) >= MIN_FRAMES:
                clips.append(FaceClip.of(path.stem, data["rasters"], data["landmarks"]))
    return clips


def draw_clips(count: int, frames: int = 40) -> list[FaceClip]:
    """Return clips of drawn faces whose mouths open rarely and wide."""
    from lipwright.testing import draw_face, synthetic_landmarks  # imports the engines

    clips = []
    for number in range(count):
        random, time = np.random.default_rng(number), np.arange(frames)
        wide = np.sin(time * random.uniform(0.05, 0.4)) > 0.6
        gap = 0.02 + 0.02 * np.sin(time) + random.uniform(0, 0.12) * wide
        landmarks = synthetic_landmarks(frames, opening=gap.astype(np.float32))
        pictures = (draw_face(p, seed=100 * number + k) for k, p in enumerate(landmarks))
        rasters = [sample_lower_face(rgb, p) for rgb, p in zip(pictures, landmarks, strict=True)]
        clips.append(FaceClip.of(f"drawn_{number}", np.stack(rasters), landmarks))
    return clips


def _track_clip(path: Path, landmarker: FaceLandmarker) -> tuple[Raster, Floats]:
    """Return rasters and landmarks of the frames in which the main face is seen."""
    tracker = Tracker(landmarker)
    try:
        for frame in read_video(probe(path), stop=MAX_FRAMES):
            tracker.feed(frame.picture)
    except InputError as error:
        print(f"skipped: {error}")
    tracks = tracker.tracks()
    if not tracks:
        return np.zeros((0, RASTER_SIDE, RASTER_SIDE, 3), np.uint8), np.zeros(
            (0, LANDMARKS, 3), np.float32
        )
    track = tracks[0].in_memory()
    landmarks = smooth_landmarks(track.landmarks, np.zeros(len(track.confidence), np.int64))
    seen = track.seen
    return np.asarray(track.rasters)[seen], np.asarray(landmarks)[seen]
