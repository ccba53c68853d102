from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipwright.face.landmarks import (
    LOWER_BORDER_FULL,
    LOWER_RIM,
    LOWER_RIM_FULL,
    UPPER_RIM,
)
from lipwright.media.picture import Box
from lipwright.render.bank import (
    MIN_TEETH_LEVEL,
    RUN_FRAMES,
    ExemplarStore,
    choose_exemplars,
    crop_box,
    crop_exemplar,
    estimate_teeth_level,
    exemplar_cost,
    interior_features,
    largest_exemplar_bytes,
    opening_speed,
)
from lipwright.render.composite import MOUTH_LOOP
from lipwright.render.path import FrameFeatures
from lipwright.testing import draw_face, synthetic_landmarks, synthetic_mouth


def features(openings, *, yaw=0.0, light=120.0):
    count = len(openings)
    angles = np.zeros((count, 3), np.float32)
    angles[:, 0] = yaw
    return FrameFeatures(
        mouth=synthetic_mouth(np.asarray(openings, np.float32)),
        angles=angles,
        light=np.broadcast_to(np.float32(light), count).astype(np.float32),
        source_frame=np.arange(count, dtype=np.float32),
    )


def choose(frame_features, limit, *, sharpness=None, usable=None, shot=None):
    count = len(frame_features)
    return choose_exemplars(
        frame_features,
        sharpness=np.ones(count, np.float32) if sharpness is None else sharpness,
        usable=np.ones(count, bool) if usable is None else usable,
        limit=limit,
        shot=np.zeros(count, np.int64) if shot is None else shot,
    )


# ------------------------------------------------------------------------------ choose_exemplars
@given(st.integers(1, 300), st.integers(1, 120), st.integers(0, 1000))
def test_choice_is_limited_usable_and_deterministic(frames, limit, seed):
    random = np.random.default_rng(seed)
    usable = random.random(frames) < 0.7
    usable[random.integers(frames)] = True
    frame_features = features(random.uniform(0, 0.1, frames), yaw=random.uniform(-20, 20, frames))
    kept = choose(frame_features, limit, usable=usable)
    assert 0 < len(kept) <= limit
    assert (np.diff(kept) > 0).all()
    assert usable[kept].all()
    assert np.array_equal(kept, choose(frame_features, limit, usable=usable))
    if usable.sum() <= limit:
        assert np.array_equal(kept, np.flatnonzero(usable))


def test_whole_runs_are_chosen():
    kept = choose(features(np.random.default_rng(0).uniform(0, 0.1, 600)), 10 * RUN_FRAMES)
    starts = np.flatnonzero(np.diff(kept, prepend=-9) > 1)
    lengths = np.diff([*starts, len(kept)])
    assert len(kept) == 10 * RUN_FRAMES
    assert (lengths % RUN_FRAMES == 0).all()


@pytest.mark.parametrize("what", ["opening", "pose", "light"])
def test_rare_frames_are_chosen(what):
    rare = np.zeros(480)
    rare[240 : 240 + RUN_FRAMES] = 1
    frame_features = {
        "opening": features(0.12 * rare),
        "pose": features(0 * rare, yaw=25 * rare),
        "light": features(0 * rare, light=(100 + 60 * rare).astype(np.float32)),
    }[what]
    kept = choose(frame_features, 4 * RUN_FRAMES)
    assert set(range(240, 240 + RUN_FRAMES)) <= set(kept.tolist())


def test_all_rare_frames_are_chosen_before_common_ones():
    opening, yaw = np.zeros(480), np.zeros(480)
    opening[120 : 120 + RUN_FRAMES], yaw[240 : 240 + RUN_FRAMES] = 0.12, 25
    opening[360 : 360 + RUN_FRAMES] = 0.06
    kept = set(choose(features(opening, yaw=yaw), 4 * RUN_FRAMES).tolist())
    for start in (120, 240, 360):
        assert set(range(start, start + RUN_FRAMES)) <= kept


def test_blurred_frames_are_left_out():
    sharpness = np.full(100, 10, np.float32)
    sharpness[20:40] = 4
    kept = choose(features(np.zeros(100)), 100, sharpness=sharpness)
    assert set(kept) == set(range(100)) - set(range(20, 40))


def test_uniformly_soft_video_is_not_rejected_as_blurred():
    assert len(choose(features(np.zeros(50)), 100, sharpness=np.full(50, 0.3, np.float32))) == 50


def test_frames_without_a_face_may_be_nan():
    frame_features = features(np.linspace(0, 0.1, 200))
    hole = np.r_[50:90]
    frame_features.mouth[hole], frame_features.angles[hole] = np.nan, np.nan
    usable = np.ones(200, bool)
    usable[hole] = False
    kept = choose(frame_features, 60, usable=usable)
    assert not set(kept) & set(hole)
    assert {0, 199} & set(kept) or 190 in kept  # both ends of the motion are far from the middle


# ------------------------------------------------------------------------------- crop_exemplar
@given(st.integers(0, 100), st.floats(20, 400))
def test_crop_box_contains_mouth_and_chin(seed, unit):
    landmarks = synthetic_landmarks(1, unit=unit, seed=seed)[0]
    box = crop_box(landmarks)
    for points in (landmarks[MOUTH_LOOP], landmarks[[152, 61, 291, 0, 17]]):
        assert (points[:, 0] >= box.x0).all()
        assert (points[:, 0] <= box.x1).all()
        assert (points[:, 1] >= box.y0).all()
        assert (points[:, 1] <= box.y1).all()
    assert box.x1 - box.x0 < 2.2 * unit
    assert box.y1 - box.y0 < 2.2 * unit


def test_exemplar_holds_a_copy_of_the_frames_pixels():
    landmarks = synthetic_landmarks(1)[0]
    frame = draw_face(landmarks)
    view = Box(40, 60, 260, 240)
    exemplar = crop_exemplar(ExemplarStore(), frame[60:240, 40:260], view, landmarks)
    (x, y), (h, w) = exemplar.origin, exemplar.rgb.shape[:2]
    assert np.array_equal(exemplar.rgb, frame[y : y + h, x : x + w])
    assert (x, y) == (max(crop_box(landmarks).x0, 40), max(crop_box(landmarks).y0, 60))
    frame[:] = 0
    assert exemplar.rgb.any()  # a copy, independent of the view


def test_crop_stops_at_the_edge_of_the_frame():
    landmarks = synthetic_landmarks(1, size=(80, 256))[0]  # half of it is left of the frame
    frame = draw_face(landmarks, (80, 200))
    exemplar = crop_exemplar(ExemplarStore(), frame, Box(0, 0, 80, 200), landmarks)
    assert exemplar.origin[0] == 0
    assert exemplar.rgb.shape[0] > 10
    outside = landmarks + np.array([-5000, 0, 0], np.float32)
    assert crop_exemplar(ExemplarStore(), frame, Box(0, 0, 80, 200), outside).rgb.size > 0


# ----------------------------------------------------------------------------------------- shots
def test_each_shot_keeps_a_run_even_in_a_small_bank():
    shot = np.repeat([0, 1, 2], [200, 60, 8])
    frame_features = features(np.random.default_rng(0).uniform(0, 0.1, len(shot)))
    kept = choose(frame_features, 4 * RUN_FRAMES, shot=shot)
    assert len(kept) <= 4 * RUN_FRAMES
    assert set(shot[kept]) == {0, 1, 2}
    assert np.array_equal(kept, choose(frame_features, 4 * RUN_FRAMES, shot=shot))


def test_sharpness_is_compared_within_each_shot():
    shot = np.repeat([0, 1], 50)
    sharpness = np.where(shot == 0, 10, 3).astype(np.float32)
    assert len(choose(features(np.zeros(100)), 100, sharpness=sharpness, shot=shot)) == 100


# ----------------------------------------------------------------------------------------- bytes
@pytest.mark.parametrize("depth", [8, 10])
@given(seed=st.integers(0, 50), unit=st.floats(20, 300))
def test_no_exemplar_exceeds_the_largest_exemplar_bytes(depth, seed, unit):
    landmarks = synthetic_landmarks(4, unit=unit, seed=seed)
    for points in landmarks:
        box = crop_box(points)
        size = (box.x1 - box.x0) * (box.y1 - box.y0) * 3 * (1 if depth == 8 else 2)
        assert size <= largest_exemplar_bytes(landmarks, np.arange(len(landmarks)), depth)


# ----------------------------------------------------------------------------------------- teeth
def mouth_with(rows, *, closed=False):
    """Return an exemplar whose open mouth shows rows of teeth: 1 upper, 2 lower, 3 both."""
    landmarks = synthetic_landmarks(1, opening=np.array([0.12], np.float32), seed=2)[0]
    frame = draw_face(landmarks)
    middle = (landmarks[UPPER_RIM] + landmarks[LOWER_RIM]) / 2
    if closed:
        landmarks[UPPER_RIM] = landmarks[LOWER_RIM] = middle
    for row in (UPPER_RIM, LOWER_RIM):
        half = np.concatenate([landmarks[row], middle[::-1]])[:, :2]
        shade = 225 if (row is UPPER_RIM and rows & 1) or (row is LOWER_RIM and rows & 2) else 25
        cv2.fillPoly(frame, [np.round(half).astype(np.int32)], (shade,) * 3)
    return crop_exemplar(
        ExemplarStore(), frame, Box(0, 0, frame.shape[1], frame.shape[0]), landmarks
    )


def test_interior_shows_the_rows_of_teeth():
    for rows in range(4):
        upper, _, lower = mouth_with(rows).interior.reshape(3, 7)
        assert (upper.min() > 0.9) if rows & 1 else (upper.max() < 0.5)
        assert (lower.min() > 0.9) if rows & 2 else (lower.max() < 0.5)


def test_interior_does_not_depend_on_the_light():
    lit = mouth_with(1)
    dark = crop_exemplar(ExemplarStore(), (lit.rgb * 0.5).astype(np.uint8), lit.box, lit.landmarks)
    assert dark.interior == pytest.approx(lit.interior, abs=0.03)


def test_interior_of_a_mouth_outside_its_crop_is_finite():
    lit = mouth_with(3)
    away = lit.landmarks + np.array([4000, 0, 0], np.float32)
    out = crop_exemplar(ExemplarStore(), lit.rgb, lit.box, away)
    assert out.interior.shape == lit.interior.shape
    assert np.isfinite(out.interior).all()


def test_teeth_level_is_that_of_the_brightest_mouths():
    dark, bright = np.full((30, 21), 0.4, np.float32), np.full((10, 21), 0.4, np.float32)
    bright[:, :7] = 1.2  # a row of teeth
    inside, gap = np.concatenate([dark, bright]), np.full(40, 0.1, np.float32)
    assert estimate_teeth_level(inside, gap) == pytest.approx(1.2)
    assert estimate_teeth_level(dark, gap[:30]) == MIN_TEETH_LEVEL  # none is visible
    assert estimate_teeth_level(inside, np.zeros(40, np.float32)) is None


def test_synthetic_teeth_have_the_speakers_level_in_any_light():
    lit = mouth_with(0)
    dark = crop_exemplar(ExemplarStore(), (lit.rgb * 0.5).astype(np.uint8), lit.box, lit.landmarks)
    skin = [float(np.median(e.rgb[::4, ::4, 1][e._skin()])) / 255 for e in (lit, dark)]
    for one, level in zip((lit, dark), skin, strict=True):
        teeth = replace(one, teeth_level=0.8).tone.teeth
        assert teeth[1] == pytest.approx(0.8 * level, rel=0.05)
    assert replace(lit, teeth_level=5.0).tone.teeth.max() < 1
    assert lit.tone.teeth[1] > 0.8 * skin[0]  # a guess where the level is unknown


def test_interior_features_are_equal_behind_closed_lips():
    inside = np.array([[1, 0], [0, 1], [0.5, 0.5]], np.float32)
    seen = interior_features(inside, np.array([0.0, 0.01, 0.2], np.float32))
    assert np.array_equal(seen[0], seen[1])
    assert np.array_equal(seen[2], inside[2])


# --------------------------------------------------------------------------------- exemplar_cost
def test_odd_hue_blur_and_fast_lips_cost():
    hue = np.random.default_rng(0).normal(0, 0.01, (40, 3)).astype(np.float32)
    sharpness, speed = np.ones(40, np.float32), np.full(40, 0.02, np.float32)
    assert exemplar_cost(sharpness, hue, speed).max() < 0.5
    hue[7] += np.array([-0.1, -0.05, 0.15], np.float32)
    sharpness[3] = 0.5
    speed[9] = 0.09
    cost = exemplar_cost(sharpness, hue, speed)
    assert cost[7] > 2
    assert cost[3] == pytest.approx(1, abs=0.3)
    assert cost[9] > 2
    assert np.delete(cost, [3, 7, 9]).max() < 0.5


def test_opening_speed_counts_only_continued_motion():
    gap = np.array([0.2, 0.2, 0.11, 0.02, 0.02, 0.2], np.float32)
    speed = opening_speed(gap, np.array([4, 5, 6, 7, 8, 20]))
    assert speed == pytest.approx([0, 0, 0.09, 0, 0, 0])
    assert opening_speed(gap[:1], np.array([3])).tolist() == [0]


def test_lip_hue_does_not_depend_on_the_light():
    landmarks = synthetic_landmarks(1, opening=np.zeros(1, np.float32), seed=2)[0]
    frame = draw_face(landmarks)
    box = Box(0, 0, frame.shape[1], frame.shape[0])
    plain, dark, pink = (
        crop_exemplar(ExemplarStore(), picture, box, landmarks).hue
        for picture in (frame, (frame * 0.6).astype(np.uint8), tinted(frame, landmarks))
    )
    assert dark == pytest.approx(plain, abs=0.05)
    assert np.linalg.norm(pink - plain) > 0.1


def tinted(frame, landmarks):
    """Return the frame with a bluish lower lip."""
    lower = landmarks[np.concatenate([LOWER_BORDER_FULL, LOWER_RIM_FULL[::-1]]), :2]
    where = np.zeros(frame.shape[:2], np.uint8)
    cv2.fillPoly(where, [np.round(lower).astype(np.int32)], 1)
    out = frame.copy()
    out[where > 0, 2] = np.minimum(out[where > 0, 2] * 1.5 + 10, 255).astype(np.uint8)
    return out


def test_blur_costs_by_the_lack_of_the_median_sharpness():
    sharpness = np.array([4, 4, 4, 1, 2, 9], np.float32)  # the median is 4
    cost = exemplar_cost(sharpness, np.zeros((6, 3), np.float32), np.zeros(6, np.float32))
    assert cost.tolist() == [0, 0, 0, 1.5, 1, 0]  # 2 without any of it, nothing for more
    halved = exemplar_cost(sharpness / 2, np.zeros((6, 3), np.float32), np.zeros(6, np.float32))
    assert np.array_equal(halved, cost)


def test_cost_of_hue_and_speed_starts_at_their_limits():
    hue = np.zeros((5, 3), np.float32)
    hue[:, 0] = [-0.01, 0.01, 0, 0.01, 0.1]  # of the bank's median 0.01; the usual difference 0.01
    speed = np.array([0.03, 0.05, 0.03, 0.04, 0], np.float32)
    cost = exemplar_cost(np.ones(5, np.float32), hue, speed)
    assert cost == pytest.approx([0, 1, 0, 0.5, (0.09 - 0.03) / 0.035], abs=1e-4)
