"""Development clips: where they lie, and what tracker and speech encoder make of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import lipwright
from lipwright.face.canonical import mouth_shapes
from lipwright.face.smoothing import smooth_landmarks
from lipwright.face.track import RawTrack, Take
from lipwright.media.probe import MediaInfo, probe
from lipwright.types import Doubles, Floats

PACKAGE = Path(lipwright.__file__).parent
DATA = Path(__file__).parents[3] / "shared" / "data"
RESULTS = Path(__file__).parents[1] / "results"
#: Parts of the package that a result depends on.
DUBBING_PARTS = (
    "engines",
    "face",
    "media",
    "motion",
    "pipeline",
    "render",
    "speech",
    "weights",
)
DIGESTED_SUFFIXES = (".py", ".onnx", ".tflite", ".npz", ".npy")
VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm")


@dataclass(frozen=True, kw_only=True)
class EncodedSpeech:
    """The sound of a file, with its speech states and voice activity."""

    samples: Floats  #: (n,) mono, 16 kHz, from the first picture on
    states: Floats  #: (S, 1024) at 50 Hz
    activity: Floats  #: (S,) probability of speech


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A clip with sound, its speaker tracked and its sound encoded."""

    info: MediaInfo
    take: Take
    track: RawTrack  #: of the speaker
    speech: EncodedSpeech

    @property
    def name(self) -> str:
        """The file's name without its suffix."""
        return self.info.path.stem

    @property
    def times(self) -> Doubles:
        """The time of each frame, seconds (T,)."""
        return np.array([float(t) for t in self.take.times])

    def mouth_shapes(self) -> Floats:
        """Return the smoothed mouth shapes (T, 61, 3), canonical, NaN where there is no face."""
        return mouth_shapes(smooth_landmarks(self.track.landmarks, self.take.shots))


def find_clips(folder: Path, prefixes: Iterable[str] = ()) -> list[MediaInfo]:
    """Return the clips with sound in a folder, sorted by name.

    Args:
        folder: to search, without its sub-folders.
        prefixes: only files whose names begin with one of these; empty: all.
    """
    wanted = tuple(prefixes)
    paths = sorted(p for p in folder.glob("*") if p.suffix.lower() in VIDEO_SUFFIXES)
    infos = [probe(p) for p in paths if not wanted or p.name.startswith(wanted)]
    return [info for info in infos if info.video is not None and info.audio is not None]


def code_version(*parts: str) -> str:
    """Return a short digest of code and weights.

    Args:
        *parts: folders of the package; default: all that a dub depends on.
    """
    digest = hashlib.sha256()
    for part in parts or DUBBING_PARTS:
        for path in sorted((PACKAGE / part).rglob("*")):
            if path.suffix in DIGESTED_SUFFIXES:
                digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
