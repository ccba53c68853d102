"""The speaker's own manner: where the mouth is centred, how far it moves, where it rests (pure).

The network speaks like the mean of the people it learnt from, and more quietly, as every
regression does. A style brings its motion to the range in which *this* mouth moves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lipwright.face import shape
from lipwright.motion.basis import Basis

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

LEAST_GAIN, MOST_GAIN = 0.7, 2.0
LEAST_FRAMES = 12  # of a mouth that is seen, to know anything about its range
SILENT = 0.4  # of the typical spread of the opening; a mouth that moves less does not speak
CALM = 0.1  # share of the frames that shows the mouth at rest: those least open
TYPICAL_STATES = 150  # 3 s: how much the typical spread weighs beside a measured one
TYPICAL_FRAMES = 25  # the same for the source


@dataclass(frozen=True, kw_only=True)
class Style:
    """How predicted coefficients become this speaker's mouth."""

    mean: Floats  #: (61, 3) canonical mouth shape that displacements are counted from
    gains: Floats  #: (K,) factor on each coefficient
    centre: Floats  #: (K,) coefficients of the middle of this speaker's speech, from the mean
    rest: Floats  #: (K,) coefficients of this speaker's calm mouth, from the mean
    pressed: float  #: least gap of the inner lips in canonical units, negative when pressed
    text: str  #: what was done, for the result


def fit(basis: Basis, mouth: Floats, prediction: Floats, spoken: Mask | None = None) -> Style:
    """Find the style of a speaker.

    Args:
        basis: of the model.
        mouth: canonical mouth shapes (T, 61, 3) of the source take; NaN where not seen. The
            mean of its seen frames is what displacements will be counted from.
        prediction: coefficients (S, K) predicted for the new speech.
        spoken: which of the states (S,) are speech; None: all.

    Raises:
        ValueError: the mouth is never seen.
    """
    seen = mouth[np.isfinite(mouth).all((1, 2))]
    if not len(seen):
        raise ValueError("cannot find a style: the mouth is not seen in any frame")
    mean: Floats = seen.mean(0, dtype=np.float64).astype(np.float32)
    own = basis.coefficients(seen - mean)
    heard = prediction if spoken is None or not spoken.any() else prediction[spoken]
    expected = _blend(heard.std(0) if len(heard) else basis.predicted, len(heard), basis)
    gap = shape.opening(seen)
    calm = gap <= np.quantile(gap, CALM)
    if len(seen) < LEAST_FRAMES or not speaks(basis, own):
        rest = np.median(own, 0) if len(seen) < LEAST_FRAMES else np.median(own[calm], 0)
        gains, centre = basis.spread / expected, rest - basis.rest
        text = "typical range of motion: the source shows no speech"
    else:
        rest, centre = np.median(own[calm], 0), np.zeros(basis.size)
        count = len(own)
        spread = np.sqrt(
            (count * own.var(0) + TYPICAL_FRAMES * basis.spread**2) / (count + TYPICAL_FRAMES)
        )
        gains = spread / expected
        text = "the speaker's own range of motion"
    gains = np.clip(gains, LEAST_GAIN, MOST_GAIN).astype(np.float32)
    return Style(
        mean=mean,
        gains=gains,
        centre=centre.astype(np.float32),
        rest=rest.astype(np.float32),
        pressed=min(float(np.quantile(gap, 0.02)), 0.01),
        text=f"{text} (opening x {gains[0]:.2f})",
    )


def speaks(basis: Basis, coefficients: Floats) -> bool:
    """Whether a mouth with these coefficients (T, K) moves as in speech."""
    return bool(coefficients[:, 0].std() > SILENT * basis.spread[0])


def _blend(measured: Floats, count: int, basis: Basis) -> Floats:
    """Return a spread measured over *count* states, steadied by the known one."""
    power = (count * measured**2 + TYPICAL_STATES * basis.predicted**2) / (count + TYPICAL_STATES)
    out: Floats = np.sqrt(np.maximum(power, 1e-8))
    return out
