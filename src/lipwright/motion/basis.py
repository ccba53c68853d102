"""The few directions in which mouths move when they speak (pure).

A mouth shape is 61 points; 98 % of its motion lies in about ten principal components. They are
made symmetric about the middle of the face: what one speaker does with one corner of the mouth is
not to be heard in the voice.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from functools import cache

import numpy as np

from lipwright.face.shape import CORNERS, LOWER_INNER, MOUTH, UPPER_INNER, reference
from lipwright.types import Floats, Ints

POINTS = len(MOUTH)


@dataclass(frozen=True, kw_only=True)
class Basis:
    """A linear space of mouth displacements; coefficients have about unit variance in speech."""

    components: Floats  #: (K, 61, 3) displacement in canonical units per unit of coefficient
    rest: Floats  #: (K,) coefficients of a closed, calm mouth, seen from the mean of speech
    opening_spread: float  #: standard deviation of the opening of a typical speaker
    predicted_spread: float  #: that of what the network predicts for typical speech

    @property
    def size(self) -> int:
        """Number of components K."""
        return len(self.components)

    @property
    def opening(self) -> Floats:
        """How much each coefficient opens the lips (K,), canonical units."""
        parts = self.components[:, :, 1]
        gap: Floats = parts[:, LOWER_INNER].mean(1) - parts[:, UPPER_INNER].mean(1)
        return gap

    @property
    def opener(self) -> Floats:
        """The coefficients (K,) of a mouth that opens by 1 canonical unit as mouths do.

        In proportion to how much each opens it: coefficients have about unit variance.
        """
        gap = self.opening
        out: Floats = gap / (gap @ gap)
        return out

    @property
    def width(self) -> Floats:
        """How much each coefficient widens the mouth (K,), canonical units."""
        right, left = (self.components[:, corner, 0] for corner in CORNERS)
        out: Floats = left - right
        return out

    def shapes(self, coefficients: Floats) -> Floats:
        """Return displacements float32 (n, 61, 3) of coefficients (n, K)."""
        out: Floats = np.tensordot(coefficients, self.components, 1).astype(np.float32)
        return out

    def coefficients(self, shapes: Floats) -> Floats:
        """Return the coefficients float32 (n, K) nearest to displacements (n, 61, 3)."""
        flat = self.components.reshape(self.size, -1).astype(np.float64)
        inverse = np.linalg.pinv(flat)
        out: Floats = (shapes.reshape(len(shapes), -1) @ inverse).astype(np.float32)
        return out

    def to_text(self) -> str:
        """Return the basis as text that a model file can carry."""
        return json.dumps(
            {
                name: base64.b64encode(np.asarray(value).astype("<f4").tobytes()).decode()
                for name, value in vars(self).items()
            }
        )

    @classmethod
    def from_text(cls, text: str) -> Basis:
        """Return the basis written by :meth:`to_text`."""
        raw = {
            name: np.frombuffer(base64.b64decode(value), "<f4").astype(np.float32)
            for name, value in json.loads(text).items()
        }
        return cls(
            components=raw["components"].reshape(-1, POINTS, 3),
            rest=raw["rest"],
            opening_spread=float(raw["opening_spread"][0]),
            predicted_spread=float(raw["predicted_spread"][0]),
        )


@cache
def twins() -> Ints:
    """Return for each of the 61 points the one on the other side of the face (61,)."""
    points = reference()[MOUTH].astype(np.float64)
    other = points * [-1, 1, 1]
    out: Ints = np.linalg.norm(other[:, None] - points[None], axis=-1).argmin(1)
    return out


def mirror(shapes: Floats) -> Floats:
    """Return mouth shapes or displacements (n, 61, 3) seen in a mirror."""
    return shapes[:, twins()] * np.array([-1, 1, 1], np.float32)


def principal(displacements: Floats, size: int) -> Floats:
    """Return the main symmetric directions of displacements (n, 61, 3): float32 (size, 61, 3).

    Each is scaled by the standard deviation of the displacements along it, and points towards an
    opening mouth or, where that says nothing, towards larger x.
    """
    even = (displacements + mirror(displacements)) / 2
    flat = even.reshape(len(even), -1).astype(np.float64)
    flat -= flat.mean(0)
    values, vectors = np.linalg.eigh(flat.T @ flat / len(flat))
    best = vectors[:, ::-1][:, :size] * np.sqrt(np.maximum(values[::-1][:size], 0))
    components = best.T.reshape(size, POINTS, 3)
    signs = np.sign(components[:, :, 1].sum(1) + 1e-12)
    out: Floats = (components * signs[:, None, None]).astype(np.float32)
    return out
