"""Exemplars: pictures of this speaker's own lower face, within a fixed number of bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lipwright.face.shape import Floats, Ints, interocular
from lipwright.media.picture import Box
from lipwright.render.composite import LOOP
from lipwright.render.path import Look

RUN_FRAMES = 12  # neighbouring frames are kept together, so that paths find runs
CROP_MARGIN = 0.3  # around the loop of the mask, inter-ocular distances
SHARP_ENOUGH = 0.6  # of the median sharpness


@dataclass(frozen=True, kw_only=True)
class Exemplar:
    """One stored picture of the face."""

    rgb: NDArray[Any]  #: (h, w, 3) RGB crop, 8 or 16 bit
    origin: tuple[int, int]  #: x, y of the crop in its frame
    landmarks: Floats  #: (478, 3) pixels of its frame


def choose(look: Look, *, sharpness: Floats, usable: NDArray[np.bool_], most: int) -> Ints:
    """Return which frames to keep (rising indices), at most *most*, covering shape and pose.

    Whole runs are taken greedily, each time the one that lies farthest from all taken so far
    (Gonzalez 1985, k-centre), blurred ones last. Deterministic.
    """
    usable = usable & (sharpness >= SHARP_ENOUGH * np.median(sharpness[usable]))
    frames = np.flatnonzero(usable)
    if len(frames) <= most:
        return frames
    length = min(RUN_FRAMES, most)
    starts = np.arange(0, len(frames) - length + 1, length)
    runs = frames[starts[:, None] + np.arange(length)]
    features = _features(look)
    centres = features[runs].mean(1)
    extremes = features[runs].reshape(len(runs), -1)
    taken = [int(np.argmax(np.linalg.norm(centres - centres.mean(0), axis=1)))]
    distance = np.linalg.norm(extremes - extremes[taken[0]], axis=1)
    while (len(taken) + 1) * length <= most and len(taken) < len(runs):
        taken.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(extremes - extremes[taken[-1]], axis=1))
    return np.unique(runs[taken])


def _features(look: Look) -> Floats:
    """Return what exemplars should cover, (n, k), each column in comparable units."""
    mouth = look.mouth.reshape(len(look), -1) / np.sqrt(look.mouth.shape[1]) / 0.02
    light = look.light[:, None] / 10.0
    features: Floats = np.concatenate([mouth, look.angles[:, :2] / 6.0, light], 1)
    return features


def crop_box(landmarks: Floats) -> Box:
    """Return what an exemplar keeps of its frame: mouth, chin and folds, with a margin."""
    loop = landmarks[LOOP, :2]
    margin = CROP_MARGIN * interocular(landmarks)
    x0, y0 = np.floor(loop.min(0) - margin).astype(int)
    x1, y1 = np.ceil(loop.max(0) + margin).astype(int) + 1
    return Box(int(x0), int(y0), int(x1), int(y1))


def cut(rgb: NDArray[Any], box: Box, landmarks: Floats) -> Exemplar:
    """Return an exemplar cut out of a view.

    Args:
        rgb: (h, w, 3) view.
        box: where the view lies in its frame.
        landmarks: (478, 3) pixels of the frame.
    """
    want = crop_box(landmarks)
    x0, y0 = max(want.x0, box.x0), max(want.y0, box.y0)
    x1, y1 = max(min(want.x1, box.x1), x0 + 1), max(min(want.y1, box.y1), y0 + 1)
    crop = rgb[y0 - box.y0 : y1 - box.y0, x0 - box.x0 : x1 - box.x0].copy()
    return Exemplar(rgb=crop, origin=(x0, y0), landmarks=landmarks)
