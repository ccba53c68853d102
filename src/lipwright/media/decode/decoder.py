"""Decode the frames of a video stream in order, skipping damaged packets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import av
from av.codec.context import ThreadType
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.container import InputContainer

from lipwright.errors import LimitExceeded, LipwrightError
from lipwright.media.inspect.container import open_input, translate_errors
from lipwright.media.interlacing import deinterlace
from lipwright.media.pixel_format import ALPHA_DECODERS, has_separate_alpha
from lipwright.media.probe import VideoInfo
from lipwright.options import MAX_PIXELS
from lipwright.runtime.device import Device

HARDWARE_DECODER = "cuda"  # FFmpeg's name of the NVIDIA decoder
CODED_MARGIN = 64  # pixels that a coded side may be longer than the displayed one


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
        """Open the file.

        Raises:
            LimitExceeded: Its frames grow beyond the size that was checked before.
        """
        self._path = path
        self.skipped = 0  #: damaged packets skipped so far
        self.concealed = 0  #: frames so far whose damaged parts FFmpeg has filled in
        self._container = _open(path, decode_options.device)
        stream = self._container.streams[video.stream]
        assert isinstance(stream, av.VideoStream)
        #: whether the device decodes; it does not support every codec
        self.on_device = stream.codec_context.is_hwaccel
        context: av.VideoCodecContext = stream.codec_context
        if has_separate_alpha(stream):
            name = ALPHA_DECODERS[context.name]
            context = cast(av.VideoCodecContext, av.CodecContext.create(name, "r"))
        context.thread_type = ThreadType.AUTO
        context.thread_count = decode_options.threads
        # A stream may change its size: a frame of any size would be decoded and scaled.
        sides = video.width + CODED_MARGIN, video.height + CODED_MARGIN
        self._max_pixels = max(MAX_PIXELS, sides[0] * sides[1])
        context.options = {"max_pixels": str(self._max_pixels)}
        self._stream, self._context = stream, context
        self._field_order = video.field_order if video.deinterlace else None
        self._check_size()  # the container may know of later frames

    def frames(self) -> Iterator[av.VideoFrame]:
        """Yield the frames from the current position to the end of the file.

        Raises:
            LimitExceeded: The frames grow beyond the size that was checked before.
        """
        if self._field_order is None:
            return self._decode()
        return deinterlace(self._decode(), self._field_order)

    def _decode(self) -> Iterator[av.VideoFrame]:
        with translate_errors(self._path):
            for packet in self._container.demux(self._stream):
                try:
                    frames = self._context.decode(packet)
                except av.error.InvalidDataError:
                    self._check_size()
                    self.skipped += 1
                    continue
                for frame in frames:
                    self.concealed += frame.is_corrupt
                    yield frame

    def _check_size(self) -> None:
        context = self._context
        if context.width * context.height > self._max_pixels:
            raise LimitExceeded(
                f"{self._path}: its frames grow to {context.width} x {context.height}, over the "
                f"limit of {self._max_pixels} pixels: re-encode it to one size"
            )

    def seek(self, pts: int) -> bool:
        """Seek to the last key frame at or before *pts*, in ticks; return whether that worked."""
        try:
            self._container.seek(pts, stream=self._stream)
        except av.error.FFmpegError:
            return False
        if self._context is not self._stream.codec_context:  # FFmpeg resets only its own
            self._context.flush_buffers()
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
