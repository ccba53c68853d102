"""Check the inputs and the output path of a job before it starts."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from lipwright.errors import InvalidOptions, LimitExceeded
from lipwright.media.probe import MediaInfo, require_audio, require_video
from lipwright.media.timeline import Timeline
from lipwright.options import SyncOptions

MAX_RATE = 60  # frames per second that `max_seconds` allows for


def check_inputs(source: MediaInfo, speech: MediaInfo, options: SyncOptions) -> None:
    """Check the size of the frames, and the length of the video and of the speech.

    Raises:
        LimitExceeded: a frame is too large, or one of them too long.
    """
    check_video(source, options)
    check_audio(speech, options)


def check_video(source: MediaInfo, options: SyncOptions) -> None:
    """Check the frame size, the length and the number of frames of a video.

    Raises:
        LimitExceeded: a frame is too large, the video too long, or its frames too many.
    """
    video = require_video(source)
    if video.width * video.height > options.max_pixels:
        raise LimitExceeded(
            f"{source.path}: frames of {video.width} x {video.height} are over the limit of "
            f"{options.max_pixels} pixels: scale the video down, or raise max_pixels"
        )
    _check_seconds(f"{source.path}: video", video.duration, options)
    frames = video.frames or round(video.duration * video.rate)
    _check_frames(f"{source.path}: video", frames, options)


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
    _check_frames("the result", timeline.frames, options)


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


def _check_frames(what: str, frames: int, options: SyncOptions) -> None:
    limit = options.max_seconds * MAX_RATE
    if frames > max(limit, MAX_RATE):
        raise LimitExceeded(
            f"{what} of {frames} frames is over the limit of {limit:.0f} ({MAX_RATE} for each "
            f"of {options.max_seconds:.0f} s): lower its frame rate, cut it into parts, or raise "
            "max_seconds"
        )
