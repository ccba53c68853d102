from __future__ import annotations

import time
from dataclasses import replace

import av
import cv2
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace, Interpolation
from hypothesis import given
from hypothesis import strategies as st

from lipwright.errors import InvalidOptions
from lipwright.media.picture import Box, Picture

DEPTHS = {8: np.uint8, 10: np.uint16}
SPACES = {"bt601": Colorspace.ITU601, "bt709": Colorspace.ITU709, "bt2020": Colorspace.BT2020}

EXACT = (
    Interpolation.POINT
    | Interpolation.ACCURATE_RND
    | Interpolation.BITEXACT
    | Interpolation.FULL_CHR_H_INT
)


def smooth(size: tuple[int, int], low: float, high: float, seed: int) -> np.ndarray:
    """A smooth random plane (h, w) between *low* and *high*."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(low, high, (4, 5)).astype(np.float32)
    return np.rint(cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_LINEAR))


def smooth_picture(height=64, width=80, depth=8, matrix="bt709", full_range=False) -> Picture:
    """A picture whose colours are inside the RGB gamut."""
    unit = 1 << (depth - 8)
    half = ((height + 1) // 2, (width + 1) // 2)
    planes = (
        smooth((height, width), 90 * unit, 160 * unit, 1),
        smooth(half, 110 * unit, 146 * unit, 2),
        smooth(half, 110 * unit, 146 * unit, 3),
    )
    dtype = DEPTHS[depth]
    return Picture(
        planes=tuple(p.astype(dtype) for p in planes),
        depth=depth,
        matrix=matrix,
        full_range=full_range,
    )


def random_picture(height=64, width=80, depth=8, seed=0, **kind) -> Picture:
    """A picture of random codes, most of them outside the RGB gamut."""
    rng = np.random.default_rng(seed)
    half = ((height + 1) // 2, (width + 1) // 2)
    planes = tuple(
        rng.integers(0, 1 << depth, size, dtype=DEPTHS[depth])
        for size in ((height, width), half, half)
    )
    return Picture(planes=planes, depth=depth, **kind)


def differences(a: Picture, b: Picture) -> list[int]:
    return [
        int(np.abs(x.astype(int) - y.astype(int)).max())
        for x, y in zip(a.planes, b.planes, strict=True)
    ]


@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020"])
def test_colours_match_ffmpeg(matrix, full_range, depth):
    picture = smooth_picture(depth=depth, matrix=matrix, full_range=full_range)
    frame = av.VideoFrame(80, 64, "yuv420p" if depth == 8 else "yuv420p10le")
    for plane, target in zip(picture.planes, frame.planes, strict=True):
        lines = np.zeros((target.height, target.line_size), np.uint8)
        codes = plane.view(np.uint8)
        lines[:, : codes.shape[1]] = codes
        target.update(lines.tobytes())
    expected = frame.reformat(
        format="rgb24" if depth == 8 else "gbrp10le",
        src_colorspace=SPACES[matrix],
        src_color_range=ColorRange.JPEG if full_range else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        interpolation=EXACT,
    ).to_ndarray()
    actual = picture.rgb()
    assert actual.dtype == DEPTHS[depth]
    assert np.abs(actual.astype(int) - expected.astype(int)).max() <= 2


@pytest.mark.parametrize("depth", [8, 10])
def test_grey_levels_are_exact(depth):
    top = (1 << depth) - 1
    unit = 1 << (depth - 8)
    for code, grey in ((16 * unit, 0), (235 * unit, top), (126 * unit, round(top * 110 / 219))):
        planes = (np.full((4, 4), code), *(np.full((2, 2), 128 * unit) for _ in "uv"))
        planes = tuple(p.astype(DEPTHS[depth]) for p in planes)
        rgb = Picture(planes=planes, depth=depth).rgb()
        assert np.abs(rgb.astype(int) - grey).max() <= 1


@pytest.mark.parametrize("depth", [8, 10])
def test_rgb_round_trips(depth):
    picture = smooth_picture(depth=depth)
    again = Picture.from_rgb(picture.rgb())
    assert max(differences(picture, again)) <= 1


@given(
    st.tuples(*[st.integers(-20, 100)] * 4),
    st.tuples(st.integers(1, 70), st.integers(1, 70)),
)
def test_aligned_boxes_can_be_read(box, size):
    picture = smooth_picture(*size)
    aligned = picture.align(box)
    assert aligned.x0 % 2 == aligned.y0 % 2 == 0
    assert aligned.x1 % 2 == 0 or aligned.x1 == picture.width
    assert aligned.y1 % 2 == 0 or aligned.y1 == picture.height
    wanted = (max(0, box[0]), max(0, box[1]), min(box[2], size[1]), min(box[3], size[0]))
    if wanted[0] < wanted[2] and wanted[1] < wanted[3]:
        assert aligned.x0 <= wanted[0]
        assert aligned.y0 <= wanted[1]
        assert aligned.x1 >= wanted[2]
        assert aligned.y1 >= wanted[3]
        assert picture.rgb(aligned).shape == (aligned.height, aligned.width, 3)


@pytest.mark.parametrize("box", [Box(1, 0, 5, 4), Box(0, 0, 99, 4), Box(4, 4, 4, 8)])
def test_misaligned_boxes_are_refused(box):
    with pytest.raises(InvalidOptions, match="align"):
        smooth_picture().rgb(box)


def test_the_rgb_of_a_box_equals_that_of_the_whole_frame():
    picture = random_picture(63, 81)
    box = picture.align((21, 7, 81, 63))
    assert np.array_equal(picture.rgb(box), picture.rgb()[box.y0 : box.y1, box.x0 : box.x1])


@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("size", [(64, 80), (63, 81)])
def test_pasting_the_same_colours_changes_nothing(size, full_range, depth):
    picture = random_picture(*size, depth=depth, full_range=full_range)
    box = picture.align((10, 6, 81, 63))
    mask = np.random.default_rng(0).random((box.height, box.width)).astype(np.float32)
    for weight in (mask, np.ones_like(mask)):
        assert max(differences(picture, picture.paste(box, picture.rgb(box), weight))) == 0


@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize("size", [(64, 80), (63, 81)])
def test_samples_outside_the_mask_do_not_change(size, depth):
    picture = random_picture(*size, depth=depth)
    box = picture.align((9, 5, 81, 63))
    rng = np.random.default_rng(1)
    rgb = rng.integers(0, 1 << depth, (box.height, box.width, 3), dtype=DEPTHS[depth])
    mask = np.zeros((box.height, box.width), np.float32)
    mask[12:30, 13:40] = rng.random((18, 27))
    pasted = picture.paste(box, rgb, mask)
    inside = np.zeros((picture.height, picture.width), bool)
    inside[box.y0 : box.y1, box.x0 : box.x1] = mask > 0
    assert np.array_equal(pasted.planes[0][~inside], picture.planes[0][~inside])
    even = np.pad(inside, ((0, inside.shape[0] % 2), (0, inside.shape[1] % 2)))
    blocks = even.reshape(even.shape[0] // 2, 2, even.shape[1] // 2, 2).any((1, 3))
    for chroma in (1, 2):
        before, after = picture.planes[chroma], pasted.planes[chroma]
        assert np.array_equal(after[~blocks], before[~blocks])
    assert differences(picture, pasted)[0] > 0


@pytest.mark.parametrize("depth", [8, 10])
def test_a_full_mask_replaces_the_colours(depth):
    new = smooth_picture(depth=depth)
    ones = np.ones((64, 80), np.float32)
    plain = smooth_picture(depth=depth, matrix="bt601", full_range=True)
    plain = replace(plain, matrix=new.matrix, full_range=new.full_range)
    assert max(differences(plain.paste(plain.bounds, new.rgb(), ones), new)) <= 1
    for code in (0, (1 << depth) - 1):  # blacker than black, whiter than white
        planes = (np.full_like(new.planes[0], code), *new.planes[1:])
        base = replace(new, planes=planes)
        assert max(differences(base.paste(base.bounds, new.rgb(), ones), new)) <= 2


def test_a_half_mask_averages():
    base, new = smooth_picture(), Picture.from_rgb(np.full((64, 80, 3), 200, np.uint8))
    pasted = base.paste(base.bounds, new.rgb(), np.full((64, 80), 0.5, np.float32))
    middle = (base.planes[0].astype(float) + new.planes[0]) / 2
    assert np.abs(pasted.planes[0] - middle).max() <= 1.5


def test_pasting_does_not_write_to_its_inputs():
    picture = random_picture()
    for plane in picture.planes:
        plane.setflags(write=False)
    rgb = np.zeros((64, 80, 3), np.uint8)
    mask = np.ones((64, 80), np.float32)
    rgb.setflags(write=False)
    mask.setflags(write=False)
    picture.paste(picture.bounds, rgb, mask)


def test_arrays_that_do_not_fit_are_refused():
    picture = smooth_picture()
    ones = np.ones((64, 80), np.float32)
    with pytest.raises(InvalidOptions, match="fit the box"):
        picture.paste(picture.bounds, np.zeros((60, 80, 3), np.uint8), ones)
    with pytest.raises(InvalidOptions, match="8-bit"):
        picture.paste(picture.bounds, np.zeros((64, 80, 3), np.uint16), ones)


@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize("side", [17, 30, 40, 64, 999])
def test_scaled_down_pictures_match_opencv(side, depth):
    picture = smooth_picture(120, 160, depth=depth)
    small, scale = picture.small_rgb(side)
    assert small.dtype == np.uint8
    assert max(small.shape[:2]) == min(side, 160)
    assert scale == min(1, side / 160)
    whole = picture.rgb() >> (depth - 8)
    expected = cv2.resize(whole, small.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - expected.astype(int)).mean() < 2


def test_reading_and_pasting_a_face_takes_milliseconds():
    picture = random_picture(1080, 1920)
    box = picture.align((700, 300, 1200, 800))
    mask = np.ones((box.height, box.width), np.float32)
    best = 1.0
    for _ in range(10):
        start = time.perf_counter()
        picture.paste(box, picture.rgb(box), mask)
        best = min(best, time.perf_counter() - start)
    assert best < 0.03  # 4 ms on an idle core of 2024; ten times that would be a defect


@given(st.tuples(st.integers(0, 90), st.integers(0, 60), st.integers(1, 60), st.integers(1, 60)))
def test_a_crop_shares_memory_and_has_the_colours_of_the_box(box):
    whole = random_picture(65, 97)
    inside = whole.align((box[0], box[1], box[0] + box[2], box[1] + box[3]))
    part = whole.crop(inside)
    assert (part.width, part.height) == (inside.width, inside.height)
    assert np.array_equal(part.rgb(), whole.rgb(inside))
    assert np.shares_memory(part.planes[0], whole.planes[0])
