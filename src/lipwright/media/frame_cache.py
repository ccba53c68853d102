"""Parts of a video's pictures, kept as it is decoded, so that it need not be decoded again."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from dataclasses import replace
from shutil import disk_usage
from tempfile import gettempdir
from typing import NamedTuple

from lipwright.errors import EncodeFailed
from lipwright.media.picture import Box, Picture, Plane, Planes, Rgb
from lipwright.runtime.disk_array import TempFile

ALBUM_BYTES = 512 << 20  # on disk


class _Part(NamedTuple):
    """What was kept of a frame."""

    box: Box
    at: int  #: where its planes lie in the file, one behind the other


class FrameCache:
    """Keeps parts of pictures in a temporary file, up to a number of bytes.

    A video that needs more is not kept at all, nor one for which the disk has no room: who asks for
    later frames has to decode the earlier ones anyway.
    """

    def __init__(self, most: int = ALBUM_BYTES) -> None:
        """Take at most so many bytes, and half of what is free where temporary files go."""
        self._most, self._end = most, 0
        self._frames = array("q")  # of each part, rising
        self._parts = array("q")  # x0, y0, x1, y1 and place of each: of an hour some megabytes
        self._like: Picture | None = None  # an empty picture of the video's kind
        self._file: TempFile | None = None  # opened when there is something to keep
        self._full = False

    def keep(self, index: int, picture: Picture, box: tuple[int, int, int, int]) -> None:
        """Keep what *picture*, frame *index* of the video, shows in a box; frames come in order."""
        inside = picture.align(box)
        if self._full or inside.width <= 0 or inside.height <= 0:
            return
        planes = picture.part(inside).planes
        try:
            at = self._write(planes)
        except (EncodeFailed, OSError):  # no room
            self.clear()
            self._full = True
            return
        if self._like is None:
            y, u, v = (plane[:0, :0].copy() for plane in planes)
            self._like = replace(picture, planes=(y, u, v))
        self._frames.append(index)
        self._parts.extend((*inside, at))

    def find(self, index: int, box: Box) -> Rgb | None:
        """Return the (h, w, 3) RGB that frame *index* shows in a box; None if that was not kept.

        It is what `Picture.rgb` returns of the whole frame.
        """
        for k in range(bisect_left(self._frames, index), bisect_right(self._frames, index)):
            *corners, at = self._parts[5 * k : 5 * k + 5]
            part = _Part(Box(*corners), at)
            if _within(box, part.box):
                left, top = box.x0 - part.box.x0, box.y0 - part.box.y0
                return self._read(part).rgb(Box(left, top, left + box.width, top + box.height))
        return None

    def clear(self) -> None:
        """Forget everything and give the disk back."""
        del self._frames[:], self._parts[:]
        self._file, self._end = None, 0

    def _write(self, planes: Planes) -> int:
        """Write planes to the file; return where the first is.

        Raises:
            EncodeFailed: there is no room for them.
            OSError: there is no folder for temporary files.
        """
        if self._file is None:
            self._most = min(self._most, disk_usage(gettempdir()).free // 2)
        if self._end + sum(plane.nbytes for plane in planes) > self._most:
            raise EncodeFailed("the album is full")
        self._file = self._file or TempFile()
        first = self._end
        for plane in planes:
            self._end = self._file.write(plane, self._end)
        return first

    def _read(self, part: _Part) -> Picture:
        assert self._file is not None
        assert self._like is not None
        planes: list[Plane] = []
        at = part.at
        for shape in ((part.box.height, part.box.width), *[_halves(part.box)] * 2):
            planes.append(self._file.read(shape, self._like.planes[0].dtype, at))
            at += planes[-1].nbytes
        return replace(self._like, planes=(planes[0], planes[1], planes[2]))


def _within(box: Box, other: Box) -> bool:
    return box.x0 >= other.x0 and box.y0 >= other.y0 and box.x1 <= other.x1 and box.y1 <= other.y1


def _halves(box: Box) -> tuple[int, int]:
    return (box.height + 1) // 2, (box.width + 1) // 2
