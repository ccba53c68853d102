from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipwright.face.lips import BELOW_LIP, LOWER_LIP
from lipwright.media.picture import Box
from lipwright.render.bank import (
    DIMMEST,
    LOWER_RIM,
    RUN_FRAMES,
    UPPER_RIM,
    Shelf,
    choose,
    crop_box,
    cut,
    faults,
    inner_looks,
    most_bytes,
    speed_of,
    tone_of,
)
from lipwright.render.composite import LOOP
from lipwright.render.path import Look
from lipwright.testing import draw_face, synthetic_landmarks, synthetic_mouth


def look(openings, *, yaw=0.0, light=120.0):
    count = len(openings)
    angles = np.zeros((count, 3), np.float32)
    angles[:, 0] = yaw
    return Look(
        mouth=synthetic_mouth(np.asarray(openings, np.float32)),
        angles=angles,
        light=np.broadcast_to(np.float32(light), count).astype(np.float32),
        index=np.arange(count, dtype=np.float32),
    )


def choice(of, most, *, sharpness=None, usable=None, shot=None):
    count = len(of)
    return choose(
        of,
        sharpness=np.ones(count, np.float32) if sharpness is None else sharpness,
        usable=np.ones(count, bool) if usable is None else usable,
        most=most,
        shot=np.zeros(count, np.int64) if shot is None else shot,
    )


# ---------------------------------------------------------------------------------------- choose
@given(st.integers(1, 300), st.integers(1, 120), st.integers(0, 1000))
def test_a_bank_is_bounded_and_made_of_usable_frames(frames, most, seed):
    random = np.random.default_rng(seed)
    usable = random.random(frames) < 0.7
    usable[random.integers(frames)] = True
    of = look(random.uniform(0, 0.1, frames), yaw=random.uniform(-20, 20, frames))
    kept = choice(of, most, usable=usable)
    assert 0 < len(kept) <= most
    assert (np.diff(kept) > 0).all()
    assert usable[kept].all()
    assert np.array_equal(kept, choice(of, most, usable=usable))
    if usable.sum() <= most:
        assert np.array_equal(kept, np.flatnonzero(usable))


def test_runs_are_kept_whole():
    kept = choice(look(np.random.default_rng(0).uniform(0, 0.1, 600)), 10 * RUN_FRAMES)
    starts = np.flatnonzero(np.diff(kept, prepend=-9) > 1)
    lengths = np.diff([*starts, len(kept)])
    assert len(kept) == 10 * RUN_FRAMES
    assert (lengths % RUN_FRAMES == 0).all()


@pytest.mark.parametrize("what", ["opening", "pose", "light"])
def test_what_is_rare_is_kept(what):
    rare = np.zeros(480)
    rare[240 : 240 + RUN_FRAMES] = 1
    of = {
        "opening": look(0.12 * rare),
        "pose": look(0 * rare, yaw=25 * rare),
        "light": look(0 * rare, light=(100 + 60 * rare).astype(np.float32)),
    }[what]
    kept = choice(of, 4 * RUN_FRAMES)
    assert set(range(240, 240 + RUN_FRAMES)) <= set(kept.tolist())


def test_all_that_is_rare_is_kept_before_more_of_the_usual():
    opening, yaw = np.zeros(480), np.zeros(480)
    opening[120 : 120 + RUN_FRAMES], yaw[240 : 240 + RUN_FRAMES] = 0.12, 25
    opening[360 : 360 + RUN_FRAMES] = 0.06
    kept = set(choice(look(opening, yaw=yaw), 4 * RUN_FRAMES).tolist())
    for start in (120, 240, 360):
        assert set(range(start, start + RUN_FRAMES)) <= kept


def test_blurred_frames_are_left_out():
    sharpness = np.full(100, 10, np.float32)
    sharpness[20:40] = 4
    kept = choice(look(np.zeros(100)), 100, sharpness=sharpness)
    assert set(kept) == set(range(100)) - set(range(20, 40))


def test_a_soft_video_is_not_refused_as_blurred():
    assert len(choice(look(np.zeros(50)), 100, sharpness=np.full(50, 0.3, np.float32))) == 50


def test_frames_without_a_face_may_be_unknown():
    of = look(np.linspace(0, 0.1, 200))
    hole = np.r_[50:90]
    of.mouth[hole], of.angles[hole] = np.nan, np.nan
    usable = np.ones(200, bool)
    usable[hole] = False
    kept = choice(of, 60, usable=usable)
    assert not set(kept) & set(hole)
    assert {0, 199} & set(kept) or 190 in kept  # both ends of the motion are far from the middle


# ------------------------------------------------------------------------------------------- cut
@given(st.integers(0, 100), st.floats(20, 400))
def test_a_crop_holds_the_mouth_and_the_chin(seed, unit):
    landmarks = synthetic_landmarks(1, unit=unit, seed=seed)[0]
    box = crop_box(landmarks)
    for points in (landmarks[LOOP], landmarks[[152, 61, 291, 0, 17]]):
        assert (points[:, 0] >= box.x0).all()
        assert (points[:, 0] <= box.x1).all()
        assert (points[:, 1] >= box.y0).all()
        assert (points[:, 1] <= box.y1).all()
    assert box.x1 - box.x0 < 2.2 * unit
    assert box.y1 - box.y0 < 2.2 * unit


def test_an_exemplar_holds_the_pixels_of_its_frame():
    landmarks = synthetic_landmarks(1)[0]
    frame = draw_face(landmarks)
    view = Box(40, 60, 260, 240)
    kept = cut(Shelf(), frame[60:240, 40:260], view, landmarks)
    (x, y), (h, w) = kept.origin, kept.rgb.shape[:2]
    assert np.array_equal(kept.rgb, frame[y : y + h, x : x + w])
    assert (x, y) == (max(crop_box(landmarks).x0, 40), max(crop_box(landmarks).y0, 60))
    frame[:] = 0
    assert kept.rgb.any()  # a copy: the view may go


def test_a_face_that_leaves_the_frame_is_cut_at_the_edge():
    landmarks = synthetic_landmarks(1, size=(80, 256))[0]  # half of it is left of the frame
    frame = draw_face(landmarks, (80, 200))
    kept = cut(Shelf(), frame, Box(0, 0, 80, 200), landmarks)
    assert kept.origin[0] == 0
    assert kept.rgb.shape[0] > 10
    outside = landmarks + np.array([-5000, 0, 0], np.float32)
    assert cut(Shelf(), frame, Box(0, 0, 80, 200), outside).rgb.size > 0


# ----------------------------------------------------------------------------------------- shots
def test_each_shot_keeps_a_run_even_in_a_small_bank():
    shot = np.repeat([0, 1, 2], [200, 60, 8])
    of = look(np.random.default_rng(0).uniform(0, 0.1, len(shot)))
    kept = choice(of, 4 * RUN_FRAMES, shot=shot)
    assert len(kept) <= 4 * RUN_FRAMES
    assert set(shot[kept]) == {0, 1, 2}
    assert np.array_equal(kept, choice(of, 4 * RUN_FRAMES, shot=shot))


def test_a_soft_shot_is_judged_by_itself():
    shot = np.repeat([0, 1], 50)
    sharpness = np.where(shot == 0, 10, 3).astype(np.float32)
    assert len(choice(look(np.zeros(100)), 100, sharpness=sharpness, shot=shot)) == 100


# ----------------------------------------------------------------------------------------- bytes
@pytest.mark.parametrize("depth", [8, 10])
@given(seed=st.integers(0, 50), unit=st.floats(20, 300))
def test_no_exemplar_is_larger_than_reckoned(depth, seed, unit):
    landmarks = synthetic_landmarks(4, unit=unit, seed=seed)
    for points in landmarks:
        box = crop_box(points)
        size = (box.x1 - box.x0) * (box.y1 - box.y0) * 3 * (1 if depth == 8 else 2)
        assert size <= most_bytes(landmarks, np.arange(len(landmarks)), depth)


# ----------------------------------------------------------------------------------------- teeth
def mouth_with(rows, *, closed=False):
    """An exemplar whose open mouth shows these rows of teeth."""
    landmarks = synthetic_landmarks(1, opening=np.array([0.12], np.float32), seed=2)[0]
    frame = draw_face(landmarks)
    middle = (landmarks[UPPER_RIM] + landmarks[LOWER_RIM]) / 2
    if closed:
        landmarks[UPPER_RIM] = landmarks[LOWER_RIM] = middle
    for row in (UPPER_RIM, LOWER_RIM):
        half = np.concatenate([landmarks[row], middle[::-1]])[:, :2]
        shade = 225 if (row is UPPER_RIM and rows & 1) or (row is LOWER_RIM and rows & 2) else 25
        cv2.fillPoly(frame, [np.round(half).astype(np.int32)], (shade,) * 3)
    return cut(Shelf(), frame, Box(0, 0, frame.shape[1], frame.shape[0]), landmarks)


def test_an_exemplar_tells_what_shows_between_its_lips():
    for rows in range(4):
        upper, _, lower = mouth_with(rows).inside.reshape(3, 7)
        assert (upper.min() > 0.9) if rows & 1 else (upper.max() < 0.5)
        assert (lower.min() > 0.9) if rows & 2 else (lower.max() < 0.5)


def test_what_shows_does_not_depend_on_the_light():
    lit = mouth_with(1)
    dark = cut(Shelf(), (lit.rgb * 0.5).astype(np.uint8), lit.box, lit.landmarks)
    assert dark.inside == pytest.approx(lit.inside, abs=0.03)


def test_a_mouth_that_hangs_out_of_its_crop_tells_something():
    lit = mouth_with(3)
    away = lit.landmarks + np.array([4000, 0, 0], np.float32)
    out = cut(Shelf(), lit.rgb, lit.box, away)
    assert out.inside.shape == lit.inside.shape
    assert np.isfinite(out.inside).all()


def test_the_tone_of_teeth_is_that_of_the_brightest_mouths():
    dark, bright = np.full((30, 21), 0.4, np.float32), np.full((10, 21), 0.4, np.float32)
    bright[:, :7] = 1.2  # a row of teeth
    inside, gap = np.concatenate([dark, bright]), np.full(40, 0.1, np.float32)
    assert tone_of(inside, gap) == pytest.approx(1.2)
    assert tone_of(dark, gap[:30]) == DIMMEST  # no teeth were seen: they are not black
    assert tone_of(inside, np.zeros(40, np.float32)) is None


def test_teeth_are_built_in_the_tone_of_the_speaker_in_any_light():
    lit = mouth_with(0)
    dark = cut(Shelf(), (lit.rgb * 0.5).astype(np.uint8), lit.box, lit.landmarks)
    skin = [float(np.median(e.rgb[::4, ::4, 1][e._skin()])) / 255 for e in (lit, dark)]
    for one, level in zip((lit, dark), skin, strict=True):
        teeth = replace(one, tone=0.8).palette.teeth
        assert teeth[1] == pytest.approx(0.8 * level, rel=0.05)
    assert replace(lit, tone=5.0).palette.teeth.max() < 1
    assert lit.palette.teeth[1] > 0.8 * skin[0]  # a guess where no tone is known


def test_behind_closed_lips_all_are_alike():
    inside = np.array([[1, 0], [0, 1], [0.5, 0.5]], np.float32)
    seen = inner_looks(inside, np.array([0.0, 0.01, 0.2], np.float32))
    assert np.array_equal(seen[0], seen[1])
    assert np.array_equal(seen[2], inside[2])


# ---------------------------------------------------------------------------------------- faults
def test_lips_of_an_odd_hue_blur_and_haste_are_faults():
    hue = np.random.default_rng(0).normal(0, 0.01, (40, 3)).astype(np.float32)
    sharpness, speed = np.ones(40, np.float32), np.full(40, 0.02, np.float32)
    assert faults(sharpness, hue, speed).max() < 0.5
    hue[7] += np.array([-0.1, -0.05, 0.15], np.float32)
    sharpness[3] = 0.5
    speed[9] = 0.09
    found = faults(sharpness, hue, speed)
    assert found[7] > 2
    assert found[3] == pytest.approx(1, abs=0.3)
    assert found[9] > 2
    assert np.delete(found, [3, 7, 9]).max() < 0.5


def test_a_mouth_that_starts_or_stops_is_not_in_haste():
    gap = np.array([0.2, 0.2, 0.11, 0.02, 0.02, 0.2], np.float32)
    speed = speed_of(gap, np.array([4, 5, 6, 7, 8, 20]))
    assert speed == pytest.approx([0, 0, 0.09, 0, 0, 0])
    assert speed_of(gap[:1], np.array([3])).tolist() == [0]


def test_the_hue_of_lips_does_not_depend_on_the_light():
    landmarks = synthetic_landmarks(1, opening=np.zeros(1, np.float32), seed=2)[0]
    frame = draw_face(landmarks)
    box = Box(0, 0, frame.shape[1], frame.shape[0])
    plain, dark, pink = (
        cut(Shelf(), picture, box, landmarks).hue
        for picture in (frame, (frame * 0.6).astype(np.uint8), tinted(frame, landmarks))
    )
    assert dark == pytest.approx(plain, abs=0.05)
    assert np.linalg.norm(pink - plain) > 0.1


def tinted(frame, landmarks):
    """The face with a bluish lower lip."""
    lower = landmarks[np.concatenate([BELOW_LIP, LOWER_LIP[::-1]]), :2]
    where = np.zeros(frame.shape[:2], np.uint8)
    cv2.fillPoly(where, [np.round(lower).astype(np.int32)], 1)
    out = frame.copy()
    out[where > 0, 2] = np.minimum(out[where > 0, 2] * 1.5 + 10, 255).astype(np.uint8)
    return out
