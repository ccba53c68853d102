"""Settings of each video encoder (no I/O)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from lipwright.media.interlacing import is_top_first
from lipwright.media.pixel_format import planar_format
from lipwright.media.probe import VideoInfo

Options = dict[str, str]
KEY_FRAME_SECONDS = 2  # longest interval of key frames: fast seeking, exact cuts
# Measured on 1080p talking heads, CPU per frame: libx264 superfast 20 ms, veryfast 31 ms at equal
# luma PSNR (48 to 53 dB); libx265 ultrafast 55 ms, superfast 60 to 80 ms.
PRESETS = {"libx264": "superfast", "libx265": "ultrafast"}
CRF = {"libx264": 18.0, "libx265": 16.0, "libvpx-vp9": 20.0}  # near-transparent
HARDWARE_QUALITY = 19  # near-transparent; the scale is that of libx264's CRF
REORDER_DELAY = 2  # frames; libx265 sets no decode times for a video this short
ISO_CONTAINERS = ("mp4", "mov")


@dataclass(frozen=True, kw_only=True)
class VideoEncoderSettings:
    """Encoder of the video and its settings."""

    codec: str  #: FFmpeg's name of the encoder
    pix_fmt: str
    options: Options
    tag: str | None = None  #: codec tag (four characters) that players expect
    interlaced: bool = False  #: whether it codes fields


@dataclass(frozen=True, kw_only=True)
class EncodeRequest:
    """What is encoded, and how finely."""

    like: VideoInfo
    rate: Fraction  #: frames per second
    frames: int
    container: str  #: FFmpeg's name
    crf: float | None = None  #: None is near-transparent

    @property
    def deep(self) -> bool:
        """Whether samples have more than 8 bits."""
        return self.like.bit_depth > 8

    @property
    def interval(self) -> str:
        """The longest interval of key frames."""
        return str(key_frame_interval(self.rate))

    def quality(self, codec: str) -> str:
        """Return the constant rate factor as text; VP9 takes integers only."""
        value = CRF[codec] if self.crf is None else self.crf
        return str(round(value)) if codec == "libvpx-vp9" else f"{value:g}"


def key_frame_interval(rate: Fraction) -> int:
    """Return the longest interval of key frames, in frames."""
    return max(1, round(KEY_FRAME_SECONDS * rate))


def h264(request: EncodeRequest) -> VideoEncoderSettings:
    """Return settings of libx264; the profile follows from chroma and depth."""
    like, deep = request.like, request.deep
    params = "open-gop=0"
    if like.interlaced:
        params += ":tff=1" if is_top_first(like.field_order) else ":bff=1"
    profile = {"4:2:0": "high10" if deep else "high", "4:2:2": "high422", "4:4:4": "high444"}
    return VideoEncoderSettings(
        codec="libx264",
        pix_fmt=planar_format(like.chroma, deep),
        options={
            "preset": PRESETS["libx264"],
            "profile": profile[like.chroma],
            "crf": request.quality("libx264"),
            "g": request.interval,
            "x264-params": params + _hdr_params(like, "mastering-display", "cll"),
        },
        interlaced=like.interlaced,
    )


def hevc(request: EncodeRequest) -> VideoEncoderSettings:
    """Return settings of libx265; an odd side needs 4:4:4."""
    like = request.like
    params = "open-gop=0:log-level=none"
    if request.frames <= REORDER_DELAY:
        params += ":bframes=0"
    chroma = like.chroma if fits_chroma(like) else "4:4:4"
    return VideoEncoderSettings(
        codec="libx265",
        pix_fmt=planar_format(chroma, request.deep),
        options={
            "preset": PRESETS["libx265"],
            "crf": request.quality("libx265"),
            "g": request.interval,
            "x265-params": params + _hdr_params(like, "master-display", "max-cll"),
        },
        tag="hvc1" if request.container in ISO_CONTAINERS else None,
    )


def vp9(request: EncodeRequest) -> VideoEncoderSettings:
    """Return settings of libvpx-vp9; with alpha, it has 4:2:0 only."""
    like = request.like
    options = {
        "deadline": "realtime",
        "cpu-used": "7",
        "row-mt": "1",
        "tile-columns": "2",
        "crf": request.quality("libvpx-vp9"),
        "b": "0",
        "g": request.interval,
    }
    pix_fmt = "yuva420p" if like.alpha else planar_format(like.chroma, deep=False)
    return VideoEncoderSettings(codec="libvpx-vp9", pix_fmt=pix_fmt, options=options)


def prores(request: EncodeRequest) -> VideoEncoderSettings:
    """Return settings of ProRes 422 HQ, or of ProRes 4444 for 4:4:4 and for alpha; 10 bits."""
    like = request.like
    full = like.alpha or like.chroma == "4:4:4"
    options = {"profile": "4444" if full else "hq", "vendor": "apl0"}
    if full:
        options["alpha_bits"] = "16" if like.alpha else "0"
    return VideoEncoderSettings(
        codec="prores_ks",
        pix_fmt=planar_format("4:4:4" if full else "4:2:2", deep=True, alpha=like.alpha),
        options=options,
        interlaced=like.interlaced,
    )


def ffv1(request: EncodeRequest) -> VideoEncoderSettings:
    """Return settings of FFV1, version 3: lossless, key frames only."""
    like = request.like
    return VideoEncoderSettings(
        codec="ffv1",
        pix_fmt=planar_format(like.chroma, request.deep, like.alpha),
        options={"level": "3", "g": "1", "slicecrc": "1"},
        interlaced=like.interlaced,
    )


def hardware(request: EncodeRequest, encoder: str) -> VideoEncoderSettings:
    """Return constant-quality settings of a hardware encoder; more than 8 bits use P010."""
    quality = f"{HARDWARE_QUALITY if request.crf is None else request.crf:g}"
    whole = str(round(float(quality)))
    codec, _, vendor = encoder.partition("_")
    options = {
        "nvenc": {"preset": "p4", "rc": "vbr", "cq": quality, "b": "0", "forced-idr": "1"},
        "qsv": {"preset": "medium", "global_quality": whole},
        "amf": {"quality": "balanced", "rc": "cqp", "qp_i": whole, "qp_p": whole},
    }[vendor]
    profile = "high" if codec == "h264" else "main10" if request.deep else "main"
    plain = "nv12" if vendor == "qsv" else "yuv420p"
    return VideoEncoderSettings(
        codec=encoder,
        pix_fmt="p010le" if request.deep else plain,
        options={**options, "profile": profile, "g": request.interval},
        tag="hvc1" if codec == "hevc" and request.container in ISO_CONTAINERS else None,
    )


def fits_chroma(like: VideoInfo) -> bool:
    """Return whether the coded sides are whole numbers of chroma samples, as H.26x needs."""
    width, height = (like.height, like.width) if like.rotation % 180 else (like.width, like.height)
    return not ((like.chroma != "4:4:4" and width % 2) or (like.chroma == "4:2:0" and height % 2))


def _hdr_params(like: VideoInfo, display: str, light: str) -> str:
    """Return the HDR metadata of a video under the names that an encoder gives them."""
    values = ((display, like.mastering_display), (light, like.content_light))
    return "".join(f":{name}={value}" for name, value in values if value is not None)
