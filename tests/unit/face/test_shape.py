from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipwright.face import shape
from lipwright.face.lips import LIPS
from lipwright.face.shape import (
    MOUTH,
    align,
    mouth_shapes,
    opening,
    reference,
    to_canonical,
    to_image,
    triangles,
    width,
)
from lipwright.testing import synthetic_landmarks, synthetic_mouth

angle = st.floats(-50, 50)


def turned(yaw: float, pitch: float, roll: float) -> shape.Floats:
    """A rotation that brings the reference face to these angles, in degrees."""
    (cy, cp, cr), (sy, sp, sr) = (f(np.radians([yaw, pitch, roll])) for f in (np.cos, np.sin))
    y = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    p = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    r = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return np.asarray(r @ y @ p, np.float32)


def face(rotation: shape.Floats, scale: float, shift: tuple[float, float]) -> shape.Floats:
    """Landmarks (1, 478, 3) of the reference face, seen so."""
    return ((reference() @ rotation.T) * scale + [*shift, 0.0])[None].astype(np.float32)


def test_the_mouth_is_61_landmarks_of_the_mesh():
    assert len(np.unique(MOUTH)) == len(MOUTH) == len(LIPS) + len(shape.JAW) == 61
    assert MOUTH.max() < 468
    assert not set(MOUTH) & set(shape.RIGID)


def test_the_reference_face_is_its_own_pose():
    pose = align(reference()[None])
    assert pose.angles() == pytest.approx(np.zeros((1, 3)), abs=1e-3)
    assert pose.scale == pytest.approx([1.0], abs=1e-5)
    outer = reference()[[shape.EYE_RIGHT, shape.EYE_LEFT]]
    assert np.linalg.norm(outer[1] - outer[0]) == pytest.approx(1.0, abs=1e-4)
    assert opening(mouth_shapes(reference()[None]))[0] < width(mouth_shapes(reference()[None]))[0]


def test_the_mesh_covers_the_face_once():
    corners = triangles()
    assert corners.shape[1] == 3
    assert set(corners.ravel()) == set(range(468))
    edges = np.sort(np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]]))
    assert np.unique(edges, axis=0, return_counts=True)[1].max() <= 2


@given(angle, angle, st.floats(-180, 180), st.floats(15, 900), st.floats(-4000, 4000))
def test_a_mouth_shape_is_free_of_where_the_head_is(yaw, pitch, roll, scale, shift):
    seen = face(turned(yaw, pitch, roll), scale, (shift, -shift / 2))
    assert mouth_shapes(seen) == pytest.approx(reference()[None, MOUTH], abs=0.003)


@given(st.integers(0, 2**31), st.floats(15, 900))
def test_canonical_coordinates_and_pixels_are_inverse(seed, unit):
    landmarks = synthetic_landmarks(4, unit=unit, seed=seed)
    pose = align(landmarks)
    back = to_image(to_canonical(landmarks, pose), pose)
    assert np.abs(back - landmarks).max() < 0.002 * unit


@given(st.integers(0, 2**31))
def test_the_pose_is_a_rotation_even_of_a_face_without_sense(seed):
    noise = np.random.default_rng(seed).normal(0, 50, (3, 478, 3)).astype(np.float32)
    rotation = align(noise).rotation
    assert rotation @ np.swapaxes(rotation, 1, 2) == pytest.approx(
        np.repeat(np.eye(3)[None], 3, 0), abs=1e-4
    )
    assert np.linalg.det(rotation) == pytest.approx(np.ones(3), abs=1e-4)


@given(st.floats(-60, 60), st.floats(-40, 40), st.floats(-90, 90))
def test_angles_are_those_the_head_was_turned_by(yaw, pitch, roll):
    seen = align(face(turned(yaw, 0, 0), 100, (0, 0))).angles()[0]
    assert seen == pytest.approx([yaw, 0, 0], abs=0.05)
    seen = align(face(turned(0, pitch, 0), 100, (0, 0))).angles()[0]
    assert seen == pytest.approx([0, pitch, 0], abs=0.05)
    seen = align(face(turned(0, 0, roll), 100, (0, 0))).angles()[0]
    assert seen == pytest.approx([0, 0, roll], abs=0.05)


def test_angles_grow_towards_the_right_of_the_picture_down_and_clockwise():
    def nose(rotation):
        points = face(rotation, 1, (0, 0))[0]
        return points[1] - points[[33, 263]].mean(0)

    ahead = nose(turned(0, 0, 0))
    assert nose(turned(20, 0, 0))[0] > ahead[0]
    assert nose(turned(0, 20, 0))[1] > ahead[1]
    eyes = face(turned(0, 0, 20), 1, (0, 0))[0, [33, 263]]
    assert eyes[1, 1] > eyes[0, 1]


def test_the_mouth_moves_no_pose():
    still, open_ = (
        synthetic_landmarks(1, opening=np.array([gap], np.float32)) for gap in (0.0, 0.15)
    )
    assert align(open_).angles() == pytest.approx(align(still).angles(), abs=1e-3)
    assert align(open_).scale == pytest.approx(align(still).scale, rel=1e-5)


def test_frames_without_a_face_stay_unknown_and_leave_the_others_alone():
    landmarks = synthetic_landmarks(5)
    holed = landmarks.copy()
    holed[[1, 3]] = np.nan
    shapes, pose = mouth_shapes(holed), align(holed)
    assert np.isnan(shapes[[1, 3]]).all()
    assert np.isnan(pose.angles()[[1, 3]]).all()
    assert np.array_equal(shapes[[0, 2, 4]], mouth_shapes(landmarks)[[0, 2, 4]])
    none = mouth_shapes(np.full((2, 478, 3), np.nan, np.float32))
    assert none.shape == (2, 61, 3)
    assert np.isnan(none).all()
    assert mouth_shapes(landmarks[:0]).shape == (0, 61, 3)


def test_opening_and_width_measure_the_lips():
    gaps = np.linspace(0, 0.2, 6, dtype=np.float32)
    mouth = synthetic_mouth(gaps)
    assert opening(mouth) - opening(mouth[:1]) == pytest.approx(gaps, abs=0.02)
    assert (np.diff(opening(mouth)) > 0).all()
    assert width(mouth) == pytest.approx(np.full(6, width(mouth[:1])[0]), abs=1e-3)
    wide = mouth[:1] * np.array([1.2, 1, 1], np.float32)
    assert width(wide)[0] == pytest.approx(1.2 * width(mouth[:1])[0], rel=0.02)


def test_a_pose_can_be_cut():
    pose = align(synthetic_landmarks(6))
    assert np.array_equal(pose[2:4].angles(), pose.angles()[2:4])
    assert np.array_equal(pose[np.array([5, 0])].centre, pose.centre[[5, 0]])
