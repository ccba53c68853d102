"""Decoded FFmpeg frames to pictures: the planes as they are where they are 4:2:0 already."""

from __future__ import annotations

import av
import cv2
import numpy as np
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter

from lipwright.errors import MediaUnreadable
from lipwright.media import colour
from lipwright.media.picture import Picture, Plane
from lipwright.media.probe import VideoInfo

PLANAR = {"yuv420p": 8, "yuvj420p": 8, "yuva420p": 8, "yuv420p10le": 10, "yuva420p10le": 10}
TURNS = {
    90: cv2.ROTATE_90_CLOCKWISE,
    180: cv2.ROTATE_180,
    270: cv2.ROTATE_90_COUNTERCLOCKWISE,
}
_SWS = {"bt601": Colorspace.ITU601, "bt709": Colorspace.ITU709, "bt2020": Colorspace.BT2020}
_SCALE = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP


class PictureMaker:
    """Makes pictures, in display orientation, of the decoded frames of one stream."""

    def __init__(self, info: VideoInfo) -> None:
        self._info = info
        self._coded = (info.width, info.height)[:: -1 if info.rotation % 180 else 1]
        self._depth = 10 if info.bit_depth > 8 else 8
        self._matrix = colour.matrix_of(info.colorspace, info.width, info.height)
        self._full_range = info.color_range == colour.FULL_RANGE and info.colorspace != colour.RGB
        self._reformatter = VideoReformatter()

    def picture(self, frame: av.VideoFrame) -> Picture:
        """Return *frame* as a picture; its arrays are views of the decoder's buffers.

        Raises:
            MediaUnreadable: FFmpeg cannot convert the frame.
        """
        dtype = np.uint16 if self._depth == 10 else np.uint8
        planar = self._planar(frame)
        y, u, v = (self._turned(_plane(planar, i, dtype)) for i in range(3))
        return Picture(
            planes=(y, u, v),
            depth=self._depth,
            matrix=self._matrix,
            full_range=self._full_range,
        )

    def _planar(self, frame: av.VideoFrame) -> av.VideoFrame:
        size_kept = (frame.width, frame.height) == self._coded
        if size_kept and PLANAR.get(frame.format.name) == self._depth:
            return frame
        rgb = frame.format.is_rgb
        levels = colour.FULL_RANGE if self._full_range else colour.LIMITED_RANGE
        try:
            return self._reformatter.reformat(
                frame,
                *self._coded,
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

    def _turned(self, plane: Plane) -> Plane:
        if self._info.mirrored:
            plane = cv2.flip(plane, 0)
        if self._info.rotation:
            plane = cv2.rotate(plane, TURNS[self._info.rotation])
        plane.setflags(write=False)
        return plane


def _plane(frame: av.VideoFrame, index: int, dtype: type[np.uint8] | type[np.uint16]) -> Plane:
    """Return a view of one plane (h, w) without the padding of its lines."""
    plane = frame.planes[index]
    samples = np.frombuffer(plane, dtype).reshape(-1, plane.line_size // dtype().itemsize)
    return samples[: plane.height, : plane.width]
