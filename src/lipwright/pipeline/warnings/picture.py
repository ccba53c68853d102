"""Say what a result's pictures lose against those of the source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from lipwright.media.encode.encoder_settings import (
    ALPHA_CODECS,
    choose_video_encoder,
    container_for,
)
from lipwright.media.pixel_format import PixelFormat, read_pixel_format
from lipwright.media.probe import MediaInfo, VideoInfo, require_video
from lipwright.media.timeline import Timeline
from lipwright.options import SyncOptions
from lipwright.pipeline.output_format import output_info, why_deinterlaced

CHROMA_ORDER = ("4:2:0", "4:2:2", "4:4:4")  # rising
HDR_CODECS = ("libx264", "libx265")  # write the mastering display and the content light level
NO_CRF = {"prores_ks": "ProRes", "ffv1": "FFV1"}  # codecs without a constant rate factor


def picture_warnings(
    source: MediaInfo, timeline: Timeline, options: SyncOptions, out: Path
) -> Iterator[str]:
    """Yield what the pictures of a result lose, or who cannot show them.

    Args:
        source: as `plan_pictures` returned it.
        timeline: of the result.
        options: of the job.
        out: output file.
    """
    video = require_video(source)
    like = output_info(video, options)
    settings = choose_video_encoder(
        like, like.rate, 1, container_for(out), options.crf, options.encoder
    )
    held = read_pixel_format(settings.pix_fmt)
    if video.deinterlace:
        fields = replace(video, interlaced=True, deinterlace=False)
        reason = why_deinterlaced(fields, timeline.audio_duration, options, out)
        yield f"the interlaced video was deinterlaced: {reason}"
    if options.crf is not None and settings.codec in NO_CRF:
        yield f"crf has no effect: {NO_CRF[settings.codec]} has no constant rate factor"
    if video.still:
        return
    yield from _alpha_warnings(video, held, settings.codec, out)
    yield from _chroma_warnings(video, held, settings.codec, options, out)
    if video.bit_depth > held.bits:
        yield f"{video.bit_depth} bits per sample became {held.bits}"
    if (video.mastering_display or video.content_light) and settings.codec not in HDR_CODECS:
        yield (
            f"the HDR metadata (mastering display, light level) is not kept: {settings.codec} "
            "cannot write it here; use libx265"
        )


def _alpha_warnings(video: VideoInfo, held: PixelFormat, encoder: str, out: Path) -> Iterator[str]:
    if not video.alpha or held.alpha:
        return
    holder = encoder if container_for(out) in ALPHA_CODECS else out.suffix
    yield (
        f"the alpha channel is not kept, transparent parts became white: {holder} cannot hold it; "
        "write .mov (prores_ks), .mkv (ffv1) or .webm (libvpx-vp9)"
    )


def _chroma_warnings(
    video: VideoInfo, held: PixelFormat, encoder: str, options: SyncOptions, out: Path
) -> Iterator[str]:
    rgb = read_pixel_format(video.pix_fmt).rgb
    less = CHROMA_ORDER.index(held.chroma) < CHROMA_ORDER.index(video.chroma)
    if less and options.chroma != held.chroma:
        before = "RGB" if rgb else f"{video.chroma} chroma"
        reason = f"{encoder} encodes no other here"
        if held.alpha and encoder == "libvpx-vp9":
            reason = "VP9 has no other with alpha"
        elif output_info(video, options).chroma == held.chroma:
            reason = "browsers show no other; use chroma 4:4:4 to keep it"
        yield f"{before} became {held.chroma}: {reason}"
    elif rgb and not less:
        yield f"RGB became YUV {held.chroma} (BT.709)"
    if held.chroma != "4:2:0" and encoder in ("libx264", "libx265", "libvpx-vp9"):
        yield (
            f"the result keeps {held.chroma} chroma, which browsers and many players cannot show: "
            "use chroma 4:2:0 for them"
        )
