"""Which encoder, container and settings a result gets (pure)."""

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
KEY_SECONDS = 2  # seconds between key frames at most: quick to seek, easy to cut
# Measured on 1080p talking heads, CPU per frame: libx264 superfast 20 ms, veryfast 31 ms at equal
# luma PSNR (48 to 53 dB); libx265 ultrafast 55 ms, superfast 60 to 80 ms.
PRESETS = {"libx264": "superfast", "libx265": "ultrafast"}
CRF = {"libx264": 18.0, "libx265": 16.0, "libvpx-vp9": 20.0}  # near-transparent
HARDWARE_QUALITY = 19  # near-transparent, on the scale that the hardware shares with libx264
AAC_RATES = (
    *(96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350),
)
CHANNELS = {"mono": 1, "stereo": 2}
CLOCK = 90_000  # ticks per second of a file without sound
AAC_LAYOUTS = {"mono", "stereo", "3.0", "4.0", "5.0", "5.1", "7.1"}
BITS_PER_SAMPLE = 4  # of AAC, up to a bit rate per channel
CHANNEL_BIT_RATE = 96_000  # bits per second
OPUS_RATE = 48_000  # hertz, the only rate Opus decodes to
REORDERED = 2  # frames libx265 holds back; the decode times of fewer it leaves unset


@dataclass(frozen=True, kw_only=True)
class VideoEncoding:
    """How the pictures are encoded."""

    codec: str  #: FFmpeg's name of the encoder
    pix_fmt: str
    options: Options
    tag: str | None = None  #: four characters that players look for


@dataclass(frozen=True, kw_only=True)
class AudioEncoding:
    """How the sound is encoded."""

    codec: str
    sample_rate: int
    layout: str
    bit_rate: int = 0  #: bits per second, 0 where the codec is lossless


def key_frames(rate: Fraction) -> int:
    """Return how many frames lie between two key frames at most."""
    return max(1, round(KEY_SECONDS * rate))


def container_for(path: Path) -> str:
    """Return FFmpeg's name of the container for the suffix of *path*.

    Raises:
        InvalidOptions: there is none.
    """
    try:
        return CONTAINERS[path.suffix.lower()]
    except KeyError:
        known = ", ".join(CONTAINERS)
        raise InvalidOptions(
            f"{path} has no suffix that names a video container: use one of {known}"
        ) from None


def video_encoding(
    like: VideoInfo,
    rate: Fraction,
    frames: int,
    container: str,
    crf: float | None,
    encoder: str | None = None,
) -> VideoEncoding:
    """Choose the encoder for *frames* pictures like those of *like*, or take the *encoder* named.

    H.264, or HEVC when the source is HEVC or has more than 8 bits, since few players take 10-bit
    H.264. Both code colour for blocks of 2 x 2 and cannot have an odd side; VP9 can, and browsers
    play it. Odd and deep is HEVC with full colour, which few players take.

    Raises:
        InvalidOptions: the container cannot keep the size, or the encoder named cannot keep what
            the pictures are.
    """
    deep = like.bit_depth > 8
    key = str(key_frames(rate))
    odd = bool(like.width % 2 or like.height % 2)
    if encoder is not None:
        _check_named(encoder, like, container, deep=deep, odd=odd)
        if encoder in HARDWARE:
            return _hardware(encoder, key, deep, container, crf)
        if encoder == "libvpx-vp9":
            return _vp9(key, crf)
        if encoder == "libx264":
            return _h264(like.interlaced, key, crf)
        pix_fmt = "yuv444p10le" if odd else "yuv420p10le" if deep else "yuv420p"
        return _hevc(like, pix_fmt, key, frames, container, crf)
    if deep and container == "webm":  # the VP9 encoder we carry has 8 bits only
        raise InvalidOptions("more than 8 bits per sample cannot be kept in .webm: write .mp4")
    if odd and container == "mov" and not deep:
        raise InvalidOptions(
            f"a picture of {like.width} x {like.height} has an odd side, which .mov cannot keep: "
            "write .mp4 or .mkv"
        )
    if container == "webm" or (odd and not deep):
        return _vp9(key, crf)
    if deep or like.codec == "hevc":
        pix_fmt = "yuv444p10le" if odd else "yuv420p10le" if deep else "yuv420p"
        return _hevc(like, pix_fmt, key, frames, container, crf)
    return _h264(like.interlaced, key, crf)


def audio_encoding(audio: AudioInfo, container: str) -> AudioEncoding:
    """Choose the encoder for the new speech: its own rate and channels where the codec has them.

    AAC in MP4, whose edit lists say where it begins and ends to the sample; Opus in WebM; Matroska
    cannot say where AAC ends, so there it is FLAC.
    """
    layout = audio.layout if audio.layout in AAC_LAYOUTS and container != "webm" else "stereo"
    layout = "mono" if audio.channels == 1 else layout
    channels = CHANNELS.get(layout, audio.channels)
    if container == "webm":
        bits = CHANNEL_BIT_RATE * channels
        return AudioEncoding(codec="libopus", sample_rate=OPUS_RATE, layout=layout, bit_rate=bits)
    rate = audio.sample_rate
    if rate not in AAC_RATES:
        rate = min((r for r in AAC_RATES if r >= rate), default=AAC_RATES[0])
    if container == "matroska":
        return AudioEncoding(codec="flac", sample_rate=rate, layout=layout)
    bits = channels * min(CHANNEL_BIT_RATE, BITS_PER_SAMPLE * rate)
    return AudioEncoding(codec="aac", sample_rate=rate, layout=layout, bit_rate=bits)


def muxer_options(container: str, sample_rate: int | None, metadata: Mapping[str, str]) -> Options:
    """Return the options of the container.

    MP4 gets its index at the front, for the web, and a clock that counts samples: edit lists are
    written in its ticks, and at the usual millisecond up to 47 samples at the end get lost.
    """
    if container not in ("mp4", "mov"):
        return {}
    dotted = any("." in key for key in metadata)  # the plain tags have no room for those
    flags = "+faststart" + ("+use_metadata_tags" if dotted else "")
    return {"movflags": flags, "movie_timescale": str(sample_rate or CLOCK)}


def _check_named(encoder: str, like: VideoInfo, container: str, *, deep: bool, odd: bool) -> None:
    """Refuse an encoder that would change what the pictures are, or that players would not find.

    Raises:
        InvalidOptions: it would.
    """
    size = f"a picture of {like.width} x {like.height}"
    if deep and not encoder.startswith(("hevc", "libx265")):
        raise InvalidOptions(
            f"{encoder} has 8 bits per sample, the video has {like.bit_depth}: use libx265, "
            "hevc_nvenc, hevc_qsv or hevc_amf"
        )
    if odd and (encoder in HARDWARE or encoder == "libx264" or (encoder == "libx265" and not deep)):
        raise InvalidOptions(f"{encoder} cannot keep the odd side of {size}: use libvpx-vp9")
    if (container == "webm") != (encoder == "libvpx-vp9") and container in ("webm", "mov"):
        raise InvalidOptions(f"{encoder} does not go with .{container}: write .mp4 or .mkv")


def _hardware(
    encoder: str, key: str, deep: bool, container: str, crf: float | None
) -> VideoEncoding:
    """Return constant quality on a device; deep pictures go to it as it takes them (P010)."""
    quality = f"{HARDWARE_QUALITY if crf is None else crf:g}"
    whole = str(round(float(quality)))
    codec, _, maker = encoder.partition("_")
    options = {
        "nvenc": {"preset": "p4", "rc": "vbr", "cq": quality, "b": "0", "forced-idr": "1"},
        "qsv": {"preset": "medium", "global_quality": whole},
        "amf": {"quality": "balanced", "rc": "cqp", "qp_i": whole, "qp_p": whole},
    }[maker]
    profile = "high" if codec == "h264" else "main10" if deep else "main"
    plain = "nv12" if maker == "qsv" else "yuv420p"
    return VideoEncoding(
        codec=encoder,
        pix_fmt="p010le" if deep else plain,
        options={**options, "profile": profile, "g": key},
        tag="hvc1" if codec == "hevc" and container in ("mp4", "mov") else None,
    )


def _h264(interlaced: bool, key: str, crf: float | None) -> VideoEncoding:
    options = {
        "preset": PRESETS["libx264"],
        "profile": "high",
        "crf": _crf("libx264", crf),
        "g": key,
        "x264-params": "open-gop=0" + (":tff=1" if interlaced else ""),
    }
    return VideoEncoding(codec="libx264", pix_fmt="yuv420p", options=options)


def _hevc(
    like: VideoInfo, pix_fmt: str, key: str, frames: int, container: str, crf: float | None
) -> VideoEncoding:
    options = {
        "preset": PRESETS["libx265"],
        "crf": _crf("libx265", crf),
        "g": key,
        "x265-params": "open-gop=0:log-level=none",
    }
    if frames <= REORDERED:
        options["x265-params"] += ":bframes=0"
    for name, value in (
        ("master-display", like.mastering_display),
        ("max-cll", like.content_light),
    ):
        if value is not None:
            options["x265-params"] += f":{name}={value}"
    return VideoEncoding(
        codec="libx265",
        pix_fmt=pix_fmt,
        options=options,
        tag="hvc1" if container in ("mp4", "mov") else None,
    )


def _vp9(key: str, crf: float | None) -> VideoEncoding:
    options = {
        "deadline": "realtime",
        "cpu-used": "7",
        "row-mt": "1",
        "tile-columns": "2",
        "crf": _crf("libvpx-vp9", crf),
        "b": "0",
        "g": key,
    }
    return VideoEncoding(codec="libvpx-vp9", pix_fmt="yuv420p", options=options)


def _crf(codec: str, crf: float | None) -> str:
    """Return the constant rate factor; VP9 takes whole numbers."""
    value = CRF[codec] if crf is None else crf
    return str(round(value)) if codec == "libvpx-vp9" else f"{value:g}"
