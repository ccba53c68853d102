"""A cache of tracked faces and encoded sound, in a folder outside the project."""

from __future__ import annotations

import hashlib
import os
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from bench.common.clips import EncodedSpeech, code_version
from lipwright.face.landmarker import FaceLandmarker
from lipwright.face.track import Take, Tracker
from lipwright.media.decode.audio import read_audio
from lipwright.media.decode.video import read_video
from lipwright.media.probe import MediaInfo, require_video
from lipwright.media.shot_detection import split_shots
from lipwright.speech.activity import speech_activity
from lipwright.speech.encoder import SpeechEncoder
from lipwright.speech.mel import SAMPLE_RATE

T = TypeVar("T")

DEFAULT_CACHE = Path(tempfile.gettempdir()) / "lipwright-bench"


class FootageCache:
    """Stores the results of tracker and speech encoder by file and by version of their code."""

    def __init__(self, folder: Path = DEFAULT_CACHE) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._face_version = code_version("face")
        self._speech_version = code_version("speech")

    def take(self, info: MediaInfo, landmarker: Callable[[], FaceLandmarker]) -> Take:
        """Return the tracked faces of a clip.

        Args:
            info: the clip.
            landmarker: called for the face networks if the clip is not in the cache.
        """
        key = f"take-{_file_key(info.path)}-{self._face_version}"
        return self._get(key, lambda: _track(info, landmarker()))

    def speech(self, path: Path, encoder: Callable[[], SpeechEncoder]) -> EncodedSpeech:
        """Return the encoded sound of a file.

        Args:
            path: any file with sound.
            encoder: called for the speech encoder if the sound is not in the cache.
        """
        key = f"sound-{_file_key(path)}-{self._speech_version}"
        return self._get(key, lambda: _encode(path, encoder()))

    def _get(self, key: str, compute: Callable[[], T]) -> T:
        path = self._folder / f"{key}.pickle"
        if path.exists():
            cached: T = pickle.loads(path.read_bytes())
            return cached
        value = compute()
        partial = path.with_suffix(".partial")
        partial.write_bytes(pickle.dumps(value))
        os.replace(partial, path)
        return value


def _file_key(path: Path) -> str:
    stat = path.stat()
    text = f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}"
    return f"{path.stem}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _track(info: MediaInfo, landmarker: FaceLandmarker) -> Take:
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


def _encode(path: Path, encoder: SpeechEncoder) -> EncodedSpeech:
    samples = read_audio(path, rate=SAMPLE_RATE, align_to_video=True)
    return EncodedSpeech(
        samples=samples, states=encoder.encode(samples), activity=speech_activity(samples)
    )
