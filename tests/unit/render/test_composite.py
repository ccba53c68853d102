from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipwright.face.landmarks import INNER_LIPS, OUTER_LIPS
from lipwright.media.picture import Box
from lipwright.render.composite import (
    MOUTH_LOOP,
    fill_polygon,
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
