"""Encode the video stream of a result, or copy it from segments that are already encoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import BinaryIO, cast

import av
from av.codec.context import Flags
from av.container import OutputContainer

from lipwright.media.encode.encoder_settings import choose_video_encoder
from lipwright.media.encode.video_encoders import VideoEncoderSettings
from lipwright.media.frame_conversion import (
    PictureToFrame,
    coded_aspect,
    coded_size,
    colour_tags,
    display_matrix,
)
from lipwright.media.interlacing import flagged_order
from lipwright.media.picture import Picture
from lipwright.media.pixel_format import has_separate_alpha
from lipwright.media.probe import VideoInfo

#: Containers of segments by encoder: MP4 has exact timestamps, but not every codec.
SEGMENT_FORMATS = {"prores_ks": "mov", "ffv1": "matroska", "libvpx-vp9": "matroska"}
FIELDS = Flags.interlaced_dct | Flags.interlaced_me


@dataclass(frozen=True, kw_only=True)
class EncodeSpec:
    """Format of the video of a result, and how to encode it."""

    like: VideoInfo  #: source whose size, orientation, colour and depth are kept
    rate: Fraction  #: frames per second
    frames: int
    container: str  #: FFmpeg's name of the container of the result
    crf: float | None = None  #: constant rate factor; None is near-transparent
    encoder: str | None = None  #: FFmpeg's name; None: chosen by the codec of *like*
    first: int = 0  #: number of frames for which the result shows nothing, before its first

    @property
    def settings(self) -> VideoEncoderSettings:
        """Encoder and its settings.

        Raises:
            InvalidOptions: The container or the encoder does not support the video.
        """
        return choose_video_encoder(
            *(self.like, self.rate, self.frames, self.container, self.crf, self.encoder)
        )

    @property
    def segment_format(self) -> str:
        """FFmpeg's name of the container of segments."""
        return SEGMENT_FORMATS.get(self.settings.codec, "mp4")


class VideoTrackEncoder:
    """Encodes pictures to a new video stream of a container."""

    def __init__(
        self, container: OutputContainer, spec: EncodeSpec, threads: int = 0, first: int = 0
    ) -> None:
        """Add the stream.

        Args:
            container: To add it to.
            spec: Format of the video.
            threads: Of the encoder; 0: the encoder decides.
            first: Time of the first picture, in frames.
        """
        self._rate, self._count = spec.rate, first
        settings = spec.settings
        like = replace(spec.like, interlaced=settings.interlaced)
        self._converter = PictureToFrame(like, settings.pix_fmt)
        width, height = coded_size(spec.like)
        self._stream = cast(
            av.VideoStream,
            container.add_stream(
                settings.codec,
                rate=spec.rate,
                options=settings.options,
                width=width,
                height=height,
            ),
        )
        context = self._stream.codec_context
        context.pix_fmt = settings.pix_fmt
        context.time_base = 1 / spec.rate
        context.thread_count = threads
        context.sample_aspect_ratio = coded_aspect(spec.like)
        tags = colour_tags(spec.like)
        context.color_range, context.colorspace = tags.color_range, tags.colorspace
        context.color_primaries, context.color_trc = tags.color_primaries, tags.color_trc
        if settings.interlaced:
            context.field_order = flagged_order(like.field_order)
            context.flags |= FIELDS
        if settings.tag:
            context.codec_tag = settings.tag
        _set_orientation(self._stream, spec.like)

    def encode(self, picture: Picture) -> list[av.Packet[av.VideoStream]]:
        """Encode the next picture; return the packets that are ready."""
        frame = self._converter.convert(picture)
        frame.pts, frame.time_base = self._count, 1 / self._rate
        self._count += 1
        return self._stream.encode(frame)

    def finish(self) -> list[av.Packet[av.VideoStream]]:
        """Flush the encoder; return the remaining packets."""
        return self._stream.encode(None)


class VideoTrackCopier:
    """Copies the packets of segments to a new video stream of a container.

    All segments must be encoded with the same settings, and begin with a key frame.
    """

    def __init__(self, container: OutputContainer, spec: EncodeSpec, first: BinaryIO) -> None:
        """Add the stream, with the parameters of the first segment."""
        self._rate, self._format = spec.rate, spec.segment_format
        with _open_segment(first, self._format) as segment:
            template = segment.streams.video[0]
            self._stream = container.add_stream_from_template(template)
            self._stream.codec_context.codec_tag = template.codec_context.codec_tag
            if has_separate_alpha(template):
                self._stream.metadata["alpha_mode"] = "1"  # the muxer reads it there
        self._stream.time_base = 1 / spec.rate
        _set_orientation(self._stream, spec.like)

    def packets(self, segment: BinaryIO, start: int) -> Iterator[av.Packet[av.VideoStream]]:
        """Yield the packets of a segment whose first picture is frame *start* of the result."""
        with _open_segment(segment, self._format) as source:
            stream = source.streams.video[0]
            ticks = stream.time_base * self._rate if stream.time_base else Fraction(1)
            for packet in source.demux(stream):
                if packet.dts is None or packet.pts is None:
                    continue  # PyAV marks the end of the file with an empty packet
                pts, dts = packet.pts * ticks, packet.dts * ticks
                packet.stream = self._stream
                packet.time_base = 1 / self._rate
                packet.pts, packet.dts = start + round(pts), start + round(dts)
                packet.duration = 1
                yield packet


def write_segment(
    out: BinaryIO, spec: EncodeSpec, pictures: Iterator[Picture], threads: int = 0
) -> Iterator[int]:
    """Encode pictures to a segment; yield the number of encoded pictures after each.

    Args:
        out: A seekable binary file to write to.
        spec: Format of the whole result.
        pictures: The pictures of this segment.
        threads: Threads of the encoder; 0: the encoder decides.
    """
    with closing(av.open(out, "w", format=spec.segment_format)) as container:
        track = VideoTrackEncoder(container, spec, threads)
        for done, picture in enumerate(pictures, 1):
            container.mux(track.encode(picture))
            yield done
        container.mux(track.finish())


def segment_boundaries(frames: int, key_interval: int, max_segments: int) -> Sequence[int]:
    """Return the first frame of each segment, and the end (*frames*).

    Segments begin at multiples of *key_interval* and have about the same length. There are at most
    *max_segments*, fewer if there are fewer key frame intervals.
    """
    intervals = max(1, frames // key_interval)
    segments = min(max_segments, intervals)
    starts = [round(i * intervals / segments) * key_interval for i in range(segments)]
    return [*starts, frames]


def _set_orientation(stream: av.VideoStream, like: VideoInfo) -> None:
    if like.rotation or like.mirrored:
        stream.set_display_matrix(display_matrix(like))


def _open_segment(segment: BinaryIO, format_: str) -> av.container.InputContainer:
    segment.seek(0)
    return av.open(segment, "r", format=format_)
