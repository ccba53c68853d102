"""Side data of frames that PyAV has no name for, such as EXIF."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import pytest

from lipwright.media.decode.video import read_video
from lipwright.media.probe import probe, require_video


def exif(orientation: int) -> bytes:
    """Return an APP1 segment with an orientation."""
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    tiff = b"II*\0" + struct.pack("<IH", 8, 1) + entry + struct.pack("<I", 0)
    body = b"Exif\0\0" + tiff
    return b"\xff\xe1" + struct.pack(">H", 2 + len(body)) + body


def write_mjpeg(path: Path, orientation: int) -> Path:
    """Write three frames of 64 x 48, each with an EXIF segment after its first marker."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for index in range(3):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 60 * index, np.uint8))
            for packet in [*stream.encode(frame), *(stream.encode(None) if index == 2 else [])]:
                jpeg = bytes(packet)
                tagged = av.Packet(jpeg[:2] + exif(orientation) + jpeg[2:])
                tagged.stream, tagged.time_base = stream, packet.time_base
                tagged.pts, tagged.dts, tagged.duration = packet.pts, packet.dts, packet.duration
                tagged.is_keyframe = True
                container.mux(tagged)
    return path


@pytest.mark.parametrize("suffix", [".mov", ".avi", ".mkv", ".mp4"])
@pytest.mark.parametrize(("orientation", "size"), [(1, (64, 48)), (6, (48, 64)), (3, (64, 48))])
def test_video_with_exif_is_read_upright(tmp_path, suffix, orientation, size):
    info = probe(write_mjpeg(tmp_path / f"camera{suffix}", orientation))
    video = require_video(info)
    assert (video.width, video.height) == size
    assert video.rotation == {1: 0, 6: 90, 3: 180}[orientation]
    assert len(list(read_video(info))) == 3
