"""Tell the people of unlabelled clips apart, so that none is both learnt from and tested on (pure).

Geometry (canonical landmarks of the upper face, mean over the clip) and a small picture of the face
are reduced to whitened principal components, and joined by Ward's method (Ward 1963). By eye, 36
groups of the news anchors hold one person each, with few mistakes; some persons have several.
Held back are whole branches of a coarser cut, so that a person's second group comes along.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from lipwright.face import shape
from lipwright.types import Doubles, Ints
from training.motion.features import Clip

POSE_COMPONENTS = 2  # the main differences of geometry between clips are yaw and pitch
COMPONENTS = 20
SPEAKERS = 36  # groups that the anchors are cut into
BRANCHES = 16  # and the coarser cut, for holding back
HELD_SHARE = 0.15  # of the clips


def likeness(clip: Clip) -> tuple[Doubles, Doubles]:
    """Return what tells the person of a clip: upper face (n, 3) flat, and picture, flat."""
    landmarks = clip.landmarks[np.isfinite(clip.landmarks[:, 0, 0])][::3]
    face = shape.to_canonical(landmarks, shape.align(landmarks)).mean(0)
    nose = shape.reference()[2, 1]
    upper = shape.reference()[:468, 1] < nose
    picture = np.log(clip.portrait[4:44, 8:40].astype(np.float32) + 8)
    picture -= picture.mean((0, 1))
    small = cv2.GaussianBlur(picture, (0, 0), 1.0)[::2, ::2]
    return face[:468][upper].ravel().astype(np.float64), small.ravel().astype(np.float64)


def tell_apart(faces: Sequence[tuple[Doubles, Doubles]], groups: Sequence[int]) -> list[Ints]:
    """Return labels (n,) of the clips, from 0, for each wanted number of groups."""
    geometry = whiten(np.stack([f[0] for f in faces]), COMPONENTS)[:, POSE_COMPONENTS:]
    picture = whiten(np.stack([f[1] for f in faces]), COMPONENTS)
    picture *= np.sqrt(geometry.shape[1] / picture.shape[1])
    merges = ward(np.hstack([geometry, picture]))
    return [cut(merges, len(faces), count) for count in groups]


def whiten(values: Doubles, size: int) -> Doubles:
    """Return the first *size* principal components of values (n, d), each of unit variance."""
    centred = values - values.mean(0)
    powers, directions = np.linalg.eigh(centred.T @ centred / len(centred))
    scale = np.sqrt(np.maximum(powers[::-1][:size], 1e-12))
    out: Doubles = centred @ directions[:, ::-1][:, :size] / scale
    return out


def ward(points: Doubles) -> list[tuple[int, int]]:
    """Join points (n, d) to groups, the pair whose joining adds least variance first.

    Returns:
        Pairs (kept, joined to it) of the groups' first members, n - 1 of them.
    """
    power = (points**2).sum(1)
    far = np.maximum(power[:, None] + power[None] - 2 * points @ points.T, 0)
    np.fill_diagonal(far, np.inf)
    size = np.ones(len(points))
    merges = []
    for _ in range(len(points) - 1):
        i, j = sorted(np.unravel_index(int(far.argmin()), far.shape))
        total = size + size[i] + size[j]
        with np.errstate(invalid="ignore"):
            joined = (size + size[i]) * far[i] + (size + size[j]) * far[j] - size * far[i, j]
        apart = np.isfinite(far[i]) & np.isfinite(far[j])
        far[i] = far[:, i] = np.where(apart, joined / total, np.inf)
        far[j] = far[:, j] = np.inf
        far[i, i] = np.inf
        size[i] += size[j]
        merges.append((int(i), int(j)))
    return merges


def cut(merges: Sequence[tuple[int, int]], count: int, groups: int) -> Ints:
    """Return labels (count,) from 0 after joining until *groups* are left."""
    head = np.arange(count)
    for kept, joined in merges[: max(count - groups, 0)]:
        head[head == joined] = kept
    labels: Ints = np.unique(head, return_inverse=True)[1].astype(np.int64)
    return labels


def hold_back(branches: Ints, share: float = HELD_SHARE, seed: int = 0) -> set[int]:
    """Return whole branches that hold about *share* of the clips, drawn at random."""
    sizes = np.bincount(branches)
    held: set[int] = set()
    for branch in np.random.default_rng(seed).permutation(len(sizes)).tolist():
        if sum(sizes[list(held)]) + sizes[branch] <= share * len(branches) * 1.2:
            held.add(branch)
    return held
