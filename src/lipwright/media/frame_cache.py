"""Cache regions of decoded frames on disk, so that they need not be decoded again."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from dataclasses import replace
from shutil import disk_usage
from tempfile import gettempdir
from typing import NamedTuple

from lipwright.errors import EncodeFailed, OutputError
from lipwright.media.chroma import Subsampling
from lipwright.media.picture import Box, Picture, Plane, Planes
from lipwright.runtime.disk_array import TempFile
from lipwright.types import DeepRgb

MAX_CACHE_BYTES = 512 << 20  # on disk


class _CachedRegion(NamedTuple):
    """A cached region of a frame."""

    box: Box
    offset: int  #: bytes from the start of the file to its planes, which are contiguous


class FrameCache:
    """Stores regions of frames in a temporary file, up to a number of bytes.

    When the limit is exceeded or the disk is full, the cache drops everything and stays empty:
    reading a later frame needs the earlier ones decoded anyway.
    """

    def __init__(self, max_bytes: int = MAX_CACHE_BYTES) -> None:
        """Use at most *max_bytes*, and at most half of the free space for temporary files."""
        self._max_bytes, self._end = max_bytes, 0
        self._frames = array("q")  # frame index of each region, ascending
        self._regions = array("q")  # x0, y0, x1, y1, offset of each; some megabytes per hour
        self._template: Picture | None = None  # an empty picture with the video's format
        self._file: TempFile | None = None  # created by the first put
        self._full = False

    def put(self, index: int, picture: Picture, box: tuple[int, int, int, int]) -> None:
        """Store the region *box* of *picture*, frame *index*; indices must not decrease."""
        aligned = picture.align(box)
        if self._full or aligned.width <= 0 or aligned.height <= 0:
            return
        planes = picture.crop(aligned).planes
        try:
            offset = self._write(planes)
        except (OutputError, OSError):  # over the limit, or the disk is full
            self.clear()
            self._full = True
            return
        if self._template is None:
            y, u, v = (plane[:0, :0].copy() for plane in planes)
            self._template = replace(picture, planes=(y, u, v), alpha=None)
        self._frames.append(index)
        self._regions.extend((*aligned, offset))

    def get(self, index: int, box: Box) -> DeepRgb | None:
        """Return the (h, w, 3) RGB of *box* in frame *index*, None if it is not cached.

        The result equals that of `Picture.rgb` on the whole frame.
        """
        for k in range(bisect_left(self._frames, index), bisect_right(self._frames, index)):
            *corners, offset = self._regions[5 * k : 5 * k + 5]
            region = _CachedRegion(Box(*corners), offset)
            if _contains(region.box, box):
                left, top = box.x0 - region.box.x0, box.y0 - region.box.y0
                return self._read(region).rgb(Box(left, top, left + box.width, top + box.height))
        return None

    def clear(self) -> None:
        """Drop all regions and free the disk space."""
        del self._frames[:], self._regions[:]
        self._file, self._end = None, 0

    def _write(self, planes: Planes) -> int:
        """Write planes to the file; return the offset of the first.

        Raises:
            OutputError: The limit is reached, or the disk is full.
            OSError: There is no folder for temporary files.
        """
        if self._file is None:
            self._max_bytes = min(self._max_bytes, disk_usage(gettempdir()).free // 2)
        if self._end + sum(plane.nbytes for plane in planes) > self._max_bytes:
            raise EncodeFailed("the frame cache is full")
        self._file = self._file or TempFile()
        first = self._end
        for plane in planes:
            self._end = self._file.write(plane, self._end)
        return first

    def _read(self, region: _CachedRegion) -> Picture:
        assert self._file is not None
        assert self._template is not None
        planes: list[Plane] = []
        offset, box = region.offset, region.box
        chroma = _chroma_shape(box, self._template.chroma)
        for shape in ((box.height, box.width), chroma, chroma):
            planes.append(self._file.read(shape, self._template.planes[0].dtype, offset))
            offset += planes[-1].nbytes
        return replace(self._template, planes=(planes[0], planes[1], planes[2]))


def _contains(outer: Box, box: Box) -> bool:
    return box.x0 >= outer.x0 and box.y0 >= outer.y0 and box.x1 <= outer.x1 and box.y1 <= outer.y1


def _chroma_shape(box: Box, chroma: Subsampling) -> tuple[int, int]:
    return -(-box.height // chroma.y), -(-box.width // chroma.x)
