"""The result of a job, and its warnings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np

from lipwright.face.track import Take
from lipwright.media.decode.decoder import Decoder
from lipwright.media.probe import MediaInfo, require_video
from lipwright.media.timeline import Timeline
from lipwright.media.upscale import upscaled_size
from lipwright.options import SyncMode, SyncOptions
from lipwright.pipeline.kept_tracks import container_warnings
from lipwright.pipeline.plan import RenderPlan
from lipwright.pipeline.resources import Resources
from lipwright.pipeline.stages import HeardSpeech
from lipwright.pipeline.warnings.face import FrameRange, face_warnings, find_unpainted
from lipwright.pipeline.warnings.picture import picture_warnings
from lipwright.pipeline.warnings.speech import (
    damage_warnings,
    speech_warnings,
    track_warnings,
)
from lipwright.runtime.device import Device
from lipwright.types import Bools


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
    unpainted: tuple[FrameRange, ...] = ()  #: output frames without one, and the reasons
    warnings: tuple[str, ...] = ()
    timings: dict[str, float] = field(default_factory=dict)  #: seconds by stage
    weights: dict[str, str] = field(default_factory=dict)  #: name → SHA-256 of the models used


@dataclass(frozen=True, kw_only=True)
class FinishedJob:
    """What a job has done, for its result and its warnings."""

    source: MediaInfo  #: the video, as it was read
    speech: MediaInfo
    take: Take
    timeline: Timeline
    heard: HeardSpeech
    plan: RenderPlan
    painted: Bools  #: (n,) whether each output frame has a painted mouth
    options: SyncOptions
    resources: Resources
    out: Path


def summarise(job: FinishedJob, timings: dict[str, float]) -> SyncResult:
    """Return the result of a job."""
    frames, styles = np.flatnonzero(job.painted), [f.motion.style for f in job.plan.faces]
    unpainted = find_unpainted(job.plan, job.take, job.painted)
    return SyncResult(
        path=job.out,
        frames=job.timeline.frames,
        rate=job.timeline.rate,
        duration=job.timeline.duration,
        mode=job.timeline.mode,
        engine=job.plan.engine,
        style="; ".join(style.description for style in styles) or "none: no face",
        face_frames=len(frames),
        first_face=int(frames[0]) if len(frames) else None,
        unpainted=unpainted,
        warnings=tuple(find_warnings(job, unpainted)),
        timings=timings,
        weights=job.resources.store.used(),
    )


def find_warnings(job: FinishedJob, unpainted: Sequence[FrameRange]) -> Iterator[str]:
    """Yield what was not done as requested, or not at all.

    Args:
        job: that has ended.
        unpainted: output frames without a painted mouth.
    """
    options, info = job.options, job.take.info
    yield from _device_warnings(job.source, job.resources)
    yield from picture_warnings(job.source, job.timeline, options, job.out)
    yield from container_warnings(job.source, job.timeline, options, job.out)
    size = info.width, info.height
    if options.size and upscaled_size(*size, options.size) == size:
        yield "{} x {} fills {} already: its size is kept".format(*size, options.size)
    if info.scaled_from:
        yield (
            "the picture of {} x {} was scaled down".format(*info.scaled_from)
            + f" to {info.width} x {info.height}"
        )
    yield from track_warnings(job.speech, options.audio_track)
    yield from damage_warnings(job.take)
    yield from speech_warnings(
        job.speech, job.heard.speech, job.take, job.timeline, job.resources.store
    )
    yield from face_warnings(job.plan, job.take, job.painted, unpainted)


def _device_warnings(source: MediaInfo, resources: Resources) -> Iterator[str]:
    video = require_video(source)
    if resources.device is Device.CUDA and not video.still:
        with closing(Decoder(source.path, video, resources.decode_options)) as decoder:
            if not decoder.on_device:
                yield f"the CPU decoded the video: no GPU here decodes {video.codec}"
