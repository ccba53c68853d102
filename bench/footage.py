"""The development clips: followed once, heard once, and kept for the next run."""

from __future__ import annotations

import hashlib
import os
import pickle
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import lipwright
from lipwright.engines.base import DrivingSequence, Engine, FaceTrack, FaceView, FetchViews, Patch
from lipwright.errors import NoFaceFound
from lipwright.face.landmarker import FaceLandmarker
from lipwright.face.shape import mouth_shapes
from lipwright.face.smooth import smooth
from lipwright.face.speaker import choose_speaker
from lipwright.face.track import RawTrack, Take, Tracker
from lipwright.media.cuts import split_shots
from lipwright.media.decode.video import read_audio, read_video
from lipwright.media.frame_cache import FrameCache
from lipwright.media.probe import MediaInfo, VideoInfo, probe, require_video
from lipwright.media.timeline import Timeline
from lipwright.motion.animate import Performance
from lipwright.motion.sync_scorer import RATE, SyncScorer
from lipwright.pipeline.pipeline import DEFAULT_ENGINE, Heard, Pipeline
from lipwright.speech.activity import speech_activity
from lipwright.speech.encoder import SpeechEncoder
from lipwright.speech.mel import SAMPLE_RATE
from lipwright.types import Doubles, Floats

PACKAGE = Path(lipwright.__file__).parent
DATA = Path(__file__).parents[2] / "shared" / "data"
CACHE = Path(tempfile.gettempdir()) / "lipwright-bench"
DUBBING = (
    "engines",
    "face",
    "media",
    "motion",
    "render",
    "speech",
    "weights",
    "pipeline.py",
    "painting.py",
    "staging.py",
)
COUNTED = (".py", ".onnx", ".tflite", ".npz", ".npy")
SUFFIXES = (".mp4", ".mov", ".mkv", ".webm")


@dataclass(frozen=True, kw_only=True)
class Sound:
    """What is heard with a clip."""

    samples: Floats  #: (n,) mono, 16 kHz, from the first picture on
    states: Floats  #: (S, 1024) at 50 Hz
    activity: Floats  #: (S,) probability of speech


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A clip with sound, followed and heard."""

    info: MediaInfo
    take: Take
    track: RawTrack  #: of the speaker
    sound: Sound

    @property
    def name(self) -> str:
        """The file's name without its suffix."""
        return self.info.path.stem

    @property
    def times(self) -> Doubles:
        """Return the time of each frame, seconds (T,)."""
        return np.array([float(t) for t in self.take.times])

    def mouth(self) -> Floats:
        """Return the smoothed mouth shapes (T, 61, 3), NaN where there is no face."""
        return mouth_shapes(smooth(self.track.landmarks, self.take.shots))


def find(folder: Path, names: Iterable[str] = ()) -> list[MediaInfo]:
    """Return the clips with sound in a folder: all, or those whose names begin as given."""
    wanted = tuple(names)
    paths = sorted(p for p in folder.glob("*") if p.suffix.lower() in SUFFIXES)
    infos = [probe(p) for p in paths if not wanted or p.name.startswith(wanted)]
    return [info for info in infos if info.video is not None and info.audio is not None]


def version(*parts: str) -> str:
    """Return a short digest of the product below the given folders: code and weights that dub."""
    digest = hashlib.sha256()
    for part in parts or DUBBING:
        for path in sorted((PACKAGE / part).rglob("*")) or [PACKAGE / part]:
            if path.suffix in COUNTED and "train" not in path.parts:
                digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


class Cupboard:
    """Keeps what is slow to compute and does not change, in a folder outside the project."""

    def __init__(self, folder: Path = CACHE) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._face = version("face")
        self._speech = version("speech")

    def take(self, info: MediaInfo, landmarker: Callable[[], FaceLandmarker]) -> Take:
        """Return the clip followed."""
        key = f"take-{_identity(info.path)}-{self._face}"
        return self._kept(key, lambda: _follow(info, landmarker()))  # type: ignore[no-any-return]

    def sound(self, path: Path, encoder: Callable[[], SpeechEncoder]) -> Sound:
        """Return the sound of a file heard."""
        key = f"sound-{_identity(path)}-{self._speech}"
        return self._kept(key, lambda: _hear(path, encoder()))  # type: ignore[no-any-return]

    def _kept(self, key: str, make: Callable[[], Any]) -> Any:
        path = self._folder / f"{key}.pickle"
        if path.exists():
            return pickle.loads(path.read_bytes())
        made = make()
        partial = path.with_suffix(".partial")
        partial.write_bytes(pickle.dumps(made))
        os.replace(partial, path)
        return made


def _identity(path: Path) -> str:
    facts = path.stat()
    text = f"{path.resolve()} {facts.st_size} {facts.st_mtime_ns}"
    return f"{path.stem}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _follow(info: MediaInfo, landmarker: FaceLandmarker) -> Take:
    tracker, times = Tracker(landmarker), []
    for frame, cut in split_shots(read_video(info)):
        tracker.feed(frame.picture, cut=cut)
        times.append(frame.time)
    return Take(
        info=require_video(info),
        times=tuple(times),
        tracks=tuple(t.in_memory() for t in tracker.tracks()),
        cuts=tracker.cuts,
    )


def _hear(path: Path, encoder: SpeechEncoder) -> Sound:
    samples = read_audio(path, rate=SAMPLE_RATE, from_picture=True)
    return Sound(samples=samples, states=encoder.encode(samples), activity=speech_activity(samples))


class Studio(Pipeline):
    """The product's pipeline with a memory: clips are followed and studied once."""

    def __init__(self, cupboard: Cupboard, *, engine: str = DEFAULT_ENGINE) -> None:
        super().__init__(engine=engine)
        self._cupboard = cupboard
        self._fresh = self._engine
        self._engine = Remembering(self._engine)
        self._scorer: SyncScorer | None = None

    def clip(self, info: MediaInfo) -> Clip:
        """Follow and hear a clip, and find out who speaks in it.

        Raises:
            NoFaceFound: nobody does.
        """
        take = self._cupboard.take(info, self.landmarker)
        if not take.tracks:
            raise NoFaceFound(f"no face was found in {info.path}: leave it out with --clips")
        track = choose_speaker(take, None, self._agreement(take, info))
        return Clip(info=info, take=take, track=track, sound=self.sound(info.path))

    def sound(self, path: Path) -> Sound:
        """Hear a file."""
        return self._cupboard.sound(path, self._warm_encoder)

    def landmarker(self) -> FaceLandmarker:
        """Return the face networks."""
        self._landmarker = self._landmarker or FaceLandmarker(self._store)
        return self._landmarker

    def agreement(self, mouth: Floats, times: Doubles, sound: Sound) -> Agreement:
        """Judge mouth shapes (T, 61, 3) at frame times (T,) in seconds against a sound."""
        self._scorer = self._scorer or SyncScorer(self._store)
        found = self._scorer.offset(mouth, times, sound.states)
        return Agreement(
            offset=found.offset / RATE, confidence=found.confidence, at_zero=found.at(0.0)
        )

    def fresh_engine(self) -> Engine:
        """Return the engine itself, which remembers nothing."""
        return self._fresh

    def portrait(self, track: RawTrack, take: Take) -> FaceTrack:
        """Return a face as engines see it."""
        return self._portrait(track, take)

    def perform(
        self,
        portrait: FaceTrack,
        speech: MediaInfo,
        timeline: Timeline,
        clip: Clip | None = None,
    ) -> Performance:
        """Turn a speech into the motion of this speaker, as a job does.

        Args:
            portrait: the face, NaN in frames that are not to be learnt from.
            speech: what is to be said.
            timeline: of the result.
            clip: whose sound goes with the portrait, to learn from; None: nothing is.
        """
        own = self._hear_source(clip.info, lambda: None) if clip else None
        heard = Heard(voice=self._listen(speech, timeline), own=own)
        performance = self._perform(portrait, heard, clip.take.times if clip else ())
        assert performance is not None  # there is a portrait
        return performance

    def _track(self, source: MediaInfo, picture: VideoInfo, watch: Any, album: FrameCache) -> Take:
        with watch.stage("track", picture.frames):
            return self._cupboard.take(source, self.landmarker)


class Remembering:
    """An engine that studies the same portrait only once."""

    def __init__(self, inner: Engine) -> None:
        self._inner = inner
        self._key, self._speaker = b"", None

    def study(self, portrait: FaceTrack, fetch: FetchViews) -> Any:
        """Return the speaker, from memory where the portrait is the last one again."""
        key = hashlib.sha256(portrait.landmarks.tobytes() + portrait.confidence.tobytes()).digest()
        if key != self._key:
            self._speaker, self._key = self._inner.study(portrait, fetch), key
        return self._speaker

    def paint(
        self, speaker: Any, script: DrivingSequence, views: Iterable[FaceView | None]
    ) -> Iterator[Patch | None]:
        """Paint as the engine does."""
        return self._inner.paint(speaker, script, views)

    def close(self) -> None:
        """Close the engine."""
        self._inner.close()


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How a mouth and a sound go together."""

    offset: float  #: seconds by which the sound that belongs to a picture comes after it
    confidence: float  #: at the best offset
    at_zero: float  #: confidence at offset 0
