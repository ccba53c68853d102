"""How a face follows its mouth: a linear rig over the landmark mesh.

The 61 driven landmarks (lips, chin, jaw) move the rest of the lower face by harmonic weights
(Joshi et al. 2007, "Harmonic coordinates for character articulation", on the mesh graph). Outside
the face two rings of extra vertices carry the chin's motion out into neck and background, so that
the jaw edge moves without a tear and everything beyond the outer ring stays where it is.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from lipwright.face.lips import ACROSS, LIPS
from lipwright.face.shape import MOUTH, reference, triangles
from lipwright.types import Floats, Ints

# fmt: off
# The face oval from ear to ear, along the jaw.
JAWLINE = np.array([
    454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150, 136, 172, 58, 132,
    93, 234,
])
# From the lower lip's edge down to the fold above the chin, right to left: of each row the second
# lies halfway.
BELOW = np.array([
    [146, 91, 181, 84, 17, 314, 405, 321, 375],
    [43, 106, 182, 83, 18, 313, 406, 335, 273],
    [202, 204, 194, 201, 200, 421, 418, 424, 422],
])
# fmt: on
FIXED_ABOVE = 0.52  # canonical y: everything above the nostrils stays
FIXED_SIDE = np.array([454, 323, 361, 132, 93, 234])  # the jaw by the ears hardly moves
RINGS = ((0.10, 0.35), (0.22, 0.0))  # (distance in canonical units, share of the jaw's motion)
FACE = 468  # landmarks of the mesh, without the irises


# How much of the chin's motion each landmark of the jaw contour follows, from the chin outwards.
CHIN = (152, 148, 377, 176, 400)
CONTOUR = {152: 1.0, 148: 0.97, 377: 0.97, 176: 0.9, 400: 0.9, 149: 0.72, 378: 0.72}
CONTOUR |= {150: 0.5, 379: 0.5, 136: 0.3, 365: 0.3}


# The tracker is slow to believe its eyes. Of the way of a painted chin from the frame's own it
# reports about four fifths; of that of the lips from the exemplars they are painted with as much.
# Shapes are in the tracker's measure, so what is painted has to move by more. Lips are given half
# of what they lack: all of it would make fast motion faster than it was asked to be.
LOWERED = np.float32(1.2)
STRETCHED = np.array([0.08, 0.13, 0.0], np.float32)  # added to that of the lips, x y z


def overshoot(displacement: Floats, stretch: Floats) -> Floats:
    """Return the displacement (61, 3) that the tracker will report as the given one.

    Args:
        displacement: (61, 3) of the mouth from that of the frame.
        stretch: (61, 3) of the mouth from that of the exemplars.
    """
    lips = len(LIPS)
    out = displacement.copy()
    out[lips:] *= LOWERED
    out[:lips] += stretch[:lips] * STRETCHED
    return out


def steady_contour(displacement: Floats) -> Floats:
    """Return the displacement (61, 3) of the mouth landmarks with a calm jaw contour.

    A tracked contour is a silhouette: it trembles and slides with every turn of the head, and
    pulls hair and collar along. Only the chin's motion is taken from it, less and less towards
    the ears.
    """
    at = {int(landmark): i for i, landmark in enumerate(MOUTH)}
    chin = displacement[[at[i] for i in CHIN]].mean(0)
    out = displacement.copy()
    for landmark, share in CONTOUR.items():
        out[at[landmark]] = chin * np.float32(share)
    return out


@cache
def followers() -> Floats:
    """Return weights (468, 61): displacement of each vertex from those of the driven ones."""
    driven = MOUTH
    fixed = np.flatnonzero(reference()[:FACE, 1] < FIXED_ABOVE)
    fixed = np.setdiff1d(np.union1d(fixed, FIXED_SIDE), driven)
    free = np.setdiff1d(np.arange(FACE), np.union1d(fixed, driven))
    laplacian = _laplacian()
    solved = np.linalg.solve(laplacian[np.ix_(free, free)], -laplacian[np.ix_(free, driven)])
    weights = np.zeros((FACE, len(driven)), np.float32)
    weights[driven, np.arange(len(driven))] = 1
    weights[free] = solved
    return weights


def _laplacian() -> NDArray[np.float64]:
    """Return the graph Laplacian of the mesh, edges weighted by the inverse of their length."""
    faces = triangles()
    edges = np.unique(
        np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])), axis=0
    )
    a, b = edges.T
    weight = 1 / np.maximum(np.linalg.norm(reference()[a] - reference()[b], axis=1), 1e-3)
    matrix = np.zeros((FACE, FACE))
    matrix[a, b] = matrix[b, a] = -weight
    matrix[np.arange(FACE), np.arange(FACE)] = -matrix.sum(1)
    return matrix


@cache
def mesh() -> Ints:
    """Return the triangles (n, 3) of what can move: lower face and rings."""
    moving = np.abs(followers()).sum(1) > 1e-4
    inner = triangles()[moving[triangles()].any(1)]
    strips = []
    loop = JAWLINE
    for ring in range(len(RINGS)):
        outer = FACE + ring * len(JAWLINE) + np.arange(len(JAWLINE))
        a, b, c, d = loop[:-1], loop[1:], outer[:-1], outer[1:]
        strips += [np.stack([a, b, c], 1), np.stack([b, d, c], 1)]
        loop = outer
    return np.concatenate([inner, *strips])


@cache
def moving() -> Ints:
    """Return which vertices the mesh has (n,), rising."""
    return np.unique(mesh())


def vertices(landmarks: Floats, moved: Floats, unit: float) -> tuple[Floats, Floats]:
    """Return mesh vertices (510, 3) at rest and moved, rings included.

    Args:
        landmarks: (478, 3) pixels, where the face is.
        moved: (468, 3) pixels, displacement of each landmark.
        unit: pixels per canonical unit.
    """
    rings = _rings(landmarks, unit)
    carried = [moved[JAWLINE] * np.float32(share) for _, share in RINGS]
    target = [
        _even(landmarks[:FACE] + moved),
        *(r + c for r, c in zip(rings, carried, strict=True)),
    ]
    return np.concatenate([_even(landmarks[:FACE]), *rings]), np.concatenate(target)


def _rings(landmarks: Floats, unit: float) -> list[Floats]:
    """Return the vertices (21, 3) of each ring around a face (478, 3) at rest."""
    jaw = landmarks[JAWLINE]
    outward = jaw[:, :2] - (jaw[0, :2] + jaw[-1, :2]) / 2
    outward /= np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-6)
    rings = []
    for distance, _ in RINGS:
        ring = jaw.copy()
        ring[:, :2] += outward * np.float32(distance * unit)
        rings.append(ring)
    return rings


def _even(points: Floats) -> Floats:
    """Return points (468, 3) with those in and under the red of the lips evenly between others.

    The tracker sees them no better than that, and where lips that were pressed together are drawn
    open, or the other way round, they would come to lie on the lip's edge or beyond: it would be
    torn to teeth, and the shadow under it squeezed to a line.
    """
    out = points.copy()
    outer, inner = points[ACROSS[0]], points[ACROSS[3]]
    out[ACROSS[1]], out[ACROSS[2]] = (2 * outer + inner) / 3, (outer + 2 * inner) / 3
    out[BELOW[1]] = (points[BELOW[0]] + points[BELOW[2]]) / 2
    return out


def ring_of(landmarks: Floats, unit: float) -> Floats:
    """Return mesh vertices (510, 3) of a face at rest."""
    return np.concatenate([_even(landmarks[:FACE]), *_rings(landmarks, unit)])
