"""What a pixel format of FFmpeg holds: chroma sampling, bits and alpha (no I/O)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import av

from lipwright.media.chroma import SUBSAMPLING, Chroma, Subsampling

MAX_DEPTH = 10  # bits per sample that pictures hold; more become 10
#: By codec: the decoder that returns alpha which is coded beside the pictures.
ALPHA_DECODERS: Mapping[str, str] = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
OPAQUE = 255  # code of 8-bit alpha
_WIDTH = 8  # pixels of a line that chroma factors are read from


class PixelFormat(NamedTuple):
    """The samples that a pixel format holds."""

    chroma: Chroma  #: the least that keeps all chroma; RGB needs 4:4:4, grey has none: 4:2:0
    bits: int  #: per sample
    alpha: bool
    rgb: bool  #: red, green and blue, also by a palette


def read_pixel_format(name: str) -> PixelFormat:
    """Return what the pixel format *name* holds."""
    format_ = av.VideoFormat(name)
    components = format_.components
    rgb = format_.is_rgb or format_.has_palette
    colours = sum(not c.is_alpha for c in components)
    if rgb:
        chroma: Chroma = "4:4:4"
    elif colours < 3:  # grey
        chroma = "4:2:0"
    else:
        across = _WIDTH // max(1, format_.chroma_width(_WIDTH))
        down = _WIDTH // max(1, format_.chroma_height(_WIDTH))
        chroma = "4:2:0" if across > 1 and down > 1 else "4:2:2" if across > 1 else "4:4:4"
    return PixelFormat(
        chroma=chroma,
        bits=max(c.bits for c in components),
        alpha=any(c.is_alpha for c in components),
        rgb=rgb,
    )


def planar_format(chroma: Chroma, deep: bool, alpha: bool = False) -> str:
    """Return the planar YUV format of 8 bits per sample, or of 10 if *deep*."""
    return f"yuv{'a' * alpha}{chroma.replace(':', '')}p{'10le' * deep}"


def subsampling_after_rotation(chroma: Chroma, rotation: int) -> Subsampling:
    """Return the subsampling of a frame that is displayed rotated by *rotation* degrees."""
    x, y = SUBSAMPLING[chroma]
    return Subsampling(y, x) if rotation % 180 else Subsampling(x, y)


def chroma_before_rotation(subsampling: Subsampling, rotation: int) -> Chroma:
    """Return the chroma sampling as coded: the inverse of `subsampling_after_rotation`."""
    coded = Subsampling(*reversed(subsampling)) if rotation % 180 else subsampling
    return next(chroma for chroma, factors in SUBSAMPLING.items() if factors == coded)


def has_alpha(stream: av.VideoStream, frame: av.VideoFrame) -> bool:
    """Return whether the pictures of a stream have an alpha channel.

    FFmpeg returns every GIF with one, and a palette may hold one: they count if *frame*, the first,
    uses it.
    """
    if stream.codec_context.name == "gif" or frame.format.has_palette:
        return bool((frame.to_ndarray(format="rgba")[..., 3] < OPAQUE).any())
    return has_separate_alpha(stream) or read_pixel_format(frame.format.name).alpha


def has_separate_alpha(stream: av.VideoStream) -> bool:
    """Return whether alpha is coded beside the pictures, as VP8 and VP9 do in WebM.

    FFmpeg's own decoders drop it: see `ALPHA_DECODERS`.
    """
    tags = {name.lower(): value for name, value in stream.metadata.items()}  # a copy: ALPHA_MODE
    return stream.codec_context.name in ALPHA_DECODERS and tags.get("alpha_mode") == "1"
