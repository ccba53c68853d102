"""The speaker's own manner: where the mouth is centred, how far it moves, where it rests (pure).

The network speaks like the mean of the people it learnt from, and more quietly, as every
regression does. A style brings its motion to the range in which *this* mouth moves: one factor for
the opening, and one for all that changes the shape of the mouth without opening it, of which less
is to be heard, so that it needs more. A factor for each direction would mostly enlarge those that
are hardly to be heard at all, and the motion would agree less with real mouths (measured in
``docs/explanation/motion.md``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lipwright.face import shape
from lipwright.motion import closure
from lipwright.motion.adaptation import Adaptation
from lipwright.motion.basis import Basis
from lipwright.motion.close_mouth import shut
from lipwright.types import Bools, Floats

LEAST_GAIN, MOST_GAIN = 0.7, 2.5
LEAST_SHAPING, MOST_SHAPING = 0.8, 1.6  # times the gain, before closures take their share of that
HEARD_SHAPE = 0.8  # so much less is predicted of the shape than of the opening, typically
LEAST_SHARE = 0.8
LEAST_FRAMES = 12  # of a mouth in speech, or at rest, to know anything about it
SILENT = 0.4  # of the typical spread of the opening; a mouth that moves less does not speak
AROUND = 25  # frames over which a spread is taken to tell speech from rest
NEVER_CLOSED = 0.03  # canonical units; inner lips that never come closer show teeth all the time
CALM = 0.1  # share of the frames that shows the mouth closed: those least open
TYPICAL_FRAMES = 25  # so much does the typical spread weigh beside one measured on the source
TYPICAL_STATES = 50  # and beside one measured on the prediction
TYPICAL_MEAN = 150  # states: the same for the mean of the prediction


@dataclass(frozen=True, kw_only=True)
class Style:
    """How predicted coefficients become this speaker's mouth."""

    mean: Floats  #: (61, 3) canonical mouth shape that displacements are counted from
    gain: float  #: factor on how far the predicted coefficients open the mouth
    shaping: float  #: factor on what else they do
    bias: Floats  #: (K,) middle of the predicted motion
    centre: Floats  #: (K,) middle of this mouth's motion, from the mean
    rest: Floats  #: (K,) coefficients of this speaker's calm mouth, from the mean
    pressed: float  #: least gap of the inner lips in canonical units
    spread: float  #: standard deviation of the predicted opening in the speech, canonical units
    text: str  #: what was done, for the result

    def bring(self, basis: Basis, prediction: Floats, closed: Floats) -> Floats:
        """Return predicted coefficients (S, K) in the range of this mouth.

        Pursed lips that are *closed* (S,), 0 to 1, are shaped as little as they are opened: they
        would not meet.
        """
        moved = prediction - self.bias
        wider = self.shaping * (moved @ _shape_probe(basis)) / _shape_spread(basis)
        pressed = closed * np.clip(-wider, 0, 1)
        shaping = (self.shaping + (self.gain - self.shaping) * pressed)[:, None]
        opening = (moved @ basis.opening)[:, None] * basis.opener
        brought = self.centre + shaping * moved + (self.gain - shaping) * opening
        return np.asarray(brought, np.float32)


def fit(
    basis: Basis,
    mouth: Floats,
    prediction: Floats,
    spoken: Bools | None = None,
    learnt: Adaptation | None = None,
) -> Style:
    """Find the style of a speaker.

    Args:
        basis: of the model.
        mouth: canonical mouth shapes (T, 61, 3) of the source take; NaN where not seen. The
            mean of its seen frames is what displacements will be counted from.
        prediction: coefficients (S, K) predicted for the new speech.
        spoken: which of the states (S,) are speech; None: all.
        learnt: how the prediction was fitted to the speaker, if it was; for the text alone.

    Raises:
        ValueError: the mouth is never seen.
    """
    seen = mouth[np.isfinite(mouth).all((1, 2))]
    if not len(seen):
        raise ValueError("cannot find a style: the mouth is not seen in any frame")
    seen = _able_to_close(seen)
    mean: Floats = seen.mean(0, dtype=np.float64).astype(np.float32)
    own, gap = basis.coefficients(seen - mean), shape.opening(seen)
    probe, typical = basis.opening, basis.opening_spread
    aside, typical_aside = _shape_probe(basis), _shape_spread(basis)
    lively = spread_around(own @ probe, AROUND) > SILENT * typical
    rest = _rest(own, gap, lively)
    heard = prediction if spoken is None or not spoken.any() else prediction[spoken]
    if lively.sum() < LEAST_FRAMES:
        wanted, shaped, centre = typical, typical_aside, rest - basis.rest
        text = "typical range of motion: the source shows no speech"
    else:
        wanted = _spread(own[lively] @ probe, typical, TYPICAL_FRAMES)
        shaped = _spread(own[lively] @ aside, typical_aside, TYPICAL_FRAMES)
        centre = own[lively].mean(0)
        text = "the speaker's own range of motion"
    text = learnt.text if learnt else text
    expected = _spread(heard @ probe, basis.predicted_spread, TYPICAL_STATES)
    predicted = HEARD_SHAPE * basis.predicted_spread / typical * typical_aside
    gain = float(np.clip(wanted / expected, LEAST_GAIN, MOST_GAIN))
    shaping = shaped / _spread(heard @ aside, predicted, TYPICAL_STATES)
    shaping = float(np.clip(shaping, LEAST_SHAPING * gain, MOST_SHAPING * gain))
    bias = heard.sum(0) / (len(heard) + TYPICAL_MEAN)
    pressed = min(float(np.quantile(gap, 0.02)), 0.01)
    middle = float(shape.opening(mean[None])[0] + centre @ probe)
    gain *= _share_of_closures(heard @ probe - bias @ probe, expected, gain, middle - pressed)
    return Style(
        mean=mean,
        gain=gain,
        shaping=shaping,
        bias=np.asarray(bias, np.float32),
        centre=np.asarray(centre, np.float32),
        rest=np.asarray(rest, np.float32),
        pressed=pressed,
        spread=expected,
        text=f"{text} (opening x {gain:.2f}, shape x {shaping:.2f})",
    )


def _shape_probe(basis: Basis) -> Floats:
    """Return how much each coefficient (K,) widens the mouth beside what goes with its opening."""
    out: Floats = basis.width - basis.opening * (basis.width @ basis.opener)
    return out


def _shape_spread(basis: Basis) -> float:
    """Return the standard deviation of that in a typical speaker."""
    return float(np.linalg.norm(_shape_probe(basis)))  # coefficients have unit variance


def _share_of_closures(opening: Floats, spread: float, gain: float, closed: float) -> float:
    """Return by what share the mouth shall move less because its closures are closed.

    Args:
        opening: predicted opening (S,) of the speech, about its mean.
        spread: its standard deviation.
        gain: factor on it.
        closed: by how much the lips come closer from the middle of the motion to closed.
    """
    if len(opening) < LEAST_FRAMES:
        return 1.0
    weight = closure.find(opening, spread).weight(len(opening))
    plain = gain * opening
    pressed = plain - weight * np.maximum(plain + closed, 0)
    return float(np.clip(plain.std() / max(float(pressed.std()), 1e-6), LEAST_SHARE, 1))


def _able_to_close(seen: Floats) -> Floats:
    """Return mouth shapes (T, 61, 3); of one that is never near closed, as a smile, its closed one.

    Speech is counted from the mean mouth, and whoever smiles with parted lips closes them to speak.
    """
    least = seen[int(np.argmin(shape.opening(seen)))]
    if float(shape.opening(least[None])[0]) < NEVER_CLOSED:
        return seen
    closing: Floats = seen + (shut(least) - least)
    return closing


def spread_around(values: Floats, size: int) -> Floats:
    """Return the standard deviation of values (T,) in a window of *size* around each."""
    half = size // 2
    padded = np.pad(
        values.astype(np.float64), half, mode="reflect" if len(values) > half else "edge"
    )
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1)
    out: Floats = windows.std(1).astype(np.float32)
    return out


def _rest(own: Floats, gap: Floats, lively: Bools) -> Floats:
    """Return the coefficients (K,) of the calm mouth: when nothing moves, or else when closed."""
    if (~lively).sum() >= LEAST_FRAMES or len(own) < LEAST_FRAMES:
        still = ~lively if (~lively).any() else np.ones(len(own), bool)
        out: Floats = np.median(own[still], 0)
        return out
    closed: Floats = np.median(own[gap <= np.quantile(gap, CALM)], 0)
    return closed


def _spread(values: Floats, known: float, weight: float) -> float:
    """Return the standard deviation of values (n,), steadied by a known one of some *weight*."""
    measured = float(values.std()) if len(values) else 0.0
    power = (len(values) * measured**2 + weight * known**2) / (len(values) + weight)
    return float(np.sqrt(max(power, 1e-12)))
