"""Decode a video stream, leaving out what is damaged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.container import InputContainer

from lipwright.errors import LipwrightError
from lipwright.media.container import open_input, translated
from lipwright.media.probe import VideoInfo
from lipwright.runtime.device import Device

DEVICE = "cuda"  # FFmpeg's name of it


@dataclass(frozen=True)
class DecodeOptions:
    """How pictures are decoded; the frames are the same in any way."""

    threads: int = 0  #: 0: as many as there are cores
    device: Device = Device.CPU  #: what decodes, where it is there and knows the codec


ANYHOW = DecodeOptions()


class Decoder:
    """The decoded frames of a video stream in display order; remembers what it could not decode."""

    def __init__(self, path: Path, video: VideoInfo, decoding: DecodeOptions = ANYHOW) -> None:
        """Open the file."""
        self._path = path
        self._info = video
        self.skipped = 0  #: damaged packets left out so far
        self._container = _opened(path, decoding.device)
        stream = self._container.streams[video.stream]
        assert isinstance(stream, av.VideoStream)
        #: whether a device decodes, which FFmpeg cannot do for every codec
        self.on_device = stream.codec_context.is_hwaccel
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = decoding.threads
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


def _opened(path: Path, device: Device) -> InputContainer:
    """Return a file, opened for a device if that is there."""
    plain = open_input(path)  # first of all, for what is wrong with the file itself
    if device is Device.CPU or DEVICE not in hwdevices_available():
        return plain
    try:
        faster = open_input(path, HWAccel(DEVICE, allow_software_fallback=True))
    except LipwrightError:  # the driver's words about a device that is not there
        return plain
    plain.close()
    return faster
