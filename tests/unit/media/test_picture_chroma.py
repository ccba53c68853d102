"""Pictures of every chroma sampling, with and without alpha."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lipwright.media.chroma import SUBSAMPLING, Subsampling
from lipwright.media.frame_cache import FrameCache
from lipwright.media.interpolate import FrameInterpolator
from lipwright.media.picture import Picture
from lipwright.media.pixel_format import read_pixel_format
from lipwright.media.upscale import upscale

SAMPLINGS = [*SUBSAMPLING.values(), Subsampling(1, 2)]  # the last: 4:2:2 turned by 90 degrees
SIZES = [(64, 80), (63, 81)]
DTYPES = {8: np.uint8, 10: np.uint16}

each_kind = [
    pytest.mark.parametrize("chroma", SAMPLINGS, ids=str),
    pytest.mark.parametrize("size", SIZES, ids=str),
    pytest.mark.parametrize("depth", [8, 10]),
]


def for_each_kind(test):
    for mark in each_kind:
        test = mark(test)
    return test


def random_picture(size, depth, chroma, seed=0) -> Picture:
    """Random codes with alpha."""
    rng = np.random.default_rng(seed)
    small = (-(-size[0] // chroma.y), -(-size[1] // chroma.x))
    y, u, v, alpha = (
        rng.integers(0, 1 << depth, shape, dtype=DTYPES[depth])
        for shape in (size, small, small, size)
    )
    return Picture(planes=(y, u, v), depth=depth, chroma=chroma, alpha=alpha)


@for_each_kind
def test_pasting_what_is_there_changes_nothing(chroma, size, depth):
    picture = random_picture(size, depth, chroma)
    box = picture.align((9, 5, 81, 63))
    mask = np.random.default_rng(1).random((box.height, box.width), np.float32)
    pasted = picture.paste(box, picture.rgb(box), mask)
    assert all(map(np.array_equal, pasted.planes, picture.planes))
    assert pasted.alpha is picture.alpha


@for_each_kind
def test_only_the_samples_under_the_mask_change(chroma, size, depth):
    picture = random_picture(size, depth, chroma)
    mask = np.zeros(size, np.float32)
    mask[20:31, 13:40] = 1
    top = (1 << depth) - 1
    white = np.full((*size, 3), top, DTYPES[depth])
    pasted = picture.paste(picture.bounds, white, mask)
    samplings = (Subsampling(1, 1), chroma, chroma)
    for before, after, (x, y) in zip(picture.planes, pasted.planes, samplings, strict=True):
        outside = np.ones(before.shape, bool)
        outside[20 // y : -(-31 // y), 13 // x : -(-40 // x)] = False
        assert np.array_equal(before[outside], after[outside])
        assert (before != after).any()
    shown = pasted.rgb()[22:29, 16:38]
    assert shown.min() > 0.95 * top


@for_each_kind
def test_a_crop_has_the_samples_of_its_box(chroma, size, depth):
    whole = random_picture(size, depth, chroma)
    box = whole.align((7, 9, 52, 44))
    part = whole.crop(box)
    assert np.array_equal(part.rgb(), whole.rgb(box))
    assert np.array_equal(part.alpha, whole.alpha[box.y0 : box.y1, box.x0 : box.x1])


@for_each_kind
def test_a_cached_region_equals_that_of_the_picture(chroma, size, depth):
    whole, cache = random_picture(size, depth, chroma), FrameCache()
    box = whole.align((7, 9, 81, 64))
    cache.put(0, whole, box)
    assert np.array_equal(cache.get(0, box), whole.rgb(box))


@for_each_kind
def test_pictures_from_rgb_show_it(chroma, size, depth):
    y, x = np.mgrid[: size[0], : size[1]]
    rgb = np.dstack([x + 60, y + 80, 200 - x]) << (depth - 8)
    picture = Picture.from_rgb(rgb.astype(DTYPES[depth]), chroma=chroma)
    small = (-(-size[0] // chroma.y), -(-size[1] // chroma.x))
    assert [plane.shape for plane in picture.planes] == [size, small, small]
    assert np.abs(picture.rgb().astype(int) - rgb).mean() < 2 << (depth - 8)


@for_each_kind
def test_a_picture_between_two_blends_chroma_and_alpha(chroma, size, depth):
    first = random_picture(size, depth, chroma)
    second = replace(first, alpha=np.zeros_like(first.alpha))
    between = FrameInterpolator(first, second).at(0.5)
    assert [p.shape for p in between.planes] == [p.shape for p in first.planes]
    assert np.abs(between.alpha - first.alpha / 2).max() <= 1


@for_each_kind
def test_enlarging_keeps_chroma_and_alpha(chroma, size, depth):
    picture = random_picture(size, depth, chroma)
    opaque = replace(picture, alpha=np.full(size, (1 << depth) - 1, DTYPES[depth]))
    large = upscale(opaque, 160, 128)
    small = (-(-128 // chroma.y), -(-160 // chroma.x))
    assert [plane.shape for plane in large.planes] == [(128, 160), small, small]
    assert large.chroma == chroma
    assert (large.alpha == (1 << depth) - 1).all()


@for_each_kind
def test_transparent_parts_become_white(chroma, size, depth):
    picture = random_picture(size, depth, chroma)
    top = (1 << depth) - 1
    alpha = np.zeros(size, DTYPES[depth])
    alpha[:20] = top
    flat = replace(picture, alpha=alpha).on_white()
    assert flat.alpha is None
    assert np.array_equal(flat.rgb()[:20], picture.rgb()[:20])
    assert flat.rgb()[20:].min() >= top - (1 << (depth - 8))


def test_pictures_without_alpha_stay_the_same_on_white():
    picture = replace(random_picture((64, 80), 8, SAMPLINGS[0]), alpha=None)
    assert picture.on_white() is picture


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("yuv420p", ("4:2:0", 8, False, False)),
        ("yuvj422p", ("4:2:2", 8, False, False)),
        ("yuv411p", ("4:2:2", 8, False, False)),
        ("yuv410p", ("4:2:0", 8, False, False)),
        ("yuv440p", ("4:4:4", 8, False, False)),
        ("yuva444p12le", ("4:4:4", 12, True, False)),
        ("uyvy422", ("4:2:2", 8, False, False)),
        ("nv12", ("4:2:0", 8, False, False)),
        ("p010le", ("4:2:0", 10, False, False)),
        ("p210le", ("4:2:2", 10, False, False)),
        ("gray", ("4:2:0", 8, False, False)),
        ("ya8", ("4:2:0", 8, True, False)),
        ("monob", ("4:2:0", 1, False, False)),
        ("pal8", ("4:4:4", 8, False, True)),
        ("gbrp", ("4:4:4", 8, False, True)),
        ("argb", ("4:4:4", 8, True, True)),
        ("gbrap16le", ("4:4:4", 16, True, True)),
    ],
)
def test_pixel_formats_tell_chroma_bits_alpha_and_rgb(name, expected):
    assert read_pixel_format(name) == expected
