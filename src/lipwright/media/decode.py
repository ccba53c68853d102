"""Decode a video stream, leaving out what is damaged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av

from lipwright.media.container import open_input, translated
from lipwright.media.probe import VideoInfo


class Decoder:
    """The decoded frames of a video stream in display order; remembers what it could not decode."""

    def __init__(self, path: Path, video: VideoInfo, threads: int = 0) -> None:
        """Open the file, to be decoded by so many threads; 0: as many as there are cores."""
        self._path = path
        self._info = video
        self.skipped = 0  #: damaged packets left out so far
        self._container = open_input(path)
        stream = self._container.streams[video.stream]
        assert isinstance(stream, av.VideoStream)
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = threads
        self._stream = stream

    def frames(self) -> Iterator[av.VideoFrame]:
        """Yield the frames from where the file stands to its end."""
        with translated(self._path):
            for packet in self._container.demux(self._stream):
                try:
                    frames = packet.decode()
                except av.error.InvalidDataError:
                    self.skipped += 1
                    continue
                yield from frames

    def seek(self, pts: int) -> bool:
        """Go to the last key frame at or before *pts*, in ticks; say whether the file can."""
        try:
            self._container.seek(pts, stream=self._stream)
        except av.error.FFmpegError:
            return False
        return True

    def close(self) -> None:
        """Close the file; harmless when done twice."""
        self._container.close()
