"""A linear basis of mouth motion: the principal directions in which mouths move in speech (pure).

A mouth shape is 61 points; 98 % of its motion lies in about ten principal components. They are
symmetric about the middle of the face, because speech does not tell what a speaker does with one
corner of the mouth.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from functools import cache

import numpy as np

from lipwright.face.canonical import reference_face
from lipwright.face.landmarks import CORNER_ROWS, LOWER_INNER_ROWS, MOUTH, UPPER_INNER_ROWS
from lipwright.types import Floats, Ints

POINTS = len(MOUTH)


@dataclass(frozen=True, kw_only=True)
class Basis:
    """A linear space of mouth displacements; coefficients have about unit variance in speech."""

    components: Floats  #: (K, 61, 3) displacement in canonical units per unit of coefficient
    rest: Floats  #: (K,) coefficients of a closed mouth at rest, relative to the mean of speech
    opening_spread: float  #: standard deviation of the opening of a typical speaker
    predicted_spread: float  #: the same of what the network predicts for typical speech

    @property
    def size(self) -> int:
        """Number of components K."""
        return len(self.components)

    @property
    def opening(self) -> Floats:
        """Opening of the lips per unit of each coefficient (K,), canonical units."""
        parts = self.components[:, :, 1]
        gap: Floats = parts[:, LOWER_INNER_ROWS].mean(1) - parts[:, UPPER_INNER_ROWS].mean(1)
        return gap

    @property
    def opening_direction(self) -> Floats:
        """Coefficients (K,) of the typical motion that opens the mouth by 1 canonical unit.

        They are proportional to :attr:`opening`, because coefficients have about unit variance.
        """
        gap = self.opening
        out: Floats = gap / (gap @ gap)
        return out

    @property
    def width(self) -> Floats:
        """Widening of the mouth per unit of each coefficient (K,), canonical units."""
        right, left = (self.components[:, corner, 0] for corner in CORNER_ROWS)
        out: Floats = left - right
        return out

    def shapes(self, coefficients: Floats) -> Floats:
        """Return displacements float32 (n, 61, 3) of coefficients (n, K)."""
        out: Floats = np.tensordot(coefficients, self.components, 1).astype(np.float32)
        return out

    def coefficients(self, shapes: Floats) -> Floats:
        """Return the least-squares coefficients float32 (n, K) of displacements (n, 61, 3)."""
        flat = self.components.reshape(self.size, -1).astype(np.float64)
        inverse = np.linalg.pinv(flat)
        out: Floats = (shapes.reshape(len(shapes), -1) @ inverse).astype(np.float32)
        return out

    def to_text(self) -> str:
        """Serialise the basis to JSON, for the metadata of a model file."""
        return json.dumps(
            {
                name: base64.b64encode(np.asarray(value).astype("<f4").tobytes()).decode()
                for name, value in vars(self).items()
            }
        )

    @classmethod
    def from_text(cls, text: str) -> Basis:
        """Load a basis written by :meth:`to_text`."""
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
def mirror_indices() -> Ints:
    """Return for each of the 61 points the index of its mirror image (61,)."""
    points = reference_face()[MOUTH].astype(np.float64)
    mirrored = points * [-1, 1, 1]
    out: Ints = np.linalg.norm(mirrored[:, None] - points[None], axis=-1).argmin(1)
    return out


def mirror(shapes: Floats) -> Floats:
    """Return mouth shapes or displacements (n, 61, 3) mirrored left to right."""
    return shapes[:, mirror_indices()] * np.array([-1, 1, 1], np.float32)


def principal_directions(displacements: Floats, size: int) -> Floats:
    """Return the symmetric principal directions of displacements (n, 61, 3): float32 (size, 61, 3).

    Each direction is scaled by the standard deviation of the displacements along it. Its sign is
    such that the points move down on the whole, as in an opening mouth.
    """
    symmetric = (displacements + mirror(displacements)) / 2
    flat = symmetric.reshape(len(symmetric), -1).astype(np.float64)
    flat -= flat.mean(0)
    values, vectors = np.linalg.eigh(flat.T @ flat / len(flat))
    scaled = vectors[:, ::-1][:, :size] * np.sqrt(np.maximum(values[::-1][:size], 0))
    components = scaled.T.reshape(size, POINTS, 3)
    signs = np.sign(components[:, :, 1].sum(1) + 1e-12)
    out: Floats = (components * signs[:, None, None]).astype(np.float32)
    return out
