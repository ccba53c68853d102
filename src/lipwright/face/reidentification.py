"""Re-identify a person across shots: face descriptors and their distance.

A descriptor holds the shape of the face at rest, without speech and head pose, and the colour of
the skin. It is enough to tell the two or three people of one video apart; it is no face
recognition.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lipwright.face.canonical import estimate_pose, to_canonical
from lipwright.face.landmarks import MOUTH
from lipwright.types import Floats

SAME_PERSON_DISTANCE = 3.3  # two faces below it are one person: see docs/research/faces.md
STEADY = np.setdiff1d(np.arange(468), MOUTH)  # landmarks that speech moves little
MAX_FRAMES = 200  # that improve one descriptor
COLOUR_WEIGHT = 8.0


@dataclass(frozen=True, kw_only=True)
class FaceDescriptor:
    """Shape and colour by which a face is recognised within one video."""

    shape: Floats  #: (n, 3) median of the canonical landmarks that speech moves little
    colour: Floats  #: (3,) log ratios of red and blue to green, and a little of the brightness


def describe_face(landmarks: Floats, skin: Floats) -> FaceDescriptor:
    """Return the descriptor of one person's face.

    Args:
        landmarks: (n, 478, 3) pixels, of some frames; about MAX_FRAMES are enough.
        skin: (T, 3) mean R, G, B of the middle of the face, 0 to 255.
    """
    shape = np.median(to_canonical(landmarks[:, STEADY], estimate_pose(landmarks)), 0)
    r, g, b = np.log(np.median(skin, 0).astype(np.float32) + 8)
    colour = np.array([r - g, b - g, 0.3 * g], np.float32)
    return FaceDescriptor(shape=shape.astype(np.float32), colour=colour)


def descriptor_distance(a: FaceDescriptor, b: FaceDescriptor) -> float:
    """Return how much two faces differ: 100 is one inter-ocular distance of shape."""
    apart = np.sqrt(((a.shape - b.shape) ** 2).sum(-1).mean())
    return float(100 * apart + COLOUR_WEIGHT * np.linalg.norm(a.colour - b.colour))
