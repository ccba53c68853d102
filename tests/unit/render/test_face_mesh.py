from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipwright.face.canonical import reference_face
from lipwright.face.landmarks import JAW, LIP_RINGS, LIPS, MOUTH, mouth_rows
from lipwright.render.face_mesh import (
    BELOW_LIP_ROWS,
    CHIN,
    FACE_LANDMARKS,
    FIXED_ABOVE,
    JAWLINE,
    RINGS,
    compensate_tracker,
    follow_weights,
    mesh_triangles,
    mesh_vertices,
    rest_vertices,
    steady_contour,
)
from lipwright.testing import synthetic_landmarks

VERTICES = FACE_LANDMARKS + len(RINGS) * len(JAWLINE)
UNIT = 84.0


def random_displacement(seed):
    """Return random displacements (61, 3) of a mouth, pixels."""
    return np.random.default_rng(seed).normal(0, 5, (61, 3)).astype(np.float32)


def mesh_border():
    """Return the vertices on the edge of the mesh."""
    corners = mesh_triangles()
    edges = np.sort(np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]]))
    unique, count = np.unique(edges, axis=0, return_counts=True)
    return np.unique(unique[count == 1])


def test_driven_landmarks_follow_only_themselves():
    weights = follow_weights()
    assert weights.shape == (FACE_LANDMARKS, 61)
    assert np.array_equal(weights[MOUTH], np.eye(61, dtype=np.float32))


def test_weights_are_shares():
    weights = follow_weights()
    assert weights.min() > -1e-5
    assert weights.sum(1).max() < 1 + 1e-4


def test_eyes_nose_and_ears_do_not_move():
    still = np.setdiff1d(np.flatnonzero(reference_face()[:FACE_LANDMARKS, 1] < FIXED_ABOVE), MOUTH)
    assert len(still) > 200
    assert (follow_weights()[still] == 0).all()
    assert (follow_weights()[[454, 323, 361, 132, 93, 234]] == 0).all()  # the jaw by the ears


def test_skin_between_lip_and_chin_follows_them():
    around = [83, 313, 182, 406, 201, 421]  # below the lower lip
    assert follow_weights()[around].sum(1).min() > 0.9
    cheek = [50, 280]
    assert follow_weights()[cheek].sum(1).max() < 0.5


def test_landmarks_in_and_under_the_red_are_evenly_spaced():
    """The tracker places these landmarks at random on pressed lips."""
    face = synthetic_landmarks(1)[0]
    outer, second, third, inner = LIP_RINGS
    face[second] += np.array([0, 12, 0], np.float32)
    for points in mesh_vertices(face, follow_weights() @ random_displacement(3), UNIT):
        assert points[second] == pytest.approx((2 * points[outer] + points[inner]) / 3, abs=1e-3)
        assert points[BELOW_LIP_ROWS[1]] == pytest.approx(
            points[BELOW_LIP_ROWS[::2]].mean(0), abs=1e-3
        )
        assert points[third] == pytest.approx((points[outer] + 2 * points[inner]) / 3, abs=1e-3)


@given(st.integers(0, 1000))
def test_border_of_the_mesh_does_not_move(seed):
    rest, target = mesh_vertices(
        synthetic_landmarks(1)[0], follow_weights() @ random_displacement(seed), UNIT
    )
    assert np.abs(target - rest)[mesh_border()].max() < 1e-3


def test_triangles_use_every_moving_vertex_and_have_area():
    assert mesh_triangles().min() >= 0
    assert (
        set(range(FACE_LANDMARKS, VERTICES))
        <= set(mesh_triangles().ravel())
        <= set(range(VERTICES))
    )
    moving = np.flatnonzero(np.abs(follow_weights()).sum(1) > 1e-3)
    assert set(moving) <= set(mesh_triangles().ravel())
    corners = rest_vertices(reference_face(), 1.0)[mesh_triangles()]
    area = np.linalg.norm(
        np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
    )
    assert area.min() > 1e-6


def test_zero_displacement_moves_no_vertex():
    landmarks = synthetic_landmarks(1)[0]
    rest, target = mesh_vertices(landmarks, np.zeros((FACE_LANDMARKS, 3), np.float32), UNIT)
    assert rest.shape == (VERTICES, 3)
    assert np.array_equal(rest, target)
    assert np.array_equal(rest, rest_vertices(landmarks, UNIT))
    others = np.setdiff1d(np.arange(FACE_LANDMARKS), [*LIP_RINGS[1:3].ravel(), *BELOW_LIP_ROWS[1]])
    assert np.array_equal(rest[others], landmarks[others])


def test_rings_lie_outside_the_jaw_and_follow_it_by_their_shares():
    landmarks = synthetic_landmarks(1)[0]
    moved = follow_weights() @ random_displacement(1)
    rest, target = mesh_vertices(landmarks, moved, UNIT)
    middle = landmarks[JAWLINE[[0, -1]], :2].mean(0)
    before = np.linalg.norm(landmarks[JAWLINE, :2] - middle, axis=1)
    for ring, (distance, share) in enumerate(RINGS):
        part = slice(
            FACE_LANDMARKS + ring * len(JAWLINE), FACE_LANDMARKS + (ring + 1) * len(JAWLINE)
        )
        out = np.linalg.norm(rest[part, :2] - middle, axis=1)
        assert out == pytest.approx(before + distance * UNIT, abs=0.01)
        assert (target - rest)[part] == pytest.approx(moved[JAWLINE] * share, abs=1e-3)


@given(st.integers(0, 1000))
def test_steady_contour_keeps_the_lips_and_the_motion_of_the_chin(seed):
    displacement = random_displacement(seed)
    before = displacement.copy()
    steady = steady_contour(displacement)
    assert np.array_equal(displacement, before)
    lips = mouth_rows(*LIPS)
    assert np.array_equal(steady[lips], displacement[lips])
    chin = displacement[mouth_rows(*CHIN)].mean(0)
    assert steady[mouth_rows(152)[0]] == pytest.approx(chin, abs=1e-5)
    contour = mouth_rows(152, 148, 176, 149, 150, 136)
    assert (np.diff(np.linalg.norm(steady[contour], axis=1)) < 0).all()  # calmer towards the ear


def test_steady_contour_ignores_jitter():
    """A contour that jitters while the chin stays random_displacement nothing."""
    jitter = np.zeros((61, 3), np.float32)
    outer = mouth_rows(136, 365, 150, 379, 149, 378)
    jitter[outer] = 3.0
    assert np.abs(steady_contour(jitter)[outer]).max() == 0
    assert set(outer) <= set(mouth_rows(*JAW))


def test_tracker_compensation_enlarges_motion_of_lips_and_jaw():
    wanted, stretch = np.random.default_rng(3).normal(size=(2, 61, 3)).astype(np.float32)
    lips, jaw = slice(len(LIPS)), slice(len(LIPS), None)
    moved = compensate_tracker(wanted, stretch)
    further = moved[lips] - wanted[lips]
    assert (np.sign(further[:, :2]) == np.sign(stretch[lips, :2])).all()
    assert not further[:, 2].any()
    assert (np.abs(moved[jaw]) > np.abs(wanted[jaw])).all()


def test_tracker_compensation_without_motion_changes_nothing():
    wanted = np.random.default_rng(3).normal(size=(61, 3)).astype(np.float32)
    none = np.zeros_like(wanted)
    assert (compensate_tracker(wanted, none)[: len(LIPS)] == wanted[: len(LIPS)]).all()
    assert not compensate_tracker(none, none).any()
