"""What is in a media file: exact rates and lengths, orientation, colour, sound."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from math import atan2, pi
from pathlib import Path
from struct import unpack_from
from typing import Any, cast

import av
import numpy as np
from av.container import InputContainer

from lipwright.errors import MediaUnreadable
from lipwright.media import colour
from lipwright.media.container import open_input, translated
from lipwright.media.frame_rate import Seconds, settle
from lipwright.media.hdr import content_light, mastering_display
from lipwright.media.packets import PacketSound, Scan, check_whole, scan
from lipwright.media.stills import kind_of_file, read_still

STILL_RATE = Fraction(25)  # frames per second at which a still picture is shown
TELLING = {"matroska,webm", "avi"}  # containers whose header tells the length, but not every byte


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """The picture stream of a file, in display orientation."""

    width: int  #: pixels across, rotation applied
    height: int  #: pixels down, rotation applied
    rate: Fraction  #: frames per second, exact; of variable-rate video the rate to show it at
    variable_rate: bool  #: whether the frames come at uneven times
    duration: Fraction  #: V: from the first frame to the end of the last, seconds
    frames: int | None  #: what the container says, None where it does not
    rotation: int  #: degrees clockwise from the coded to the displayed picture: 0, 90, 180, 270
    mirrored: bool = False  #: whether the coded picture is flipped upside down before rotating
    sample_aspect: Fraction = Fraction(1)  #: width of a displayed pixel over its height
    codec: str
    pix_fmt: str
    bit_depth: int = 8  #: bits per sample of the source
    still: bool = False  #: a still picture: it has no length and is shown as long as the speech
    scaled_from: tuple[int, int] | None = None  #: width, height of a still too large to be kept
    interlaced: bool = False  #: whether the frames are flagged as two fields
    color_range: int = 0  #: AVCOL_RANGE: 0 unspecified, 1 limited, 2 full
    color_primaries: int = 2  #: AVCOL_PRI, 2 unspecified
    color_trc: int = 2  #: AVCOL_TRC, 2 unspecified
    colorspace: int = 2  #: AVCOL_SPC, 2 unspecified, 0 RGB
    mastering_display: str | None = None  #: see `lipwright.media.hdr`
    content_light: str | None = None  #: see `lipwright.media.hdr`
    stream: int = 0  #: index of the stream in the file
    start: Fraction = Fraction(0)  #: time of the first frame on the file's clock, seconds
    tick: Fraction = Fraction(1, 1000)  #: the unit of the file's timestamps, seconds


@dataclass(frozen=True, kw_only=True)
class AudioInfo:
    """The sound of a file: its first audio stream."""

    codec: str
    sample_rate: int
    channels: int
    layout: str
    duration: Fraction  #: A: real samples, encoder delay and padding excluded, seconds
    stream: int = 0  #: index of the stream in the file
    start: Fraction = Fraction(0)  #: time of the first sample on the file's clock, seconds


@dataclass(frozen=True, kw_only=True)
class MediaInfo:
    """What is in a media file."""

    path: Path
    container: str
    video: VideoInfo | None
    audio: AudioInfo | None
    metadata: dict[str, str] = field(default_factory=dict)


def probe(source: str | Path) -> MediaInfo:
    """Read what is in *source*, a path, down to the last timestamp.

    Every packet is read once, none but the first frame is decoded. Cover art is no video; a still
    picture (JPEG, PNG, WebP, BMP) is one of one frame.

    Raises:
        SourceUnreachable: there is no such file, or it may not be read.
        MediaUnreadable: it is not media, is damaged, cut short, or holds neither picture nor sound.
        LimitExceeded: it is a still picture too large to decode.
    """
    path = Path(source)
    if kind := kind_of_file(path):
        return MediaInfo(path=path, container=kind, video=_still_info(path, kind), audio=None)
    with open_input(path) as container, translated(path):
        picture, sound = _picture_stream(container), _sound_stream(container)
        if picture is None and sound is None:
            raise MediaUnreadable(f"{path} holds neither pictures nor sound: use another file")
        indices = (None if s is None else s.index for s in (picture, sound))
        read = scan(path, *indices)
        info = MediaInfo(
            path=path,
            container=container.format.name,
            video=None if picture is None else _video_info(path, container, picture, read),
            audio=_audio_info(sound, read.audio) if sound and read.audio else None,
            metadata=dict(container.metadata),
        )
        if info.container in TELLING and len(container.streams) == (info.video is not None) + (
            info.audio is not None
        ):
            check_whole(path, Fraction(container.duration or 0, av.time_base), _end(info))
        return info


def _end(info: MediaInfo) -> Fraction:
    """Return when the last of picture and sound ends, seconds after the first of them began."""
    spans = [(p.start, p.start + p.duration) for p in (info.video, info.audio) if p is not None]
    return max(end for _, end in spans) - min(Fraction(0), *(start for start, _ in spans))


def require_video(info: MediaInfo) -> VideoInfo:
    """Return the picture stream.

    Raises:
        MediaUnreadable: there is none.
    """
    if info.video is None:
        raise MediaUnreadable(
            f"{info.path} has no moving picture, only sound (cover art does not count): "
            "give a video with a face"
        )
    return info.video


def require_audio(info: MediaInfo) -> AudioInfo:
    """Return the sound.

    Raises:
        MediaUnreadable: there is none, or it has no samples.
    """
    if info.audio is None:
        raise MediaUnreadable(f"{info.path} has no sound: give a recording of speech")
    if info.audio.duration <= 0:
        raise MediaUnreadable(
            f"{info.path} has a sound track without a single sample: give a recording of speech"
        )
    return info.audio


def _picture_stream(container: InputContainer) -> av.VideoStream | None:
    """Return the first video stream that moves."""
    still = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
    streams = (s for s in container.streams.video if not s.disposition & still)
    return next((s for s in streams if s.codec_context is not None), None)


def _sound_stream(container: InputContainer) -> av.AudioStream | None:
    streams = (s for s in container.streams.audio if s.codec_context is not None)
    return next((s for s in streams if s.codec_context.sample_rate), None)


def _audio_info(stream: av.AudioStream, sound: PacketSound) -> AudioInfo:
    context = stream.codec_context
    return AudioInfo(
        codec=context.name,
        sample_rate=context.sample_rate,
        channels=context.channels,
        layout=context.layout.name,
        duration=sound.length,
        stream=stream.index,
        start=sound.first or Fraction(0),
    )


def _video_info(
    path: Path, container: InputContainer, stream: av.VideoStream, read: Scan
) -> VideoInfo:
    frame = _first_frame(path, container, stream)
    tick = stream.time_base or Fraction(1, 1000)
    stamps = read.video.stamps(frame.pts)
    times: Seconds = (stamps - stamps[:1]).astype(np.float64) * float(tick)
    rate, variable = settle(times, tick, (stream.average_rate, stream.base_rate))
    count = len(stamps) or read.video.count
    duration = Fraction(count) / rate
    if variable or count == 1:
        last = read.video.durations.get(int(stamps[-1]), 0) * tick or 1 / rate
        duration = int(stamps[-1] - stamps[0]) * tick + last
    rotation, mirrored = orientation(frame)
    across, down = (frame.width, frame.height)[:: -1 if rotation % 180 else 1]
    aspect = stream.sample_aspect_ratio or Fraction(1)
    context = stream.codec_context
    return VideoInfo(
        width=across,
        height=down,
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
        mastering_display=mastering_display(frame),
        content_light=content_light(frame),
        stream=stream.index,
        start=(frame.pts or 0) * tick,
        tick=tick,
    )


def _still_info(path: Path, kind: str) -> VideoInfo:
    still = read_still(path)
    size = still.picture.width, still.picture.height
    kept = tuple(side - side % 2 for side in still.size)
    return VideoInfo(
        width=size[0],
        height=size[1],
        rate=STILL_RATE,
        variable_rate=False,
        duration=1 / STILL_RATE,
        frames=1,
        rotation=0,
        codec=kind,
        pix_fmt="rgb24",
        still=True,
        scaled_from=None if size == kept else still.size,
        colorspace=colour.RGB,
        tick=1 / STILL_RATE,
    )


def _first_frame(path: Path, container: InputContainer, stream: av.VideoStream) -> av.VideoFrame:
    """Decode until the first picture comes out.

    Raises:
        MediaUnreadable: none does.
    """
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            continue  # a stream may start between key frames
        if frames:
            return frames[0]
    raise MediaUnreadable(f"{path} has a video stream, but no picture in it can be decoded")


def orientation(frame: av.VideoFrame) -> tuple[int, bool]:
    """Return the degrees clockwise to display *frame*, and whether it is flipped first."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return 0, False
    a, b, _, c, d = unpack_from("=5i", bytes(cast(Any, data)))
    quarter = round(atan2(b, a) / (pi / 2)) % 4
    return 90 * quarter, a * d - b * c < 0


def _range(frame: av.VideoFrame) -> int:
    """Return the AVCOL_RANGE; formats named yuvj are full range by definition."""
    return colour.FULL_RANGE if frame.format.name.startswith("yuvj") else int(frame.color_range)
