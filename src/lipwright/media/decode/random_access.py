"""Read the frames of a video in any order, including repeats, backward and between frames."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Generator, Iterable, Iterator
from itertools import chain
from pathlib import Path

import av

from lipwright.errors import MediaUnreadable
from lipwright.media.chroma import SUBSAMPLING
from lipwright.media.decode.decoder import DEFAULT_DECODE_OPTIONS, DecodeOptions, Decoder
from lipwright.media.frame_conversion import FrameToPicture
from lipwright.media.interpolate import FrameInterpolator
from lipwright.media.picture import Picture
from lipwright.media.probe import MediaInfo, VideoInfo, require_video
from lipwright.media.stills import read_still

BLOCK_BYTES = 192 << 20  # decoded frames held while reading backward
MIN_BLOCK_FRAMES, MAX_BLOCK_FRAMES = 8, 128  # bounds of that number, whatever the frame size


class RandomAccessReader:
    """Reads the frames of a video in the order that a timeline gives.

    Reading forward decodes each frame once. Reading backward decodes one block at a time, from the
    key frame before it. Only one block is held, so memory does not depend on the key frame
    interval.
    """

    def __init__(
        self, info: MediaInfo, decode_options: DecodeOptions = DEFAULT_DECODE_OPTIONS
    ) -> None:
        """Prepare to decode."""
        self._info, self._decode_options = info, decode_options
        self._video = require_video(info)

    def read(self, indices: Iterable[tuple[int, float]]) -> Generator[Picture]:
        """Yield one picture per item of *indices*, in that order.

        Args:
            indices: Pairs of a frame index and a fraction (0 to 1) of the way to the next frame, as
                `Timeline.source_indices` yields them.

        Raises:
            SourceUnreachable: The file no longer exists.
            MediaUnreadable: The file ends before a requested frame.
        """
        if self._video.still:
            yield from _repeat_still(self._info.path, indices)
            return
        decoder = RandomAccessDecoder(self._info, self._video, self._decode_options)
        interpolator: tuple[int, FrameInterpolator] | None = None
        try:
            for index, fraction in indices:
                first = decoder.picture(index)
                if fraction <= 0:
                    yield first
                    continue
                if interpolator is None or interpolator[0] != index:
                    second = decoder.picture(index + 1)
                    interpolator = index, FrameInterpolator(first, second)
                yield interpolator[1].at(fraction)
        finally:
            decoder.close()


def _repeat_still(path: Path, indices: Iterable[tuple[int, float]]) -> Iterator[Picture]:
    """Yield the same still image once per index."""
    picture = read_still(path).picture
    for _ in indices:
        yield picture


class RandomAccessDecoder:
    """Decodes single frames by index and holds the frames near the current position."""

    def __init__(self, info: MediaInfo, video: VideoInfo, decode_options: DecodeOptions) -> None:
        self._info, self._decode_options = info, decode_options
        self._video = video
        self._converter = FrameToPicture(video)
        self._index = _FrameIndex()
        self._held: dict[int, av.VideoFrame] = {}
        self._pictures: dict[int, Picture] = {}
        self._block = min(
            max(MIN_BLOCK_FRAMES, BLOCK_BYTES // _frame_bytes(video)), MAX_BLOCK_FRAMES
        )
        self._decoder = Decoder(info.path, video, decode_options)
        self._frames: Iterator[tuple[int, av.VideoFrame]] = self._index.enumerate_frames(
            self._decoder.frames(), 0
        )
        self._next = 0  # index of the frame that the decoder yields next

    def picture(self, index: int) -> Picture:
        """Return frame *index*."""
        if index not in self._held:
            self._decode_to(index)
        if index not in self._pictures:
            self._pictures = {i: p for i, p in self._pictures.items() if abs(i - index) == 1}
            self._pictures[index] = self._converter.convert(self._held[index])
        return self._pictures[index]

    def close(self) -> None:
        """Close the file."""
        self._decoder.close()

    def _decode_to(self, index: int) -> None:
        low = index
        if index >= self._next:  # forward: the previous frame may be needed for interpolation
            self._held = {i: f for i, f in self._held.items() if i == index - 1}
        else:
            self._held.clear()
            low = self._index.block_start(index, self._block)
            self._seek_before(low)
        for number, frame in self._frames:
            self._next = number + 1
            if number >= low:
                self._held[number] = frame
            if number >= index:
                break
        if index not in self._held:
            raise MediaUnreadable(
                f"{self._info.path} has {self._next} frames, but frame {index + 1} was requested: "
                "the file may have changed while it was read"
            )

    def _seek_before(self, low: int) -> None:
        """Seek to a key frame at or before frame *low*, or restart from the beginning."""
        # a deinterlaced frame depends on the one before it
        for key in self._index.key_frames_before(low - self._video.deinterlace):
            if self._decoder.seek(self._index.timestamp(key)):
                self._frames = self._index.enumerate_frames(self._decoder.frames(), None)
                first = next(self._frames, None)
                if first is not None and first[0] <= low:
                    self._frames = chain([first], self._frames)
                    return
        self._decoder.close()
        self._decoder = Decoder(self._info.path, self._video, self._decode_options)
        self._frames = self._index.enumerate_frames(self._decoder.frames(), 0)


class _FrameIndex:
    """Timestamps and key frames of the frames that were decoded so far."""

    def __init__(self) -> None:
        self._timestamps: list[int | None] = []
        self._by_timestamp: dict[int, int] = {}
        self._key_frames: list[int] = []

    def enumerate_frames(
        self, frames: Iterator[av.VideoFrame], start: int | None
    ) -> Iterator[tuple[int, av.VideoFrame]]:
        """Yield each frame with its index, counted from *start* or looked up by its timestamp."""
        number = start
        for frame in frames:
            known = None if frame.pts is None else self._by_timestamp.get(frame.pts)
            if start is None and known is not None:
                number = known
            if number is None:
                return  # unknown position: the caller restarts from the beginning
            if number == len(self._timestamps):
                self._record(number, frame)
            yield number, frame
            number += 1

    def block_start(self, index: int, block: int) -> int:
        """Return the first frame of a block of at most *block* frames that ends at *index*."""
        low = max(0, index - block + 1)
        position = bisect_left(self._key_frames, low)
        if position < len(self._key_frames) and self._key_frames[position] <= index:
            return self._key_frames[position]
        return low

    def key_frames_before(self, low: int) -> list[int]:
        """Return the last two key frames up to *low*, nearest first; none if timestamps repeat."""
        if len(self._by_timestamp) < len(self._timestamps):
            return []
        end = bisect_right(self._key_frames, low)
        return [key for key in reversed(self._key_frames[max(0, end - 2) : end]) if key > 0]

    def timestamp(self, index: int) -> int:
        """Return the timestamp in ticks of a frame from `key_frames_before`."""
        timestamp = self._timestamps[index]
        assert timestamp is not None
        return timestamp

    def _record(self, number: int, frame: av.VideoFrame) -> None:
        self._timestamps.append(frame.pts)
        if frame.pts is not None:
            self._by_timestamp[frame.pts] = number
        if frame.key_frame:
            self._key_frames.append(number)


def _frame_bytes(video: VideoInfo) -> int:
    """Return the bytes of a decoded frame."""
    x, y = SUBSAMPLING[video.chroma]
    samples = video.width * video.height * (1 + video.alpha) + 2 * (video.width // x) * (
        video.height // y
    )
    return samples * (2 if video.bit_depth > 8 else 1)
