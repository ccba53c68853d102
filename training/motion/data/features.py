"""Stage ``features``: track and encode every clip, and encode augmented sound of training clips.

Each of two folders holds one ``.npz`` per clip, named after the clip's folder and file. Clips that
are already there are skipped, so the stage can be interrupted and resumed.
"""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.errors import InputError
from lipwright.face.landmarker import FaceLandmarker
from lipwright.face.landmarks import EYE_LEFT, EYE_RIGHT
from lipwright.face.track import RawTrack, Tracker
from lipwright.media.decode.audio import read_audio
from lipwright.media.decode.video import read_video
from lipwright.media.picture import Picture
from lipwright.media.probe import probe
from lipwright.speech.encoder import SpeechEncoder
from lipwright.types import Floats
from training.motion.data import augment

CLIP_FOLDERS = ("train/arabic_anchors", "train/grid_s1", "train/misc", "clips", "eval")
SUFFIXES = (".mp4", ".mov", ".mkv", ".mpg", ".avi", ".webm")
TRAIN_FOLDER = "train/"  # of the training clips
VARIANTS = 2  # of the sound of each training clip
BABBLE_VOICES = 3  # other voices in the background of some variants
PORTRAIT_SIDE = 48  # pixels
PORTRAIT_EVERY = 15  # frames
PORTRAIT_EYE_DISTANCE = 20.0  # pixels between the outer eye corners


@dataclass(frozen=True, kw_only=True)
class Clip:
    """The features of one clip."""

    name: str  #: folder and file, as ``train__grid_s1__bbaf2n.mpg``
    landmarks: Floats  #: (T, 478, 3) pixels, NaN where no face; T may be 0
    times: NDArray[np.float64]  #: (T,) seconds at which the frames appear, from the first
    states: NDArray[np.float16]  #: (S, 1024) speech states at 50 Hz; S is 0 without sound
    portrait: NDArray[np.uint8]  #: (48, 48, 3) RGB mean of the aligned face, for clustering


def cache_name(path: Path, data: Path) -> str:
    """Return the name of a clip in the cache; *data* is the folder of all clips."""
    return path.relative_to(data).as_posix().replace("/", "__")


def find_clips(data: Path) -> Iterator[Path]:
    """Yield the clips of all folders below the data folder, in order."""
    for folder in CLIP_FOLDERS:
        yield from sorted(p for p in (data / folder).glob("*") if p.suffix.lower() in SUFFIXES)


def extract_features(data: Path, cache: Path) -> None:
    """Extract the features of every clip that is not yet in the cache.

    Args:
        data: the folder with ``train``, ``clips`` and ``eval``.
        cache: folder for the results; about 0.6 GB for 90,000 frames.
    """
    cache.mkdir(parents=True, exist_ok=True)
    landmarker, encoder = FaceLandmarker(), SpeechEncoder()
    todo = [p for p in find_clips(data) if not (cache / f"{cache_name(p, data)}.npz").exists()]
    for number, path in enumerate(todo):
        name = cache_name(path, data)
        try:
            save_clip(extract_clip(path, name, landmarker, encoder), cache)
        except InputError as error:
            print(f"{name}: left out: {error}")
        if number % 50 == 0:
            print(f"features: {number} of {len(todo)} clips")


def extract_variants(data: Path, cache: Path) -> None:
    """Encode variants of every training clip that has none in the cache yet."""
    cache.mkdir(parents=True, exist_ok=True)
    paths, encoder = (
        [p for p in find_clips(data) if p.is_relative_to(data / TRAIN_FOLDER)],
        SpeechEncoder(),
    )
    todo = [p for p in paths if not (cache / f"{cache_name(p, data)}.npz").exists()]
    for number, path in enumerate(todo):
        name = cache_name(path, data)
        try:
            write_arrays(cache / f"{name}.npz", encode_variants(path, name, paths, encoder))
        except InputError as error:
            print(f"{name}: left out: {error}")
        if number % 50 == 0:
            print(f"variants: {number} of {len(todo)} clips")


def encode_variants(
    path: Path, name: str, others: Sequence[Path], encoder: SpeechEncoder
) -> dict[str, NDArray[np.generic]]:
    """Encode augmented variants of the sound of a clip.

    Returns:
        ``states0`` float16 (S, 1024), ``states1``, … and playback ``speeds`` float64 (VARIANTS,).

    Raises:
        InputError: a clip cannot be read.
    """
    random = np.random.default_rng(zlib.crc32(name.encode()))
    sound = read_audio(path, align_to_video=True)
    found: dict[str, NDArray[np.generic]] = {}
    speeds = []
    for index in range(VARIANTS):
        babble = [read_audio(others[i]) for i in random.integers(0, len(others), BABBLE_VOICES)]
        varied, speed = augment.augment_sound(sound, babble, random)
        found[f"states{index}"] = encoder.encode(varied).astype(np.float16)
        speeds.append(speed)
    return {**found, "speeds": np.array(speeds)}


def extract_clip(path: Path, name: str, landmarker: FaceLandmarker, encoder: SpeechEncoder) -> Clip:
    """Extract the features of one clip.

    Raises:
        InputError: the clip cannot be read.
    """
    info = probe(path)
    tracker, times, portraits = Tracker(landmarker), [], []
    for frame in read_video(info):
        tracker.feed(frame.picture)
        times.append(float(frame.time))
        if frame.index % PORTRAIT_EVERY == PORTRAIT_EVERY // 2:
            portraits.append((frame.index, frame.picture))
            portraits = portraits[:4]
    tracks = tracker.tracks()
    silence = np.zeros(0, np.float32)
    sound = read_audio(info, rate=16000, align_to_video=True) if info.audio else silence
    empty = np.full((len(times), 478, 3), np.nan, np.float32)
    return Clip(
        name=name,
        landmarks=np.asarray(tracks[0].landmarks) if tracks else empty,
        times=np.array(times),
        states=encoder.encode(sound).astype(np.float16),
        portrait=_portrait(portraits, tracks[0] if tracks else None),
    )


def save_clip(clip: Clip, cache: Path) -> None:
    """Write a clip to the cache atomically."""
    write_arrays(cache / f"{clip.name}.npz", {k: v for k, v in vars(clip).items() if k != "name"})


def write_arrays(path: Path, arrays: dict[str, NDArray[np.generic]]) -> None:
    """Write arrays to a file of the cache atomically."""
    partial = path.with_name(f".{path.name}.partial.npz")
    np.savez(partial, allow_pickle=False, **arrays)
    os.replace(partial, path)


def load_clip(path: Path) -> Clip:
    """Read a clip from the cache."""
    with np.load(path) as data:
        return Clip(name=path.name.removesuffix(".npz"), **data)


def _portrait(pictures: list[tuple[int, Picture]], track: RawTrack | None) -> NDArray[np.uint8]:
    """Return the mean of a few small pictures of the face, turned upright."""
    found = [
        _upright(picture, track.landmarks[index])
        for index, picture in pictures
        if track is not None and track.seen[index]
    ]
    if not found:
        return np.zeros((PORTRAIT_SIDE, PORTRAIT_SIDE, 3), np.uint8)
    return np.asarray(np.mean(found, 0), np.uint8)


def _upright(picture: Picture, landmarks: Floats) -> NDArray[np.uint8]:
    rgb, shrunk = picture.small_rgb(512)
    right, left = landmarks[EYE_RIGHT, :2] * shrunk, landmarks[EYE_LEFT, :2] * shrunk
    dx, dy = left - right
    scale = PORTRAIT_EYE_DISTANCE / math.hypot(dx, dy)
    c, s = scale * dx / math.hypot(dx, dy), scale * dy / math.hypot(dx, dy)
    turn = np.array([[c, s], [-s, c]])
    target = np.array([PORTRAIT_SIDE / 2, PORTRAIT_SIDE * 0.375])
    shift = target - turn @ ((left + right) / 2)
    blurred = cv2.GaussianBlur(rgb, (0, 0), max(0.3, 0.5 / scale))
    size = PORTRAIT_SIDE, PORTRAIT_SIDE
    out: NDArray[np.uint8] = cv2.warpAffine(blurred, np.hstack([turn, shift[:, None]]), size)
    return out
