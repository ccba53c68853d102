"""Pictures in any order: forward, over again, backward, held, and between two frames."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Generator, Iterable, Iterator
from itertools import chain
from pathlib import Path

import av

from lipwright.errors import MediaUnreadable
from lipwright.media.decode.decoder import ANYHOW, DecodeOptions, Decoder
from lipwright.media.frame_conversion import PictureMaker
from lipwright.media.interpolate import Between
from lipwright.media.picture import Picture
from lipwright.media.probe import MediaInfo, VideoInfo, require_video
from lipwright.media.stills import read_still

BLOCK_BYTES = 192 << 20  # of decoded frames held while going backward
BLOCK_LEAST, BLOCK_MOST = 8, 128  # frames held at any size: a long clip needs no more than a short


class Reader:
    """Hands out the pictures of a video in the order a timeline asks for.

    Going forward decodes each frame once. Going backward decodes block by block, each from the key
    frame before it, and holds one block: memory is bounded whatever the distance of key frames.
    """

    def __init__(self, info: MediaInfo, decoding: DecodeOptions = ANYHOW) -> None:
        """Prepare to decode."""
        self._info, self._decoding = info, decoding
        self._video = require_video(info)

    def at(self, indices: Iterable[tuple[int, float]]) -> Generator[Picture]:
        """Yield one picture per request, in the order of *indices*.

        Args:
            indices: pairs of a frame's index and how far (0 to 1) to go towards the next frame;
                `Timeline.picks` makes them.

        Raises:
            SourceUnreachable: the file is gone.
            MediaUnreadable: it ends before a frame asked for.
        """
        if self._video.still:
            yield from _held(self._info.path, indices)
            return
        shuttle = _Shuttle(self._info, self._video, self._decoding)
        between: tuple[int, Between] | None = None
        try:
            for index, fraction in indices:
                first = shuttle.picture(index)
                if fraction <= 0:
                    yield first
                    continue
                if between is None or between[0] != index:
                    between = index, Between(first, shuttle.picture(index + 1))
                yield between[1].at(fraction)
        finally:
            shuttle.close()


def _held(path: Path, indices: Iterable[tuple[int, float]]) -> Iterator[Picture]:
    """Yield a still picture for each request: whatever comes before or after, it is that one."""
    picture = read_still(path).picture
    for _ in indices:
        yield picture


class _Shuttle:
    """Moves over a video and holds the frames around where it stands."""

    def __init__(self, info: MediaInfo, video: VideoInfo, decoding: DecodeOptions) -> None:
        self._info, self._decoding = info, decoding
        self._video = video
        self._maker = PictureMaker(video)
        self._table = _Table()
        self._held: dict[int, av.VideoFrame] = {}
        self._pictures: dict[int, Picture] = {}
        self._block = min(max(BLOCK_LEAST, BLOCK_BYTES // _frame_bytes(video)), BLOCK_MOST)
        self._decoder = Decoder(info.path, video, decoding)
        self._frames: Iterator[tuple[int, av.VideoFrame]] = self._table.numbered(
            self._decoder.frames(), 0
        )
        self._next = 0  # the frame that comes out of the decoder next

    def picture(self, index: int) -> Picture:
        """Return frame *index*."""
        if index not in self._held:
            self._fetch(index)
        if index not in self._pictures:
            self._pictures = {i: p for i, p in self._pictures.items() if abs(i - index) == 1}
            self._pictures[index] = self._maker.picture(self._held[index])
        return self._pictures[index]

    def close(self) -> None:
        """Close the file."""
        self._decoder.close()

    def _fetch(self, index: int) -> None:
        low = index
        if index >= self._next:  # forward: the frame before may be one end of a blend
            self._held = {i: f for i, f in self._held.items() if i == index - 1}
        else:
            self._held.clear()
            low = self._table.block_start(index, self._block)
            self._go_back(low)
        for number, frame in self._frames:
            self._next = number + 1
            if number >= low:
                self._held[number] = frame
            if number >= index:
                break
        if index not in self._held:
            raise MediaUnreadable(
                f"{self._info.path} has {self._next} pictures, number {index + 1} was asked for: "
                "did it change while it was read?"
            )

    def _go_back(self, low: int) -> None:
        """Stand at or before frame *low*: at a key frame, or at the very start if need be."""
        for key in self._table.keys_before(low):
            if self._decoder.seek(self._table.stamp(key)):
                self._frames = self._table.numbered(self._decoder.frames(), None)
                first = next(self._frames, None)
                if first is not None and first[0] <= low:
                    self._frames = chain([first], self._frames)
                    return
        self._decoder.close()
        self._decoder = Decoder(self._info.path, self._video, self._decoding)
        self._frames = self._table.numbered(self._decoder.frames(), 0)


class _Table:
    """What passing over the frames taught: their time stamps, and which are key frames."""

    def __init__(self) -> None:
        self._stamps: list[int | None] = []
        self._index: dict[int, int] = {}
        self._keys: list[int] = []

    def numbered(
        self, frames: Iterator[av.VideoFrame], start: int | None
    ) -> Iterator[tuple[int, av.VideoFrame]]:
        """Yield each frame with its index: counted from *start*, or found by its stamp."""
        number = start
        for frame in frames:
            known = None if frame.pts is None else self._index.get(frame.pts)
            if start is None and known is not None:
                number = known
            if number is None:
                return  # an unknown place: the caller starts over
            if number == len(self._stamps):
                self._learn(number, frame)
            yield number, frame
            number += 1

    def block_start(self, index: int, block: int) -> int:
        """Return where to begin so that *index* and at most *block* - 1 frames before are held."""
        low = max(0, index - block + 1)
        place = bisect_left(self._keys, low)
        return self._keys[place] if place < len(self._keys) and self._keys[place] <= index else low

    def keys_before(self, low: int) -> list[int]:
        """Return the last two key frames up to *low*, nearest first; none without clear stamps."""
        if len(self._index) < len(self._stamps):
            return []
        place = bisect_right(self._keys, low)
        return [key for key in reversed(self._keys[max(0, place - 2) : place]) if key > 0]

    def stamp(self, index: int) -> int:
        """Return the time stamp of a frame from `keys_before`."""
        stamp = self._stamps[index]
        assert stamp is not None
        return stamp

    def _learn(self, number: int, frame: av.VideoFrame) -> None:
        self._stamps.append(frame.pts)
        if frame.pts is not None:
            self._index[frame.pts] = number
        if frame.key_frame:
            self._keys.append(number)


def _frame_bytes(video: VideoInfo) -> int:
    """Return the size of a decoded frame."""
    return video.width * video.height * 3 // 2 * (2 if video.bit_depth > 8 else 1)
