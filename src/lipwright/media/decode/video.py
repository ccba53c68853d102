"""Pictures and samples as streams: whole clips in constant memory, any order on request."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av

from lipwright.errors import MediaUnreadable
from lipwright.media.decode.audio import iter_audio, read_audio
from lipwright.media.decode.decoder import ANYHOW, DecodeOptions, Decoder
from lipwright.media.decode.random_access import Reader
from lipwright.media.frame_conversion import PictureMaker
from lipwright.media.frame_rate import snap
from lipwright.media.picture import Picture
from lipwright.media.probe import MediaInfo, VideoInfo, require_video
from lipwright.media.stills import read_still

__all__ = ["Reader", "SourceFrame", "VideoFrames", "iter_audio", "read_audio", "read_video"]


@dataclass(frozen=True, kw_only=True)
class SourceFrame:
    """One picture of the source and when it is shown."""

    index: int  #: from 0, in display order
    time: Fraction  #: seconds since the first frame
    picture: Picture


class Clock:
    """Frame times since the first frame: rounding undone, missing and repeated stamps mended."""

    def __init__(self, video: VideoInfo) -> None:
        self._video = video
        self._first: int | None = None
        self._last: Fraction | None = None

    def time(self, frame: av.VideoFrame) -> Fraction:
        """Return the time of the next *frame*, seconds; always later than the one before."""
        if self._first is None:
            self._first = frame.pts
        time = self._stamp(frame)
        if self._last is not None and (time is None or time <= self._last):
            time = self._last + 1 / self._video.rate
        self._last = time or Fraction(0)
        return self._last

    def _stamp(self, frame: av.VideoFrame) -> Fraction | None:
        if frame.pts is None or self._first is None:
            return None
        time = (frame.pts - self._first) * self._video.tick
        return snap(time, self._video.rate, self._video.tick)


class VideoFrames(Iterator[SourceFrame]):
    """A pass over a video: an iterator that can be closed, and tells what was damaged."""

    def __init__(
        self, info: MediaInfo, start: int, stop: int | None, decoding: DecodeOptions
    ) -> None:
        self._video = require_video(info)
        self._decoder = None if self._video.still else Decoder(info.path, self._video, decoding)
        if self._decoder is None:
            self._frames = _one(info.path, start, stop)
        else:
            self._frames = self._pass(info.path, self._decoder, start, stop)

    @property
    def skipped(self) -> int:
        """Damaged packets that were left out so far."""
        return 0 if self._decoder is None else self._decoder.skipped

    def __next__(self) -> SourceFrame:
        return next(self._frames)

    def close(self) -> None:
        """Close the file; harmless when done twice."""
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

    def _pass(
        self, path: Path, decoder: Decoder, start: int, stop: int | None
    ) -> Generator[SourceFrame]:
        clock, maker = Clock(self._video), PictureMaker(self._video)
        index = -1
        try:
            for index, frame in enumerate(decoder.frames()):
                if stop is not None and index >= stop:
                    return
                time = clock.time(frame)
                if index >= start:
                    yield SourceFrame(index=index, time=time, picture=maker.picture(frame))
        finally:
            decoder.close()
        if index < 0 or self.skipped > index:
            raise MediaUnreadable(
                f"{path} is damaged: {self.skipped} packets could not be decoded, "
                f"{index + 1} could; re-encode it or get a fresh copy"
            )


def _one(path: Path, start: int, stop: int | None) -> Generator[SourceFrame]:
    """Yield the frame of a still picture."""
    if start <= 0 and (stop is None or stop > 0):
        yield SourceFrame(index=0, time=Fraction(0), picture=read_still(path).picture)


def read_video(
    info: MediaInfo,
    *,
    start: int | None = None,
    stop: int | None = None,
    decoding: DecodeOptions = ANYHOW,
) -> VideoFrames:
    """Return the frames of *info* in display order, from index *start* up to before *stop*.

    Memory does not grow with the clip. Damaged packets are left out and counted (`skipped`).

    Raises:
        SourceUnreachable: the file is gone.
        MediaUnreadable: it has no pictures, or most of it is damaged.
    """
    return VideoFrames(info, start or 0, stop, decoding)
