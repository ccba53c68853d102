from __future__ import annotations

import numpy as np
import pytest

from lipwright.face.canonical import estimate_pose, mouth_opening, mouth_shapes
from lipwright.face.landmarker import FaceLandmarker
from lipwright.testing import (
    SIZE,
    draw_face,
    synthetic_driving_sequence,
    synthetic_face_track,
    synthetic_face_views,
    synthetic_landmarks,
    synthetic_mouth,
)

pytestmark = pytest.mark.model  # slow


@pytest.mark.model
def test_drawn_face_is_detected_at_its_landmarks():
    landmarks = synthetic_landmarks(3)
    frame = draw_face(landmarks[1])
    network = FaceLandmarker()
    (detection,) = network.detect(frame)
    estimated, presence = network.estimate_landmarks(frame, detection.region)
    assert presence > 0.9
    assert np.abs(estimated[:, :2] - landmarks[1, :, :2]).mean() < 3  # pixels, of a face of 130


def test_mouth_opens_by_the_given_amount():
    wanted = np.linspace(0, 0.1, 5, dtype=np.float32)
    rest = mouth_opening(synthetic_mouth(np.zeros(1, np.float32)))[0]
    landmarks = synthetic_landmarks(5, opening=wanted)
    assert mouth_opening(mouth_shapes(landmarks)) - rest == pytest.approx(wanted, abs=0.005)


def test_head_motion_stays_within_the_angles_that_engines_paint():
    angles = estimate_pose(synthetic_landmarks(60)).angles()
    assert np.abs(angles[:, :2]).max() < 20
    assert angles[:, 0].std() > 1


def test_drawings_are_deterministic_and_differ_by_seed():
    assert np.array_equal(synthetic_landmarks(4, seed=1), synthetic_landmarks(4, seed=1))
    assert not np.array_equal(synthetic_landmarks(4, seed=1), synthetic_landmarks(4, seed=2))
    landmarks = synthetic_landmarks(1)[0]
    assert np.array_equal(draw_face(landmarks, seed=3), draw_face(landmarks, seed=3))


@pytest.mark.parametrize(
    ("depth", "dtype", "max_level"), [(8, np.uint8, 255), (10, np.uint16, 1023)]
)
def test_views_have_the_given_depth_and_even_boxes(depth, dtype, max_level):
    landmarks = synthetic_landmarks(3)
    landmarks[1] = np.nan
    views = synthetic_face_views(landmarks, depth=depth)
    assert views[1] is None
    for view in (views[0], views[2]):
        assert view is not None
        assert view.rgb.dtype == dtype
        assert max_level / 2 < view.rgb.max() <= max_level
        assert view.rgb.shape == (view.box.height, view.box.width, 3)
        assert view.box.x0 % 2 == view.box.y0 % 2 == 0
        assert all(
            end % 2 == 0 or end == side for end, side in zip(view.box[2:], SIZE, strict=True)
        )


def test_face_track_and_driving_sequence_mark_missing_faces():
    landmarks = synthetic_landmarks(4)
    landmarks[2] = np.nan
    face = synthetic_face_track(landmarks, synthetic_face_views(landmarks))
    assert face.confidence.tolist() == pytest.approx([0.98, 0.98, 0, 0.98])
    driving = synthetic_driving_sequence(face, [3, 2, 1], opening=np.zeros(3, np.float32))
    assert driving.strength.tolist() == [1, 0, 1]
    assert driving.source_frame.tolist() == [3, 2, 1]
    assert np.isfinite(driving.mouth).all()
