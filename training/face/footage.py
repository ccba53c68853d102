"""Stage ``look``: the lower faces of real clips, with nothing in front of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lipwright.errors import InputError
from lipwright.face.expected import causes_of
from lipwright.face.landmarker import LANDMARKS, FaceLandmarker
from lipwright.face.raster import SIDE, Raster, lower_face, visible
from lipwright.face.smooth import smooth
from lipwright.face.track import Tracker
from lipwright.media.decode.video import read_video
from lipwright.media.probe import probe
from lipwright.types import Bools, Floats

#: Folders below the data, and which of their clips: every so many, so many at most.
SETS = {"train/arabic_anchors": (3, 1000), "train/grid_s1": (1, 40), "train/misc": (1, 1000)}
SUFFIXES = (".mp4", ".mov", ".mkv", ".mpg")
MOST_FRAMES = 75  # of a clip
LEAST_FRAMES = 8


@dataclass(frozen=True, kw_only=True)
class Face:
    """A free lower face over n frames of a clip."""

    name: str
    rasters: Raster  #: (n, SIDE, SIDE, 3)
    causes: Floats  #: (n, k)
    visible: Bools  #: (n, SIDE, SIDE)

    @classmethod
    def of(cls, name: str, rasters: Raster, landmarks: Floats) -> Face:
        """Describe frames by their landmarks (n, 478, 3)."""
        seen = np.ones(len(landmarks), bool)
        causes = causes_of(landmarks, seen)
        return cls(name=name, rasters=rasters, causes=causes, visible=visible(landmarks))


def find(data: Path) -> Iterator[Path]:
    """Yield the clips of all sets, in order."""
    for folder, (step, most) in SETS.items():
        paths = sorted(p for p in (data / folder).glob("*") if p.suffix in SUFFIXES)
        yield from paths[::step][:most]


def collect(data: Path, cache: Path) -> None:
    """Follow the face of every clip into the cache; what lies there is not done again."""
    cache.mkdir(parents=True, exist_ok=True)
    landmarker = FaceLandmarker()
    for path in find(data):
        out = cache / f"{path.parent.name}__{path.stem}.npz"
        if not out.exists():
            partial = out.with_suffix(".partial")
            with partial.open("wb") as file:
                rasters, landmarks = _followed(path, landmarker)
                np.savez(file, rasters=rasters, landmarks=landmarks)
            os.replace(partial, out)


def read(cache: Path) -> list[Face]:
    """Return all faces of the cache that are long enough."""
    faces = []
    for path in sorted(cache.glob("*.npz")):
        with np.load(path) as data:
            if len(data["rasters"]) >= LEAST_FRAMES:
                faces.append(Face.of(path.stem, data["rasters"], data["landmarks"]))
    return faces


def drawn(count: int, frames: int = 40) -> list[Face]:
    """Return drawn faces, whose mouths open seldom and far."""
    from lipwright.testing import draw_face, synthetic_landmarks  # it is built on engines

    faces = []
    for number in range(count):
        random, time = np.random.default_rng(number), np.arange(frames)
        wide = np.sin(time * random.uniform(0.05, 0.4)) > 0.6
        gap = 0.02 + 0.02 * np.sin(time) + random.uniform(0, 0.12) * wide
        landmarks = synthetic_landmarks(frames, opening=gap.astype(np.float32))
        pictures = (draw_face(p, seed=100 * number + k) for k, p in enumerate(landmarks))
        rasters = [lower_face(rgb, p) for rgb, p in zip(pictures, landmarks, strict=True)]
        faces.append(Face.of(f"drawn_{number}", np.stack(rasters), landmarks))
    return faces


def _followed(path: Path, landmarker: FaceLandmarker) -> tuple[Raster, Floats]:
    """Return rasters and landmarks of the frames in which the main face is seen."""
    tracker = Tracker(landmarker)
    try:
        for frame in read_video(probe(path), stop=MOST_FRAMES):
            tracker.feed(frame.picture)
    except InputError as error:
        print(f"left out: {error}")
    tracks = tracker.tracks()
    if not tracks:
        return np.zeros((0, SIDE, SIDE, 3), np.uint8), np.zeros((0, LANDMARKS, 3), np.float32)
    track = tracks[0].in_memory()
    landmarks = smooth(track.landmarks, np.zeros(len(track.confidence), np.int64))
    seen = track.seen
    return np.asarray(track.rasters)[seen], np.asarray(landmarks)[seen]
