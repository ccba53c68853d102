"""The result of a job, and its warnings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from lipwright.face.track import Take
from lipwright.media.decode.decoder import Decoder
from lipwright.media.probe import MediaInfo, require_video
from lipwright.media.timeline import Timeline
from lipwright.media.upscale import upscaled_size
from lipwright.options import SyncMode, SyncOptions
from lipwright.pipeline.resources import Resources
from lipwright.runtime.device import Device


@dataclass(frozen=True, kw_only=True)
class SyncResult:
    """The result of a job."""

    path: Path
    frames: int
    rate: Fraction  #: frames per second
    duration: Fraction  #: seconds
    mode: SyncMode
    engine: str
    style: str  #: how the mouth motion was fitted to this speaker
    face_frames: int  #: output frames with a painted mouth
    first_face: int | None = None  #: index of the first of them
    warnings: tuple[str, ...] = ()
    timings: dict[str, float] = field(default_factory=dict)  #: seconds by stage
    weights: dict[str, str] = field(default_factory=dict)  #: name → SHA-256 of the models used


def find_warnings(
    source: MediaInfo,
    take: Take,
    timeline: Timeline,
    painted: int,
    options: SyncOptions,
    resources: Resources,
) -> Iterator[str]:
    """Yield what was not done as requested, or not at all.

    Args:
        source: the input video.
        take: the same, tracked.
        timeline: of the output.
        painted: number of output frames with a painted mouth.
        options: of the job.
        resources: of the pipeline.
    """
    yield from _device_warnings(source, resources)
    size = take.info.width, take.info.height
    if options.size and upscaled_size(*size, options.size) == size:
        yield "{} x {} fills {} already: its size is kept".format(*size, options.size)
    if take.info.scaled_from:
        yield (
            "the picture of {} x {} was scaled down".format(*take.info.scaled_from)
            + f" to {take.info.width} x {take.info.height}"
        )
    if not take.tracks:
        yield "no face was found: the picture is unchanged"
    elif painted < timeline.frames:
        yield (
            f"{timeline.frames - painted} of {timeline.frames} frames show no usable face "
            "and are unchanged"
        )
    if len(take.tracks) > 1:
        yield (
            f"{len(take.tracks)} faces were found: only one was animated; pick another with speaker"
        )


def _device_warnings(source: MediaInfo, resources: Resources) -> Iterator[str]:
    video = require_video(source)
    if resources.device is Device.CUDA and not video.still:
        with closing(Decoder(source.path, video, resources.decode_options)) as decoder:
            if not decoder.on_device:
                yield f"the CPU decoded the video: no GPU here decodes {video.codec}"
