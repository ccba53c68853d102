"""Cluster unlabelled clips by speaker, so that nobody is in both training and validation (pure).

Two descriptors of a face are reduced to whitened principal components: its geometry (canonical
landmarks of the upper face, mean over the clip) and a small picture of it. The clips are then
clustered by Ward's method (Ward 1963). Checked by eye, 36 clusters of the news anchors hold one
person each with few mistakes; some persons have several clusters. The held-out clips are whole
branches of a coarser cut of the same tree, so that all clusters of a person stay together.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from lipwright.face import canonical
from lipwright.types import Doubles, Ints
from training.motion.data.features import Clip

POSE_COMPONENTS = 2  # dropped: the main differences of geometry between clips are yaw and pitch
COMPONENTS = 20
SPEAKERS = 36  # clusters of the anchors
BRANCHES = 16  # clusters of the coarser cut, for holding out
HELD_OUT_SHARE = 0.15  # of the clips


def face_descriptor(clip: Clip) -> tuple[Doubles, Doubles]:
    """Return what identifies the person of a clip: geometry and picture, both flat."""
    landmarks = clip.landmarks[np.isfinite(clip.landmarks[:, 0, 0])][::3]
    face = canonical.to_canonical(landmarks, canonical.estimate_pose(landmarks)).mean(0)
    nose = canonical.reference_face()[2, 1]
    upper = canonical.reference_face()[:468, 1] < nose
    picture = np.log(clip.portrait[4:44, 8:40].astype(np.float32) + 8)
    picture -= picture.mean((0, 1))
    small = cv2.GaussianBlur(picture, (0, 0), 1.0)[::2, ::2]
    return face[:468][upper].ravel().astype(np.float64), small.ravel().astype(np.float64)


def cluster_faces(faces: Sequence[tuple[Doubles, Doubles]], counts: Sequence[int]) -> list[Ints]:
    """Cluster clips by face.

    Args:
        faces: descriptors of n clips, see :func:`face_descriptor`.
        counts: numbers of clusters.

    Returns:
        For each number of clusters, labels (n,) from 0.
    """
    geometry = whiten(np.stack([f[0] for f in faces]), COMPONENTS)[:, POSE_COMPONENTS:]
    picture = whiten(np.stack([f[1] for f in faces]), COMPONENTS)
    picture *= np.sqrt(geometry.shape[1] / picture.shape[1])
    return cluster(np.hstack([geometry, picture]), counts)


def cluster(points: Doubles, counts: Sequence[int]) -> list[Ints]:
    """Cluster points (n, d) by Ward's method; return labels (n,) for each number of clusters.

    Labels follow the first member of each cluster: the cluster of the first point is 0. All cuts
    are of one tree, so that a finer cluster lies within one coarser cluster.
    """
    # Imported here because the corpus is also read without the extra ``train``.
    from scipy.cluster.hierarchy import cut_tree, linkage

    tree = linkage(points, "ward")
    found = []
    for count in counts:
        labels = cut_tree(tree, n_clusters=min(count, len(points)))[:, 0]
        _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
        found.append(np.argsort(np.argsort(first))[inverse].astype(np.int64))
    return found


def whiten(values: Doubles, size: int) -> Doubles:
    """Return the first *size* principal components of values (n, d), each of unit variance."""
    centred = values - values.mean(0)
    powers, directions = np.linalg.eigh(centred.T @ centred / len(centred))
    scale = np.sqrt(np.maximum(powers[::-1][:size], 1e-12))
    out: Doubles = centred @ directions[:, ::-1][:, :size] / scale
    return out


def choose_held_out(branches: Ints, share: float = HELD_OUT_SHARE, seed: int = 0) -> set[int]:
    """Draw whole branches at random that hold about *share* of the clips.

    Args:
        branches: branch of each clip (n,), from 0.
        share: of the clips.
        seed: of the draw.
    """
    sizes = np.bincount(branches)
    held: set[int] = set()
    for branch in np.random.default_rng(seed).permutation(len(sizes)).tolist():
        if sum(sizes[list(held)]) + sizes[branch] <= share * len(branches) * 1.2:
            held.add(branch)
    return held
