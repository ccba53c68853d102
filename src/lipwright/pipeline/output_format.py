"""Decide the format of the pictures of a result: size, chroma, and whether fields are kept."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import cast

from lipwright.media.chroma import Chroma
from lipwright.media.encode.encoder_settings import (
    FIELD_CODECS,
    container_for,
    keeps_fields,
    video_encoder_for,
)
from lipwright.media.probe import MediaInfo, VideoInfo, require_audio, require_video
from lipwright.media.upscale import upscaled_info
from lipwright.options import SyncMode, SyncOptions

DELIVERY_CODECS = {"gif"}  # shown by browsers, which show video of 4:2:0 only


def plan_pictures(
    source: MediaInfo, speech: MediaInfo, options: SyncOptions, out: Path
) -> tuple[MediaInfo, VideoInfo]:
    """Return the source as it is to be read, and the description of the result's video.

    Interlaced video is deinterlaced where the result cannot keep its fields.

    Args:
        source: probed.
        speech: probed; its length decides whether frames are blended or played backward.
        options: of the job.
        out: output file; its suffix selects the container.

    Raises:
        InvalidOptions: the container or the encoder does not support the video.
    """
    video = require_video(source)
    length = require_audio(speech).duration
    if video.interlaced and why_deinterlaced(video, length, options, out) is not None:
        video = replace(video, interlaced=False, deinterlace=True)
        source = replace(source, video=video)
    like = output_info(video, options)
    video_encoder_for(like, container_for(out), options.encoder)  # refuses before any work is done
    return source, like


def output_info(video: VideoInfo, options: SyncOptions) -> VideoInfo:
    """Return the description of the result's video, with the size and chroma of the options."""
    info = upscaled_info(video, options.size) if options.size else video
    chroma = "4:2:0" if video.codec in DELIVERY_CODECS else video.chroma
    return replace(info, chroma=cast(Chroma, options.chroma or chroma))


def why_deinterlaced(
    video: VideoInfo, length: Fraction, options: SyncOptions, out: Path
) -> str | None:
    """Return why a result cannot keep the fields of interlaced video; None: it keeps them.

    Args:
        video: the source.
        length: of the speech, seconds.
        options: of the job.
        out: output file.

    Raises:
        InvalidOptions: the container or the encoder does not support the video.
    """
    like = output_info(video, options)
    if (like.width, like.height) != (video.width, video.height):
        return "enlarged frames cannot keep their fields"
    if options.mode is SyncMode.REMAP and length != video.duration:
        return "frames between two frames cannot have fields"
    if options.mode is SyncMode.BOUNCE and length > video.duration:
        return "played backward, its fields would be in the wrong order"
    encoder = video_encoder_for(like, container_for(out), options.encoder)
    if keeps_fields(like, encoder):
        return None
    if encoder in FIELD_CODECS:
        return f"{encoder} encodes no fields at {like.width} x {like.height}"
    return f"{encoder} encodes no fields; use libx264 in .mp4, .mov or .mkv to keep them"
