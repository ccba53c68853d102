from __future__ import annotations

import cv2
import numpy as np
import pytest

from lipwright.render.detail import Detail, blend_layers, match_detail, measure_detail, mix_details

SIDE = 96
EVERYWHERE = np.ones((SIDE, SIDE), np.float32)
LIPS = np.zeros((SIDE, SIDE), np.float32)
LIPS[40:60, 20:76] = 1


def grain(spread, seed=0, blur=0.0):
    noise = np.random.default_rng(seed).normal(128, spread, (SIDE, SIDE)).astype(np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), blur) if blur else noise
    return np.repeat(noise[..., None], 3, 2)


def measured(picture):
    return measure_detail(picture, LIPS < 0.5, LIPS > 0.5)


def skin_of(picture):
    return measured(picture).skin[0]


@pytest.mark.parametrize(("patch", "frame"), [(8, 8), (6, 8), (8, 6)])
def test_grain_is_matched_to_the_frame(patch, frame):
    patch, own = grain(patch), grain(frame, seed=1)
    matched = match_detail(patch, own, EVERYWHERE, LIPS, measured(patch))
    assert skin_of(matched) == pytest.approx(skin_of(own), rel=0.06)


def test_detail_lost_by_sampling_is_restored():
    sharp = grain(8)
    soft = cv2.GaussianBlur(sharp, (0, 0), 0.5)
    matched = match_detail(soft, grain(8, seed=1), EVERYWHERE, LIPS, measured(sharp))
    before, after = (measured(x) for x in (soft, matched))
    assert before.skin[0] < 0.85 * after.skin[0]
    assert before.lips[0] < 0.85 * after.lips[0]


def test_lips_keep_the_detail_of_the_exemplar():
    patch, own = grain(6), grain(6, seed=1)
    own[LIPS > 0] = 128  # a closed, smooth mouth
    matched = match_detail(patch, own, EVERYWHERE, LIPS, measured(patch))
    assert measured(matched).lips[0] == pytest.approx(measured(patch).lips[0], rel=0.05)


def test_gain_is_limited():
    patch = grain(2)
    matched = match_detail(patch, grain(40, seed=1), EVERYWHERE, LIPS, measured(patch))
    assert skin_of(matched) < 1.75 * skin_of(patch)


@pytest.mark.parametrize("side", [0, 7])
def test_patch_stays_unchanged_without_enough_pixels_to_measure(side):
    patch, mask = grain(5), np.zeros_like(EVERYWHERE)
    mask[:side, :side] = 1
    assert np.array_equal(match_detail(patch, grain(9), mask, LIPS, measured(patch)), patch)


def test_mixed_detail_is_not_weakened_by_mixing():
    one = Detail(skin=np.array([3, 1], np.float32), lips=np.array([6, 2], np.float32))
    both = mix_details([(one, 0.5), (one, 0.5)])
    assert np.allclose(both.skin, one.skin)
    assert np.allclose(both.lips, one.lips)


def test_soft_edge_between_two_skins_keeps_their_grain():
    over, under = grain(8), grain(8, seed=1)
    ramp = np.tile(np.linspace(0, 1, SIDE, dtype=np.float32), (SIDE, 1))
    blended, averaged = (
        blend_layers(over, under, ramp, 1.0),
        under + (over - under) * ramp[..., None],
    )
    assert skin_of(blended) > 0.93 * skin_of(over)
    assert skin_of(averaged) < 0.87 * skin_of(over)


def test_light_blends_softly_and_nothing_changes_outside():
    ramp = np.tile(np.linspace(0, 1, SIDE, dtype=np.float32), (SIDE, 1))
    under = np.full((SIDE, SIDE, 3), 100, np.float32)
    blended = blend_layers(under + 20, under, ramp, 1.0)
    assert np.abs(blended[..., 0] - (100 + 20 * ramp)).max() < 0.1
    grained = grain(8)
    assert np.array_equal(blend_layers(grained + 20, grained, 0 * ramp, 1.0), grained)


def folded(column):
    """Grain with a dark line down one column."""
    out = grain(2, seed=3)
    out[:, column : column + 2] -= 40
    return out


def test_fold_in_one_layer_fades_towards_the_edge():
    ramp = np.tile(np.clip((np.arange(SIDE, dtype=np.float32) - 28) / 40, 0, 1), (SIDE, 1))
    under, at_the_edge, inside = grain(2, seed=4), 48, 80
    for column, least, most in ((at_the_edge, 3, 14), (inside, 30, 50)):
        blended = blend_layers(folded(column), under, ramp, 1.0)
        beside = np.median(blended[:, column - 6 : column + 8])
        assert least < beside - blended[:, column : column + 2].mean() < most


def test_strength_scales_the_change():
    over, under = grain(8), grain(8, seed=1)
    whole, half = (blend_layers(over, under, EVERYWHERE, s) for s in (1.0, 0.5))
    assert np.allclose(half - under, (whole - under) / 2, atol=1e-3)
