"""Scores of the motion network on segments that it never learnt from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from training.motion.metrics import MIN_RUN_SECONDS, compare, estimate_lag, opening_and_width

from bench.motion.segments import MIN_HALVES_SECONDS, ClipSegment, PredictedSpeech, swapped_halves
from lipwright.motion.animate import synthesize_motion
from lipwright.motion.model import MotionModel
from lipwright.motion.resampling import STATE_RATE
from lipwright.motion.silence import speech_mask
from lipwright.motion.speaking_style import fit_style
from lipwright.motion.sync_scorer import MOUTH_RATE, SyncScorer
from lipwright.types import Floats


@dataclass(frozen=True, kw_only=True)
class SegmentScores:
    """Scores of one segment."""

    name: str
    seconds: float
    offset: float  #: frames of 25 Hz
    confidence: float  #: of the real clip at its offset
    opening: float  #: correlation
    width: float  #: correlation
    amplitude: float  #: of the prediction without a style
    lag: float  #: seconds
    matched: float  #: amplitude with the style of the other half; NaN where too short
    matched_width: float  #: the same of the width
    dubbed: float  #: mean confidence with foreign speech at offset 0
    dubs_in_sync: float  #: share of the dubs whose best offset is within a frame


@dataclass(frozen=True, kw_only=True)
class ScoredSegment:
    """Scores of a segment, and the curves they come from."""

    scores: SegmentScores
    predicted: Floats  #: (T, 2) opening and width, zero mean
    tracked: Floats  #: (T, 2) opening and width, zero mean


class Predictor(Protocol):
    """Predicts mouth motion from speech."""

    def predict_displacements(self, states: Floats, times: NDArray[np.float64], /) -> Floats:
        """Return displacements (n, 61, 3) at times (n,), seconds, for speech states (S, C)."""


def score_segment(
    segment: ClipSegment,
    model: MotionModel,
    scorer: SyncScorer,
    speeches: Sequence[PredictedSpeech],
) -> ScoredSegment:
    """Score a segment with its own sound and, if it is long enough, with foreign speech.

    Args:
        segment: to predict.
        model: motion network.
        scorer: estimates the audio offset and scores the dubs.
        speeches: foreign recordings.
    """
    sync = scorer.estimate_offset(segment.mouth, segment.times, segment.states)
    prediction = model.predict_coefficients(segment.states)
    times = segment.times + sync.offset / MOUTH_RATE
    predicted, tracked = predicted_and_tracked(segment, model, times)
    agreement = compare(predicted, tracked, segment.seconds)
    dubs = [
        score_dub(segment, model, scorer, s) for s in speeches if segment.seconds >= MIN_RUN_SECONDS
    ]
    matched, matched_width = matched_amplitudes(segment, model, prediction, times)
    scores = SegmentScores(
        name=segment.name,
        seconds=segment.seconds,
        offset=sync.offset,
        confidence=sync.confidence,
        opening=agreement.opening,
        width=agreement.width,
        amplitude=agreement.amplitude,
        lag=estimate_lag(predicted[:, 0], tracked[:, 0], segment.rate),
        matched=matched,
        matched_width=matched_width,
        dubbed=float(np.mean([d[0] for d in dubs])) if dubs else float("nan"),
        dubs_in_sync=float(np.mean([abs(d[1]) <= 1 for d in dubs])) if dubs else float("nan"),
    )
    return ScoredSegment(scores=scores, predicted=predicted, tracked=tracked)


def predicted_and_tracked(
    segment: ClipSegment, model: Predictor, times: NDArray[np.float64]
) -> tuple[Floats, Floats]:
    """Return opening and width (T, 2) of a segment, predicted and tracked.

    Args:
        segment: to predict.
        model: motion network.
        times: (T,) of the sound that belong to the frames, seconds.
    """
    displacements = model.predict_displacements(segment.states, times)
    return opening_and_width(segment.mouth.mean(0) + displacements), opening_and_width(
        segment.mouth
    )


def matched_amplitudes(
    segment: ClipSegment, model: MotionModel, prediction: Floats, times: NDArray[np.float64]
) -> tuple[float, float]:
    """Return the amplitudes of opening and width with the style of the other half.

    Args:
        segment: whose halves are predicted.
        model: motion network.
        prediction: (S, K) its motion coefficients for the sound.
        times: (T,) of the sound that belong to the frames, seconds.

    Returns:
        Geometric means over both halves; NaN where the segment is too short.
    """
    if segment.seconds < MIN_HALVES_SECONDS:
        return float("nan"), float("nan")
    ratios = []
    for known, predicted in swapped_halves(len(times)):
        states = (times[predicted] * STATE_RATE - 0.5).round().astype(int)
        states = np.clip(states, 0, len(prediction) - 1)
        spoken = prediction[states.min() : states.max() + 1]
        style = fit_style(model.basis, segment.mouth[known], spoken)
        always_speaking = np.ones(len(prediction), np.float32)
        motion = synthesize_motion(model.basis, style, prediction, always_speaking)
        deviation = opening_and_width(style.mean + motion.displacements(times[predicted])).std(0)
        ratios.append(deviation / opening_and_width(segment.mouth[predicted]).std(0))
    opening, width = np.sqrt(ratios[0] * ratios[1])
    return float(opening), float(width)


def score_dub(
    segment: ClipSegment, model: MotionModel, scorer: SyncScorer, speech: PredictedSpeech
) -> tuple[float, float]:
    """Dub a segment; return the sync confidence at offset 0, and the best offset."""
    style = fit_style(model.basis, segment.mouth, speech.prediction, speech_mask(speech.activity))
    times = np.arange(0.5 / MOUTH_RATE, speech.seconds, 1 / MOUTH_RATE)
    motion = synthesize_motion(model.basis, style, speech.prediction, speech.activity)
    mouth = style.mean + motion.displacements(times)
    sync = scorer.estimate_offset(mouth, times, speech.states)
    return sync.confidence_at(0), sync.offset


def means_by_set(
    segments: Sequence[tuple[str, float, float]], sets: Sequence[str]
) -> NDArray[np.float64]:
    """Return mean opening and width r of each set (len(sets), 2).

    Args:
        segments: name, opening r and width r of each.
        sets: folders of clips, with which names begin.
    """
    return np.array([np.mean([s[1:] for s in segments if s[0].startswith(n)], 0) for n in sets])
