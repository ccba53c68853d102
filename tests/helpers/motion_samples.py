"""Made-up mouth coefficients and speech activity."""

from __future__ import annotations

import numpy as np

from lipwright.face import canonical
from lipwright.face.landmarks import MOUTH
from lipwright.motion.basis import Basis


def mouths(basis: Basis, coefficients: np.ndarray) -> np.ndarray:
    return canonical.reference_face()[MOUTH] + basis.shapes(coefficients)


def wave(count: int, size: int) -> np.ndarray:
    """Lively coefficients (count, size)."""
    t = np.arange(count)[:, None] / 25
    return np.sin(t * np.linspace(9, 23, size) + np.arange(size)).astype(np.float32)


def speech(*seconds: float) -> np.ndarray:
    """Activity that is 1, 0, 1, … for so many seconds each."""
    return np.concatenate(
        [np.full(round(s * 50), 1.0 - i % 2, np.float32) for i, s in enumerate(seconds)]
    )
