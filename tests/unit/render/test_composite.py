from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipwright.face.lips import INNER_LIPS, OUTER_LIPS
from lipwright.media.picture import Box
from lipwright.render.composite import (
    LOOP,
    match_light,
    mouth_mask,
    polygon,
)
from lipwright.testing import draw_face, synthetic_landmarks

UNIT = 84.0
BOX = Box(60, 90, 230, 230)


def face(seed=0):
    return synthetic_landmarks(1, seed=seed)[0]


def at(mask, point, box=BOX):
    return float(mask[round(float(point[1])) - box.y0, round(float(point[0])) - box.x0])


# --------------------------------------------------------------------------------------- polygon
@given(st.integers(2, 30), st.integers(2, 30), st.integers(-5, 40), st.integers(-5, 40))
def test_a_rectangle_is_filled_where_it_lies(width, height, left, top):
    """Also when it reaches beyond the box."""
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    corners += [100 + left, 50 + top]
    mask = polygon(corners, Box(100, 50, 140, 80))
    expected = np.zeros((30, 40), np.float32)
    x, y = max(left, 0), max(top, 0)
    expected[y : max(top + height + 1, 0), x : max(left + width + 1, 0)] = 1
    assert np.array_equal(mask, expected)


def test_a_polygon_keeps_its_area_between_pixels():
    t = np.linspace(0, 2 * np.pi, 100, endpoint=False)
    circle = np.stack([np.cos(t), np.sin(t)], 1).astype(np.float32) * 20 + np.float32(40.37)
    assert polygon(circle, Box(0, 0, 80, 80)).sum() == pytest.approx(np.pi * 20.5**2, rel=0.03)


# ------------------------------------------------------------------------------------------ mask
@pytest.mark.parametrize("seed", range(4))
def test_the_mask_shows_the_lips_and_ends_before_eyes_and_jaw(seed):
    target = face(seed)
    mask = mouth_mask(target, BOX, UNIT)
    assert mask.shape == (BOX.height, BOX.width)
    assert mask.dtype == np.float32
    assert mask.min() >= 0
    assert mask.max() <= 1 + 1e-6
    for landmark in (*INNER_LIPS, *OUTER_LIPS):
        assert at(mask, target[landmark]) > 0.9
    assert (mask[0] == 0).all()  # above the nostrils
    for landmark in (234, 454, 132, 361, 58, 288):
        inside = np.clip(target[landmark, :2], BOX[:2], np.array(BOX[2:]) - 1)
        assert at(mask, inside) == 0


def test_the_mask_is_soft():
    mask = mouth_mask(face(), BOX, UNIT)
    steps = max(np.abs(np.diff(mask, axis=0)).max(), np.abs(np.diff(mask, axis=1)).max())
    assert steps < 0.35
    assert 0.02 < ((mask > 0.05) & (mask < 0.95)).mean() < 0.5


def test_the_mask_grows_with_the_picture():
    small = face()
    large = small * np.float32(3)
    box = Box(BOX.x0 * 3, BOX.y0 * 3, BOX.x1 * 3, BOX.y1 * 3)
    ours = cv2.resize(
        mouth_mask(large, box, 3 * UNIT), (BOX.width, BOX.height), interpolation=cv2.INTER_AREA
    )
    assert np.abs(ours - mouth_mask(small, BOX, UNIT)).mean() < 0.02


def test_the_loop_runs_around_the_lips():
    target = face()
    loop = target[LOOP, :2].astype(np.float32)
    for landmark in OUTER_LIPS:
        point = tuple(float(v) for v in target[landmark, :2])
        assert cv2.pointPolygonTest(loop, point, False) > 0


# ----------------------------------------------------------------------------------------- light
def scene(seed=0):
    """A frame (h, w, 3) float32 under BOX, its mask and its lips."""
    target = face(seed)
    frame = draw_face(target, seed=seed)[BOX.y0 : BOX.y1, BOX.x0 : BOX.x1].astype(np.float32)
    return frame, mouth_mask(target, BOX, UNIT), polygon(target[OUTER_LIPS], BOX)


def test_what_is_lit_alike_stays():
    frame, mask, lips = scene()
    assert np.abs(match_light(frame, frame, mask, lips, UNIT) - frame).max() < 1e-3


@pytest.mark.parametrize("shift", [(-25, -25, -25), (12, 0, -18)])
def test_other_light_and_colour_are_matched(shift):
    frame, mask, lips = scene()
    patch = frame + np.array(shift, np.float32)
    matched = match_light(patch, frame, mask, lips, UNIT)
    assert np.abs(matched - frame)[mask > 0.5].max() < 1.0


def test_a_slope_of_light_is_matched_roughly():
    frame, mask, lips = scene()
    slope = np.linspace(-20, 20, BOX.width, dtype=np.float32)[None, :, None]
    matched = match_light(frame + slope, frame, mask, lips, UNIT)
    before, after = np.abs(slope + 0 * frame)[mask > 0.5], np.abs(matched - frame)[mask > 0.5]
    assert after.mean() < 0.5 * before.mean()


def test_what_differs_on_the_lips_is_speech_not_light():
    frame, mask, lips = scene()
    patch = frame.copy()
    patch[lips > 0] = 10  # an open, dark mouth
    matched = match_light(patch, frame, mask, lips, UNIT)
    assert np.abs(matched - patch).max() < 4
    assert matched[lips > 0].mean() < 15


def test_a_spot_is_no_light():
    """A highlight or mole on the skin of the frame does not glow into the patch."""
    frame, mask, lips = scene()
    spotted = frame.copy()
    x, y = (face()[421, :2] - BOX[:2]).astype(int)
    spotted[y - 6 : y + 6, x - 6 : x + 6] = 255
    assert np.abs(match_light(frame, spotted, mask, lips, UNIT) - frame).max() < 4


def test_without_any_skin_to_compare_nothing_blows_up():
    frame, mask, _ = scene()
    all_lips = np.ones_like(mask)
    matched = match_light(frame, frame + 50, mask, all_lips, UNIT)
    assert np.isfinite(matched).all()
    assert np.abs(matched - frame).max() < 1e-3
    tiny = match_light(frame[:3, :3], frame[:3, :3] + 9, mask[:3, :3], all_lips[:3, :3], UNIT)
    assert np.isfinite(tiny).all()


def test_inputs_are_not_touched():
    frame, mask, lips = scene()
    kept = [a.copy() for a in (frame, mask, lips)]
    match_light(frame, frame + 5, mask, lips, UNIT)
    for now, before in zip((frame, mask, lips), kept, strict=True):
        assert np.array_equal(now, before)
