"""Decode the frames of a video stream in order, skipping damaged packets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.container import InputContainer

from lipwright.errors import LipwrightError
from lipwright.media.container import open_input, translate_errors
from lipwright.media.probe import VideoInfo
from lipwright.runtime.device import Device

HARDWARE_DECODER = "cuda"  # FFmpeg's name of the NVIDIA decoder


@dataclass(frozen=True)
class DecodeOptions:
    """Threads and device of the decoder; they do not affect the decoded frames."""

    threads: int = 0  #: 0: one per core
    device: Device = Device.CPU  #: used if it is present and supports the codec, else the CPU


DEFAULT_DECODE_OPTIONS = DecodeOptions()


class Decoder:
    """Decodes a video stream in display order and counts the damaged packets."""

    def __init__(
        self, path: Path, video: VideoInfo, decode_options: DecodeOptions = DEFAULT_DECODE_OPTIONS
    ) -> None:
        """Open the file."""
        self._path = path
        self.skipped = 0  #: damaged packets skipped so far
        self._container = _open(path, decode_options.device)
        stream = self._container.streams[video.stream]
        assert isinstance(stream, av.VideoStream)
        #: whether the device decodes; it does not support every codec
        self.on_device = stream.codec_context.is_hwaccel
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = decode_options.threads
        self._stream = stream

    def frames(self) -> Iterator[av.VideoFrame]:
        """Yield the frames from the current position to the end of the file."""
        with translate_errors(self._path):
            for packet in self._container.demux(self._stream):
                try:
                    frames = packet.decode()
                except av.error.InvalidDataError:
                    self.skipped += 1
                    continue
                yield from frames

    def seek(self, pts: int) -> bool:
        """Seek to the last key frame at or before *pts*, in ticks; return whether that worked."""
        try:
            self._container.seek(pts, stream=self._stream)
        except av.error.FFmpegError:
            return False
        return True

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._container.close()


def _open(path: Path, device: Device) -> InputContainer:
    """Open a file, with hardware decoding if the device is present."""
    software = open_input(path)  # first, so that errors of the file itself are reported
    if device is Device.CPU or HARDWARE_DECODER not in hwdevices_available():
        return software
    try:
        hardware = open_input(path, HWAccel(HARDWARE_DECODER, allow_software_fallback=True))
    except LipwrightError:  # the driver is installed, but there is no device
        return software
    software.close()
    return hardware
