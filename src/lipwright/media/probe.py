"""Probe a media file: exact frame rate and durations, orientation, colour, audio."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer

from lipwright.errors import MediaUnreadable
from lipwright.media import colour
from lipwright.media.chroma import Chroma
from lipwright.media.inspect.container import (
    open_input,
    refuse_other_kinds,
    require_file,
    translate_errors,
)
from lipwright.media.inspect.frame_rate import STILL_RATE, estimate_frame_rate
from lipwright.media.inspect.packet_scan import (
    AudioPackets,
    PacketScan,
    check_complete,
    scan_packets,
)
from lipwright.media.inspect.sample_tables import check_sample_tables
from lipwright.media.inspect.side_data import (
    orientation,
    read_content_light,
    read_mastering_display,
    read_side_data,
)
from lipwright.media.inspect.tracks import (
    COVER_ART,
    Chapter,
    TrackInfo,
    choose_stream,
    read_chapters,
    read_timecode,
    read_tracks,
)
from lipwright.media.interlacing import PROGRESSIVE, find_field_order
from lipwright.media.pixel_format import has_alpha, read_pixel_format
from lipwright.media.stills import detect_image_format, read_still
from lipwright.types import Doubles

MIN_LEAD = Fraction(3, 100)  # seconds; less is encoder delay or rounding
MIN_VIDEO_DELAY = Fraction(1, 10)  # seconds; less is the reordering of frames
MAX_LEAD = Fraction(30)  # seconds; more is the clock of a recording
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
    chroma: Chroma = "4:2:0"  #: sampling of chroma as coded; RGB: 4:4:4
    alpha: bool = False  #: whether pictures have an alpha channel
    interlaced: bool = False  #: whether the frames are flagged as two fields
    field_order: int = 0  #: AVFieldOrder: 2 or 4: top field first, 3 or 5: bottom field first
    deinterlace: bool = False  #: readers deinterlace the frames; *interlaced* is then False
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
    """The audio stream of a file that is used."""

    codec: str
    sample_rate: int
    channels: int
    layout: str
    duration: Fraction  #: A: real samples, encoder delay and padding excluded, seconds
    stream: int = 0  #: index of the stream in the file
    start: Fraction = Fraction(0)  #: time of the first sample on the file's clock, seconds
    lead: Fraction = Fraction(0)  #: silence to play before the first sample, seconds


@dataclass(frozen=True, kw_only=True)
class MediaInfo:
    """The contents of a media file."""

    path: Path
    container: str
    video: VideoInfo | None
    audio: AudioInfo | None
    metadata: dict[str, str] = field(default_factory=dict)
    tracks: tuple[TrackInfo, ...] = ()  #: all streams; empty for a still image
    chapters: tuple[Chapter, ...] = ()
    timecode: str | None = None  #: of the first frame, as ``01:00:00:00``


def probe(
    source: str | Path, *, video_track: int | None = None, audio_track: int | None = None
) -> MediaInfo:
    """Describe the streams of the file at path *source*, up to the last timestamp.

    All packets are read, but only the first frame is decoded. Cover art does not count as video; a
    still image is a video of one frame.

    Args:
        source: the file.
        video_track: which of several video streams to use, from 1; None: the first flagged as
            default, else the first.
        audio_track: the same for audio.

    Raises:
        InvalidOptions: There is no such track.
        SourceUnreachable: The file does not exist or cannot be opened.
        MediaUnreadable: The file is not media, damaged, cut short, or has no video and no audio.
        LimitExceeded: The file is a still image that is too large to decode.
    """
    path = Path(source)
    require_file(path)
    if image := detect_image_format(path):
        return MediaInfo(path=path, container=image, video=_still_info(path, image), audio=None)
    check_sample_tables(path)
    with open_input(path) as container, translate_errors(path):
        video = choose_stream(path, "video", _video_streams(container), video_track)
        audio = choose_stream(path, "audio", _audio_streams(container), audio_track)
        if video is None and audio is None:
            refuse_other_kinds(path)
            raise MediaUnreadable(f"{path} has no video and no audio: use another file")
        indices = (None if s is None else s.index for s in (video, audio))
        packets = scan_packets(path, *indices)
        info = MediaInfo(
            path=path,
            container=container.format.name,
            video=None if video is None else _video_info(path, container, video, packets),
            audio=_audio_info(audio, packets.audio) if audio and packets.audio else None,
            metadata=dict(container.metadata),
            tracks=read_tracks(container),
            chapters=read_chapters(container),
            timecode=read_timecode(container, None if video is None else video.index),
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


def playback_start(info: MediaInfo) -> Fraction:
    """Return the time on the file's clock at which players begin, in seconds.

    It is that of the stream that begins first. Files of the MP4 family begin at 0, even if all
    their streams begin later; a time beyond `MAX_LEAD` is that of a recording, not a delay.
    """
    first = min(part.start for part in (info.video, info.audio) if part is not None)
    is_mp4 = info.container.startswith("mov,mp4")
    return Fraction(0) if is_mp4 and 0 <= first <= MAX_LEAD else first


def with_lead(info: MediaInfo) -> MediaInfo:
    """Return a file whose audio begins as players play it: a later start becomes silence."""
    if info.audio is None:
        return info
    lead = info.audio.start - playback_start(info)
    if not MIN_LEAD <= lead <= MAX_LEAD:
        return info
    duration = info.audio.duration + lead
    return replace(info, audio=replace(info.audio, lead=lead, duration=duration))


def video_delay(info: MediaInfo) -> Fraction:
    """Return the seconds after which players show the first frame of a file; 0 if at once."""
    video = require_video(info)
    if video.still:
        return Fraction(0)
    delay = video.start - playback_start(info)
    return delay if MIN_VIDEO_DELAY <= delay <= MAX_LEAD else Fraction(0)


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


def _video_streams(container: InputContainer) -> list[av.VideoStream]:
    """Return the video streams that are not cover art and can be decoded."""
    streams = (s for s in container.streams.video if not s.disposition & COVER_ART)
    return [s for s in streams if s.codec_context is not None]


def _audio_streams(container: InputContainer) -> list[av.AudioStream]:
    """Return the audio streams that can be decoded."""
    streams = (s for s in container.streams.audio if s.codec_context is not None)
    return [s for s in streams if s.codec_context.sample_rate]


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
    pixels = read_pixel_format(frame.format.name)
    field_order = _field_order(container, stream, frame)
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
        bit_depth=pixels.bits,
        chroma=pixels.chroma,
        alpha=has_alpha(stream, frame),
        interlaced=field_order > PROGRESSIVE,
        field_order=field_order,
        color_range=_range(frame),
        color_primaries=int(frame.color_primaries),
        color_trc=int(frame.color_trc),
        colorspace=colour.RGB if pixels.rgb else int(frame.colorspace),
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
    for packet in container.demux(stream):  # a stream may start between key frames
        if frames := _try_decode(packet):
            return frames[0]
    refuse_other_kinds(path)
    raise MediaUnreadable(f"{path} has a video stream, but no frame of it can be decoded")


def _field_order(container: InputContainer, stream: av.VideoStream, first: av.VideoFrame) -> int:
    """Return the AVFieldOrder of a stream whose first frame was decoded last."""
    later = (frame for packet in container.demux(stream) for frame in _try_decode(packet))
    context = stream.codec_context
    return find_field_order(first, later, context.name, context.field_order)


def _try_decode(packet: av.Packet[av.VideoStream]) -> list[av.VideoFrame]:
    try:
        return packet.decode()
    except av.error.InvalidDataError:
        return []


def _range(frame: av.VideoFrame) -> int:
    """Return the AVCOL_RANGE; yuvj formats are full range by definition."""
    return colour.FULL_RANGE if frame.format.name.startswith("yuvj") else int(frame.color_range)
