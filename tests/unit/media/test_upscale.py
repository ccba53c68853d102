from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipwright.errors import InvalidOptions
from lipwright.media.picture import Picture
from lipwright.media.probe import VideoInfo
from lipwright.media.upscale import SIDES, upscale, upscaled_info, upscaled_size
from lipwright.options import FrameSize, Restore, SyncOptions

INFO = VideoInfo(
    width=480,
    height=270,
    rate=Fraction(25),
    variable_rate=False,
    duration=Fraction(1),
    frames=25,
    rotation=0,
    codec="h264",
    pix_fmt="yuv420p",
)
side = st.integers(16, 4200)


@pytest.mark.parametrize(
    ("own", "size", "shown"),
    [
        ((1280, 720), "1080p", (1920, 1080)),
        ((720, 1280), "1080p", (1080, 1920)),
        ((512, 512), "1080p", (1080, 1080)),
        ((1280, 720), "4k", (3840, 2160)),
        ((1920, 800), "4k", (3840, 1600)),
        ((479, 271), "4k", (3818, 2160)),
        ((1920, 1080), "1080p", (1920, 1080)),
        ((2560, 1440), "1080p", (2560, 1440)),
        ((4096, 2160), "4k", (4096, 2160)),
    ],
)
def test_frames_fit_the_size_in_portrait_and_landscape(own, size, shown):
    assert upscaled_size(*own, FrameSize(size)) == shown


@given(side, side, st.sampled_from(FrameSize))
def test_frames_are_never_scaled_down_and_upscaled_ones_are_even_and_fit(width, height, size):
    w, h = upscaled_size(width, height, size)
    assert w >= width - 1
    assert h >= height - 1
    if (w, h) != (width, height):
        assert w % 2 == h % 2 == 0
        assert max(w, h) <= max(SIDES[size])
        assert min(w, h) <= min(SIDES[size])
        assert abs(w / h / (width / height) - 1) < 0.1 or min(width, height) < 40


@pytest.mark.parametrize("depth", [8, 10])
def test_a_picture_is_upscaled_at_its_own_depth(depth):
    y, x = np.mgrid[0:40, 0:60]
    rgb = np.stack([x * 4, y * 6, np.full_like(x, 90)], -1)
    codes = rgb.astype(np.uint8) if depth == 8 else (rgb * 4).astype(np.uint16)
    small = Picture.from_rgb(codes)
    large = upscale(small, 180, 120)
    assert (large.width, large.height, large.depth) == (180, 120, depth)
    assert large.planes[1].shape == (60, 90)
    shown = large.rgb()[1::3, 1::3].astype(int)
    assert np.abs(shown - small.rgb())[4:-4, 4:-4].mean() < 3 * (1 << (depth - 8))
    assert large.planes[0].max() < 1 << depth


def test_a_picture_of_the_target_size_is_returned_unchanged():
    picture = Picture.from_rgb(np.zeros((10, 12, 3), np.uint8))
    assert upscale(picture, 12, 10) is picture


def test_overshoot_at_edges_is_clipped():
    rgb = np.zeros((20, 20, 3), np.uint16)
    rgb[:, 10:] = 1023
    assert upscale(Picture.from_rgb(rgb, full_range=True), 80, 80).planes[0].max() <= 1023


def test_untagged_small_video_is_tagged_bt601_when_upscaled():
    assert upscaled_info(INFO, FrameSize.UHD).colorspace == 6
    assert upscaled_info(replace(INFO, colorspace=1), FrameSize.UHD).colorspace == 1
    assert upscaled_info(replace(INFO, width=1280, height=720), FrameSize.UHD).colorspace == 2


def test_options_accept_names():
    options = SyncOptions(size="4K", restore="2x")  # type: ignore[arg-type]
    assert options.size is FrameSize.UHD
    assert options.restore is Restore.TWICE
    assert SyncOptions().size is None


@pytest.mark.parametrize("bad", [{"size": "720p"}, {"restore": "8x"}])
def test_unknown_names_are_refused(bad):
    with pytest.raises(InvalidOptions, match=f"{next(iter(bad))}.*use one of"):
        SyncOptions(**bad)
