"""From speech to the motion of one speaker's mouth: style, pauses, no crossed lips (pure)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lipwright.face import shape
from lipwright.face.shape import MOUTH
from lipwright.motion import closure
from lipwright.motion import resampling as curve
from lipwright.motion import silence as rest
from lipwright.motion.basis import Basis
from lipwright.motion.speaking_style import Style
from lipwright.types import Doubles, Floats

SURELY = 4.0  # times the intensity, at most 1: lips that hardly move still meet

_AT = {int(landmark): i for i, landmark in enumerate(MOUTH)}
# Lips from the right corner to the left: (outer upper, inner upper, inner lower, outer lower).
_COLUMNS = np.array(
    [
        [_AT[i] for i in column]
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
class Performance:
    """What the mouth shall do, at any time; an hour takes some megabytes."""

    coefficients: Floats  #: (S, K) at 50 Hz, style and pauses included
    basis: Basis
    style: Style

    def at(self, times: Doubles) -> Floats:
        """Return mouth displacements from the speaker's mean mouth shape.

        Args:
            times: seconds of the new speech, float64 (n,), at any rate and in any order.

        Returns:
            float32 (n, 61, 3) in canonical units.
        """
        moved = self.basis.shapes(curve.read(self.coefficients, times))
        return part_lips(self.style.mean + moved, self.style.pressed) - self.style.mean


def perform(
    basis: Basis,
    style: Style,
    prediction: Floats,
    activity: Floats,
    intensity: float = 1.0,
) -> Performance:
    """Give predicted speech to a speaker.

    Args:
        basis: of the model that predicted.
        style: of the speaker.
        prediction: coefficients (S, K), see `MotionModel.articulate`; S at least 1.
        activity: speech probability (S,) at 50 Hz.
        intensity: how strongly to articulate; 1 as the speaker does, 0 leaves the mouth at rest.

    Raises:
        ValueError: lengths differ, or there is no speech at all.
    """
    if len(prediction) != len(activity) or not len(prediction):
        raise ValueError(
            f"cannot perform: {len(prediction)} states and {len(activity)} activities; "
            "both come from the same sound, at 50 Hz, at least one"
        )
    opening = np.asarray((prediction - style.bias) @ basis.opening, np.float32)
    closed = closure.find(opening, style.spread).weight(len(opening))
    moved = style.bring(basis, prediction, closed)
    speaking = style.rest + intensity * (moved - style.rest)
    gap = float(shape.opening(style.mean[None])[0]) + speaking @ basis.opening
    together = min(1.0, SURELY * intensity) * closed
    speaking = closure.press(speaking, together, basis, gap, style.pressed)
    share = rest.presence(activity)[:, None]
    coefficients = (style.rest + share * (speaking - style.rest)).astype(np.float32)
    return Performance(coefficients=coefficients, basis=basis, style=style)


def part_lips(mouth: Floats, least: float) -> Floats:
    """Return mouth shapes (n, 61, 3) in which the lower lip stays below the upper.

    Where the gap of the inner lips would be less than *least* (canonical units), both lips give
    way by half of what is missing.
    """
    upper, lower = _COLUMNS[:, 1], _COLUMNS[:, 2]
    missing = np.maximum(least - (mouth[:, lower, 1] - mouth[:, upper, 1]), 0) / 2
    out = mouth.copy()
    for column, sign in zip(_COLUMNS.T, (-1, -1, 1, 1), strict=True):
        out[:, column, 1] += sign * missing
    return out
