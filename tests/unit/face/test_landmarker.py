from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipwright.face.landmarker import (
    ANCHORS,
    BLENDSHAPE_LANDMARKS,
    REGION_SCALE,
    FaceLandmarker,
    Region,
    face_region,
    region_iou,
)
from lipwright.testing import draw_face, synthetic_landmarks

somewhere = st.builds(
    Region,
    x=st.floats(-500, 500),
    y=st.floats(-500, 500),
    side=st.floats(1, 800),
    angle=st.floats(-3, 3),
)


@pytest.fixture(scope="module")
def network() -> FaceLandmarker:
    return FaceLandmarker()


@pytest.fixture(scope="module")
def face():
    """Landmarks (478, 3) of one drawn face, and its frame."""
    landmarks = synthetic_landmarks(1, seed=3)[0]
    return landmarks, draw_face(landmarks)


def mean_error(placed, landmarks):
    """Mean distance of landmarks in the picture, in inter-ocular distances."""
    unit = np.linalg.norm(landmarks[263] - landmarks[33])
    return np.linalg.norm(placed[:, :2] - landmarks[:, :2], axis=1).mean() / unit


def changed(landmarks, frame, angle, scale, size):
    """The same face turned (degrees) and scaled on a frame of another size."""
    middle = landmarks[:468, :2].mean(0)
    matrix = cv2.getRotationMatrix2D([float(v) for v in middle], -angle, scale)
    matrix[:, 2] += np.array(size) / 2 - middle
    points = landmarks * np.float32(scale)
    points[:, :2] = landmarks[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    return points, cv2.warpAffine(frame, matrix, size, borderMode=cv2.BORDER_REPLICATE)


# -------------------------------------------------------------------------------------- geometry
@given(somewhere, somewhere)
def test_region_iou_is_symmetric_and_between_0_and_1(a, b):
    assert 0 <= region_iou(a, b) <= 1 + 1e-9
    assert region_iou(a, b) == pytest.approx(region_iou(b, a))
    assert region_iou(a, a) == pytest.approx(1)


def test_region_iou_of_separate_nested_and_half_covered_regions():
    def box(x, side):
        return Region(x=x, y=0, side=side, angle=0)

    assert region_iou(box(0, 10), box(10, 10)) == 0
    assert region_iou(box(0, 10), box(0, 5)) == pytest.approx(0.25)
    assert region_iou(box(0, 10), box(5, 10)) == pytest.approx(1 / 3)


@given(st.floats(-170, 170), st.floats(0.2, 5), st.floats(-900, 900))
def test_region_moves_with_its_face(angle, scale, shift):
    landmarks = synthetic_landmarks(1)[0]
    c, s = math.cos(math.radians(angle)) * scale, math.sin(math.radians(angle)) * scale
    moved = landmarks.copy()
    moved[:, :2] = landmarks[:, :2] @ np.array([[c, s], [-s, c]]) + [shift, -shift]
    before, after = face_region(landmarks), face_region(moved.astype(np.float32))
    assert after.side == pytest.approx(before.side * scale, rel=1e-3)
    turned = math.degrees(after.angle - before.angle) - angle
    assert (turned + 180) % 360 - 180 == pytest.approx(0, abs=0.1)
    centre = np.array([before.x, before.y]) @ np.array([[c, s], [-s, c]]) + [shift, -shift]
    assert [after.x, after.y] == pytest.approx(centre, abs=0.01 * after.side)


def test_region_contains_the_face():
    landmarks = synthetic_landmarks(1)[0]
    region = face_region(landmarks)
    low, high = landmarks[:468, :2].min(0), landmarks[:468, :2].max(0)
    assert region.side == pytest.approx(REGION_SCALE * (high - low).max(), rel=0.1)
    assert (np.abs(low - [region.x, region.y]) < region.side / 2).all()
    assert (np.abs(high - [region.x, region.y]) < region.side / 2).all()


def test_constant_tables_have_the_sizes_of_the_networks():
    assert ANCHORS.shape == (896, 2)
    assert (ANCHORS > 0).all()
    assert (ANCHORS < 1).all()
    assert len(BLENDSHAPE_LANDMARKS) == 146


# -------------------------------------------------------------------------------------- networks
@pytest.mark.model
def test_a_face_is_detected_once_and_a_wall_is_not(network, face):
    landmarks, frame = face
    (found,) = network.detect(frame)
    assert region_iou(found.region, face_region(landmarks)) > 0.6
    assert found.score > 0.5
    assert network.detect(draw_face(np.full((478, 3), np.nan, np.float32))) == []
    assert network.detect(np.zeros((64, 64, 3), np.uint8), tiles=True) == []


@pytest.mark.model
@pytest.mark.parametrize("angle", [-30, 0, 30])
@pytest.mark.parametrize("scale", [0.35, 1.0, 4.0])
def test_landmarks_are_accurate_at_any_size_and_roll(network, face, angle, scale):
    points, frame = changed(*face, angle, scale, (round(300 * scale) + 40,) * 2)
    placed, presence = network.estimate_landmarks(frame, face_region(points))
    assert presence > 0.9
    assert mean_error(placed, points) < 0.04
    assert placed.dtype == np.float32


@pytest.mark.model
def test_resampling_a_large_picture_adds_no_bias(network, face):
    small = changed(*face, 0, 1.0, (300, 300))
    big = changed(*face, 0, 6.0, (1800, 1800))
    ours = network.estimate_landmarks(big[1], face_region(big[0]))[0]
    theirs = network.estimate_landmarks(small[1], face_region(small[0]))[0]
    bias = (ours[:, :2] - big[0][:, :2]) / 6 - (theirs[:, :2] - small[0][:, :2])
    assert np.abs(bias.mean(0)).max() < 0.5  # pixels of the small one: no drift by resampling


@pytest.mark.model
def test_depth_is_in_pixels(network, face):
    landmarks, frame = changed(*face, 0, 4.0, (1200, 1200))
    placed = network.estimate_landmarks(frame, face_region(landmarks))[0]
    assert np.ptp(placed[:, 2]) == pytest.approx(np.ptp(landmarks[:, 2]), rel=0.4)
    assert placed[1, 2] < placed[[127, 356], 2].min()  # the nose is nearer than the temples


@pytest.mark.model
def test_presence_is_low_without_a_face(network):
    wall = draw_face(np.full((478, 3), np.nan, np.float32))
    assert network.estimate_landmarks(wall, Region(x=140, y=120, side=200, angle=0))[1] < 0.2


@pytest.mark.model
def test_region_may_lie_beyond_the_edge_of_the_picture(network, face):
    frame = changed(*face, 0, 3.0, (900, 900))[1]
    for x, y in ((-400, -300), (1300, 1200), (0, 0), (900, 450)):
        placed, presence = network.estimate_landmarks(frame, Region(x=x, y=y, side=500, angle=0.2))
        assert np.isfinite(placed).all()
        assert 0 <= presence <= 1


@pytest.mark.model
def test_tiles_find_small_faces(network, face):
    points, frame = changed(*face, 0, 0.6, (1400, 500))
    assert network.detect(frame) == []
    (found,) = network.detect(frame, tiles=True)
    assert region_iou(found.region, face_region(points)) > 0.5


@pytest.mark.model
def test_two_faces_are_detected(network, face):
    frame = face[1]
    both = network.detect(np.hstack([frame, frame[:, ::-1]]))
    left, right = sorted(d.region.x for d in both)
    assert left < frame.shape[1] < right


@pytest.mark.model
def test_blendshapes_measure_an_open_jaw(network):
    shut, wide = (
        synthetic_landmarks(1, opening=np.array([gap], np.float32))[0] for gap in (0.0, 0.3)
    )
    jaw_open = 25
    weights = network.blendshapes(wide)
    assert weights.shape == (52,)
    assert weights[jaw_open] > network.blendshapes(shut)[jaw_open] + 0.2


@pytest.mark.model
def test_networks_keep_no_state_between_pictures(network, face):
    landmarks, frame = face
    first = network.estimate_landmarks(frame, face_region(landmarks))
    network.estimate_landmarks(frame[:, ::-1].copy(), face_region(landmarks))
    again = network.estimate_landmarks(frame, face_region(landmarks))
    assert np.array_equal(first[0], again[0])
    assert first[1] == again[1]
