"""Tracked segments of the measuring clips, and speech with its predicted motion."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from training.motion.data import features
from training.motion.data.corpus import MIN_FRAMES, continuous_runs, frame_midpoints
from training.motion.metrics import TEST_SETS

from lipwright.face.canonical import mouth_shapes
from lipwright.face.landmarker import FaceLandmarker
from lipwright.face.smoothing import smooth_landmarks
from lipwright.motion.model import MotionModel
from lipwright.motion.resampling import STATE_RATE
from lipwright.speech.activity import speech_activity
from lipwright.speech.encoder import SpeechEncoder
from lipwright.types import Floats

MIN_HALVES_SECONDS = 4.0  # from which on a segment is split, to use the style of the other half


@dataclass(frozen=True, kw_only=True)
class ClipSegment:
    """Consecutive frames of a clip in which one face is tracked."""

    name: str  #: folder and clip
    times: NDArray[np.float64]  #: (T,) middle of each frame, seconds
    mouth: Floats  #: (T, 61, 3) canonical mouth shapes, smoothed
    states: Floats  #: (S, C) speech states of the whole clip

    @property
    def seconds(self) -> float:
        """Length."""
        return float(self.times[-1] - self.times[0])

    @property
    def rate(self) -> float:
        """Frames per second."""
        return (len(self.times) - 1) / self.seconds


@dataclass(frozen=True, kw_only=True)
class PredictedSpeech:
    """A recording with the network's prediction for it."""

    states: Floats  #: (S, C) speech states at 50 Hz
    activity: Floats  #: (S,) probability of speech
    prediction: Floats  #: (S, K) motion coefficients of the network, without a style

    @property
    def seconds(self) -> float:
        """Length."""
        return len(self.states) / STATE_RATE


def predict_speech(samples: Floats, encoder: SpeechEncoder, model: MotionModel) -> PredictedSpeech:
    """Encode a recording (n,) of 16 kHz and predict its motion."""
    states = encoder.encode(samples)
    return PredictedSpeech(
        states=states,
        activity=speech_activity(samples)[: len(states)],
        prediction=model.predict_coefficients(states),
    )


def load_segments(data: Path, cache: Path) -> Iterator[ClipSegment]:
    """Yield all segments of the measuring clips that have sound.

    Args:
        data: folder with ``clips/`` and ``eval/``.
        cache: folder for tracked clips.
    """
    cache.mkdir(parents=True, exist_ok=True)
    landmarker, encoder = FaceLandmarker(), SpeechEncoder()
    for folder in TEST_SETS:
        for path in sorted((data / folder).glob("*.mp4")):
            name = features.cache_name(path, data)
            if not (cache / f"{name}.npz").exists():
                features.save_clip(features.extract_clip(path, name, landmarker, encoder), cache)
            clip = features.load_clip(cache / f"{name}.npz")
            if not len(clip.states):
                continue
            for run in continuous_runs(clip.landmarks):
                if run.stop - run.start < MIN_FRAMES:
                    continue
                yield ClipSegment(
                    name=f"{folder}/{path.stem}",
                    times=frame_midpoints(clip.times)[run],
                    mouth=mouth_shapes(smooth_landmarks(clip.landmarks[run])),
                    states=clip.states.astype(np.float32),
                )


def swapped_halves(count: int) -> Iterator[tuple[slice, slice]]:
    """Yield both halves of *count* frames, each after the other: (known, predicted)."""
    middle = count // 2
    yield slice(0, middle), slice(middle, None)
    yield slice(middle, None), slice(0, middle)
