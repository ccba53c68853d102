"""What comes in front of a drawn face is found; an open mouth is not taken for it."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import pytest

from lipwright.engines.base import FaceView, Patch
from lipwright.face import occlusion
from lipwright.face.expected import pattern
from lipwright.face.lips import LIPS
from lipwright.face.occlusion import OcclusionDetector, bearable, lips_covered
from lipwright.face.outline import in_truth, limb, outline, verdict
from lipwright.face.raster import SIDE, layout, lower_face
from lipwright.face.shape import align, interocular
from lipwright.media.picture import Box
from lipwright.pipeline.staging import behind
from lipwright.render.occlusion import covered, in_front
from lipwright.runtime.disk_array import DiskArray
from lipwright.testing import SIZE, draw_face, synthetic_landmarks

FRAMES = 40
HIDDEN = slice(18, 29)  # frames in which the thing is there


@cache
def detector() -> OcclusionDetector:
    return OcclusionDetector()


def occluded(rasters, landmarks, shots=None):
    return occlusion.occluded(rasters, landmarks, detector(), shots)


def wave(frames: int = FRAMES) -> np.ndarray:
    return (0.02 + 0.02 * np.sin(np.arange(frames))).astype(np.float32)


@cache
def talking() -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Landmarks and frames of a face that only talks and turns."""
    landmarks = synthetic_landmarks(FRAMES, opening=wave())
    return landmarks, tuple(draw_face(points, seed=k) for k, points in enumerate(landmarks))


def disc(landmarks, radius, offset=(0.0, 0.0)) -> np.ndarray:
    """A disc (H, W) at the mouth; radius and offset in inter-ocular distances."""
    unit = interocular(landmarks)
    x, y = landmarks[LIPS, :2].mean(0) + np.array(offset) * unit
    mask = np.zeros(SIZE[::-1], np.uint8)
    cv2.circle(mask, (round(float(x)), round(float(y))), round(radius * unit), 1, -1)
    return mask > 0


def scene(radius=None, offset=(0.0, 0.0), colour=(40, 44, 60), when=HIDDEN):
    """Landmarks, rasters and masks of the talking face, with a disc before it for a while."""
    landmarks, pictures = talking()
    rasters, masks = [], []
    for k, (points, picture) in enumerate(zip(landmarks, pictures, strict=True)):
        rgb, mask = picture.copy(), np.zeros(SIZE[::-1], bool)
        if radius and k in range(FRAMES)[when]:
            mask = disc(points, radius, offset)
            rgb[mask] = colour
        rasters.append(lower_face(rgb, points))
        masks.append(mask)
    return landmarks.copy(), np.stack(rasters), np.stack(masks)


def test_the_layout_has_mouth_chin_and_cheeks():
    plan = layout()
    assert plan.judged.sum() > 300
    assert (plan.inner & plan.lips).sum() == plan.inner.sum()
    assert plan.weights.sum(1) == pytest.approx(np.ones(SIDE**2), abs=1e-4)
    assert pattern().shape == (SIDE, SIDE)


def test_nothing_is_found_on_a_face_that_only_talks_and_turns():
    landmarks, rasters, _ = scene()
    assert np.ptp(align(landmarks).angles()[:, 0]) > 8
    assert not occluded(rasters, landmarks).any()


def test_a_mouth_that_opens_wide_once_is_no_occluder():
    opening = wave()
    opening[20:26] += 0.1
    landmarks = synthetic_landmarks(FRAMES, opening=opening)
    rasters = [lower_face(draw_face(p, seed=k), p) for k, p in enumerate(landmarks)]
    assert not occluded(np.stack(rasters), landmarks).any()


@pytest.mark.parametrize("frames", [3, 6, 10, 25])
def test_a_short_take_in_which_the_mouth_opens_has_no_occluder(frames):
    opening = np.linspace(0, 0.15, frames, dtype=np.float32)
    landmarks = synthetic_landmarks(frames, opening=opening)
    rasters = [lower_face(draw_face(p, seed=k), p) for k, p in enumerate(landmarks)]
    assert not occluded(np.stack(rasters), landmarks).any()


def test_a_thing_that_passes_in_a_short_take_is_found():
    landmarks, rasters, _ = scene(radius=0.25, offset=(0.25, 0.1))
    part = slice(HIDDEN.start - 8, HIDDEN.start + 4)
    found = occluded(rasters[part], landmarks[part])
    assert found[9:].any((1, 2)).all()
    assert not found[:7].any()


@pytest.mark.parametrize("colour", [(40, 44, 60), (230, 230, 225), (60, 90, 180)])
def test_a_disc_before_half_of_the_mouth_is_found_while_it_is_there(colour):
    landmarks, rasters, _ = scene(radius=0.25, offset=(0.25, 0.1), colour=colour)
    found = occluded(rasters, landmarks)
    there = found.any((1, 2))
    assert there[HIDDEN].all()
    assert not np.r_[there[: HIDDEN.start - 1], there[HIDDEN.stop + 1 :]].any()
    assert 0 < lips_covered(found)[HIDDEN].max() < 0.9


def test_a_covered_mouth_bears_no_effect():
    landmarks, rasters, _ = scene(radius=0.45)
    shown = bearable(occluded(rasters, landmarks))
    assert (shown[HIDDEN] == 0).all()
    assert (shown[:14] == 1).all()


def test_what_stays_for_half_of_the_take_is_not_learnt_as_the_face():
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


def test_the_mask_covers_the_occluder_in_the_frame_and_little_else():
    landmarks, rasters, masks = scene(radius=0.16, offset=(0.3, 0.1))
    k = 24
    cells = occluded(rasters, landmarks)[k]
    mask = in_front(cells, landmarks[k], Box(0, 0, *SIZE))
    assert mask.shape == SIZE[::-1]
    assert 0 <= mask.min() <= mask.max() <= 1
    assert mask[masks[k]].mean() > 0.95
    far = cv2.dilate(masks[k].astype(np.uint8), np.ones((31, 31))) == 0
    around = np.zeros(SIZE[::-1], np.uint8)
    cv2.fillConvexPoly(around, cv2.convexHull(landmarks[k][LIPS, :2].astype(np.int32)), 1)
    clear = far & (around > 0)
    assert clear.sum() > 200
    assert mask[clear].mean() < 0.1


def test_a_long_take_on_disk_is_judged_as_if_it_were_whole(monkeypatch):
    landmarks, rasters, _ = scene(radius=0.25)
    whole = occluded(rasters, landmarks)
    assert whole.any()
    monkeypatch.setattr("lipwright.face.smooth.CHUNK_ROWS", 5)
    monkeypatch.setattr("lipwright.face.occlusion.PART", 5)
    on_disk = [DiskArray(a.shape[1:], a.dtype) for a in (rasters, landmarks)]
    for reel, values in zip(on_disk, (rasters, landmarks), strict=True):
        reel.extend(values)
    parts = occluded(*on_disk)
    assert isinstance(parts, DiskArray)
    assert np.array_equal(np.asarray(parts), whole)


def test_cells_beside_the_side_that_faces_away_are_not_judged():
    face = layout().face
    turned = face & (np.arange(SIDE) >= 12)
    near = limb(turned)
    assert near[10:25, 12:14].all()
    assert not near[:, 14:].any()
    hole = face.copy()
    hole[4:7, 14:18] = False  # the underside of a nose
    assert not limb(hole)[8:].any()
    assert not limb(face).any()


@cache
def own_face() -> np.ndarray:
    """L, a, b (3, SIDE, SIDE) of skin with lips."""
    face = np.empty((3, SIDE, SIDE), np.float32)
    face[:] = np.array([65, 12, 14])[:, None, None]
    face[:, layout().lips] = np.array([45, 28, 10])[:, None]
    return face


def part(rows=slice(12, 22), columns=slice(8, 17)) -> np.ndarray:
    """Cells that reach from the cheek over half of the lips."""
    found = np.zeros((SIDE, SIDE), bool)
    found[rows, columns] = True
    return found & layout().judged


def judged(look, known=None) -> np.ndarray:
    """What is said of the cells of `part`, the face seen like that, with some noise."""
    noise = np.random.default_rng(0).normal(0, 1, look.shape).astype(np.float32)
    known = np.ones((SIDE, SIDE), bool) if known is None else known
    said = verdict(part(), look + noise, own_face(), known)
    assert not said[~part()].any()
    return said[part()]


@pytest.mark.parametrize("gain", [0.7, 1.3])
def test_under_a_shadow_or_a_gleam_the_face_is_seen(gain):
    look = own_face().copy()
    look[0, :, :17] *= gain
    assert (judged(look) == 1).all()


def test_under_a_hand_it_is_not():
    look = own_face().copy()
    look[:, part()] = np.array([60, 14, 15])[:, None]
    assert (judged(look) == -1).all()
    assert (judged(look, known=~part()) == 0).all()  # nothing to compare it with


def test_under_a_strand_of_hair_it_is_not_though_lips_are_seen_beside_it():
    look = own_face().copy()
    look[0, :, 12] -= 25
    assert (judged(look) == -1).all()


def test_a_thing_goes_if_no_frame_near_says_otherwise():
    found = np.broadcast_to(part(), (7, SIDE, SIDE))

    def stay(*signs):
        verdicts = np.array(signs, np.int8)[:, None, None] * part()
        return in_truth(found, verdicts).any((1, 2)).tolist()

    assert stay(1, 1, 1, 1, 1, 1, 1) == [False] * 7
    assert stay(1, 1, 1, -1, 1, 1, 1) == [False, True, True, True, True, True, False]
    assert stay(1, 1, 0, 1, 1, 1, 1) == [False] * 7  # and one that cannot tell does no harm
    assert stay(0, 0, 0, 0, 0, 0, 0) == [True] * 7


def test_what_is_seen_between_the_lips_alone_is_part_of_the_mouth():
    chance = np.where(layout().inner & layout().lips, np.float32(0.99), np.float32(0))
    assert (chance > 0.9).sum() > 10
    assert not outline(chance).any()
    chance[part()] = 0.99
    assert outline(chance)[part()].all()


def test_what_is_beside_the_pasted_part_spoils_no_exemplar():
    beside, before = np.zeros((2, 1, SIDE, SIDE), bool)
    beside[0, 12:28, 2:5] = True  # beyond the fold, where a turned jaw ends
    before[0, 16:20, 14:18] = True
    assert covered(np.concatenate([beside, before]), np.arange(2)).tolist() == [
        0,
        pytest.approx(0.05, abs=0.02),
    ]


def test_the_pipeline_keeps_what_is_in_front_whoever_paints():
    box, occluder = Box(0, 0, 4, 2), np.array([[0, 0.25, 1, 1]] * 2, np.float32)
    patch = Patch(rgb=np.zeros((2, 4, 3), np.uint8), mask=np.full((2, 4), 0.8, np.float32), box=box)
    view = FaceView(
        rgb=patch.rgb, box=box, landmarks=np.zeros((478, 3), np.float32), occluder=occluder
    )
    assert behind(patch, view)[0] == pytest.approx([0.8, 0.6, 0, 0])
    free = FaceView(rgb=patch.rgb, box=box, landmarks=view.landmarks)
    assert behind(patch, free) is patch.mask
