from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from lipwright.media.interpolate import FrameInterpolator
from lipwright.media.picture import Picture


def moving_dot(x: float) -> Picture:
    """A blurred dot at *x* on a smooth background."""
    grid = np.mgrid[:96, :128].astype(np.float32)
    background = 100 + 20 * np.sin(grid[1] / 9) * np.cos(grid[0] / 7)
    dot = 110 * np.exp(-((grid[1] - x) ** 2 + (grid[0] - 48) ** 2) / 180)
    return Picture.from_rgb(np.repeat((background + dot)[..., None], 3, 2).astype(np.uint8))


def test_weights_0_and_1_return_the_inputs():
    a, b = moving_dot(60), moving_dot(66)
    assert FrameInterpolator(a, b).at(0) is a
    assert FrameInterpolator(a, b).at(1) is b


@pytest.mark.parametrize("weight", [0.25, 0.5, 0.8])
def test_interpolation_follows_the_motion(weight):
    between = FrameInterpolator(moving_dot(56), moving_dot(66)).at(weight)
    truth = moving_dot(56 + 10 * weight)
    blended = cv2.addWeighted(
        moving_dot(56).planes[0], 1 - weight, moving_dot(66).planes[0], weight, 0
    )
    error = np.abs(between.planes[0].astype(float) - truth.planes[0]).mean()
    assert error < 0.5 * np.abs(blended.astype(float) - truth.planes[0]).mean()


def test_a_scene_change_is_not_blended():
    a = Picture.from_rgb(np.full((64, 80, 3), 30, np.uint8))
    b = Picture.from_rgb(np.full((64, 80, 3), 220, np.uint8))
    interpolator = FrameInterpolator(a, b)
    assert interpolator.at(0.4) is a
    assert interpolator.at(0.6) is b


def test_10_bit_codes_stay_in_range():
    rng = np.random.default_rng(0)
    noise = rng.choice([0, 1023], (64, 80)).astype(np.uint16)
    chroma = np.full((32, 40), 512, np.uint16)
    a = Picture(planes=(noise, chroma, chroma), depth=10)
    b = replace(a, planes=(np.roll(noise, 1, 1), chroma, chroma))
    assert FrameInterpolator(a, b).at(0.5).planes[0].max() <= 1023


def test_odd_sizes_are_interpolated():
    gradient = np.arange(81, dtype=np.uint8)[None, :, None]
    a = Picture.from_rgb(np.tile(gradient, (63, 1, 3)))
    b = Picture.from_rgb(np.tile(gradient + 2, (63, 1, 3)))
    between = FrameInterpolator(a, b).at(0.5)
    assert between is not a
    assert between is not b
    assert [plane.shape for plane in between.planes] == [(63, 81), (32, 41), (32, 41)]
