"""Choose encoders, container and their settings for a result (no I/O)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from lipwright.errors import InvalidOptions
from lipwright.media.encode import video_encoders
from lipwright.media.encode.video_encoders import (
    EncodeRequest,
    Options,
    VideoEncoderSettings,
    fits_chroma,
)
from lipwright.media.pixel_format import ALPHA_DECODERS
from lipwright.media.probe import AudioInfo, VideoInfo
from lipwright.options import HARDWARE

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
AAC_RATES = (
    *(96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350),
)
CHANNELS = {"mono": 1, "stereo": 2}
MOVIE_TIMESCALE = 90_000  # ticks per second of a file without audio
AAC_LAYOUTS = {"mono", "stereo", "3.0", "4.0", "5.0", "5.1", "7.1"}
AAC_BITS_PER_SAMPLE = 4  # up to CHANNEL_BIT_RATE
CHANNEL_BIT_RATE = 96_000  # bits per second and channel
OPUS_RATE = 48_000  # hertz, the only rate that Opus decodes to
# What is made to be edited again stays so, where the container holds such a codec.
INTERMEDIATE = {"prores", "dnxhd", "cfhd"}
LOSSLESS = {"ffv1", "huffyuv", "ffvhuff", "utvideo", "magicyuv", "qtrle", "png", "rawvideo"} | {
    *("v210", "v410", "v308", "v408", "r210", "jpeg2000"),
}
# codecs that hold alpha, by container: the default and others
ALPHA_CODECS = {
    "mov": ("prores_ks",),
    "matroska": ("ffv1", "prores_ks", "libvpx-vp9"),
    "webm": ("libvpx-vp9",),
}
# tags that the muxer writes as the container's own; others need a list of keys
_QUICKTIME_TAGS = {"title", "artist", "album", "comment", "date", "copyright", "location", "genre"}
_MP4_TAGS = {"description", "keywords", "synopsis", "show", "episode_id", "network", "lyrics"} | {
    *("composer", "album_artist", "grouping")
}
PLAIN_TAGS = {
    "mov": _QUICKTIME_TAGS | {"creation_time", "make", "model", "timecode"},
    "mp4": _QUICKTIME_TAGS | _MP4_TAGS | {"creation_time", "timecode"},
}
FIELD_CODECS = {"libx264", "prores_ks", "ffv1"}  # code interlaced frames as such
DEEP_CODECS = {"libx264", "libx265", "prores_ks", "ffv1", "hevc_nvenc", "hevc_qsv", "hevc_amf"}


@dataclass(frozen=True, kw_only=True)
class AudioEncoderSettings:
    """Encoder of the audio and its settings."""

    codec: str
    sample_rate: int
    layout: str
    bit_rate: int = 0  #: bits per second; 0: lossless


def container_for(path: Path) -> str:
    """Return FFmpeg's name of the container for the suffix of *path*.

    Raises:
        InvalidOptions: The suffix is unknown.
    """
    try:
        return CONTAINERS[path.suffix.lower()]
    except KeyError:
        known = ", ".join(CONTAINERS)
        raise InvalidOptions(
            f"{path} has no suffix of a supported video container: use one of {known}"
        ) from None


def choose_video_encoder(
    like: VideoInfo,
    rate: Fraction,
    frames: int,
    container: str,
    crf: float | None,
    encoder: str | None = None,
) -> VideoEncoderSettings:
    """Choose the encoder for a video like *like*, or check and configure the requested *encoder*.

    See `video_encoder_for` for the choice. Alpha and fields are coded if the encoder can.

    Args:
        like: The source, whose size, depth, chroma, alpha, fields and codec count.
        rate: Frames per second.
        frames: Number of frames of the result.
        container: FFmpeg's name of the container.
        crf: Constant rate factor; None is near-transparent.
        encoder: FFmpeg's name of the requested encoder; None: choose.

    Raises:
        InvalidOptions: The container does not support the size, or the requested encoder does not
            support the size, the depth or the container.
    """
    name = video_encoder_for(like, container, encoder)
    like = replace(
        like,
        alpha=like.alpha and keeps_alpha(name, container),
        interlaced=like.interlaced and keeps_fields(like, name),
    )
    request = EncodeRequest(like=like, rate=rate, frames=frames, container=container, crf=crf)
    if name in HARDWARE:
        return video_encoders.hardware(request, name)
    build = {
        "libx264": video_encoders.h264,
        "libx265": video_encoders.hevc,
        "libvpx-vp9": video_encoders.vp9,
        "prores_ks": video_encoders.prores,
        "ffv1": video_encoders.ffv1,
    }[name]
    return build(request)


def video_encoder_for(like: VideoInfo, container: str, encoder: str | None = None) -> str:
    """Return the name of the requested encoder, or that of the one to use.

    WebM gets VP9. Sources made to be edited again stay so: ProRes and its like as ProRes in .mov
    and .mkv, lossless ones as FFV1 in .mkv, and in .mov as ProRes if they have more than 8 bits or
    more chroma than 4:2:0. Other alpha gets ProRes 4444 in .mov; in .mkv FFV1, or VP9 if the source
    is VP8 or VP9. All others get H.264, or HEVC if the source is HEVC or has more than 8 bits
    at 4:2:0, since few players support 10-bit H.264. Interlaced video gets H.264: HEVC and VP9
    code no fields. An odd side that H.264 cannot encode gets VP9, or HEVC 4:4:4 with more than 8
    bits.

    Raises:
        InvalidOptions: See `choose_video_encoder`.
    """
    deep, odd = like.bit_depth > 8, not fits_chroma(like)
    if encoder is not None:
        _check_requested(encoder, like, container)
        return encoder
    if deep and container == "webm":  # the bundled VP9 encoder supports 8 bits only
        raise InvalidOptions(
            "more than 8 bits per sample cannot be kept in .webm: write .mp4, .mov or .mkv"
        )
    if container == "webm":
        return "libvpx-vp9"
    if mezzanine := _mezzanine(like, container):
        return mezzanine
    if like.alpha and container in ALPHA_CODECS:
        is_vp9 = container == "matroska" and like.codec in ALPHA_DECODERS
        return "libvpx-vp9" if is_vp9 else ALPHA_CODECS[container][0]
    if like.interlaced and keeps_fields(like, "libx264"):
        return "libx264"
    if odd and not deep and container == "mov":
        raise InvalidOptions(
            f"a picture of {like.width} x {like.height} has an odd side, which .mov cannot keep: "
            "write .mp4 or .mkv"
        )
    if odd:
        return "libx265" if deep else "libvpx-vp9"
    if like.codec == "hevc" or (deep and like.chroma == "4:2:0"):
        return "libx265"
    return "libx264"


def _mezzanine(like: VideoInfo, container: str) -> str | None:
    """Return the encoder for a source made to be edited again; None: any other."""
    if like.codec in INTERMEDIATE and container in ("mov", "matroska"):
        return "prores_ks"
    if like.codec not in LOSSLESS:
        return None
    if container == "matroska":
        return "ffv1"
    more = like.bit_depth > 8 or like.chroma != "4:2:0"
    return "prores_ks" if more and container == "mov" else None


def keeps_alpha(encoder: str, container: str) -> bool:
    """Return whether an encoder codes alpha in a container."""
    return encoder in ALPHA_CODECS.get(container, ())


def keeps_fields(like: VideoInfo, encoder: str) -> bool:
    """Return whether an encoder codes frames of that size as fields."""
    height = like.width if like.rotation % 180 else like.height
    rows = 4 if encoder == "libx264" and like.chroma == "4:2:0" else 2
    return encoder in FIELD_CODECS and height % rows == 0


def choose_audio_encoder(audio: AudioInfo, container: str) -> AudioEncoderSettings:
    """Choose the audio encoder; sample rate and channels are kept if the codec supports them.

    MP4 gets AAC, since its edit lists mark the first and last sample exactly. WebM gets Opus.
    Matroska cannot mark where AAC ends, so it gets FLAC.
    """
    layout = audio.layout if audio.layout in AAC_LAYOUTS and container != "webm" else "stereo"
    layout = "mono" if audio.channels == 1 else layout
    channels = CHANNELS.get(layout, audio.channels)
    if container == "webm":
        bits = CHANNEL_BIT_RATE * channels
        return AudioEncoderSettings(
            codec="libopus", sample_rate=OPUS_RATE, layout=layout, bit_rate=bits
        )
    rate = audio.sample_rate
    if rate not in AAC_RATES:
        rate = min((r for r in AAC_RATES if r >= rate), default=AAC_RATES[0])
    if container == "matroska":
        return AudioEncoderSettings(codec="flac", sample_rate=rate, layout=layout)
    bits = channels * min(CHANNEL_BIT_RATE, AAC_BITS_PER_SAMPLE * rate)
    return AudioEncoderSettings(codec="aac", sample_rate=rate, layout=layout, bit_rate=bits)


def muxer_options(container: str, sample_rate: int | None, metadata: Mapping[str, str]) -> Options:
    """Return the options of the muxer.

    MP4 gets its index at the front, for playback over the web, and the sample rate as timescale:
    edit lists use this timescale, and the default of one millisecond would lose up to 47 samples.
    """
    if container not in ("mp4", "mov"):
        return {}
    listed = needs_tag_list(container, metadata)
    flags = "+faststart" + ("+use_metadata_tags" if listed else "")
    return {"movflags": flags, "movie_timescale": str(sample_rate or MOVIE_TIMESCALE)}


def needs_tag_list(container: str, metadata: Mapping[str, str]) -> bool:
    """Return whether a container needs a list of keys to hold all tags; it excludes cover art."""
    plain = PLAIN_TAGS.get(container)
    return plain is not None and any(key.lower() not in plain for key in metadata)


def _check_requested(encoder: str, like: VideoInfo, container: str) -> None:
    """Refuse an encoder that does not support the size, the depth or the container.

    Raises:
        InvalidOptions: The encoder does not support one of them.
    """
    deep, odd = like.bit_depth > 8, not fits_chroma(like)
    if deep and encoder not in DEEP_CODECS:
        raise InvalidOptions(
            f"{encoder} has 8 bits per sample, the video has {like.bit_depth}: use libx264, "
            "libx265, prores_ks, ffv1, hevc_nvenc, hevc_qsv or hevc_amf"
        )
    sides = bool(like.width % 2 or like.height % 2)
    if (encoder in HARDWARE and sides) or (
        odd and (encoder == "libx264" or (encoder == "libx265" and not deep))
    ):
        raise InvalidOptions(
            f"{encoder} cannot encode the odd side of a picture of {like.width} x {like.height}: "
            "use libvpx-vp9"
        )
    if encoder == "ffv1" and container != "matroska":
        raise InvalidOptions("ffv1 cannot be used in this container: write .mkv")
    if encoder == "prores_ks" and container not in ("mov", "matroska"):
        raise InvalidOptions("prores_ks cannot be used in this container: write .mov or .mkv")
    if (container == "webm") != (encoder == "libvpx-vp9") and container in ("webm", "mov"):
        raise InvalidOptions(f"{encoder} cannot be used in .{container}: write .mp4 or .mkv")
