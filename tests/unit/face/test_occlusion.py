"""Test occlusion detection on drawn faces: discs are detected, open mouths are not."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import pytest

from lipwright.engines.base import FaceView, Patch
from lipwright.face import occlusion
from lipwright.face.appearance_model import load_mouth_pattern
from lipwright.face.canonical import estimate_pose, interocular_distance
from lipwright.face.landmarks import LIPS
from lipwright.face.lower_face_raster import RASTER_SIDE, raster_layout, sample_lower_face
from lipwright.face.occlusion import OcclusionDetector, covered_lip_share, strength_limit
from lipwright.media.picture import Box
from lipwright.pipeline.views import visible_mask
from lipwright.render.occlusion import covered_share, occluder_mask
from lipwright.runtime.disk_array import DiskArray
from lipwright.testing import SIZE, draw_face, synthetic_landmarks

pytestmark = pytest.mark.model

FRAMES = 40
HIDDEN = slice(18, 29)  # frames with the occluder


@cache
def detector() -> OcclusionDetector:
    return OcclusionDetector()


def occluded(rasters, landmarks, shots=None):
    return occlusion.detect_occluders(rasters, landmarks, detector(), shots)


def wave(frames: int = FRAMES) -> np.ndarray:
    return (0.02 + 0.02 * np.sin(np.arange(frames))).astype(np.float32)


@cache
def talking() -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Landmarks and frames of a face that talks and turns, without occluders."""
    landmarks = synthetic_landmarks(FRAMES, opening=wave())
    return landmarks, tuple(draw_face(points, seed=k) for k, points in enumerate(landmarks))


def disc(landmarks, radius, offset=(0.0, 0.0)) -> np.ndarray:
    """A disc (H, W) at the mouth; radius and offset in inter-ocular distances."""
    unit = interocular_distance(landmarks)
    x, y = landmarks[LIPS, :2].mean(0) + np.array(offset) * unit
    mask = np.zeros(SIZE[::-1], np.uint8)
    cv2.circle(mask, (round(float(x)), round(float(y))), round(radius * unit), 1, -1)
    return mask > 0


def scene(radius=None, offset=(0.0, 0.0), colour=(40, 44, 60), when=HIDDEN):
    """Landmarks, rasters and masks of the talking face, with a disc in front of it for a while."""
    landmarks, pictures = talking()
    rasters, masks = [], []
    for k, (points, picture) in enumerate(zip(landmarks, pictures, strict=True)):
        rgb, mask = picture.copy(), np.zeros(SIZE[::-1], bool)
        if radius and k in range(FRAMES)[when]:
            mask = disc(points, radius, offset)
            rgb[mask] = colour
        rasters.append(sample_lower_face(rgb, points))
        masks.append(mask)
    return landmarks.copy(), np.stack(rasters), np.stack(masks)


def test_layout_has_mouth_chin_and_cheeks():
    layout = raster_layout()
    assert layout.searched.sum() > 300
    assert (layout.inner & layout.lips).sum() == layout.inner.sum()
    assert layout.weights.sum(1) == pytest.approx(np.ones(RASTER_SIDE**2), abs=1e-4)
    assert load_mouth_pattern().shape == (RASTER_SIDE, RASTER_SIDE)


def test_no_occluder_on_a_face_that_talks_and_turns():
    landmarks, rasters, _ = scene()
    assert np.ptp(estimate_pose(landmarks).angles()[:, 0]) > 8
    assert not occluded(rasters, landmarks).any()


def test_wide_open_mouth_is_no_occluder():
    opening = wave()
    opening[20:26] += 0.1
    landmarks = synthetic_landmarks(FRAMES, opening=opening)
    rasters = [sample_lower_face(draw_face(p, seed=k), p) for k, p in enumerate(landmarks)]
    assert not occluded(np.stack(rasters), landmarks).any()


@pytest.mark.parametrize("frames", [3, 6, 10, 25])
def test_opening_mouth_in_a_short_take_is_no_occluder(frames):
    opening = np.linspace(0, 0.15, frames, dtype=np.float32)
    landmarks = synthetic_landmarks(frames, opening=opening)
    rasters = [sample_lower_face(draw_face(p, seed=k), p) for k, p in enumerate(landmarks)]
    assert not occluded(np.stack(rasters), landmarks).any()


def test_passing_occluder_in_a_short_take_is_detected():
    landmarks, rasters, _ = scene(radius=0.25, offset=(0.25, 0.1))
    part = slice(HIDDEN.start - 8, HIDDEN.start + 4)
    found = occluded(rasters[part], landmarks[part])
    assert found[9:].any((1, 2)).all()
    assert not found[:7].any()


@pytest.mark.parametrize("colour", [(40, 44, 60), (230, 230, 225), (60, 90, 180)])
def test_disc_over_half_of_the_mouth_is_detected_while_present(colour):
    landmarks, rasters, _ = scene(radius=0.25, offset=(0.25, 0.1), colour=colour)
    found = occluded(rasters, landmarks)
    there = found.any((1, 2))
    assert there[HIDDEN].all()
    assert not np.r_[there[: HIDDEN.start - 1], there[HIDDEN.stop + 1 :]].any()
    assert 0 < covered_lip_share(found)[HIDDEN].max() < 0.9


def test_covered_mouth_gets_no_effect():
    landmarks, rasters, _ = scene(radius=0.45)
    shown = strength_limit(occluded(rasters, landmarks))
    assert (shown[HIDDEN] == 0).all()
    assert (shown[:14] == 1).all()


def test_occluder_present_for_half_of_the_take_is_detected():
    landmarks, rasters, _ = scene(radius=0.3, offset=(0.1, 0.2), when=slice(FRAMES // 2, None))
    there = occluded(rasters, landmarks).any((1, 2))
    assert there[FRAMES // 2 + 1 :].all()
    assert not there[: FRAMES // 2 - 1].any()


def test_frames_without_a_face_have_no_occluder():
    landmarks, rasters, _ = scene(radius=0.25)
    landmarks[22:26] = np.nan
    found = occluded(rasters, landmarks)
    assert not found[22:26].any()
    assert found[20].any()
    assert not occluded(rasters, np.full_like(landmarks, np.nan)).any()


def test_frame_mask_covers_the_occluder_and_little_else():
    landmarks, rasters, masks = scene(radius=0.16, offset=(0.3, 0.1))
    k = 24
    cells = occluded(rasters, landmarks)[k]
    mask = occluder_mask(cells, landmarks[k], Box(0, 0, *SIZE))
    assert mask.shape == SIZE[::-1]
    assert 0 <= mask.min() <= mask.max() <= 1
    assert mask[masks[k]].mean() > 0.95
    far = cv2.dilate(masks[k].astype(np.uint8), np.ones((31, 31))) == 0
    around = np.zeros(SIZE[::-1], np.uint8)
    cv2.fillConvexPoly(around, cv2.convexHull(landmarks[k][LIPS, :2].astype(np.int32)), 1)
    clear = far & (around > 0)
    assert clear.sum() > 200
    assert mask[clear].mean() < 0.1


def test_chunked_detection_equals_whole_detection(monkeypatch):
    landmarks, rasters, _ = scene(radius=0.25)
    whole = occluded(rasters, landmarks)
    assert whole.any()
    monkeypatch.setattr("lipwright.face.smoothing.CHUNK_ROWS", 5)
    monkeypatch.setattr("lipwright.face.occlusion.CHUNK_FRAMES", 5)
    on_disk = [DiskArray(a.shape[1:], a.dtype) for a in (rasters, landmarks)]
    for array, values in zip(on_disk, (rasters, landmarks), strict=True):
        array.extend(values)
    parts = occluded(*on_disk)
    assert isinstance(parts, DiskArray)
    assert np.array_equal(np.asarray(parts), whole)


def test_cells_beside_the_pasted_part_do_not_count_as_covered():
    beside, before = np.zeros((2, 1, RASTER_SIDE, RASTER_SIDE), bool)
    beside[0, 12:28, 2:5] = True  # beyond the fold, where a turned jaw ends
    before[0, 16:20, 14:18] = True
    assert covered_share(np.concatenate([beside, before]), np.arange(2)).tolist() == [
        0,
        pytest.approx(0.05, abs=0.02),
    ]


def test_visible_mask_leaves_out_occluders_of_any_engine():
    box, occluder = Box(0, 0, 4, 2), np.array([[0, 0.25, 1, 1]] * 2, np.float32)
    patch = Patch(rgb=np.zeros((2, 4, 3), np.uint8), mask=np.full((2, 4), 0.8, np.float32), box=box)
    view = FaceView(
        rgb=patch.rgb, box=box, landmarks=np.zeros((478, 3), np.float32), occluder=occluder
    )
    assert visible_mask(patch, view)[0] == pytest.approx([0.8, 0.6, 0, 0])
    free = FaceView(rgb=patch.rgb, box=box, landmarks=view.landmarks)
    assert visible_mask(patch, free) is patch.mask
