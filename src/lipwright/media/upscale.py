"""Upscale whole frames to a named size, plane by plane at their own bit depth."""

from __future__ import annotations

from dataclasses import replace

import cv2

from lipwright.media import colour
from lipwright.media.picture import Picture, Plane
from lipwright.media.probe import VideoInfo
from lipwright.options import FrameSize

# long and short side, pixels
SIDES = {FrameSize.FULL_HD: (1920, 1080), FrameSize.UHD: (3840, 2160)}
UNSPECIFIED = 2  # AVCOL_SPC
BT601 = 6  # AVCOL_SPC_SMPTE170M


def upscaled_size(width: int, height: int, size: FrameSize) -> tuple[int, int]:
    """Return the even width and height that fit a size, portrait or landscape, aspect kept.

    A frame that already fills the size keeps its own size: frames are never scaled down.
    """
    long, short = SIDES[size]
    scale = min(long / max(width, height), short / min(width, height))
    if scale <= 1:
        return width, height
    return _round_to_even(width * scale), _round_to_even(height * scale)


def upscaled_info(video: VideoInfo, size: FrameSize) -> VideoInfo:
    """Return the description of a video upscaled to a size.

    Players choose the matrix of untagged video by its size: small video that is BT.601 only for its
    size is tagged BT.601, since it would be read as BT.709 once it is large.
    """
    width, height = upscaled_size(video.width, video.height, size)
    source_matrix = colour.matrix_of(video.colorspace, video.width, video.height)
    colorspace = video.colorspace
    if colorspace == UNSPECIFIED and source_matrix != colour.matrix_of(colorspace, width, height):
        colorspace = BT601
    return replace(video, width=width, height=height, colorspace=colorspace)


def upscale(picture: Picture, width: int, height: int) -> Picture:
    """Return a picture upscaled to a size by Lanczos interpolation over 8 x 8 samples."""
    if (picture.width, picture.height) == (width, height):
        return picture
    chroma = -(-width // picture.chroma.x), -(-height // picture.chroma.y)
    y, u, v = (
        _resize(plane, target, picture.depth)
        for plane, target in zip(picture.planes, ((width, height), chroma, chroma), strict=True)
    )
    alpha = picture.alpha
    if alpha is not None:
        alpha = _resize(alpha, (width, height), picture.depth)
    return replace(picture, planes=(y, u, v), alpha=alpha)


def _resize(plane: Plane, size: tuple[int, int], depth: int) -> Plane:
    out: Plane = cv2.resize(plane, size, interpolation=cv2.INTER_LANCZOS4)
    return out.clip(max=(1 << depth) - 1) if depth > 8 else out


def _round_to_even(side: float) -> int:
    return max(2, 2 * round(side / 2))
