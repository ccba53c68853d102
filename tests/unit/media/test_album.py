"""Parts of pictures come out of an album as they would out of the whole picture."""

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
def test_what_was_kept_is_what_the_picture_shows(kept, asked, depth, full_range):
    whole = picture(depth, full_range=full_range, matrix="bt601")
    album = FrameCache()
    album.keep(3, whole, kept)
    part, wanted = whole.align(kept), whole.align(asked)
    found = album.find(3, wanted) if wanted.width and wanted.height else None
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


def test_several_faces_of_a_frame_are_all_kept():
    whole, album = picture(), FrameCache()
    left, right = whole.align((0, 0, 20, 20)), whole.align((30, 20, 60, 47))
    album.keep(0, whole, left)
    album.keep(0, whole, right)
    for part in (left, right):
        assert np.array_equal(album.find(0, part), whole.rgb(part))
    assert album.find(0, whole.whole) is None
    assert album.find(1, left) is None


def test_frames_are_told_apart():
    album = FrameCache()
    several = [picture(seed=s) for s in range(5)]
    for index, each in enumerate(several):
        album.keep(index, each, each.whole)
    for index in (4, 0, 2):
        found = album.find(index, several[index].whole)
        assert np.array_equal(found, several[index].rgb())


def test_an_album_that_would_grow_too_large_keeps_nothing():
    whole = picture()
    size = sum(plane.nbytes for plane in whole.planes)
    album = FrameCache(most=3 * size)
    for index in range(3):
        album.keep(index, whole, whole.whole)
    assert all(album.find(i, whole.whole) is not None for i in range(3))
    for index in (3, 4):
        album.keep(index, whole, whole.whole)
    assert all(album.find(i, whole.whole) is None for i in range(5))


def test_an_album_without_room_on_the_disk_keeps_nothing(monkeypatch):
    whole, album = picture(), FrameCache()
    album.keep(0, whole, whole.whole)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("lipwright.runtime.disk_array.os.pwrite", full)
    album.keep(1, whole, whole.whole)
    monkeypatch.undo()
    album.keep(2, whole, whole.whole)
    assert all(album.find(i, whole.whole) is None for i in range(3))


def test_a_cleared_album_is_empty():
    whole, album = picture(), FrameCache()
    album.keep(0, whole, whole.whole)
    album.clear()
    assert album.find(0, whole.whole) is None


@pytest.mark.parametrize("beside", [(-30, -30, -5, -5), (70, 0, 90, 20), (5, 5, 5, 9)])
def test_what_lies_outside_of_the_frame_is_no_part(beside):
    whole, album = picture(), FrameCache()
    album.keep(0, whole, beside)
    assert album.find(0, Box(0, 0, 2, 2)) is None
