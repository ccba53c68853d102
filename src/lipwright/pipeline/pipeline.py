"""One video and one recording, stage by stage: the table of contents of a job.

probe → track the face, hear the speech beside it → plan → animate the mouth → paint → write
"""

from __future__ import annotations

from pathlib import Path
from threading import Thread

import cv2
import numpy as np

from lipwright import environment
from lipwright.engines.base import Engine, EngineSpec
from lipwright.engines.registry import find_engine
from lipwright.errors import InvalidOptions
from lipwright.face.lower_face_raster import warm_up
from lipwright.face.track import Take
from lipwright.media.encode.mux import VideoWriter, check_encoder, check_writable
from lipwright.media.encode.video import segment_boundaries
from lipwright.media.encode.video_encoders import key_frame_interval
from lipwright.media.frame_cache import FrameCache
from lipwright.media.probe import (
    MediaInfo,
    probe,
    require_audio,
    require_video,
    video_delay,
    with_lead,
)
from lipwright.media.timeline import Timeline
from lipwright.options import DEFAULT_ENGINE, SyncOptions
from lipwright.pipeline import stages
from lipwright.pipeline.inputs import with_local_inputs
from lipwright.pipeline.kept_tracks import plan_copies
from lipwright.pipeline.limits import check_inputs, check_length, check_output
from lipwright.pipeline.output_format import plan_pictures
from lipwright.pipeline.plan import RenderPlan
from lipwright.pipeline.resources import Resources
from lipwright.pipeline.result import FinishedJob, SyncResult, summarise
from lipwright.pipeline.stages import HeardSpeech
from lipwright.pipeline.timing import plan_from_headers, plan_output
from lipwright.progress import CancelToken, OnProgress, ProgressReporter
from lipwright.runtime.device import select_device
from lipwright.runtime.memory import release_free_memory
from lipwright.runtime.pipelining import BackgroundTask
from lipwright.runtime.threads import single_threaded_blas
from lipwright.speech.mel import SAMPLE_RATE
from lipwright.types import Bools
from lipwright.weights.store import WeightStore


def sync(
    video: str | Path,
    audio: str | Path,
    out: str | Path,
    *,
    options: SyncOptions | None = None,
    engine: str = DEFAULT_ENGINE,
    threads: int | None = None,
    processes: int = 1,
    device: str | None = None,
    on_progress: OnProgress | None = None,
    cancel: CancelToken | None = None,
) -> SyncResult:
    """Re-animate the mouth in *video* to the speech in *audio* and write the result to *out*.

    It decodes in this process. For more than one job, a :class:`Pipeline` keeps the models loaded.

    Args:
        video: video or still picture: a file, an https URL, a pipe, or ``-`` (standard input).
        audio: the same with an audio stream.
        out: ``.mp4``, ``.mov``, ``.mkv`` or ``.webm``; a complete result replaces an older file.
        options: of the job.
        engine: name of an installed engine.
        threads: see :class:`Pipeline`.
        processes: see :class:`Pipeline`.
        device: see :class:`Pipeline`.
        on_progress: called every few frames.
        cancel: cancels the job from another thread.

    Raises:
        InputError: *video*, *audio* or an option cannot be used; the subclass says why.
        EngineError: the engine is missing or cannot run.
        OutputError: *out* cannot be written.
        Cancelled: *cancel* was set.
    """
    with Pipeline(engine=engine, threads=threads, processes=processes, device=device) as pipeline:
        return pipeline.sync(
            video, audio, out, options=options, on_progress=on_progress, cancel=cancel
        )


class Pipeline:
    """Runs jobs one at a time and keeps the models loaded between them; a context manager."""

    def __init__(
        self,
        *,
        engine: str = DEFAULT_ENGINE,
        threads: int | None = None,
        processes: int = 1,
        device: str | None = None,
        store: WeightStore | None = None,
    ) -> None:
        """Open the engine.

        Args:
            engine: name of an installed engine.
            threads: maximum per native library. 1 disables stage overlap. None: the value of
                ``LIPWRIGHT_THREADS``, or one per core. OpenCV's limit applies to the whole
                process; NumPy's linear algebra uses one thread while a job runs.
            processes: maximum number that paint and encode a segment of at least two seconds each;
                they share the threads. Useful from about four cores on.
            device: ``cuda`` uses an NVIDIA GPU for decoding, speech encoding and super-resolution;
                ``auto`` uses one if there is one; ``cpu`` does not. None: the value of
                ``LIPWRIGHT_DEVICE``, or ``cpu``.
            store: where the weights are.

        Raises:
            EngineError: the engine is missing or cannot run.
            DeviceUnavailable: the device was requested by name and cannot be used.
            InvalidOptions: threads or processes below 1, or an unknown device.
        """
        threads = environment.threads() if threads is None else threads
        chosen = select_device(device or environment.device())
        self._resources = Resources(store, threads=threads, device=chosen)
        if processes < 1:
            raise InvalidOptions(f"cannot use processes = {processes}: give a number from 1 on")
        self._processes = processes
        cv2.setNumThreads(max(1, self._resources.threads // 2))  # other stages use the rest
        self._spec: EngineSpec = find_engine(engine)
        self._engine: Engine = self._spec.open(chosen, self._resources.store)
        if self._resources.overlap:
            Thread(target=warm_up, name="warm-up").start()  # joined when Python ends

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the engine; a second call does nothing."""
        self._engine.close()

    @single_threaded_blas()
    @with_local_inputs
    def sync(
        self,
        video: str | Path,
        audio: str | Path,
        out: str | Path,
        *,
        options: SyncOptions | None = None,
        on_progress: OnProgress | None = None,
        cancel: CancelToken | None = None,
    ) -> SyncResult:
        """Run one job; see :func:`sync`."""
        options, reporter = options or SyncOptions(), ProgressReporter(on_progress, cancel)
        check_output(out, video, audio)
        source = probe(video, video_track=options.video_track)
        speech = with_lead(probe(audio, audio_track=options.audio_track))
        check_inputs(source, speech, options)
        out = check_writable(out)
        source, like = plan_pictures(source, speech, options, out)
        if options.encoder is not None:
            check_encoder(options.encoder, like, out, options.crf)
        take, timeline, heard, plan = self._prepare(source, speech, options, reporter)
        with VideoWriter(
            out,
            like=like,
            timeline=timeline,
            audio=speech,
            crf=options.crf,
            encoder=options.encoder,
            metadata={} if options.strip_metadata else source.metadata,
            copies=plan_copies(source, speech, timeline, options, out),
            threads=self._resources.threads,
        ) as writer:
            painted = self._render(plan, timeline, writer, reporter)
        job = FinishedJob(
            source=source,
            speech=speech,
            take=take,
            timeline=timeline,
            heard=heard,
            plan=plan,
            painted=painted,
            options=options,
            resources=self._resources,
            out=out,
        )
        return summarise(job, reporter.timings)

    def _prepare(
        self, source: MediaInfo, speech: MediaInfo, options: SyncOptions, reporter: ProgressReporter
    ) -> tuple[Take, Timeline, HeardSpeech, RenderPlan]:
        """Track, hear beside it, and animate."""
        resources, sound = self._resources, require_audio(speech)
        delay = video_delay(source)
        expected = plan_from_headers(require_video(source), sound, options.mode, delay)
        cache = FrameCache()
        with BackgroundTask[HeardSpeech](
            lambda check: stages.hear(speech, expected, source, resources, check),
            threaded=resources.overlap,
        ) as hearing:
            take = stages.track(source, resources, cache=cache, reporter=reporter)
            timeline = plan_output(take, sound, options.mode, delay)
            check_length(timeline, options)
            with reporter.stage("hear", 1):
                heard = hearing.result()
                if expected.audio_samples(SAMPLE_RATE) != timeline.audio_samples(SAMPLE_RATE):
                    features = stages.hear_speech(speech, timeline, resources)
                    heard = HeardSpeech(speech=features, own=heard.own)
                faces = []
                for face in stages.select_faces(take, source, resources, options=options):
                    release_free_memory()
                    faces.append(
                        stages.animate(face, take, heard, resources, intensity=options.intensity)
                    )
                release_free_memory()
        plan = stages.plan(
            *(source, take, timeline, faces),
            options=options,
            engine=self._spec.name,
            cache=cache,
        )
        return take, timeline, heard, plan

    def _render(
        self, plan: RenderPlan, timeline: Timeline, writer: VideoWriter, reporter: ProgressReporter
    ) -> Bools:
        """Paint and write; return (n,) whether each output frame has a painted mouth."""
        interval = key_frame_interval(timeline.rate)
        boundaries = segment_boundaries(timeline.frames, interval, self._processes)
        drivings = plan.driving_sequences()
        if len(boundaries) > 2:
            stages.paint_in_processes(
                plan, writer, self._resources, boundaries=boundaries, reporter=reporter
            )
        else:
            pictures = stages.paint(
                plan, self._engine, self._resources, drivings=drivings, reporter=reporter
            )
            stages.write(pictures, writer, self._resources, total=plan.frames, reporter=reporter)
        shown = np.array([driving.strength > 0 for driving in drivings]).reshape(-1, plan.frames)
        return np.asarray(shown.any(0), np.bool_)
