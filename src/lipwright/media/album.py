"""Parts of a video's pictures, kept as it is decoded, so that it need not be decoded again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from shutil import disk_usage
from tempfile import gettempdir
from typing import Any

from lipwright.errors import EncodeFailed
from lipwright.media.picture import Box, Picture, Planes, Rgb
from lipwright.rows import Scratch

ALBUM_BYTES = 512 << 20  # on disk


@dataclass(frozen=True, kw_only=True)
class _Part:
    """What was kept of a frame."""

    box: Box
    like: Picture  #: an empty picture of the same kind
    places: tuple[int, int, int]  #: of its planes in the file


class Album:
    """Keeps parts of pictures in a temporary file, up to a number of bytes.

    A video that needs more is not kept at all, nor one for which the disk has no room: who asks for
    later frames has to decode the earlier ones anyway.
    """

    def __init__(self, most: int = ALBUM_BYTES) -> None:
        """Take at most so many bytes, and half of what is free where temporary files go."""
        self._most, self._end = most, 0
        self._parts: dict[int, list[_Part]] = {}
        self._file: Scratch | None = None  # opened when there is something to keep
        self._full = False

    def keep(self, index: int, picture: Picture, box: tuple[int, int, int, int]) -> None:
        """Keep what *picture*, frame *index* of the video, shows in a box."""
        inside = picture.align(box)
        if self._full or inside.width <= 0 or inside.height <= 0:
            return
        planes = picture.part(inside).planes
        try:
            places = self._write(planes)
        except (EncodeFailed, OSError):  # no room
            self.clear()
            self._full = True
            return
        y, u, v = (plane[:0, :0].copy() for plane in planes)  # a view would hold the frame
        like = replace(picture, planes=(y, u, v))
        part = _Part(box=inside, like=like, places=places)
        self._parts.setdefault(index, []).append(part)

    def find(self, index: int, box: Box) -> Rgb | None:
        """Return the (h, w, 3) RGB that frame *index* shows in a box; None if that was not kept.

        It is what `Picture.rgb` returns of the whole frame.
        """
        for part in self._parts.get(index, ()):
            if _within(box, part.box):
                left, top = box.x0 - part.box.x0, box.y0 - part.box.y0
                return self._read(part).rgb(Box(left, top, left + box.width, top + box.height))
        return None

    def clear(self) -> None:
        """Forget everything and give the disk back."""
        self._parts.clear()
        self._file, self._end = None, 0

    def _write(self, planes: Planes) -> tuple[int, int, int]:
        """Write planes to the file; return where each is.

        Raises:
            EncodeFailed: there is no room for them.
            OSError: there is no folder for temporary files.
        """
        if self._file is None:
            self._most = min(self._most, disk_usage(gettempdir()).free // 2)
        if self._end + sum(plane.nbytes for plane in planes) > self._most:
            raise EncodeFailed("the album is full")
        self._file = self._file or Scratch()
        places = []
        for plane in planes:
            places.append(self._end)
            self._end = self._file.write(plane, self._end)
        return places[0], places[1], places[2]

    def _read(self, part: _Part) -> Picture:
        assert self._file is not None
        shapes = (part.box.height, part.box.width), *[_halves(part.box)] * 2
        planes: list[Any] = [
            self._file.read(shape, empty.dtype, at)
            for shape, empty, at in zip(shapes, part.like.planes, part.places, strict=True)
        ]
        return replace(part.like, planes=(planes[0], planes[1], planes[2]))


def _within(box: Box, other: Box) -> bool:
    return box.x0 >= other.x0 and box.y0 >= other.y0 and box.x1 <= other.x1 and box.y1 <= other.y1


def _halves(box: Box) -> tuple[int, int]:
    return (box.height + 1) // 2, (box.width + 1) // 2
