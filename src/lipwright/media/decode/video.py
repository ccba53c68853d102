"""Read the frames of a video in display order, in constant memory."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av

from lipwright.errors import MediaUnreadable
from lipwright.media.decode.decoder import DEFAULT_DECODE_OPTIONS, DecodeOptions, Decoder
from lipwright.media.frame_conversion import FrameToPicture
from lipwright.media.inspect.frame_rate import snap_to_grid
from lipwright.media.picture import Picture
from lipwright.media.probe import MediaInfo, VideoInfo, require_video
from lipwright.media.stills import read_still


@dataclass(frozen=True, kw_only=True)
class SourceFrame:
    """A source frame and its presentation time."""

    index: int  #: from 0, in display order
    time: Fraction  #: seconds since the first frame
    picture: Picture


class TimestampNormalizer:
    """Converts timestamps to times since the first frame.

    Undoes the rounding of the container and replaces missing and repeated timestamps.
    """

    def __init__(self, video: VideoInfo) -> None:
        self._video = video
        self._first: int | None = None
        self._last: Fraction | None = None

    def time(self, frame: av.VideoFrame) -> Fraction:
        """Return the time of the next *frame* in seconds; strictly increasing."""
        if self._first is None:
            self._first = frame.pts
        time = self._time_of(frame)
        if self._last is not None and (time is None or time <= self._last):
            time = self._last + 1 / self._video.rate
        self._last = time or Fraction(0)
        return self._last

    def _time_of(self, frame: av.VideoFrame) -> Fraction | None:
        if frame.pts is None or self._first is None:
            return None
        time = (frame.pts - self._first) * self._video.tick
        return snap_to_grid(time, self._video.rate, self._video.tick)


class VideoFrames(Iterator[SourceFrame]):
    """Iterator over the frames of a video; closable, counts damaged packets."""

    def __init__(
        self, info: MediaInfo, start: int, stop: int | None, decode_options: DecodeOptions
    ) -> None:
        self._video = require_video(info)
        self._decoder = (
            None if self._video.still else Decoder(info.path, self._video, decode_options)
        )
        if self._decoder is None:
            self._frames = _read_still_frame(info.path, start, stop)
        else:
            self._frames = self._read_frames(info.path, self._decoder, start, stop)

    @property
    def skipped(self) -> int:
        """Number of damaged packets that were skipped so far."""
        return 0 if self._decoder is None else self._decoder.skipped

    @property
    def damaged(self) -> int:
        """Number of frames so far that are missing or partly filled in."""
        return 0 if self._decoder is None else self._decoder.skipped + self._decoder.concealed

    def __next__(self) -> SourceFrame:
        return next(self._frames)

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._frames.close()
        if self._decoder is not None:
            self._decoder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _read_frames(
        self, path: Path, decoder: Decoder, start: int, stop: int | None
    ) -> Generator[SourceFrame]:
        timestamps, converter = TimestampNormalizer(self._video), FrameToPicture(self._video)
        index = -1
        try:
            for index, frame in enumerate(decoder.frames()):
                if stop is not None and index >= stop:
                    return
                time = timestamps.time(frame)
                if index >= start:
                    picture = converter.convert(frame)
                    yield SourceFrame(index=index, time=time, picture=picture)
        finally:
            decoder.close()
        if index < 0 or self.skipped > index:
            raise MediaUnreadable(
                f"{path} is damaged: {self.skipped} packets could not be decoded, only {index + 1} "
                "frames could; re-encode it or get a fresh copy"
            )


def _read_still_frame(path: Path, start: int, stop: int | None) -> Generator[SourceFrame]:
    """Yield the single frame of a still image if it is in the range."""
    if start <= 0 and (stop is None or stop > 0):
        yield SourceFrame(index=0, time=Fraction(0), picture=read_still(path).picture)


def read_video(
    info: MediaInfo,
    *,
    start: int | None = None,
    stop: int | None = None,
    decode_options: DecodeOptions = DEFAULT_DECODE_OPTIONS,
) -> VideoFrames:
    """Return an iterator over the frames of *info* in display order.

    Memory does not grow with the length of the clip. Damaged packets are skipped and counted in
    `VideoFrames.skipped`.

    Args:
        info: The probed file.
        start: Index of the first frame to yield; the earlier ones are decoded too.
        stop: Index to stop before; None: read to the end.
        decode_options: Threads and device of the decoder.

    Raises:
        SourceUnreachable: The file no longer exists.
        MediaUnreadable: The file has no video, or most of it is damaged.
    """
    return VideoFrames(info, start or 0, stop, decode_options)
