"""The picture stream of a result: encoded, or copied from segments that were encoded before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO, cast

import av
from av.container import OutputContainer

from lipwright.media.encode.spec import video_encoding
from lipwright.media.frame_conversion import (
    FrameMaker,
    coded_aspect,
    coded_size,
    colour_tags,
    display_matrix,
)
from lipwright.media.picture import Picture
from lipwright.media.probe import VideoInfo

SEGMENT = "mp4"  # the container of segments: its time stamps are exact


@dataclass(frozen=True, kw_only=True)
class EncodeSpec:
    """What the pictures of a result are like, and how they are encoded."""

    like: VideoInfo  #: whose size, orientation, colour and depth are kept
    rate: Fraction  #: frames per second
    frames: int
    container: str  #: FFmpeg's name of that of the whole result
    crf: float | None = None  #: constant rate factor; None is near-transparent
    encoder: str | None = None  #: FFmpeg's name of it; None: as the codec of *like* asks


class PictureTrack:
    """Encodes pictures, one after the other."""

    def __init__(self, container: OutputContainer, look: EncodeSpec, threads: int = 0) -> None:
        """Add a stream to a container; *threads* of the encoder, 0: as many as it likes."""
        self._rate, self._count = look.rate, 0
        self._maker = FrameMaker(look.like)
        encoding = video_encoding(
            *(look.like, look.rate, look.frames, look.container, look.crf, look.encoder)
        )
        width, height = coded_size(look.like)
        self._stream = cast(
            av.VideoStream,
            container.add_stream(
                encoding.codec,
                rate=look.rate,
                options=encoding.options,
                width=width,
                height=height,
            ),
        )
        context = self._stream.codec_context
        context.pix_fmt = encoding.pix_fmt
        context.time_base = 1 / look.rate
        context.thread_count = threads
        context.sample_aspect_ratio = coded_aspect(look.like)
        tags = colour_tags(look.like)
        context.color_range, context.colorspace = tags.color_range, tags.colorspace
        context.color_primaries, context.color_trc = tags.color_primaries, tags.color_trc
        if encoding.tag:
            context.codec_tag = encoding.tag
        _turn(self._stream, look.like)

    def encode(self, picture: Picture) -> list[av.Packet[av.VideoStream]]:
        """Encode the next picture; return what the encoder has ready."""
        frame = self._maker.frame(picture)
        frame.pts, frame.time_base = self._count, 1 / self._rate
        self._count += 1
        return self._stream.encode(frame)

    def finish(self) -> list[av.Packet[av.VideoStream]]:
        """Return what the encoder still holds."""
        return self._stream.encode(None)


class CopiedTrack:
    """Copies the packets of segments, one segment after the other.

    Each begins with a key frame, so that none refers to another, and all were encoded alike.
    """

    def __init__(self, container: OutputContainer, look: EncodeSpec, first: BinaryIO) -> None:
        """Add a stream to a container, like that of the first segment."""
        self._rate = look.rate
        with _opened(first) as segment:
            template = segment.streams.video[0]
            self._stream = container.add_stream_from_template(template)
            self._stream.codec_context.codec_tag = template.codec_context.codec_tag
        self._stream.time_base = 1 / look.rate
        _turn(self._stream, look.like)

    def packets(self, segment: BinaryIO, start: int) -> Iterator[av.Packet[av.VideoStream]]:
        """Yield the packets of a segment whose first picture is frame *start* of the result."""
        with _opened(segment) as source:
            stream = source.streams.video[0]
            ticks = stream.time_base * self._rate if stream.time_base else Fraction(1)
            for packet in source.demux(stream):
                if packet.dts is None or packet.pts is None:
                    continue  # the end of the file
                pts, dts = packet.pts * ticks, packet.dts * ticks
                packet.stream = self._stream
                packet.time_base = 1 / self._rate
                packet.pts, packet.dts = start + round(pts), start + round(dts)
                packet.duration = 1
                yield packet


def write_segment(
    out: BinaryIO, look: EncodeSpec, pictures: Iterator[Picture], threads: int = 0
) -> Iterator[int]:
    """Encode pictures to a segment; yield how many are done, after each.

    Args:
        out: a file to write to, with a place to go back to.
        look: of the whole result.
        pictures: of this segment.
        threads: of the encoder.
    """
    with closing(av.open(out, "w", format=SEGMENT)) as container:
        track = PictureTrack(container, look, threads)
        for done, picture in enumerate(pictures, 1):
            container.mux(track.encode(picture))
            yield done
        container.mux(track.finish())


def cut_points(frames: int, key: int, most: int) -> Sequence[int]:
    """Return where segments of a result begin, and its end: whole groups of *key* frames each.

    At most *most* segments, of about the same length; one if there are too few frames for more.
    """
    groups = max(1, frames // key)
    parts = min(most, groups)
    return [round(i * groups / parts) * key for i in range(parts)] + [frames]


def _turn(stream: av.VideoStream, like: VideoInfo) -> None:
    if like.rotation or like.mirrored:
        stream.set_display_matrix(display_matrix(like))


def _opened(segment: BinaryIO) -> av.container.InputContainer:
    segment.seek(0)
    return av.open(segment, "r", format=SEGMENT)
