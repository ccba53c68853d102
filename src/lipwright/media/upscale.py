"""Enlarge whole frames to a named size, plane by plane, in the depth that they have."""

from __future__ import annotations

from dataclasses import replace

import cv2

from lipwright.media import colour
from lipwright.media.picture import Picture, Plane
from lipwright.media.probe import VideoInfo
from lipwright.options import FrameSize

SIDES = {FrameSize.FULL_HD: (1920, 1080), FrameSize.UHD: (3840, 2160)}  # long and short side
UNSPECIFIED = 2  # AVCOL_SPC
BT601 = 6  # AVCOL_SPC_SMPTE170M


def enlarged_size(width: int, height: int, size: FrameSize) -> tuple[int, int]:
    """Return the even width and height that fit a size, either way up, aspect kept.

    A frame that fills it already keeps its own size: nothing is ever made smaller.
    """
    long, short = SIDES[size]
    scale = min(long / max(width, height), short / min(width, height))
    if scale <= 1:
        return width, height
    return _even(width * scale), _even(height * scale)


def enlarged_info(video: VideoInfo, size: FrameSize) -> VideoInfo:
    """Return a video enlarged to a size.

    Untagged video is read by its size: what was BT.601 for being small is tagged so before it is
    large.
    """
    width, height = enlarged_size(video.width, video.height, size)
    own = colour.matrix_of(video.colorspace, video.width, video.height)
    tagged = video.colorspace
    if tagged == UNSPECIFIED and own != colour.matrix_of(tagged, width, height):
        tagged = BT601
    return replace(video, width=width, height=height, colorspace=tagged)


def enlarge(picture: Picture, width: int, height: int) -> Picture:
    """Return a picture at another, larger size, by Lanczos interpolation over 8 x 8 samples."""
    if (picture.width, picture.height) == (width, height):
        return picture
    half = (width + 1) // 2, (height + 1) // 2
    y, u, v = (
        _resized(plane, target, picture.depth)
        for plane, target in zip(picture.planes, ((width, height), half, half), strict=True)
    )
    return replace(picture, planes=(y, u, v))


def _resized(plane: Plane, size: tuple[int, int], depth: int) -> Plane:
    out: Plane = cv2.resize(plane, size, interpolation=cv2.INTER_LANCZOS4)
    return out.clip(max=(1 << depth) - 1) if depth > 8 else out


def _even(side: float) -> int:
    return max(2, 2 * round(side / 2))
