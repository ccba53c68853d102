"""Convert FFmpeg frames to pictures and back; planes of YUV are passed on unchanged."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple, cast

import av
import cv2
import numpy as np
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter

from lipwright.errors import EncodeFailed, MediaUnreadable
from lipwright.media import colour
from lipwright.media.interlacing import FieldFlags
from lipwright.media.picture import Picture, Plane
from lipwright.media.pixel_format import (
    chroma_before_rotation,
    planar_format,
    read_pixel_format,
    subsampling_after_rotation,
)
from lipwright.media.probe import VideoInfo

ROTATIONS = {
    90: cv2.ROTATE_90_CLOCKWISE,
    180: cv2.ROTATE_180,
    270: cv2.ROTATE_90_COUNTERCLOCKWISE,
}
BT709 = 1  # AVCOL_SPC, AVCOL_PRI and AVCOL_TRC
SWS_COLORSPACE = {
    "bt601": Colorspace.ITU601,
    "bt709": Colorspace.ITU709,
    "bt2020": Colorspace.BT2020,
}
SCALE = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP


class FrameToPicture:
    """Converts the decoded frames of one stream to pictures in display orientation."""

    def __init__(self, info: VideoInfo) -> None:
        self._info = info
        self._coded_size = coded_size(info)
        deep = info.bit_depth > 8
        self._depth, self._alpha = 10 if deep else 8, info.alpha
        self._format = planar_format(info.chroma, deep, info.alpha)
        self._unchanged = {self._format, self._format.replace("yuv", "yuvj")}
        if not info.alpha:
            self._unchanged.add(planar_format(info.chroma, deep, alpha=True))
        self._subsampling = subsampling_after_rotation(info.chroma, info.rotation)
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
            chroma=self._subsampling,
            alpha=self._rotate(_plane(planar, 3, dtype)) if self._alpha else None,
        )

    def _to_planar(self, frame: av.VideoFrame) -> av.VideoFrame:
        size_kept = (frame.width, frame.height) == self._coded_size
        if size_kept and frame.format.name in self._unchanged:
            return frame
        rgb = frame.format.is_rgb
        levels = colour.FULL_RANGE if self._full_range else colour.LIMITED_RANGE
        try:
            return self._reformatter.reformat(
                frame,
                *self._coded_size,
                format=self._format,
                src_colorspace=None if rgb else SWS_COLORSPACE[self._matrix],
                dst_colorspace=SWS_COLORSPACE[self._matrix],
                src_color_range=colour.FULL_RANGE if rgb else levels,
                dst_color_range=levels,
                interpolation=SCALE,
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

    def __init__(self, like: VideoInfo, pix_fmt: str) -> None:
        """Prepare to convert.

        Args:
            like: Size, depth, orientation, colour and order of fields of the frames.
            pix_fmt: Pixel format of the frames. Without alpha, transparent parts become white.
        """
        self._like, self._pix_fmt = like, pix_fmt
        self._keep_alpha = read_pixel_format(pix_fmt).alpha
        self._matrix = SWS_COLORSPACE[colour.matrix_of(like.colorspace, like.width, like.height)]
        self._tags = colour_tags(like)
        self._flags = FieldFlags(like.field_order, pix_fmt) if like.interlaced else None
        self._reformatter = VideoReformatter()

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
        if not self._keep_alpha:
            picture = picture.on_white()
        frame = self._in_format(self._fill(picture))
        tags = self._tags
        frame.color_range, frame.colorspace = tags.color_range, tags.colorspace
        frame.color_primaries, frame.color_trc = tags.color_primaries, tags.color_trc
        return frame

    def _fill(self, picture: Picture) -> av.VideoFrame:
        """Return a frame with the samples of *picture*."""
        chroma = chroma_before_rotation(picture.chroma, self._like.rotation)
        has_alpha = picture.alpha is not None
        format_ = planar_format(chroma, picture.depth > 8, has_alpha)
        frame = av.VideoFrame(*coded_size(self._like), format_)
        planes = picture.planes if picture.alpha is None else (*picture.planes, picture.alpha)
        for index, plane in enumerate(planes):
            _plane(frame, index, plane.dtype.type)[:] = self._rotate_back(plane)
        return frame

    def _in_format(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Return *frame* in the pixel format, flagged as interlaced if it is."""
        if self._flags is not None:
            return self._flags.apply(frame)
        if frame.format.name == self._pix_fmt:
            return frame
        levels = self._tags.color_range or colour.LIMITED_RANGE
        return self._reformatter.reformat(
            frame,
            format=self._pix_fmt,
            src_colorspace=self._matrix,
            dst_colorspace=self._matrix,
            src_color_range=levels,
            dst_color_range=levels,
            interpolation=SCALE,
        )

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
