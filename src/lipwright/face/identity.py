"""Whether faces met in different shots are the same person.

A feature is the shape of the face at rest, speech and head pose taken away, with the colour of
skin: enough to tell the two or three people of one video apart, no face recognition.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lipwright.face.shape import MOUTH, align, to_canonical
from lipwright.types import Floats

SAME_DISTANCE = 3.3  # below which two faces are one person: see docs/explanation/painting.md
STEADY = np.setdiff1d(np.arange(468), MOUTH)  # landmarks that speech moves little
MOST_FRAMES = 200  # worth looking at for one feature
COLOUR_WEIGHT = 8.0


@dataclass(frozen=True, kw_only=True)
class Feature:
    """What a face is known by."""

    shape: Floats  #: (n, 3) median of the canonical landmarks that speech moves little
    colour: Floats  #: (3,) log ratios of red and blue to green, and a little of the brightness


def feature(landmarks: Floats, skin: Floats) -> Feature:
    """Return the feature of one person's face.

    Args:
        landmarks: (n, 478, 3) pixels, of some frames; about MOST_FRAMES are enough.
        skin: (T, 3) mean R, G, B of the middle of the face, 0 to 255.
    """
    shape = np.median(to_canonical(landmarks[:, STEADY], align(landmarks)), 0)
    r, g, b = np.log(np.median(skin, 0).astype(np.float32) + 8)
    colour = np.array([r - g, b - g, 0.3 * g], np.float32)
    return Feature(shape=shape.astype(np.float32), colour=colour)


def distance(a: Feature, b: Feature) -> float:
    """Return how much two faces differ: 100 is one inter-ocular distance of shape."""
    apart = np.sqrt(((a.shape - b.shape) ** 2).sum(-1).mean())
    return float(100 * apart + COLOUR_WEIGHT * np.linalg.norm(a.colour - b.colour))
