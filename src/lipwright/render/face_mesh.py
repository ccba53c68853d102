"""The landmark mesh of the lower face, and how it moves with the mouth (a linear rig).

The 61 driven landmarks (lips, chin, jaw) move the rest of the lower face by harmonic weights
(Joshi et al. 2007, "Harmonic coordinates for character articulation", on the mesh graph). Two rings
of extra vertices outside the face carry the chin's motion into neck and background, so that the jaw
edge moves without a tear and everything beyond the outer ring stays in place.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from lipwright.face.canonical import face_triangles, reference_face
from lipwright.face.landmarks import LIP_RINGS, LIPS, MOUTH, mouth_rows
from lipwright.types import Floats, Ints

# fmt: off
# The face oval from ear to ear, along the jaw.
JAWLINE = np.array([
    454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150, 136, 172, 58, 132,
    93, 234,
])
# From the lower lip's border down to the fold above the chin, right to left; the second row lies
# halfway between the others.
BELOW_LIP_ROWS = np.array([
    [146, 91, 181, 84, 17, 314, 405, 321, 375],
    [43, 106, 182, 83, 18, 313, 406, 335, 273],
    [202, 204, 194, 201, 200, 421, 418, 424, 422],
])
# fmt: on
FIXED_ABOVE = 0.52  # canonical y of the nostrils: everything above them stays in place
FIXED_SIDE = np.array([454, 323, 361, 132, 93, 234])  # the jaw by the ears hardly moves
RINGS = ((0.10, 0.35), (0.22, 0.0))  # (distance in canonical units, share of the jaw's motion)
FACE_LANDMARKS = 468  # landmarks of the mesh, without the irises
LEAST_WEIGHT = 1e-4  # sum of a vertex's weights below which it does not move
MIN_EDGE = 1e-3  # canonical units; avoids a division by 0

# How much of the chin's motion each landmark of the jaw contour follows, from the chin outwards.
CHIN = (152, 148, 377, 176, 400)
CONTOUR = {152: 1.0, 148: 0.97, 377: 0.97, 176: 0.9, 400: 0.9, 149: 0.72, 378: 0.72}
CONTOUR |= {150: 0.5, 379: 0.5, 136: 0.3, 365: 0.3}

# The tracker under-reports motion by about 20 %: that of a painted chin from the frame's own, and
# that of painted lips from the exemplars'. Mouth shapes are what the tracker reports, so painted
# landmarks have to move further. Lips gain only half of the difference: with all of it, fast motion
# became faster than requested.
JAW_GAIN = np.float32(1.2)  # factor
LIP_GAIN = np.array([0.08, 0.13, 0.0], np.float32)  # x y z, added as a share of the stretch


def compensate_tracker(displacement: Floats, stretch: Floats) -> Floats:
    """Return the displacement (61, 3) to paint so that the tracker reports the given one.

    Args:
        displacement: (61, 3) of the mouth from that of the frame.
        stretch: (61, 3) of the mouth from that of the exemplars.
    """
    lips = len(LIPS)
    out = displacement.copy()
    out[lips:] *= JAW_GAIN
    out[:lips] += stretch[:lips] * LIP_GAIN
    return out


def steady_contour(displacement: Floats) -> Floats:
    """Return a displacement (61, 3) of the mouth landmarks with a steady jaw contour.

    A tracked contour is a silhouette: it jitters and slides with every turn of the head, and pulls
    hair and collar along. The contour therefore follows the chin's mean motion, less and less
    towards the ears.
    """
    chin = displacement[mouth_rows(*CHIN)].mean(0)
    out = displacement.copy()
    for row, share in zip(mouth_rows(*CONTOUR), CONTOUR.values(), strict=True):
        out[row] = chin * np.float32(share)
    return out


@cache
def follow_weights() -> Floats:
    """Return weights (468, 61): the displacement of each vertex per driven landmark."""
    driven = MOUTH
    fixed = np.flatnonzero(reference_face()[:FACE_LANDMARKS, 1] < FIXED_ABOVE)
    fixed = np.setdiff1d(np.union1d(fixed, FIXED_SIDE), driven)
    free = np.setdiff1d(np.arange(FACE_LANDMARKS), np.union1d(fixed, driven))
    laplacian = _laplacian()
    solved = np.linalg.solve(laplacian[np.ix_(free, free)], -laplacian[np.ix_(free, driven)])
    weights = np.zeros((FACE_LANDMARKS, len(driven)), np.float32)
    weights[driven, np.arange(len(driven))] = 1
    weights[free] = solved
    return weights


def _laplacian() -> NDArray[np.float64]:
    """Return the graph Laplacian of the mesh, edges weighted by the inverse of their length."""
    faces = face_triangles()
    edges = np.unique(
        np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])), axis=0
    )
    a, b = edges.T
    length = np.linalg.norm(reference_face()[a] - reference_face()[b], axis=1)
    weight = 1 / np.maximum(length, MIN_EDGE)
    matrix = np.zeros((FACE_LANDMARKS, FACE_LANDMARKS))
    matrix[a, b] = matrix[b, a] = -weight
    matrix[np.arange(FACE_LANDMARKS), np.arange(FACE_LANDMARKS)] = -matrix.sum(1)
    return matrix


@cache
def mesh_triangles() -> Ints:
    """Return the triangles (n, 3) that can move: lower face and rings."""
    moving = np.abs(follow_weights()).sum(1) > LEAST_WEIGHT
    inner = face_triangles()[moving[face_triangles()].any(1)]
    strips = []
    loop = JAWLINE
    for ring in range(len(RINGS)):
        outer = FACE_LANDMARKS + ring * len(JAWLINE) + np.arange(len(JAWLINE))
        a, b, c, d = loop[:-1], loop[1:], outer[:-1], outer[1:]
        strips += [np.stack([a, b, c], 1), np.stack([b, d, c], 1)]
        loop = outer
    return np.concatenate([inner, *strips])


@cache
def moving_vertices() -> Ints:
    """Return the indices (n,) of the mesh's vertices, rising."""
    return np.unique(mesh_triangles())


def mesh_vertices(landmarks: Floats, displacement: Floats, unit: float) -> tuple[Floats, Floats]:
    """Return the mesh's vertices (510, 3) at rest and moved, rings included.

    Args:
        landmarks: (478, 3) pixels, the face at rest.
        displacement: (468, 3) pixels, of each landmark.
        unit: pixels per canonical unit.
    """
    rings = _rings(landmarks, unit)
    carried = [displacement[JAWLINE] * np.float32(share) for _, share in RINGS]
    target = [
        _even_lips(landmarks[:FACE_LANDMARKS] + displacement),
        *(r + c for r, c in zip(rings, carried, strict=True)),
    ]
    return np.concatenate([_even_lips(landmarks[:FACE_LANDMARKS]), *rings]), np.concatenate(target)


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


def _even_lips(points: Floats) -> Floats:
    """Return points (468, 3) with those in and under the red of the lips evenly spaced.

    The tracker knows them no better than that. Where pressed lips are drawn open, or open lips
    closed, they would lie on the lip's edge or beyond, tear it apart and squeeze the shadow under
    it to a line.
    """
    out = points.copy()
    outer, inner = points[LIP_RINGS[0]], points[LIP_RINGS[3]]
    out[LIP_RINGS[1]], out[LIP_RINGS[2]] = (2 * outer + inner) / 3, (outer + 2 * inner) / 3
    border, halfway, fold = BELOW_LIP_ROWS
    out[halfway] = (points[border] + points[fold]) / 2
    return out


def rest_vertices(landmarks: Floats, unit: float) -> Floats:
    """Return the mesh's vertices (510, 3) of a face at rest, rings included.

    Args:
        landmarks: (478, 3) pixels.
        unit: pixels per canonical unit.
    """
    return np.concatenate([_even_lips(landmarks[:FACE_LANDMARKS]), *_rings(landmarks, unit)])
