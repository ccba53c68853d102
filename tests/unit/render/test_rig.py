from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipwright.face.lips import LIPS
from lipwright.face.shape import JAW, MOUTH, reference
from lipwright.render.face_mesh import (
    ACROSS,
    BELOW,
    CHIN,
    FACE,
    FIXED_ABOVE,
    JAWLINE,
    RINGS,
    followers,
    mesh,
    overshoot,
    ring_of,
    steady_contour,
    vertices,
)
from lipwright.testing import synthetic_landmarks

VERTICES = FACE + len(RINGS) * len(JAWLINE)
UNIT = 84.0


def moves(seed):
    """Displacements (61, 3) of a mouth, in pixels."""
    return np.random.default_rng(seed).normal(0, 5, (61, 3)).astype(np.float32)


def rim():
    """Vertices on the edge of the mesh."""
    corners = mesh()
    edges = np.sort(np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]]))
    unique, count = np.unique(edges, axis=0, return_counts=True)
    return np.unique(unique[count == 1])


def test_the_mouth_moves_as_it_is_driven():
    weights = followers()
    assert weights.shape == (FACE, 61)
    assert np.array_equal(weights[MOUTH], np.eye(61, dtype=np.float32))


def test_followers_are_shares_of_what_they_follow():
    weights = followers()
    assert weights.min() > -1e-5
    assert weights.sum(1).max() < 1 + 1e-4


def test_eyes_nose_and_ears_stay():
    still = np.setdiff1d(np.flatnonzero(reference()[:FACE, 1] < FIXED_ABOVE), MOUTH)
    assert len(still) > 200
    assert (followers()[still] == 0).all()
    assert (followers()[[454, 323, 361, 132, 93, 234]] == 0).all()  # the jaw by the ears


def test_skin_between_lip_and_chin_goes_along():
    around = [83, 313, 182, 406, 201, 421]  # below the lower lip
    assert followers()[around].sum(1).min() > 0.9
    cheek = [50, 280]
    assert followers()[cheek].sum(1).max() < 0.5


def test_what_lies_in_and_under_the_red_stays_between_its_edges():
    """Of lips that were pressed together the tracker may see it anywhere."""
    face = synthetic_landmarks(1)[0]
    outer, second, third, inner = ACROSS
    face[second] += np.array([0, 12, 0], np.float32)
    for points in vertices(face, followers() @ moves(3), UNIT):
        assert points[second] == pytest.approx((2 * points[outer] + points[inner]) / 3, abs=1e-3)
        assert points[BELOW[1]] == pytest.approx(points[BELOW[::2]].mean(0), abs=1e-3)
        assert points[third] == pytest.approx((points[outer] + 2 * points[inner]) / 3, abs=1e-3)


@given(st.integers(0, 1000))
def test_nothing_tears_at_the_rim_of_the_mesh(seed):
    rest, target = vertices(synthetic_landmarks(1)[0], followers() @ moves(seed), UNIT)
    assert np.abs(target - rest)[rim()].max() < 1e-3


def test_the_mesh_uses_its_vertices_and_no_others():
    assert mesh().min() >= 0
    assert set(range(FACE, VERTICES)) <= set(mesh().ravel()) <= set(range(VERTICES))
    moving = np.flatnonzero(np.abs(followers()).sum(1) > 1e-3)
    assert set(moving) <= set(mesh().ravel())
    corners = ring_of(reference(), 1.0)[mesh()]
    area = np.linalg.norm(
        np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
    )
    assert area.min() > 1e-6


def test_a_mouth_at_rest_leaves_every_vertex_at_rest():
    landmarks = synthetic_landmarks(1)[0]
    rest, target = vertices(landmarks, np.zeros((FACE, 3), np.float32), UNIT)
    assert rest.shape == (VERTICES, 3)
    assert np.array_equal(rest, target)
    assert np.array_equal(rest, ring_of(landmarks, UNIT))
    others = np.setdiff1d(np.arange(FACE), [*ACROSS[1:3].ravel(), *BELOW[1]])
    assert np.array_equal(rest[others], landmarks[others])


def test_rings_lie_outside_the_jaw_and_follow_it_less_and_less():
    landmarks = synthetic_landmarks(1)[0]
    moved = followers() @ moves(1)
    rest, target = vertices(landmarks, moved, UNIT)
    middle = landmarks[JAWLINE[[0, -1]], :2].mean(0)
    before = np.linalg.norm(landmarks[JAWLINE, :2] - middle, axis=1)
    for ring, (distance, share) in enumerate(RINGS):
        part = slice(FACE + ring * len(JAWLINE), FACE + (ring + 1) * len(JAWLINE))
        out = np.linalg.norm(rest[part, :2] - middle, axis=1)
        assert out == pytest.approx(before + distance * UNIT, abs=0.01)
        assert (target - rest)[part] == pytest.approx(moved[JAWLINE] * share, abs=1e-3)


@given(st.integers(0, 1000))
def test_a_calm_contour_keeps_the_lips_and_the_motion_of_the_chin(seed):
    wild = moves(seed)
    before = wild.copy()
    calm = steady_contour(wild)
    assert np.array_equal(wild, before)
    at = {int(landmark): i for i, landmark in enumerate(MOUTH)}
    lips = [at[i] for i in LIPS]
    assert np.array_equal(calm[lips], wild[lips])
    chin = wild[[at[i] for i in CHIN]].mean(0)
    assert calm[at[152]] == pytest.approx(chin, abs=1e-5)
    contour = [at[i] for i in (152, 148, 176, 149, 150, 136)]
    assert (np.diff(np.linalg.norm(calm[contour], axis=1)) < 0).all()  # calmer towards the ear


def test_a_calm_contour_is_calm():
    """A jaw that trembles on its own, while the chin stays, moves nothing."""
    trembling = np.zeros((61, 3), np.float32)
    at = {int(landmark): i for i, landmark in enumerate(MOUTH)}
    outer = [at[i] for i in (136, 365, 150, 379, 149, 378)]
    trembling[outer] = 3.0
    assert np.abs(steady_contour(trembling)[outer]).max() == 0
    assert set(outer) <= {at[i] for i in JAW}


def test_lips_move_on_past_their_exemplars_and_the_jaw_past_the_frames_own():
    asked, stretch = np.random.default_rng(3).normal(size=(2, 61, 3)).astype(np.float32)
    lips, jaw = slice(len(LIPS)), slice(len(LIPS), None)
    moved = overshoot(asked, stretch)
    further = moved[lips] - asked[lips]
    assert (np.sign(further[:, :2]) == np.sign(stretch[lips, :2])).all()
    assert not further[:, 2].any()
    assert (np.abs(moved[jaw]) > np.abs(asked[jaw])).all()


def test_what_an_exemplar_shows_as_asked_moves_no_further():
    asked = np.random.default_rng(3).normal(size=(61, 3)).astype(np.float32)
    none = np.zeros_like(asked)
    assert (overshoot(asked, none)[: len(LIPS)] == asked[: len(LIPS)]).all()
    assert not overshoot(none, none).any()
