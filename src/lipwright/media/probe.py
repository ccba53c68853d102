"""Probe a media file: exact frame rate and durations, orientation, colour, audio."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer

from lipwright.errors import MediaUnreadable
from lipwright.media import colour
from lipwright.media.container import open_input, translate_errors
from lipwright.media.frame_rate import STILL_RATE, estimate_frame_rate
from lipwright.media.packet_scan import AudioPackets, PacketScan, check_complete, scan_packets
from lipwright.media.sample_tables import check_sample_tables
from lipwright.media.side_data import (
    orientation,
    read_content_light,
    read_mastering_display,
    read_side_data,
)
from lipwright.media.stills import detect_image_format, read_still
from lipwright.types import Doubles

CHECK_DURATION = {"matroska,webm", "avi"}  # containers that give a duration, but not every byte


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """The video stream of a file, in display orientation."""

    width: int  #: pixels across, rotation applied
    height: int  #: pixels down, rotation applied
    rate: Fraction  #: frames per second, exact; for variable-rate video the output rate
    variable_rate: bool  #: whether the frame times are uneven
    duration: Fraction  #: V: from the first frame to the end of the last, seconds
    frames: int | None  #: as the container declares, None if it does not
    rotation: int  #: degrees clockwise from coded to displayed: 0, 90, 180, 270
    mirrored: bool = False  #: whether the coded frame is flipped vertically before rotation
    sample_aspect: Fraction = Fraction(1)  #: width of a displayed pixel over its height
    codec: str
    pix_fmt: str
    bit_depth: int = 8  #: bits per sample of the source
    still: bool = False  #: a still image, shown as long as the speech lasts
    scaled_from: tuple[int, int] | None = None  #: original size of a still that was scaled down
    interlaced: bool = False  #: whether the frames are flagged as two fields
    color_range: int = 0  #: AVCOL_RANGE: 0 unspecified, 1 limited, 2 full
    color_primaries: int = 2  #: AVCOL_PRI, 2 unspecified
    color_trc: int = 2  #: AVCOL_TRC, 2 unspecified
    colorspace: int = 2  #: AVCOL_SPC, 2 unspecified, 0 RGB
    mastering_display: str | None = None  #: x265's ``master-display``: see `read_mastering_display`
    content_light: str | None = None  #: x265's ``max-cll``: see `read_content_light`
    stream: int = 0  #: index of the stream in the file
    start: Fraction = Fraction(0)  #: time of the first frame on the file's clock, seconds
    tick: Fraction = Fraction(1, 1000)  #: unit of the file's timestamps, seconds


@dataclass(frozen=True, kw_only=True)
class AudioInfo:
    """The first audio stream of a file."""

    codec: str
    sample_rate: int
    channels: int
    layout: str
    duration: Fraction  #: A: real samples, encoder delay and padding excluded, seconds
    stream: int = 0  #: index of the stream in the file
    start: Fraction = Fraction(0)  #: time of the first sample on the file's clock, seconds


@dataclass(frozen=True, kw_only=True)
class MediaInfo:
    """The contents of a media file."""

    path: Path
    container: str
    video: VideoInfo | None
    audio: AudioInfo | None
    metadata: dict[str, str] = field(default_factory=dict)


def probe(source: str | Path) -> MediaInfo:
    """Describe the streams of the file at path *source*, up to the last timestamp.

    All packets are read, but only the first frame is decoded. Cover art does not count as video; a
    still image (JPEG, PNG, WebP, BMP) is a video of one frame.

    Raises:
        SourceUnreachable: The file does not exist or cannot be opened.
        MediaUnreadable: The file is not media, damaged, cut short, or has no video and no audio.
        LimitExceeded: The file is a still image that is too large to decode.
    """
    path = Path(source)
    if image := detect_image_format(path):
        return MediaInfo(path=path, container=image, video=_still_info(path, image), audio=None)
    check_sample_tables(path)
    with open_input(path) as container, translate_errors(path):
        video, audio = _video_stream(container), _audio_stream(container)
        if video is None and audio is None:
            raise MediaUnreadable(f"{path} has no video and no audio: use another file")
        indices = (None if s is None else s.index for s in (video, audio))
        packets = scan_packets(path, *indices)
        info = MediaInfo(
            path=path,
            container=container.format.name,
            video=None if video is None else _video_info(path, container, video, packets),
            audio=_audio_info(audio, packets.audio) if audio and packets.audio else None,
            metadata=dict(container.metadata),
        )
        if info.container in CHECK_DURATION and len(container.streams) == (
            info.video is not None
        ) + (info.audio is not None):
            check_complete(
                path, Fraction(container.duration or 0, av.time_base), _total_duration(info)
            )
        return info


def _total_duration(info: MediaInfo) -> Fraction:
    """Return the seconds from the start of the first stream (at most 0) to the end of the last."""
    spans = [(p.start, p.start + p.duration) for p in (info.video, info.audio) if p is not None]
    return max(end for _, end in spans) - min(Fraction(0), *(start for start, _ in spans))


def require_video(info: MediaInfo) -> VideoInfo:
    """Return the video stream.

    Raises:
        MediaUnreadable: The file has none.
    """
    if info.video is None:
        raise MediaUnreadable(
            f"{info.path} has no video, only sound (cover art does not count): "
            "use a video with a face"
        )
    return info.video


def require_audio(info: MediaInfo) -> AudioInfo:
    """Return the audio stream.

    Raises:
        MediaUnreadable: The file has none, or it has no samples.
    """
    if info.audio is None:
        raise MediaUnreadable(f"{info.path} has no sound: use a recording of speech")
    if info.audio.duration <= 0:
        raise MediaUnreadable(f"{info.path} has an empty audio stream: use a recording of speech")
    return info.audio


def _video_stream(container: InputContainer) -> av.VideoStream | None:
    """Return the first video stream that is not cover art."""
    cover_art = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
    streams = (s for s in container.streams.video if not s.disposition & cover_art)
    return next((s for s in streams if s.codec_context is not None), None)


def _audio_stream(container: InputContainer) -> av.AudioStream | None:
    streams = (s for s in container.streams.audio if s.codec_context is not None)
    return next((s for s in streams if s.codec_context.sample_rate), None)


def _audio_info(stream: av.AudioStream, packets: AudioPackets) -> AudioInfo:
    context = stream.codec_context
    return AudioInfo(
        codec=context.name,
        sample_rate=context.sample_rate,
        channels=context.channels,
        layout=context.layout.name,
        duration=packets.duration,
        stream=stream.index,
        start=packets.first or Fraction(0),
    )


def _video_info(
    path: Path, container: InputContainer, stream: av.VideoStream, packets: PacketScan
) -> VideoInfo:
    frame = _first_frame(path, container, stream)
    time_base = stream.time_base or Fraction(1, 1000)
    timestamps = packets.video.timestamps(frame.pts)
    times: Doubles = (timestamps - timestamps[:1]).astype(np.float64) * float(time_base)
    rate, variable = estimate_frame_rate(times, time_base, (stream.average_rate, stream.base_rate))
    count = len(timestamps) or packets.video.count
    duration = Fraction(count) / rate
    if variable or count == 1:
        last = packets.video.durations.get(int(timestamps[-1]), 0) * time_base or 1 / rate
        duration = int(timestamps[-1] - timestamps[0]) * time_base + last
    side_data = read_side_data(frame)
    rotation, mirrored = orientation(side_data)
    width, height = (frame.width, frame.height)[:: -1 if rotation % 180 else 1]
    aspect = stream.sample_aspect_ratio or Fraction(1)
    context = stream.codec_context
    return VideoInfo(
        width=width,
        height=height,
        rate=rate,
        variable_rate=variable,
        duration=duration,
        frames=stream.frames or None,
        rotation=rotation,
        mirrored=mirrored,
        sample_aspect=1 / aspect if rotation % 180 else aspect,
        codec=context.name,
        pix_fmt=frame.format.name,
        bit_depth=max(c.bits for c in frame.format.components),
        interlaced=frame.interlaced_frame,
        color_range=_range(frame),
        color_primaries=int(frame.color_primaries),
        color_trc=int(frame.color_trc),
        colorspace=int(frame.colorspace),
        mastering_display=read_mastering_display(side_data),
        content_light=read_content_light(side_data),
        stream=stream.index,
        start=(frame.pts or 0) * time_base,
        tick=time_base,
    )


def _still_info(path: Path, image_format: str) -> VideoInfo:
    still = read_still(path)
    size = still.picture.width, still.picture.height
    even_size = tuple(side - side % 2 for side in still.size)
    return VideoInfo(
        width=size[0],
        height=size[1],
        rate=STILL_RATE,
        variable_rate=False,
        duration=1 / STILL_RATE,
        frames=1,
        rotation=0,
        codec=image_format,
        pix_fmt="rgb24",
        still=True,
        scaled_from=None if size == even_size else still.size,
        colorspace=colour.RGB,
        tick=1 / STILL_RATE,
    )


def _first_frame(path: Path, container: InputContainer, stream: av.VideoStream) -> av.VideoFrame:
    """Decode the first frame.

    Raises:
        MediaUnreadable: No frame can be decoded.
    """
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            continue  # a stream may start between key frames
        if frames:
            return frames[0]
    raise MediaUnreadable(f"{path} has a video stream, but no frame of it can be decoded")


def _range(frame: av.VideoFrame) -> int:
    """Return the AVCOL_RANGE; yuvj formats are full range by definition."""
    return colour.FULL_RANGE if frame.format.name.startswith("yuvj") else int(frame.color_range)
