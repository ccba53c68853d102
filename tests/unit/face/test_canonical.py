from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipwright.face import canonical
from lipwright.face.canonical import (
    estimate_pose,
    face_triangles,
    mouth_opening,
    mouth_shapes,
    mouth_width,
    reference_face,
    to_canonical,
    to_image,
)
from lipwright.face.landmarks import EYE_LEFT, EYE_RIGHT, JAW, LIPS, MOUTH, RIGID, mouth_rows
from lipwright.testing import synthetic_landmarks, synthetic_mouth

angle = st.floats(-50, 50)


def turned(yaw: float, pitch: float, roll: float) -> canonical.Floats:
    """A rotation that brings the reference face to these angles, in degrees."""
    (cy, cp, cr), (sy, sp, sr) = (f(np.radians([yaw, pitch, roll])) for f in (np.cos, np.sin))
    y = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    p = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    r = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return np.asarray(r @ y @ p, np.float32)


def face(rotation: canonical.Floats, scale: float, shift: tuple[float, float]) -> canonical.Floats:
    """Landmarks (1, 478, 3) of the reference face under a rotation, a scale and a shift."""
    return ((reference_face() @ rotation.T) * scale + [*shift, 0.0])[None].astype(np.float32)


def test_mouth_has_61_landmarks_of_the_mesh():
    assert len(np.unique(MOUTH)) == len(MOUTH) == len(LIPS) + len(JAW) == 61
    assert MOUTH.max() < 468
    assert not set(MOUTH) & set(RIGID)


def test_reference_face_has_the_identity_pose():
    pose = estimate_pose(reference_face()[None])
    assert pose.angles() == pytest.approx(np.zeros((1, 3)), abs=1e-3)
    assert pose.scale == pytest.approx([1.0], abs=1e-5)
    outer = reference_face()[[EYE_RIGHT, EYE_LEFT]]
    assert np.linalg.norm(outer[1] - outer[0]) == pytest.approx(1.0, abs=1e-4)
    assert (
        mouth_opening(mouth_shapes(reference_face()[None]))[0]
        < mouth_width(mouth_shapes(reference_face()[None]))[0]
    )


def test_mesh_covers_the_face_once():
    corners = face_triangles()
    assert corners.shape[1] == 3
    assert set(corners.ravel()) == set(range(468))
    edges = np.sort(np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]]))
    assert np.unique(edges, axis=0, return_counts=True)[1].max() <= 2


@given(angle, angle, st.floats(-180, 180), st.floats(15, 900), st.floats(-4000, 4000))
def test_mouth_shape_does_not_depend_on_pose(yaw, pitch, roll, scale, shift):
    seen = face(turned(yaw, pitch, roll), scale, (shift, -shift / 2))
    assert mouth_shapes(seen) == pytest.approx(reference_face()[None, MOUTH], abs=0.003)


@given(st.integers(0, 2**31), st.floats(15, 900))
def test_to_image_inverts_to_canonical(seed, unit):
    landmarks = synthetic_landmarks(4, unit=unit, seed=seed)
    pose = estimate_pose(landmarks)
    back = to_image(to_canonical(landmarks, pose), pose)
    assert np.abs(back - landmarks).max() < 0.002 * unit


@given(st.integers(0, 2**31))
def test_pose_of_random_landmarks_is_a_rotation(seed):
    noise = np.random.default_rng(seed).normal(0, 50, (3, 478, 3)).astype(np.float32)
    rotation = estimate_pose(noise).rotation
    assert rotation @ np.swapaxes(rotation, 1, 2) == pytest.approx(
        np.repeat(np.eye(3)[None], 3, 0), abs=1e-4
    )
    assert np.linalg.det(rotation) == pytest.approx(np.ones(3), abs=1e-4)


@given(st.floats(-60, 60), st.floats(-40, 40), st.floats(-90, 90))
def test_angles_are_those_of_the_rotation(yaw, pitch, roll):
    seen = estimate_pose(face(turned(yaw, 0, 0), 100, (0, 0))).angles()[0]
    assert seen == pytest.approx([yaw, 0, 0], abs=0.05)
    seen = estimate_pose(face(turned(0, pitch, 0), 100, (0, 0))).angles()[0]
    assert seen == pytest.approx([0, pitch, 0], abs=0.05)
    seen = estimate_pose(face(turned(0, 0, roll), 100, (0, 0))).angles()[0]
    assert seen == pytest.approx([0, 0, roll], abs=0.05)


def test_angles_increase_to_the_right_down_and_clockwise():
    def nose(rotation):
        points = face(rotation, 1, (0, 0))[0]
        return points[1] - points[[33, 263]].mean(0)

    ahead = nose(turned(0, 0, 0))
    assert nose(turned(20, 0, 0))[0] > ahead[0]
    assert nose(turned(0, 20, 0))[1] > ahead[1]
    eyes = face(turned(0, 0, 20), 1, (0, 0))[0, [33, 263]]
    assert eyes[1, 1] > eyes[0, 1]


def test_mouth_does_not_change_the_pose():
    still, open_ = (
        synthetic_landmarks(1, opening=np.array([gap], np.float32)) for gap in (0.0, 0.15)
    )
    assert estimate_pose(open_).angles() == pytest.approx(estimate_pose(still).angles(), abs=1e-3)
    assert estimate_pose(open_).scale == pytest.approx(estimate_pose(still).scale, rel=1e-5)


def test_frames_without_a_face_are_nan_and_do_not_affect_others():
    landmarks = synthetic_landmarks(5)
    holed = landmarks.copy()
    holed[[1, 3]] = np.nan
    shapes, pose = mouth_shapes(holed), estimate_pose(holed)
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
    assert mouth_opening(mouth) - mouth_opening(mouth[:1]) == pytest.approx(gaps, abs=0.02)
    assert (np.diff(mouth_opening(mouth)) > 0).all()
    assert mouth_width(mouth) == pytest.approx(np.full(6, mouth_width(mouth[:1])[0]), abs=1e-3)
    wide = mouth[:1] * np.array([1.2, 1, 1], np.float32)
    assert mouth_width(wide)[0] == pytest.approx(1.2 * mouth_width(mouth[:1])[0], rel=0.02)


def test_pose_can_be_indexed():
    pose = estimate_pose(synthetic_landmarks(6))
    assert np.array_equal(pose[2:4].angles(), pose.angles()[2:4])
    assert np.array_equal(pose[np.array([5, 0])].centre, pose.centre[[5, 0]])


def test_mouth_rows_index_the_landmarks_of_a_mouth_shape():
    assert mouth_rows(*MOUTH) == list(range(61))
    assert MOUTH[mouth_rows(13, 14, 152)].tolist() == [13, 14, 152]
    with pytest.raises(KeyError):
        mouth_rows(1)  # the tip of the nose
