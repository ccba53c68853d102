"""Check the inputs and the output path of a job before it starts."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from lipwright.errors import InvalidOptions, LimitExceeded
from lipwright.media.probe import MediaInfo, require_audio, require_video
from lipwright.media.timeline import Timeline
from lipwright.options import SyncOptions


def check_video(source: MediaInfo, options: SyncOptions) -> None:
    """Check the frame size and the length of a video.

    Raises:
        LimitExceeded: a frame is too large, or the video too long.
    """
    video = require_video(source)
    if video.width * video.height > options.max_pixels:
        raise LimitExceeded(
            f"{source.path}: frames of {video.width} x {video.height} are over the limit of "
            f"{options.max_pixels} pixels: scale the video down, or raise max_pixels"
        )
    _check_seconds(f"{source.path}: video", video.duration, options)


def check_audio(speech: MediaInfo, options: SyncOptions) -> None:
    """Check the length of the speech.

    Raises:
        LimitExceeded: it is too long.
    """
    _check_seconds(f"{speech.path}: audio", require_audio(speech).duration, options)


def check_length(timeline: Timeline, options: SyncOptions) -> None:
    """Check the length of the output.

    Raises:
        LimitExceeded: it is too long.
    """
    _check_seconds("the result", timeline.duration, options)


def check_output(out: str | Path, *inputs: str | Path) -> None:
    """Check that the output is none of the inputs, links included.

    Raises:
        InvalidOptions: it is one of them.
    """
    for path in map(Path, inputs):
        if Path(out).exists() and path.exists() and Path(out).samefile(path):
            raise InvalidOptions(f"{out} is the same file as the input {path}: use another output")


def _check_seconds(what: str, length: Fraction, options: SyncOptions) -> None:
    if length > options.max_seconds:
        raise LimitExceeded(
            f"{what} of {float(length):.0f} s is over the limit of {options.max_seconds:.0f} s: "
            "cut it into parts, or raise max_seconds"
        )
