"""Choose encoders, container and their settings for a result (no I/O)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from lipwright.errors import InvalidOptions
from lipwright.media.probe import AudioInfo, VideoInfo
from lipwright.options import HARDWARE

Options = dict[str, str]
CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
KEY_FRAME_SECONDS = 2  # longest interval of key frames: fast seeking, exact cuts
# Measured on 1080p talking heads, CPU per frame: libx264 superfast 20 ms, veryfast 31 ms at equal
# luma PSNR (48 to 53 dB); libx265 ultrafast 55 ms, superfast 60 to 80 ms.
PRESETS = {"libx264": "superfast", "libx265": "ultrafast"}
CRF = {"libx264": 18.0, "libx265": 16.0, "libvpx-vp9": 20.0}  # near-transparent
HARDWARE_QUALITY = 19  # near-transparent; the scale is that of libx264's CRF
AAC_RATES = (
    *(96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350),
)
CHANNELS = {"mono": 1, "stereo": 2}
MOVIE_TIMESCALE = 90_000  # ticks per second of a file without audio
AAC_LAYOUTS = {"mono", "stereo", "3.0", "4.0", "5.0", "5.1", "7.1"}
AAC_BITS_PER_SAMPLE = 4  # up to CHANNEL_BIT_RATE
CHANNEL_BIT_RATE = 96_000  # bits per second and channel
OPUS_RATE = 48_000  # hertz, the only rate that Opus decodes to
REORDER_DELAY = 2  # frames; libx265 sets no decode times for a video this short


@dataclass(frozen=True, kw_only=True)
class VideoEncoderSettings:
    """Encoder of the video and its settings."""

    codec: str  #: FFmpeg's name of the encoder
    pix_fmt: str
    options: Options
    tag: str | None = None  #: codec tag (four characters) that players expect


@dataclass(frozen=True, kw_only=True)
class AudioEncoderSettings:
    """Encoder of the audio and its settings."""

    codec: str
    sample_rate: int
    layout: str
    bit_rate: int = 0  #: bits per second; 0: lossless


def key_frame_interval(rate: Fraction) -> int:
    """Return the longest interval of key frames, in frames."""
    return max(1, round(KEY_FRAME_SECONDS * rate))


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

    The choice is H.264, or HEVC if the source is HEVC or has more than 8 bits, since few players
    support 10-bit H.264. Both use 4:2:0 and cannot encode an odd side; VP9 can, and browsers play
    it. Video with an odd side and more than 8 bits becomes HEVC 4:4:4, which few players support.

    Args:
        like: The source, whose size, depth and codec count.
        rate: Frames per second.
        frames: Number of frames of the result.
        container: FFmpeg's name of the container.
        crf: Constant rate factor; None is near-transparent.
        encoder: FFmpeg's name of the requested encoder; None: choose.

    Raises:
        InvalidOptions: The container does not support the size, or the requested encoder does not
            support the size or the depth.
    """
    deep = like.bit_depth > 8
    interval = str(key_frame_interval(rate))
    odd = bool(like.width % 2 or like.height % 2)
    if encoder is not None:
        _check_requested(encoder, like, container, deep=deep, odd=odd)
        if encoder in HARDWARE:
            return _hardware_encoder(encoder, interval, deep, container, crf)
        if encoder == "libvpx-vp9":
            return _vp9(interval, crf)
        if encoder == "libx264":
            return _h264(like.interlaced, interval, crf)
        pix_fmt = "yuv444p10le" if odd else "yuv420p10le" if deep else "yuv420p"
        return _hevc(like, pix_fmt, interval, frames, container, crf)
    if deep and container == "webm":  # the bundled VP9 encoder supports 8 bits only
        raise InvalidOptions("more than 8 bits per sample cannot be kept in .webm: write .mp4")
    if odd and container == "mov" and not deep:
        raise InvalidOptions(
            f"a picture of {like.width} x {like.height} has an odd side, which .mov cannot keep: "
            "write .mp4 or .mkv"
        )
    if container == "webm" or (odd and not deep):
        return _vp9(interval, crf)
    if deep or like.codec == "hevc":
        pix_fmt = "yuv444p10le" if odd else "yuv420p10le" if deep else "yuv420p"
        return _hevc(like, pix_fmt, interval, frames, container, crf)
    return _h264(like.interlaced, interval, crf)


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
    dotted = any("." in key for key in metadata)  # not possible in standard MP4 tags
    flags = "+faststart" + ("+use_metadata_tags" if dotted else "")
    return {"movflags": flags, "movie_timescale": str(sample_rate or MOVIE_TIMESCALE)}


def _check_requested(
    encoder: str, like: VideoInfo, container: str, *, deep: bool, odd: bool
) -> None:
    """Refuse an encoder that does not support the size, the depth or the container.

    Raises:
        InvalidOptions: The encoder does not support one of them.
    """
    size = f"a picture of {like.width} x {like.height}"
    if deep and not encoder.startswith(("hevc", "libx265")):
        raise InvalidOptions(
            f"{encoder} has 8 bits per sample, the video has {like.bit_depth}: use libx265, "
            "hevc_nvenc, hevc_qsv or hevc_amf"
        )
    if odd and (encoder in HARDWARE or encoder == "libx264" or (encoder == "libx265" and not deep)):
        raise InvalidOptions(f"{encoder} cannot encode the odd side of {size}: use libvpx-vp9")
    if (container == "webm") != (encoder == "libvpx-vp9") and container in ("webm", "mov"):
        raise InvalidOptions(f"{encoder} cannot be used in .{container}: write .mp4 or .mkv")


def _hardware_encoder(
    encoder: str, interval: str, deep: bool, container: str, crf: float | None
) -> VideoEncoderSettings:
    """Return constant-quality settings of a hardware encoder; more than 8 bits use P010."""
    quality = f"{HARDWARE_QUALITY if crf is None else crf:g}"
    whole = str(round(float(quality)))
    codec, _, vendor = encoder.partition("_")
    options = {
        "nvenc": {"preset": "p4", "rc": "vbr", "cq": quality, "b": "0", "forced-idr": "1"},
        "qsv": {"preset": "medium", "global_quality": whole},
        "amf": {"quality": "balanced", "rc": "cqp", "qp_i": whole, "qp_p": whole},
    }[vendor]
    profile = "high" if codec == "h264" else "main10" if deep else "main"
    plain = "nv12" if vendor == "qsv" else "yuv420p"
    return VideoEncoderSettings(
        codec=encoder,
        pix_fmt="p010le" if deep else plain,
        options={**options, "profile": profile, "g": interval},
        tag="hvc1" if codec == "hevc" and container in ("mp4", "mov") else None,
    )


def _h264(interlaced: bool, interval: str, crf: float | None) -> VideoEncoderSettings:
    options = {
        "preset": PRESETS["libx264"],
        "profile": "high",
        "crf": _crf("libx264", crf),
        "g": interval,
        "x264-params": "open-gop=0" + (":tff=1" if interlaced else ""),
    }
    return VideoEncoderSettings(codec="libx264", pix_fmt="yuv420p", options=options)


def _hevc(
    like: VideoInfo, pix_fmt: str, interval: str, frames: int, container: str, crf: float | None
) -> VideoEncoderSettings:
    options = {
        "preset": PRESETS["libx265"],
        "crf": _crf("libx265", crf),
        "g": interval,
        "x265-params": "open-gop=0:log-level=none",
    }
    if frames <= REORDER_DELAY:
        options["x265-params"] += ":bframes=0"
    for name, value in (
        ("master-display", like.mastering_display),
        ("max-cll", like.content_light),
    ):
        if value is not None:
            options["x265-params"] += f":{name}={value}"
    return VideoEncoderSettings(
        codec="libx265",
        pix_fmt=pix_fmt,
        options=options,
        tag="hvc1" if container in ("mp4", "mov") else None,
    )


def _vp9(interval: str, crf: float | None) -> VideoEncoderSettings:
    options = {
        "deadline": "realtime",
        "cpu-used": "7",
        "row-mt": "1",
        "tile-columns": "2",
        "crf": _crf("libvpx-vp9", crf),
        "b": "0",
        "g": interval,
    }
    return VideoEncoderSettings(codec="libvpx-vp9", pix_fmt="yuv420p", options=options)


def _crf(codec: str, crf: float | None) -> str:
    """Return the constant rate factor as text; VP9 takes integers only."""
    value = CRF[codec] if crf is None else crf
    return str(round(value)) if codec == "libvpx-vp9" else f"{value:g}"
