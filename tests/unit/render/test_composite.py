from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipwright.face.landmarks import INNER_LIPS, OUTER_LIPS
from lipwright.media.picture import Box
from lipwright.render.composite import (
    LIP_RIM,
    MOUTH_LOOP,
    _blur,
    _robust_range,
    _smoothstep,
    fill_polygon,
    lip_mask,
    match_light,
    mouth_mask,
)
from lipwright.testing import draw_face, synthetic_landmarks

UNIT = 84.0
BOX = Box(60, 90, 230, 230)


def face(seed=0):
    return synthetic_landmarks(1, seed=seed)[0]


def value_at(mask, point, box=BOX):
    return float(mask[round(float(point[1])) - box.y0, round(float(point[0])) - box.x0])


# ---------------------------------------------------------------------------------- fill_polygon
@given(st.integers(2, 30), st.integers(2, 30), st.integers(-5, 40), st.integers(-5, 40))
def test_rectangle_is_filled_also_beyond_the_box(width, height, left, top):
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    corners += [100 + left, 50 + top]
    mask = fill_polygon(corners, Box(100, 50, 140, 80))
    expected = np.zeros((30, 40), np.float32)
    x, y = max(left, 0), max(top, 0)
    expected[y : max(top + height + 1, 0), x : max(left + width + 1, 0)] = 1
    assert np.array_equal(mask, expected)


def test_polygon_between_pixels_keeps_its_area():
    t = np.linspace(0, 2 * np.pi, 100, endpoint=False)
    circle = np.stack([np.cos(t), np.sin(t)], 1).astype(np.float32) * 20 + np.float32(40.37)
    assert fill_polygon(circle, Box(0, 0, 80, 80)).sum() == pytest.approx(np.pi * 20.5**2, rel=0.03)


# ------------------------------------------------------------------------------------ mouth_mask
@pytest.mark.parametrize("seed", range(4))
def test_mask_covers_the_lips_and_ends_before_eyes_and_jaw(seed):
    target = face(seed)
    mask = mouth_mask(target, BOX, UNIT)
    assert mask.shape == (BOX.height, BOX.width)
    assert mask.dtype == np.float32
    assert mask.min() >= 0
    assert mask.max() <= 1 + 1e-6
    for landmark in (*INNER_LIPS, *OUTER_LIPS):
        assert value_at(mask, target[landmark]) > 0.9
    assert (mask[0] == 0).all()  # above the nostrils
    for landmark in (234, 454, 132, 361, 58, 288):
        inside = np.clip(target[landmark, :2], BOX[:2], np.array(BOX[2:]) - 1)
        assert value_at(mask, inside) == 0


def test_mask_edge_is_soft():
    mask = mouth_mask(face(), BOX, UNIT)
    steps = max(np.abs(np.diff(mask, axis=0)).max(), np.abs(np.diff(mask, axis=1)).max())
    assert steps < 0.35
    assert 0.02 < ((mask > 0.05) & (mask < 0.95)).mean() < 0.5


def test_mask_scales_with_the_picture():
    small = face()
    large = small * np.float32(3)
    box = Box(BOX.x0 * 3, BOX.y0 * 3, BOX.x1 * 3, BOX.y1 * 3)
    reduced = cv2.resize(
        mouth_mask(large, box, 3 * UNIT), (BOX.width, BOX.height), interpolation=cv2.INTER_AREA
    )
    assert np.abs(reduced - mouth_mask(small, BOX, UNIT)).mean() < 0.02


def test_mouth_loop_encloses_the_lips():
    target = face()
    loop = target[MOUTH_LOOP, :2].astype(np.float32)
    for landmark in OUTER_LIPS:
        point = tuple(float(v) for v in target[landmark, :2])
        assert cv2.pointPolygonTest(loop, point, False) > 0


@pytest.mark.parametrize(("sigma", "error"), [(2.0, 1e-6), (10.0, 0.007)])
def test_blur_matches_a_gaussian_also_where_it_is_computed_smaller(sigma, error):
    mask = np.zeros((137, 101), np.float32)  # neither side is a multiple of the reduction
    mask[40:95, 25:80] = 1
    blurred, exact = _blur(mask, sigma), cv2.GaussianBlur(mask, (0, 0), sigma)
    assert blurred.shape == mask.shape
    assert np.abs(blurred - exact).max() < error


def test_blur_stays_between_0_and_1():
    spot = np.pad(np.ones((30, 30), np.float32), 30)
    for mask in (spot, np.ones((53, 47), np.float32)):
        blurred = _blur(mask, 6.1)  # a cubic resize overshoots
        assert blurred.min() >= 0
        assert blurred.max() <= 1


def test_smoothstep_ends_at_the_edges_of_the_mask():
    values = np.array([0, 0.02, 0.26, 0.5, 0.74, 0.98, 1], np.float32)
    assert _smoothstep(values) == pytest.approx([0, 0, 0.15625, 0.5, 0.84375, 1, 1], abs=1e-5)


def test_blur_repeats_the_border():
    assert _blur(np.ones((37, 41), np.float32), 10.0) == pytest.approx(1, abs=1e-4)


# -------------------------------------------------------------------------------------- lip_mask
def test_lip_mask_covers_the_lips_of_all_faces():
    faces = [synthetic_landmarks(1, opening=np.array([g], np.float32))[0] for g in (0, 0.1, 0.2)]
    faces[1][:, 0] += 9
    single = [lip_mask([points], BOX, UNIT) for points in faces]
    assert np.array_equal(lip_mask(faces, BOX, UNIT), np.maximum.reduce(single))


@pytest.mark.parametrize(("unit", "rim"), [(UNIT, round(LIP_RIM * UNIT)), (3 * UNIT, 10), (5, 1)])
def test_lip_mask_adds_a_rim_of_its_width(unit, rim):
    target = face()
    inner, outer = fill_polygon(target[OUTER_LIPS], BOX), lip_mask([target], BOX, unit)
    for axis in (0, 1):
        lips, grown = (np.flatnonzero(mask.any(axis)) for mask in (inner, outer))
        assert (lips[0] - grown[0], grown[-1] - lips[-1]) == (rim, rim)


# ----------------------------------------------------------------------------------- match_light
def frame_mask_lips(seed=0):
    """Return a frame (h, w, 3) float32 under BOX, its mask and its lips."""
    target = face(seed)
    frame = draw_face(target, seed=seed)[BOX.y0 : BOX.y1, BOX.x0 : BOX.x1].astype(np.float32)
    return frame, mouth_mask(target, BOX, UNIT), fill_polygon(target[OUTER_LIPS], BOX)


def test_equal_light_changes_nothing():
    frame, mask, lips = frame_mask_lips()
    assert np.abs(match_light(frame, frame, mask, lips, UNIT) - frame).max() < 1e-3


@pytest.mark.parametrize("shift", [(-25, -25, -25), (12, 0, -18)])
def test_light_and_colour_are_matched(shift):
    frame, mask, lips = frame_mask_lips()
    patch = frame + np.array(shift, np.float32)
    matched = match_light(patch, frame, mask, lips, UNIT)
    assert np.abs(matched - frame)[mask > 0.5].max() < 1.0


def test_gradient_of_light_is_reduced():
    frame, mask, lips = frame_mask_lips()
    slope = np.linspace(-20, 20, BOX.width, dtype=np.float32)[None, :, None]
    matched = match_light(frame + slope, frame, mask, lips, UNIT)
    before, after = np.abs(slope + 0 * frame)[mask > 0.5], np.abs(matched - frame)[mask > 0.5]
    assert after.mean() < 0.5 * before.mean()


def test_differences_on_the_lips_are_not_light():
    frame, mask, lips = frame_mask_lips()
    patch = frame.copy()
    patch[lips > 0] = 10  # an open, dark mouth
    matched = match_light(patch, frame, mask, lips, UNIT)
    assert np.abs(matched - patch).max() < 4
    assert matched[lips > 0].mean() < 15


def test_small_spot_is_not_light():
    """A highlight or mole in the frame does not change the patch."""
    frame, mask, lips = frame_mask_lips()
    spotted = frame.copy()
    x, y = (face()[421, :2] - BOX[:2]).astype(int)
    spotted[y - 6 : y + 6, x - 6 : x + 6] = 255
    assert np.abs(match_light(frame, spotted, mask, lips, UNIT) - frame).max() < 4


def test_patch_without_skin_stays_unchanged():
    frame, mask, _ = frame_mask_lips()
    all_lips = np.ones_like(mask)
    matched = match_light(frame, frame + 50, mask, all_lips, UNIT)
    assert np.isfinite(matched).all()
    assert np.abs(matched - frame).max() < 1e-3
    tiny = match_light(frame[:3, :3], frame[:3, :3] + 9, mask[:3, :3], all_lips[:3, :3], UNIT)
    assert np.isfinite(tiny).all()


def test_match_light_does_not_modify_its_inputs():
    frame, mask, lips = frame_mask_lips()
    kept = [a.copy() for a in (frame, mask, lips)]
    match_light(frame, frame + 5, mask, lips, UNIT)
    for now, before in zip((frame, mask, lips), kept, strict=True):
        assert np.array_equal(now, before)


def test_pattern_finer_than_light_is_not_matched():
    frame, mask, lips = frame_mask_lips()
    x = np.arange(BOX.width)[None, :, None]
    for period in (2, 16):
        patch = frame + np.where(x % period < period // 2, 20, -20).astype(np.float32)
        matched = match_light(patch, frame, mask, lips, UNIT)
        assert np.abs(matched - patch).max() < 10  # of 20


def test_pixels_next_to_the_lips_are_not_compared():
    frame, mask, _ = frame_mask_lips()
    lips = np.zeros_like(mask)
    lips[:, 1::4] = 1  # every reduced pixel shows some lip
    assert np.array_equal(match_light(frame, frame + 50, mask, lips, UNIT), frame)


@pytest.mark.parametrize("side", [4, 9, 11])
def test_light_of_a_tiny_picture_is_matched(side):
    patch, whole = np.full((side, side, 3), 90, np.float32), np.ones((side, side), np.float32)
    matched = match_light(patch, patch + 30, whole, 0 * whole, 8.0)
    assert matched == pytest.approx(patch + 30, abs=0.1)


def test_bounds_of_light_are_quantiles_of_the_skin():
    difference = np.repeat(np.arange(202, dtype=np.float32).reshape(2, 101, 1), 3, 2)
    skin = np.array([[1.0], [0.0]], np.float32) * np.ones((2, 101), np.float32)
    low, high = _robust_range(difference[:, ::-1], skin[:, ::-1])
    assert low.tolist() == [10] * 3
    assert high.tolist() == [90] * 3


@pytest.mark.parametrize(("count", "known"), [(7, False), (8, True)])
def test_bounds_of_light_need_enough_skin(count, known):
    skin = (np.arange(20) < count).astype(np.float32)[None]
    low, high = _robust_range(np.ones((1, 20, 3), np.float32), skin)
    assert np.isfinite(low).all() == np.isfinite(high).all() == known
