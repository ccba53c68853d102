"""Finds the speaker of the source among the faces tracked in a result."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from lipwright.face.landmarks import EYE_LEFT, EYE_RIGHT
from lipwright.face.track import RawTrack
from lipwright.types import Floats


def nearest_track(tracks: Iterable[RawTrack], truth: Floats) -> Floats:
    """Return the landmarks (n, 478, 3) of the track that lies nearest to the true face.

    Args:
        tracks: faces of the result.
        truth: (n, 478, 3) of the source, pixels, NaN where there is no face.
    """
    best, best_distance = np.full_like(truth, np.nan), math.inf
    eyes = np.linalg.norm(truth[:, EYE_LEFT] - truth[:, EYE_RIGHT], axis=-1)
    for track in tracks:
        landmarks = np.asarray(track.landmarks)
        distances = np.linalg.norm(landmarks - truth, axis=-1).mean(1) / eyes
        distance = float(np.where(np.isfinite(distances), distances, 1.0).mean())
        if distance < best_distance:
            best, best_distance = landmarks, distance
    return best
