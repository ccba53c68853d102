"""The stages of a job as functions: track, hear, animate, plan, paint, write.

Each takes the values of the stages before it and returns a value; :class:`Resources` holds what
they share. :class:`lipwright.pipeline.pipeline.Pipeline` composes them::

    track ─┐
           ├─ animate ─ plan ─ paint ─ write
    hear ──┘
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np

from lipwright.engines.base import DrivingSequence, Engine, FaceTrack
from lipwright.errors import NoFaceFound
from lipwright.face.canonical import mouth_shapes
from lipwright.face.overlays.detector import OverlayDetector
from lipwright.face.speaker import (
    SyncScore,
    choose_speaker,
    faces_by_shot,
    merge_speaker_shots,
)
from lipwright.face.track import Take, Tracker
from lipwright.media.decode.audio import iter_audio, read_audio
from lipwright.media.decode.decoder import DecodeOptions
from lipwright.media.decode.video import read_video
from lipwright.media.encode.mux import VideoWriter
from lipwright.media.frame_cache import FrameCache
from lipwright.media.picture import Picture
from lipwright.media.probe import MediaInfo, require_video
from lipwright.media.shot_detection import split_shots
from lipwright.media.timeline import Timeline
from lipwright.media.upscale import upscale
from lipwright.motion import animate as motion
from lipwright.motion.adaptation import MAX_SECONDS, MIN_SECONDS
from lipwright.options import DEFAULT_ENGINE, Animate, SyncOptions
from lipwright.pipeline.driving import AnimatedFace, build_face_track
from lipwright.pipeline.paint import render_frames, study_speakers
from lipwright.pipeline.parallel import RenderPool
from lipwright.pipeline.plan import RenderPlan
from lipwright.pipeline.resources import Resources
from lipwright.pipeline.timing import snap_to_cuts
from lipwright.pipeline.views import CACHE_MARGIN, face_box
from lipwright.progress import ProgressReporter
from lipwright.runtime.disk_array import Array
from lipwright.runtime.memory import release_free_memory
from lipwright.runtime.pipelining import WriteBehind, prefetch
from lipwright.speech.features import SpeechFeatures, encode_speech, extract_speech_features
from lipwright.speech.mel import SAMPLE_RATE
from lipwright.types import Floats

TRIM_FRAMES = 250  # frames after which free memory is returned to the system

Check = Callable[[], None]  #: called now and then; raises Cancelled to end a stage


@dataclass(frozen=True, kw_only=True)
class HeardSpeech:
    """The speech of a job, encoded."""

    speech: SpeechFeatures  #: the new speech, as long as the output
    own: Array | None  #: (S, 1024) speech states of the source's own audio


def track(
    source: MediaInfo,
    resources: Resources,
    *,
    cache: FrameCache | None = None,
    reporter: ProgressReporter | None = None,
) -> Take:
    """Decode the source once, track every face in it and find its cuts.

    Args:
        source: a video or a still picture.
        resources: networks, threads, device.
        cache: receives the views that exemplars are cut from; None: they are decoded again later.
        reporter: receives every frame.

    Raises:
        MediaUnreadable: the source has no video stream, or it cannot be decoded.
        Cancelled: the reporter's token was cancelled.
    """
    video, reporter = require_video(source), reporter or ProgressReporter()
    tracker, times = Tracker(resources.landmarker), []
    overlays = OverlayDetector(float(video.rate))
    decoded = read_video(source, decode_options=resources.decode_options)
    with (
        reporter.stage("track", video.frames),
        closing(prefetch(split_shots(decoded), resources.queue_size)) as frames,
    ):
        for frame, cut in frames:
            tracker.feed(frame.picture, cut=cut)
            faces = tracker.current_landmarks()
            overlays.feed(frame.index, frame.picture, faces, cut=cut)
            if cache is not None:
                for landmarks in faces:
                    cache.put(frame.index, frame.picture, face_box(landmarks, CACHE_MARGIN))
            times.append(frame.time)
            reporter.frame(len(times))
            if len(times) % TRIM_FRAMES == 0:
                release_free_memory()
    return Take(
        info=video,
        times=tuple(times),
        tracks=tracker.tracks(),
        cuts=tracker.cuts,
        damaged=decoded.damaged,
        overlays=overlays.graphics(),
    )


def select_faces(
    take: Take, source: MediaInfo, resources: Resources, *, options: SyncOptions | None = None
) -> list[FaceTrack]:
    """Return the faces to animate: the picked one, the one that agrees with the voice, or all.

    Args:
        take: the tracked source.
        source: whose audio is compared with the faces.
        resources: networks.
        options: ``speaker``, ``animate`` and ``allow_no_face``.

    Raises:
        NoFaceFound: the take shows no face.
        InvalidOptions: no face is seen at the time of the pick.
    """
    options = options or SyncOptions()
    if not take.tracks:
        if options.allow_no_face:
            return []
        raise NoFaceFound(
            f"no face was found in any of the {len(take.times)} frames of {source.path}: use a "
            "video that shows a face, or allow_no_face (--allow-no-face) to leave it as it is"
        )
    if options.animate is Animate.EVERYONE:
        tracks = faces_by_shot(take)
    else:
        sync_score = speaker_sync_score(take, source, resources)
        chosen = choose_speaker(take, options.speaker, sync_score)
        picked = options.speaker is not None
        tracks = [merge_speaker_shots(chosen, take, sync_score, picked=picked)]
    return [build_face_track(track, take, resources.occlusion_detector) for track in tracks]


def speaker_sync_score(take: Take, source: MediaInfo, resources: Resources) -> SyncScore | None:
    """Return a function that scores how well a face agrees with the source's own voice.

    None if there is nothing to compare: fewer than two faces, or no audio.
    """
    if len(take.tracks) < 2 or source.audio is None:
        return None
    audio = read_audio(source, rate=SAMPLE_RATE, align_to_video=True)
    states = encode_speech([audio], resources.speech_encoder)
    scorer, times = resources.sync_scorer, np.array([float(t) for t in take.times])
    return lambda track: (
        scorer.estimate_offset(mouth_shapes(track.landmarks), times, states).confidence
    )


def hear(
    speech: MediaInfo,
    timeline: Timeline,
    source: MediaInfo,
    resources: Resources,
    check: Check = lambda: None,
) -> HeardSpeech:
    """Encode the new speech and the source's own, and load the network that needs them.

    Args:
        speech: the new speech.
        timeline: of the output.
        source: the video.
        resources: networks, threads, device.
        check: see :data:`Check`.
    """
    features = hear_speech(speech, timeline, resources, check)
    _ = resources.motion_model  # loaded here, while another core tracks the face
    return HeardSpeech(speech=features, own=hear_source(source, resources, check))


def hear_speech(
    speech: MediaInfo, timeline: Timeline, resources: Resources, check: Check = lambda: None
) -> SpeechFeatures:
    """Encode the audio of the output: the speech, cut or followed by silence.

    Args:
        speech: the new speech.
        timeline: of the output.
        resources: networks, threads, device.
        check: see :data:`Check`.
    """
    damaged: list[int] = []  # packets, in each pass over the audio

    def sound() -> Iterator[Floats]:
        damaged.append(0)

        def count() -> None:
            damaged[-1] += 1

        return _output_audio(speech, timeline, check, count)

    features = extract_speech_features(sound, resources.speech_encoder, resources.store)
    return replace(features, damaged=damaged[0])


def hear_source(
    source: MediaInfo, resources: Resources, check: Check = lambda: None
) -> Array | None:
    """Encode the beginning of the source's own audio; None if it is too short to learn from.

    Returns:
        Speech states (S, 1024) at 50 Hz, on disk.
    """
    if source.audio is None:
        return None
    check()
    audio = read_audio(source, rate=SAMPLE_RATE, align_to_video=True, max_seconds=MAX_SECONDS)
    if len(audio) < MIN_SECONDS * SAMPLE_RATE:
        return None

    def blocks() -> Iterator[Floats]:
        for start in range(0, len(audio), SAMPLE_RATE):
            check()
            yield audio[start : start + SAMPLE_RATE]

    return encode_speech(blocks(), resources.speech_encoder)


def animate(
    face: FaceTrack,
    take: Take,
    heard: HeardSpeech,
    resources: Resources,
    *,
    intensity: float = 1.0,
) -> AnimatedFace:
    """Turn the speech into the motion of this speaker's mouth; see :mod:`lipwright.motion.animate`.

    Args:
        face: of the speaker.
        take: that shows it; its times align the source's own speech with the mouth.
        heard: the new speech, and the source's own.
        resources: networks.
        intensity: 0 keeps the mouth at rest, 1 articulates as the speaker does.
    """
    model = resources.motion_model
    adaptation = motion.learn_adaptation(
        model, lambda: resources.sync_scorer, face.landmarks, take.times, heard.own
    )
    mouth = motion.animate(model, face.landmarks, heard.speech, adaptation, intensity)
    return AnimatedFace(face=face, motion=mouth)


def plan(
    source: MediaInfo,
    take: Take,
    timeline: Timeline,
    faces: Sequence[AnimatedFace],
    *,
    options: SyncOptions | None = None,
    engine: str = DEFAULT_ENGINE,
    cache: FrameCache | None = None,
) -> RenderPlan:
    """Collect what painting needs in one value that can be stored."""
    return RenderPlan(
        source=source,
        engine=engine,
        indices=snap_to_cuts(timeline.source_indices(take.times), take.cuts),
        offset=timeline.offset,
        faces=tuple(faces),
        restore=(options or SyncOptions()).restore,
        cache=cache or FrameCache(),
    )


def paint(
    plan: RenderPlan,
    engine: Engine,
    resources: Resources,
    *,
    part: range | None = None,
    drivings: Sequence[DrivingSequence] | None = None,
    reporter: ProgressReporter | None = None,
) -> Generator[Picture]:
    """Study the speakers; return the painted output frames, in the size of the source.

    Frames of a part equal those of the whole, bit for bit.

    Args:
        plan: of the whole output; its cache is emptied after the study.
        engine: an open engine of the name in the plan.
        resources: threads and device.
        part: output frames, at most the whole range; None: all.
        drivings: of the plan, if they are at hand.
        reporter: receives the studied views; :func:`write` reports painting.
    """
    reporter = reporter or ProgressReporter()
    with reporter.stage("study", None):
        speakers = study_speakers(plan, engine, resources.decode_options, reporter.frame)
    plan.cache.clear()
    release_free_memory()
    return render_frames(
        plan,
        engine,
        speakers,
        plan.driving_sequences() if drivings is None else drivings,
        range(plan.frames) if part is None else part,
        decode_options=resources.decode_options,
        queue_size=resources.queue_size,
    )


def write(
    pictures: Generator[Picture],
    writer: VideoWriter,
    resources: Resources,
    *,
    total: int,
    reporter: ProgressReporter | None = None,
) -> None:
    """Encode painted frames, enlarged to the size of the writer, while the next are painted.

    Args:
        pictures: as :func:`paint` returns them; closed at the end.
        writer: open; the caller closes it.
        resources: threads.
        total: number of pictures.
        reporter: receives every frame.
    """
    reporter = reporter or ProgressReporter()
    with (
        reporter.stage("paint", total),
        closing(pictures),
        WriteBehind[Picture](
            lambda picture: writer.write(upscale(picture, *writer.size)), resources.queue_size
        ) as encode,
    ):
        for done, picture in enumerate(pictures, 1):
            encode(picture)
            reporter.frame(done)
            if done % TRIM_FRAMES == 0:
                release_free_memory()


def paint_in_processes(
    plan: RenderPlan,
    writer: VideoWriter,
    resources: Resources,
    *,
    boundaries: Sequence[int],
    reporter: ProgressReporter | None = None,
) -> None:
    """Paint and encode each segment in a process of its own, and join the segments.

    Args:
        plan: of the whole output.
        writer: open; the caller closes it.
        resources: threads, which the processes share, and device.
        boundaries: see :func:`lipwright.media.encode.video.segment_boundaries`.
        reporter: receives the progress.
    """
    reporter, total = reporter or ProgressReporter(), boundaries[-1]
    threads = max(1, resources.threads // (len(boundaries) - 1))
    options = DecodeOptions(threads, resources.device)
    with (
        reporter.stage("paint", total),
        RenderPool(plan, writer.spec, boundaries, decode_options=options) as pool,
    ):
        for done in pool.progress():
            reporter.update(done, total)
        writer.concatenate(pool.segments)


def _output_audio(
    speech: MediaInfo, timeline: Timeline, check: Check, on_damage: Check
) -> Iterator[Floats]:
    """Yield the audio of the output in blocks: cut, or followed by silence."""
    left = max(timeline.audio_samples(SAMPLE_RATE), 1)
    for block in iter_audio(speech, rate=SAMPLE_RATE, on_damage=on_damage):
        check()
        yield block[:left]
        left -= len(block[:left])
        if not left:
            return
    for start in range(0, left, SAMPLE_RATE):
        check()
        yield np.zeros(min(SAMPLE_RATE, left - start), np.float32)
