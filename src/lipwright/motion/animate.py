"""The motion stage: turn speech into the motion of one speaker's mouth.

:func:`animate` runs all steps: it predicts coefficients, corrects them for the speaker, scales them
to the speaker's range, closes the lips at closures and rests in pauses. :func:`learn_adaptation`
learns the correction from the source's own speech.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from lipwright.face import canonical
from lipwright.face.canonical import mouth_shapes
from lipwright.face.landmarks import mouth_rows
from lipwright.motion.adaptation import (
    MAX_SECONDS,
    MIN_SECONDS,
    Adaptation,
    fit_adaptation,
    pair_speech_with_mouth,
)
from lipwright.motion.basis import Basis
from lipwright.motion.closure import find_closures, press_lips
from lipwright.motion.model import MotionModel
from lipwright.motion.resampling import resample
from lipwright.motion.silence import speech_mask, speech_weight
from lipwright.motion.speaking_style import SpeakingStyle, fit_style
from lipwright.motion.sync_scorer import SyncScorer
from lipwright.runtime.disk_array import Array, sample_runs
from lipwright.speech.features import SpeechFeatures, iter_states
from lipwright.types import Doubles, Floats

# A few minutes suffice for a speaking style; they are sampled in runs, spread over the take.
STYLE_FRAMES, STYLE_RUN = 3000, 250  # frames in all, and in one run
# Strength of closures per unit of intensity, at most 1 in all: at low intensity lips still meet.
CLOSURE_STRENGTH = 4.0

# Rows of mouth shapes across the lips, from the right corner to the left:
# (outer upper, inner upper, inner lower, outer lower).
_COLUMNS = np.array(
    [
        mouth_rows(*column)
        for column in (
            (40, 80, 88, 91),
            (39, 81, 178, 181),
            (37, 82, 87, 84),
            (0, 13, 14, 17),
            (267, 312, 317, 314),
            (269, 311, 402, 405),
            (270, 310, 318, 321),
        )
    ]
)


@dataclass(frozen=True, kw_only=True)
class MouthMotion:
    """The motion of a mouth over a whole speech; an hour takes a few megabytes."""

    coefficients: Floats  #: (S, K) at 50 Hz, with style and pauses applied
    basis: Basis
    style: SpeakingStyle

    def displacements(self, times: Doubles) -> Floats:
        """Return mouth displacements from the speaker's mean mouth shape.

        Args:
            times: seconds of the new speech, float64 (n,), at any rate and in any order.

        Returns:
            float32 (n, 61, 3) in canonical units.
        """
        moved = self.basis.shapes(resample(self.coefficients, times))
        return separate_lips(self.style.mean + moved, self.style.closed_gap) - self.style.mean


def learn_adaptation(
    model: MotionModel,
    scorer: Callable[[], SyncScorer],
    landmarks: Array,
    frame_times: Sequence[Fraction],
    own_states: Array | None,
) -> Adaptation | None:
    """Learn from the source's own speech how this speaker moves the mouth.

    Only the first ``adaptation.MAX_SECONDS`` of the take are used.

    Args:
        model: predicts what the mouth of a typical speaker does.
        scorer: returns the scorer; called only if the take is long enough to learn from.
        landmarks: of the speaker's face, (T, 478, 3) in pixels; NaN where not seen.
        frame_times: seconds of the T frames, rising; at least one.
        own_states: speech states (S, 1024) of the source's own sound at 50 Hz; None without sound.

    Returns:
        The correction, or None if there is too little speech, if the voice does not fit the mouth,
        or if a correction does not help on held-out parts of the take.
    """
    if own_states is None:
        return None
    if float(frame_times[-1] - frame_times[0]) < MIN_SECONDS:
        return None
    times = np.array([float(t) for t in frame_times])
    times = times[times < MAX_SECONDS]
    mouth = mouth_shapes(landmarks, np.arange(len(times)))
    sync = scorer().estimate_offset(mouth, times, own_states)
    prediction = model.predict_coefficients(iter_states(own_states))
    pairs = pair_speech_with_mouth(mouth, times, own_states, prediction, sync)
    return fit_adaptation(model.basis, pairs)


def animate(
    model: MotionModel,
    landmarks: Array,
    speech: SpeechFeatures,
    adaptation: Adaptation | None = None,
    intensity: float = 1.0,
) -> MouthMotion:
    """Turn new speech into the motion of this speaker's mouth.

    Args:
        model: predicts the motion of a typical speaker.
        landmarks: of the speaker's face in the source, (T, 478, 3) in pixels; NaN where not seen.
        speech: the new speech, S states at 50 Hz; S at least 1.
        adaptation: see :func:`learn_adaptation`; None leaves the prediction as it is.
        intensity: strength of the articulation; 1 as the speaker does, 0 leaves the mouth at rest.

    Raises:
        ValueError: the mouth is not seen in any frame, or there is no speech.
    """
    prediction = model.predict_coefficients(iter_states(speech.states))
    spoken = speech_mask(speech.activity)
    if adaptation:
        prediction = adaptation.correct(prediction, speech.states, spoken)
    sampled = sample_runs(len(landmarks), STYLE_FRAMES, STYLE_RUN)
    mouth = mouth_shapes(landmarks, sampled)
    style = fit_style(model.basis, mouth, prediction, spoken, adaptation)
    return synthesize_motion(model.basis, style, prediction, speech.activity, intensity)


def synthesize_motion(
    basis: Basis,
    style: SpeakingStyle,
    prediction: Floats,
    activity: Floats,
    intensity: float = 1.0,
) -> MouthMotion:
    """Turn predicted coefficients into the motion of one speaker.

    Args:
        basis: basis of the coefficients.
        style: style of the speaker.
        prediction: coefficients (S, K) of :meth:`MotionModel.predict_coefficients`; S at least 1.
        activity: speech probability (S,) at 50 Hz.
        intensity: strength of the articulation; 1 as the speaker does, 0 leaves the mouth at rest.

    Raises:
        ValueError: *prediction* and *activity* differ in length or are empty.
    """
    if len(prediction) != len(activity) or not len(prediction):
        raise ValueError(
            f"cannot animate {len(prediction)} states with {len(activity)} activity values: "
            "both must come from the same sound, at 50 Hz, and hold at least one value"
        )
    opening = np.asarray((prediction - style.bias) @ basis.opening, np.float32)
    closed = find_closures(opening, style.predicted_spread).weights(len(opening))
    moved = style.apply(basis, prediction, closed)
    spoken = style.rest + intensity * (moved - style.rest)
    gap = float(canonical.mouth_opening(style.mean[None])[0]) + spoken @ basis.opening
    pressed = min(1.0, CLOSURE_STRENGTH * intensity) * closed
    spoken = press_lips(spoken, pressed, basis, gap, style.closed_gap)
    weight = speech_weight(activity)[:, None]
    coefficients = (style.rest + weight * (spoken - style.rest)).astype(np.float32)
    return MouthMotion(coefficients=coefficients, basis=basis, style=style)


def separate_lips(mouth: Floats, least: float) -> Floats:
    """Move lips apart that come too close or cross.

    Where the gap of the inner lips is less than *least*, each lip moves by half of the difference.

    Args:
        mouth: canonical mouth shapes (n, 61, 3).
        least: gap in canonical units.

    Returns:
        A changed copy, (n, 61, 3).
    """
    upper, lower = _COLUMNS[:, 1], _COLUMNS[:, 2]
    missing = np.maximum(least - (mouth[:, lower, 1] - mouth[:, upper, 1]), 0) / 2
    out = mouth.copy()
    for column, sign in zip(_COLUMNS.T, (-1, -1, 1, 1), strict=True):
        out[:, column, 1] += sign * missing
    return out
