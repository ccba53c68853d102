"""Fit the speaking style of a speaker: centre, range and rest of the mouth's motion (pure).

The network predicts the mean of the speakers it was trained on, with too small a range, as every
regression does. A style scales the prediction to the range in which *this* mouth moves: one gain
for the opening, and one for all motion that changes the shape of the mouth without opening it. The
second is larger, because speech predicts less of the shape. A gain for each direction would mostly
amplify directions that speech hardly predicts, and the motion would correlate less with real mouths
(measured in ``docs/research/style.md``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lipwright.face import canonical
from lipwright.motion.adaptation import Adaptation
from lipwright.motion.basis import Basis
from lipwright.motion.close_mouth import close_mouth
from lipwright.motion.closure import find_closures
from lipwright.types import Bools, Floats

MIN_OPENING_GAIN, MAX_OPENING_GAIN = 0.7, 2.5
MIN_SHAPE_GAIN, MAX_SHAPE_GAIN = 0.8, 1.6  # times the opening gain, before closures reduce that
PREDICTED_SHAPE = 0.8  # range of the predicted shape against that of the opening, typically
MIN_CLOSURE_SHARE = 0.8  # of the opening gain that stays when closures are counted
MIN_FRAMES = 12  # of a mouth in speech, or at rest, to measure anything on it
SILENT_SPREAD = 0.4  # of the typical opening spread; a mouth that moves less does not speak
SPREAD_WINDOW = 25  # frames of the moving spread that tells speech from rest
NEVER_CLOSED_GAP = 0.03  # canonical units; inner lips that never come closer always show teeth
CLOSED_SHARE = 0.1  # of the frames: the least open ones, taken as the closed mouth
TYPICAL_FRAMES = 25  # weight of the typical spread beside one measured on the source
TYPICAL_STATES = 50  # weight of the typical spread beside one measured on the prediction
TYPICAL_MEAN_STATES = 150  # weight of a zero mean beside the mean of the prediction


@dataclass(frozen=True, kw_only=True)
class SpeakingStyle:
    """How predicted coefficients become the motion of this speaker's mouth."""

    mean: Floats  #: (61, 3) canonical mouth shape that displacements are relative to
    opening_gain: float  #: factor on how far the predicted coefficients open the mouth
    shape_gain: float  #: factor on the rest of their motion
    bias: Floats  #: (K,) mean of the predicted motion
    centre: Floats  #: (K,) mean of this mouth's motion in speech, relative to *mean*
    rest: Floats  #: (K,) coefficients of this speaker's mouth at rest, relative to *mean*
    closed_gap: float  #: least gap of the inner lips, canonical units
    predicted_spread: float  #: standard deviation of the predicted opening, canonical units
    description: str  #: one line for the result: what was done

    def apply(self, basis: Basis, prediction: Floats, closed: Floats) -> Floats:
        """Scale predicted coefficients to the range of this mouth.

        Where pursed lips close, the shape gain falls to the opening gain; otherwise the lips would
        not meet.

        Args:
            basis: basis of the coefficients.
            prediction: coefficients (S, K).
            closed: how far the lips are closed (S,), 0 to 1.

        Returns:
            float32 (S, K).
        """
        moved = prediction - self.bias
        wider = self.shape_gain * (moved @ _shape_weights(basis)) / _shape_spread(basis)
        pursed = closed * np.clip(-wider, 0, 1)
        shape_gain = self.shape_gain + (self.opening_gain - self.shape_gain) * pursed
        shape_gain = shape_gain[:, None]
        opening = (moved @ basis.opening)[:, None] * basis.opening_direction
        scaled = self.centre + shape_gain * moved + (self.opening_gain - shape_gain) * opening
        return np.asarray(scaled, np.float32)


def fit_style(
    basis: Basis,
    mouth: Floats,
    prediction: Floats,
    speech: Bools | None = None,
    adaptation: Adaptation | None = None,
) -> SpeakingStyle:
    """Fit the style of a speaker.

    Args:
        basis: basis of the coefficients.
        mouth: canonical mouth shapes (T, 61, 3) of the source take; NaN where not seen.
            Displacements are relative to the mean of the seen frames.
        prediction: coefficients (S, K) predicted for the new speech.
        speech: mask (S,) of the states that are speech; None: all.
        adaptation: the correction of the prediction, if any; used for the description only.

    Raises:
        ValueError: the mouth is not seen in any frame.
    """
    seen = mouth[np.isfinite(mouth).all((1, 2))]
    if not len(seen):
        raise ValueError("cannot fit a style: the mouth is not seen in any frame")
    seen = _closable(seen)
    mean: Floats = seen.mean(0, dtype=np.float64).astype(np.float32)
    own, gap = basis.coefficients(seen - mean), canonical.mouth_opening(seen)
    opening, typical_opening = basis.opening, basis.opening_spread
    shape, typical_shape = _shape_weights(basis), _shape_spread(basis)
    lively = moving_std(own @ opening, SPREAD_WINDOW) > SILENT_SPREAD * typical_opening
    rest = _rest(own, gap, lively)
    spoken = prediction if speech is None or not speech.any() else prediction[speech]
    if lively.sum() < MIN_FRAMES:
        own_opening, own_shape, centre = typical_opening, typical_shape, rest - basis.rest
        text = "typical range of motion: the source shows no speech"
    else:
        own_opening = _spread(own[lively] @ opening, typical_opening, TYPICAL_FRAMES)
        own_shape = _spread(own[lively] @ shape, typical_shape, TYPICAL_FRAMES)
        centre = own[lively].mean(0)
        text = "the speaker's own range of motion"
    text = adaptation.description if adaptation else text
    spread = _spread(spoken @ opening, basis.predicted_spread, TYPICAL_STATES)
    predicted = PREDICTED_SHAPE * basis.predicted_spread / typical_opening * typical_shape
    gain = float(np.clip(own_opening / spread, MIN_OPENING_GAIN, MAX_OPENING_GAIN))
    shape_gain = own_shape / _spread(spoken @ shape, predicted, TYPICAL_STATES)
    shape_gain = float(np.clip(shape_gain, MIN_SHAPE_GAIN * gain, MAX_SHAPE_GAIN * gain))
    bias = spoken.sum(0) / (len(spoken) + TYPICAL_MEAN_STATES)
    closed_gap = min(float(np.quantile(gap, 0.02)), 0.01)
    middle = float(canonical.mouth_opening(mean[None])[0] + centre @ opening)
    gain *= _closure_share(spoken @ opening - bias @ opening, spread, gain, middle - closed_gap)
    return SpeakingStyle(
        mean=mean,
        opening_gain=gain,
        shape_gain=shape_gain,
        bias=np.asarray(bias, np.float32),
        centre=np.asarray(centre, np.float32),
        rest=np.asarray(rest, np.float32),
        closed_gap=closed_gap,
        predicted_spread=spread,
        description=f"{text} (opening x {gain:.2f}, shape x {shape_gain:.2f})",
    )


def _shape_weights(basis: Basis) -> Floats:
    """Return the widening per unit of each coefficient (K,) that does not come with opening."""
    out: Floats = basis.width - basis.opening * (basis.width @ basis.opening_direction)
    return out


def _shape_spread(basis: Basis) -> float:
    """Return the standard deviation of that widening in a typical speaker."""
    return float(np.linalg.norm(_shape_weights(basis)))  # coefficients have unit variance


def _closure_share(opening: Floats, spread: float, gain: float, closed: float) -> float:
    """Return the factor on the gain that keeps the range of the motion once closures are pressed.

    Args:
        opening: predicted opening (S,) of the speech, relative to its mean.
        spread: standard deviation of *opening*.
        gain: factor on *opening*.
        closed: gap of the lips in the middle of the motion, minus the gap of closed lips.
    """
    if len(opening) < MIN_FRAMES:
        return 1.0
    weight = find_closures(opening, spread).weights(len(opening))
    plain = gain * opening
    pressed = plain - weight * np.maximum(plain + closed, 0)
    return float(np.clip(plain.std() / max(float(pressed.std()), 1e-6), MIN_CLOSURE_SHARE, 1))


def _closable(seen: Floats) -> Floats:
    """Return mouth shapes (T, 61, 3), moved so that the least open one is closed if none is.

    Speech is relative to the mean mouth, and a speaker who smiles with parted lips closes them to
    speak.
    """
    least = seen[int(np.argmin(canonical.mouth_opening(seen)))]
    if float(canonical.mouth_opening(least[None])[0]) < NEVER_CLOSED_GAP:
        return seen
    moved: Floats = seen + (close_mouth(least) - least)
    return moved


def moving_std(values: Floats, size: int) -> Floats:
    """Return the standard deviation of values (T,) in a window of *size* frames around each."""
    half = size // 2
    padded = np.pad(
        values.astype(np.float64), half, mode="reflect" if len(values) > half else "edge"
    )
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1)
    out: Floats = windows.std(1).astype(np.float32)
    return out


def _rest(own: Floats, gap: Floats, lively: Bools) -> Floats:
    """Return the coefficients (K,) of the mouth at rest: of still frames, else of closed ones."""
    if (~lively).sum() >= MIN_FRAMES or len(own) < MIN_FRAMES:
        still = ~lively if (~lively).any() else np.ones(len(own), bool)
        out: Floats = np.median(own[still], 0)
        return out
    closed: Floats = np.median(own[gap <= np.quantile(gap, CLOSED_SHARE)], 0)
    return closed


def _spread(values: Floats, known: float, weight: float) -> float:
    """Return the standard deviation of values (n,), shrunk towards a known one of some *weight*."""
    measured = float(values.std()) if len(values) else 0.0
    power = (len(values) * measured**2 + weight * known**2) / (len(values) + weight)
    return float(np.sqrt(max(power, 1e-12)))
