"""Convert FFmpeg frames to pictures and back; 4:2:0 planes are passed on unchanged."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple, cast

import av
import cv2
import numpy as np
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter

from lipwright.errors import EncodeFailed, MediaUnreadable
from lipwright.media import colour
from lipwright.media.picture import Picture, Plane
from lipwright.media.probe import VideoInfo

DEPTH_OF_PLANAR = {
    "yuv420p": 8,
    "yuvj420p": 8,
    "yuva420p": 8,
    "yuv420p10le": 10,
    "yuva420p10le": 10,
}
ROTATIONS = {
    90: cv2.ROTATE_90_CLOCKWISE,
    180: cv2.ROTATE_180,
    270: cv2.ROTATE_90_COUNTERCLOCKWISE,
}
BT709 = 1  # AVCOL_SPC, AVCOL_PRI and AVCOL_TRC
_SWS = {"bt601": Colorspace.ITU601, "bt709": Colorspace.ITU709, "bt2020": Colorspace.BT2020}
_SCALE = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP


class FrameToPicture:
    """Converts the decoded frames of one stream to pictures in display orientation."""

    def __init__(self, info: VideoInfo) -> None:
        self._info = info
        self._coded_size = coded_size(info)
        self._depth = 10 if info.bit_depth > 8 else 8
        self._matrix = colour.matrix_of(info.colorspace, info.width, info.height)
        self._full_range = info.color_range == colour.FULL_RANGE and info.colorspace != colour.RGB
        self._reformatter = VideoReformatter()

    def convert(self, frame: av.VideoFrame) -> Picture:
        """Return *frame* as a picture; its arrays may be views of the decoder's buffers.

        Raises:
            MediaUnreadable: FFmpeg cannot convert the frame.
        """
        dtype = np.uint16 if self._depth == 10 else np.uint8
        planar = self._to_planar(frame)
        y, u, v = (self._rotate(_plane(planar, i, dtype)) for i in range(3))
        return Picture(
            planes=(y, u, v),
            depth=self._depth,
            matrix=self._matrix,
            full_range=self._full_range,
        )

    def _to_planar(self, frame: av.VideoFrame) -> av.VideoFrame:
        size_kept = (frame.width, frame.height) == self._coded_size
        if size_kept and DEPTH_OF_PLANAR.get(frame.format.name) == self._depth:
            return frame
        rgb = frame.format.is_rgb
        levels = colour.FULL_RANGE if self._full_range else colour.LIMITED_RANGE
        try:
            return self._reformatter.reformat(
                frame,
                *self._coded_size,
                format="yuv420p10le" if self._depth == 10 else "yuv420p",
                src_colorspace=None if rgb else _SWS[self._matrix],
                dst_colorspace=_SWS[self._matrix],
                src_color_range=colour.FULL_RANGE if rgb else levels,
                dst_color_range=levels,
                interpolation=_SCALE,
            )
        except (av.error.FFmpegError, ValueError) as error:
            raise MediaUnreadable(
                f"pictures in the format {frame.format.name} cannot be converted: "
                "re-encode the video to H.264"
            ) from error

    def _rotate(self, plane: Plane) -> Plane:
        if self._info.mirrored:
            plane = cv2.flip(plane, 0)
        if self._info.rotation:
            plane = cv2.rotate(plane, ROTATIONS[self._info.rotation])
        plane.setflags(write=False)
        return plane


def _plane(frame: av.VideoFrame, index: int, dtype: type[np.uint8] | type[np.uint16]) -> Plane:
    """Return a view of one plane (h, w) without the padding of its rows."""
    plane = frame.planes[index]
    samples: Plane = np.frombuffer(memoryview(cast(Any, plane)), dtype).reshape(
        -1, plane.line_size // dtype().itemsize
    )
    return samples[: plane.height, : plane.width]


class PictureToFrame:
    """Converts pictures in display orientation to frames in coded orientation."""

    def __init__(self, like: VideoInfo) -> None:
        self._like = like
        self._format = "yuv420p10le" if like.bit_depth > 8 else "yuv420p"
        self._tags = colour_tags(like)

    def convert(self, picture: Picture) -> av.VideoFrame:
        """Return *picture* as a frame with colour tags.

        Raises:
            EncodeFailed: Its size or depth differs from that of the video.
        """
        like = self._like
        actual = picture.width, picture.height, picture.depth
        if actual != (like.width, like.height, 10 if like.bit_depth > 8 else 8):
            raise EncodeFailed(
                f"a picture of {actual[0]} x {actual[1]} at {actual[2]} bit does not fit a video "
                f"of {like.width} x {like.height} at {like.bit_depth} bit"
            )
        frame = av.VideoFrame(*coded_size(like), self._format)
        for index, plane in enumerate(picture.planes):
            _plane(frame, index, plane.dtype.type)[:] = self._rotate_back(plane)
        tags = self._tags
        frame.color_range, frame.colorspace = tags.color_range, tags.colorspace
        frame.color_primaries, frame.color_trc = tags.color_primaries, tags.color_trc
        return frame

    def _rotate_back(self, plane: Plane) -> Plane:
        if self._like.rotation:
            plane = cv2.rotate(plane, ROTATIONS[360 - self._like.rotation])
        return cv2.flip(plane, 0) if self._like.mirrored else plane


class ColourTags(NamedTuple):
    """FFmpeg's AVCOL numbers, which define how players read the samples."""

    color_range: int
    colorspace: int
    color_primaries: int
    color_trc: int


def colour_tags(like: VideoInfo) -> ColourTags:
    """Return the tags of the encoded video; RGB sources become limited-range BT.709."""
    if like.colorspace == colour.RGB:
        return ColourTags(colour.LIMITED_RANGE, BT709, BT709, BT709)
    return ColourTags(like.color_range, like.colorspace, like.color_primaries, like.color_trc)


def coded_size(like: VideoInfo) -> tuple[int, int]:
    """Return width and height before rotation."""
    return (like.height, like.width) if like.rotation % 180 else (like.width, like.height)


def coded_aspect(like: VideoInfo) -> Fraction:
    """Return the sample aspect ratio before rotation."""
    return 1 / like.sample_aspect if like.rotation % 180 else like.sample_aspect


def display_matrix(like: VideoInfo) -> list[int]:
    """Return the display matrix (nine numbers) by which a player rotates the coded frame.

    Rows of 16.16, 16.16 and 2.30 fixed point: (x', y') = (a x + c y + tx, b x + d y + ty). The
    translation moves the rotated frame back to the origin.
    """
    cos, sin = ((1, 0), (0, 1), (-1, 0), (0, -1))[like.rotation // 90]
    flip = -1 if like.mirrored else 1
    a, b, c, d = cos, sin, -sin * flip, cos * flip
    width, height = coded_size(like)
    tx = -min(0, a * width) - min(0, c * height)
    ty = -min(0, b * width) - min(0, d * height)
    one = 1 << 16
    return [a * one, b * one, 0, c * one, d * one, 0, tx * one, ty * one, 1 << 30]
