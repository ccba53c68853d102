"""Regions from the frame cache equal those of the whole picture."""

from __future__ import annotations

import errno

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipwright.media.frame_cache import FrameCache
from lipwright.media.picture import Box, Picture

WIDE, HIGH = 61, 47  # odd: the last chroma samples stand for half a block


def picture(depth=8, seed=0, matrix="bt709", full_range=False):
    random = np.random.default_rng(seed)
    kind, top = (np.uint8, 256) if depth == 8 else (np.uint16, 1024)
    shapes = (HIGH, WIDE), *[((HIGH + 1) // 2, (WIDE + 1) // 2)] * 2
    planes = tuple(random.integers(0, top, shape).astype(kind) for shape in shapes)
    return Picture(planes=planes, depth=depth, matrix=matrix, full_range=full_range)


corner = st.tuples(st.integers(-20, WIDE + 10), st.integers(-20, HIGH + 10))
box = st.tuples(corner, st.integers(1, 60), st.integers(1, 60)).map(
    lambda b: (b[0][0], b[0][1], b[0][0] + b[1], b[0][1] + b[2])
)


@given(box, box, st.sampled_from([8, 10]), st.booleans())
def test_a_cached_region_equals_that_of_the_picture(stored, requested, depth, full_range):
    whole = picture(depth, full_range=full_range, matrix="bt601")
    cache = FrameCache()
    cache.put(3, whole, stored)
    part, wanted = whole.align(stored), whole.align(requested)
    found = cache.get(3, wanted) if wanted.width and wanted.height else None
    if part.width and part.height and found is not None:
        assert np.array_equal(found, whole.rgb(wanted))
        assert found.dtype == whole.rgb(wanted).dtype
    elif wanted.width and wanted.height:
        inside = (
            part.x0 <= wanted.x0
            and part.y0 <= wanted.y0
            and wanted.x1 <= part.x1
            and wanted.y1 <= part.y1
        )
        assert not (inside and part.width and part.height)


def test_several_regions_of_a_frame_are_cached():
    whole, cache = picture(), FrameCache()
    left, right = whole.align((0, 0, 20, 20)), whole.align((30, 20, 60, 47))
    cache.put(0, whole, left)
    cache.put(0, whole, right)
    for part in (left, right):
        assert np.array_equal(cache.get(0, part), whole.rgb(part))
    assert cache.get(0, whole.bounds) is None
    assert cache.get(1, left) is None


def test_frames_are_cached_separately():
    cache = FrameCache()
    several = [picture(seed=s) for s in range(5)]
    for index, each in enumerate(several):
        cache.put(index, each, each.bounds)
    for index in (4, 0, 2):
        found = cache.get(index, several[index].bounds)
        assert np.array_equal(found, several[index].rgb())


def test_a_cache_over_its_limit_drops_everything():
    whole = picture()
    size = sum(plane.nbytes for plane in whole.planes)
    cache = FrameCache(max_bytes=3 * size)
    for index in range(3):
        cache.put(index, whole, whole.bounds)
    assert all(cache.get(i, whole.bounds) is not None for i in range(3))
    for index in (3, 4):
        cache.put(index, whole, whole.bounds)
    assert all(cache.get(i, whole.bounds) is None for i in range(5))


def test_a_cache_on_a_full_disk_drops_everything(monkeypatch):
    whole, cache = picture(), FrameCache()
    cache.put(0, whole, whole.bounds)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("lipwright.runtime.disk_array.os.pwrite", full)
    cache.put(1, whole, whole.bounds)
    monkeypatch.undo()
    cache.put(2, whole, whole.bounds)
    assert all(cache.get(i, whole.bounds) is None for i in range(3))


def test_a_cleared_cache_is_empty():
    whole, cache = picture(), FrameCache()
    cache.put(0, whole, whole.bounds)
    cache.clear()
    assert cache.get(0, whole.bounds) is None


@pytest.mark.parametrize("outside", [(-30, -30, -5, -5), (70, 0, 90, 20), (5, 5, 5, 9)])
def test_an_empty_region_is_not_cached(outside):
    whole, cache = picture(), FrameCache()
    cache.put(0, whole, outside)
    assert cache.get(0, Box(0, 0, 2, 2)) is None
