"""One video and one voice, stage by stage.

probe → track the face, hear the speech beside → plan the timeline → move the mouth → paint → encode
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.engines.base import DrivingSequence, Engine, EngineSpec, FaceTrack
from lipwright.engines.registry import find_engine
from lipwright.errors import InvalidOptions, NoFaceFound
from lipwright.face.landmarker import FaceLandmarker
from lipwright.face.occlusion import OcclusionDetector
from lipwright.face.raster import prepare
from lipwright.face.shape import mouth_shapes
from lipwright.face.speaker import Agreement, choose_speaker, join_shots
from lipwright.face.track import RawTrack, Take, Tracker
from lipwright.media.cuts import split_shots
from lipwright.media.decode.audio import iter_audio, read_audio
from lipwright.media.decode.decoder import DecodeOptions, Decoder
from lipwright.media.decode.video import read_video
from lipwright.media.encode.mux import VideoWriter, check_encoder, check_writable
from lipwright.media.encode.spec import key_frames
from lipwright.media.encode.video import cut_points
from lipwright.media.frame_cache import FrameCache
from lipwright.media.picture import Picture
from lipwright.media.probe import (
    MediaInfo,
    VideoInfo,
    probe,
    require_audio,
    require_video,
)
from lipwright.media.timeline import Timeline
from lipwright.media.upscale import enlarge, enlarged_info, enlarged_size
from lipwright.motion import adaptation as adapt
from lipwright.motion import silence as rest
from lipwright.motion import speaking_style as style
from lipwright.motion.adaptation import Adaptation
from lipwright.motion.animate import Performance, perform
from lipwright.motion.model import MotionModel
from lipwright.motion.sync_scorer import SyncScorer
from lipwright.options import SyncMode, SyncOptions
from lipwright.pipeline.limits import check_audio, check_length, check_output, check_video
from lipwright.pipeline.paint import RenderPlan, render_frames, study_speaker
from lipwright.pipeline.parallel import RenderPool
from lipwright.pipeline.staging import (
    ALBUM_MARGIN,
    around,
    expected,
    plan_take,
    portrait_of,
    whole_at_cuts,
)
from lipwright.progress import CancelToken, OnProgress, ProgressReporter
from lipwright.runtime import memory as heap
from lipwright.runtime.device import Device, select_device
from lipwright.runtime.disk_array import Array, DiskArray, sample_runs
from lipwright.runtime.pipelining import QUEUE_SIZE, BackgroundTask, WriteBehind, prefetch
from lipwright.runtime.threads import single_threaded_blas, thread_count
from lipwright.speech.encoder import SpeechEncoder
from lipwright.speech.mel import SAMPLE_RATE
from lipwright.speech.voice import Voice, hear, in_pieces, listen
from lipwright.types import Floats
from lipwright.weights.store import WeightStore

DEFAULT_ENGINE = "exemplar"
# A manner of speaking shows in a few minutes; they are taken in stretches, spread over the take.
STYLE_FRAMES, STYLE_RUN = 3000, 250
TIDY_FRAMES = 250  # after which memory that is free goes back to the system


@dataclass(frozen=True, kw_only=True)
class SyncResult:
    """What came out."""

    path: Path
    frames: int
    rate: Fraction  #: frames per second
    duration: Fraction  #: seconds
    mode: SyncMode
    engine: str
    style: str  #: how the mouth was fitted to this speaker
    face_frames: int  #: output frames in which a mouth was painted
    first_face: int | None = None  #: index of the first of them
    warnings: tuple[str, ...] = ()
    timings: dict[str, float] = field(default_factory=dict)  #: seconds by stage
    weights: dict[str, str] = field(default_factory=dict)  #: name → SHA-256 of the models used


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
    """Give the person in *video* the voice of *audio* and write the result to *out*.

    For more than one job, a :class:`Pipeline` keeps the models warm.

    Args:
        video: any file that FFmpeg reads, with a picture stream; or a still picture (JPEG, PNG,
            WebP, BMP), which is shown as long as the speech lasts.
        audio: any file that FFmpeg reads, with a sound stream.
        out: ``.mp4``, ``.mov`` or ``.mkv``; replaced only when all went well.
        options: what to do.
        engine: name of an installed engine.
        threads: see :class:`Pipeline`.
        processes: see :class:`Pipeline`.
        device: see :class:`Pipeline`.
        on_progress: called every few frames.
        cancel: set it from another thread to end the job.

    Raises:
        InputError: *video*, *audio* or an option cannot be used; the subclass says why.
        EngineError: the engine is not there or cannot run.
        OutputError: *out* cannot be written.
        Cancelled: *cancel* was set.
    """
    with Pipeline(engine=engine, threads=threads, processes=processes, device=device) as pipeline:
        return pipeline.sync(
            video, audio, out, options=options, on_progress=on_progress, cancel=cancel
        )


class Pipeline:
    """Keeps models loaded over many jobs, one at a time; a context manager."""

    def __init__(
        self,
        *,
        engine: str = DEFAULT_ENGINE,
        threads: int | None = None,
        processes: int = 1,
        device: str | None = None,
        store: WeightStore | None = None,
    ) -> None:
        """Find the engine.

        Args:
            engine: name of an installed engine.
            threads: how many any library may start for a job; with 1 the stages take turns, else
                they run side by side. None: what ``LIPWRIGHT_THREADS`` says, or one per core. Of
                OpenCV the number holds for the whole process; NumPy's linear algebra has one thread
                while a job runs.
            processes: how many paint and encode at most, each a part of the output of two seconds
                and more; they share the threads. It pays from some four cores on.
            device: ``cuda`` decodes, hears and restores on a GPU by NVIDIA; ``auto`` does where
                there is one; ``cpu`` does not. None: what ``LIPWRIGHT_DEVICE`` says, or ``cpu``.
            store: where the weights are.

        Raises:
            EngineError: it is not there.
            DeviceUnavailable: the device was asked for by name and cannot be used.
            InvalidOptions: a number of threads or processes below 1, or an unknown device.
        """
        self._threads = thread_count(threads)
        self._device = select_device(device)
        self._decoding = DecodeOptions(self._threads, self._device)
        if processes < 1:
            raise InvalidOptions(f"cannot use processes = {processes}: give a number from 1 on")
        self._processes = processes
        cv2.setNumThreads(max(1, self._threads // 2))  # the stages beside each other take the rest
        self._room = QUEUE_SIZE if self._threads > 1 else 0
        self._store = store or WeightStore()
        self._spec: EngineSpec = find_engine(engine)
        self._engine: Engine = self._spec.open(self._device)
        self._landmarker: FaceLandmarker | None = None
        self._detector: OcclusionDetector | None = None
        self._encoder: SpeechEncoder | None = None
        self._model: MotionModel | None = None
        if self._threads > 1:
            Thread(target=prepare, name="prepare", daemon=True).start()

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the engine; calling it twice is fine."""
        self._engine.close()

    @single_threaded_blas()
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
        """Do one job; see :func:`sync`."""
        options = options or SyncOptions()
        watch = ProgressReporter(on_progress, cancel)
        check_output(out, video, audio)
        source, speech = probe(video), probe(audio)
        picture, sound = require_video(source), require_audio(speech)
        check_video(source, options)
        check_audio(speech, options)
        out = check_writable(out)
        shown = enlarged_info(picture, options.size) if options.size else picture
        if options.encoder is not None:
            check_encoder(options.encoder, shown, out, options.crf)

        claimed = expected(picture, sound, options.mode)
        album = FrameCache()
        with BackgroundTask[Heard](
            lambda check: self._hear_both(speech, claimed, source, check), apart=self._threads > 1
        ) as listening:
            take = self._track(source, picture, watch, album)
            timeline = plan_take(take, sound, options.mode)
            check_length(timeline, options)
            with watch.stage("hear", 1):
                heard = listening.result()
                if claimed.audio_samples(SAMPLE_RATE) != timeline.audio_samples(SAMPLE_RATE):
                    heard = heard._replace(voice=self._listen(speech, timeline))
                portrait = self._speaker(take, source, options)
                heap.release_free_memory()
                performance = self._perform(portrait, heard, take.times, options.intensity)
                heap.release_free_memory()
        del heard, listening  # not needed any more, and large
        with VideoWriter(
            out,
            like=shown,
            timeline=timeline,
            audio=speech,
            crf=options.crf,
            encoder=options.encoder,
            metadata=source.metadata,
            threads=self._threads,
        ) as writer:
            picks = whole_at_cuts(timeline.picks(take.times), take.cuts)
            brief = RenderPlan(
                source=source,
                info=take.info,
                picks=picks,
                portrait=portrait,
                performance=performance,
                album=album,
                restore=options.restore,
            )
            shown_in = self._paint(brief, timeline, writer, watch)
        return SyncResult(
            path=out,
            frames=timeline.frames,
            rate=timeline.rate,
            duration=timeline.duration,
            mode=timeline.mode,
            engine=self._spec.name,
            style=performance.style.text if performance else "none: no face",
            face_frames=len(shown_in),
            first_face=int(shown_in[0]) if len(shown_in) else None,
            warnings=(
                *self._missed(source, picture),
                *_warnings(take, timeline, len(shown_in), options),
            ),
            timings=watch.timings,
            weights=self._store.used(),
        )

    def _track(
        self, source: MediaInfo, picture: VideoInfo, watch: ProgressReporter, album: FrameCache
    ) -> Take:
        """Pass A: decode once, follow every face, keep what exemplars are cut from."""
        self._landmarker = self._landmarker or FaceLandmarker(self._store)
        tracker, times = Tracker(self._landmarker), []
        with (
            watch.stage("track", picture.frames),
            closing(
                prefetch(split_shots(read_video(source, decoding=self._decoding)), self._room)
            ) as frames,
        ):
            for frame, cut in frames:
                tracker.feed(frame.picture, cut=cut)
                for landmarks in tracker.placed():
                    album.keep(frame.index, frame.picture, around(landmarks, ALBUM_MARGIN))
                times.append(frame.time)
                watch.frame(len(times))
                if len(times) % TIDY_FRAMES == 0:
                    heap.release_free_memory()
        return Take(info=picture, times=tuple(times), tracks=tracker.tracks(), cuts=tracker.cuts)

    def _missed(self, source: MediaInfo, picture: VideoInfo) -> Iterator[str]:
        """Yield what the device that was asked for did not do."""
        if self._device is Device.CUDA and not picture.still:
            with closing(Decoder(source.path, picture, self._decoding)) as decoder:
                if not decoder.on_device:
                    yield f"the CPU decoded the video: no GPU here decodes {picture.codec}"

    def _speaker(self, take: Take, source: MediaInfo, options: SyncOptions) -> FaceTrack | None:
        """Choose the face to animate.

        Raises:
            NoFaceFound: there is none, and the options do not allow that.
        """
        if take.tracks:
            agreement = self._agreement(take, source)
            track = choose_speaker(take, options.speaker, agreement)
            return self._portrait(join_shots(track, take, agreement), take)
        if options.allow_no_face:
            return None
        raise NoFaceFound(
            f"no face was found in any of the {len(take.times)} frames of {source.path}: use a "
            "video that shows a face, or allow_no_face (--allow-no-face) to leave it as it is"
        )

    def _portrait(self, track: RawTrack, take: Take) -> FaceTrack:
        # No other thread has anything to do while this network runs.
        threads = min(2, self._threads)
        self._detector = self._detector or OcclusionDetector(self._store, threads=threads)
        return portrait_of(track, take, self._detector)

    def _agreement(self, take: Take, source: MediaInfo) -> Agreement | None:
        """Return how to tell which of several faces the voice of the source belongs to."""
        if len(take.tracks) < 2 or source.audio is None:
            return None
        voice = self._hear([read_audio(source, rate=SAMPLE_RATE, from_picture=True)])
        scorer = SyncScorer(self._store)
        times = np.array([float(t) for t in take.times])
        return lambda track: scorer.offset(mouth_shapes(track.landmarks), times, voice).confidence

    def _hear(self, pieces: Iterable[Floats]) -> DiskArray:
        """Return the speech states (S, 1024) of a sound."""
        return hear(pieces, self._warm_encoder())

    def _hear_both(
        self, speech: MediaInfo, timeline: Timeline, source: MediaInfo, check: Callable[[], None]
    ) -> Heard:
        """Hear the new speech, and what the source says itself."""
        voice = self._listen(speech, timeline, check)
        self._warm_model()  # here, since the other core is still busy with the face
        return Heard(voice=voice, own=self._hear_source(source, check))

    def _hear_source(self, source: MediaInfo, check: Callable[[], None]) -> DiskArray | None:
        """Hear the beginning of the source's own sound, if it is long enough to learn from."""
        if source.audio is None:
            return None
        check()
        sound = read_audio(source, rate=SAMPLE_RATE, from_picture=True, seconds=adapt.MOST_SECONDS)
        if len(sound) < adapt.LEAST_SECONDS * SAMPLE_RATE:
            return None

        def pieces() -> Iterator[Floats]:
            for at in range(0, len(sound), SAMPLE_RATE):
                check()
                yield sound[at : at + SAMPLE_RATE]

        return self._hear(pieces())

    def _adaptation(
        self, portrait: FaceTrack, shown: Sequence[Fraction], heard: Array | None
    ) -> Adaptation | None:
        """Learn from the source's own speech how this speaker moves the mouth."""
        if heard is None:
            return None
        if float(shown[-1] - shown[0]) < adapt.LEAST_SECONDS:
            return None
        times = np.array([float(t) for t in shown])
        times = times[times < adapt.MOST_SECONDS]
        mouth = mouth_shapes(portrait.landmarks, np.arange(len(times)))
        sync = SyncScorer(self._store).offset(mouth, times, heard)
        model = self._warm_model()
        pairs = adapt.pair(mouth, times, heard, model.articulate(in_pieces(heard)), sync)
        return adapt.learn(model.basis, pairs)

    def _listen(
        self,
        speech: MediaInfo,
        timeline: Timeline,
        check: Callable[[], None] = lambda: None,
    ) -> Voice:
        """Hear the sound that the output has; *check* may end it."""
        encoder = self._warm_encoder()
        return listen(lambda: _cover(speech, timeline, check), encoder, self._store)

    def _warm_encoder(self) -> SpeechEncoder:
        self._encoder = self._encoder or SpeechEncoder(self._store, device=self._device)
        return self._encoder

    def _warm_model(self) -> MotionModel:
        self._model = self._model or MotionModel(self._store)
        return self._model

    def _perform(
        self,
        portrait: FaceTrack | None,
        listened: Heard,
        shown: Sequence[Fraction],
        intensity: float = 1.0,
    ) -> Performance | None:
        """Turn speech into the motion of this speaker's mouth, whose frames are *shown* when."""
        if portrait is None:
            return None
        model = self._warm_model()
        learnt, voice = self._adaptation(portrait, shown, listened.own), listened.voice
        prediction = model.articulate(in_pieces(voice.states))
        spoken = rest.speaking(voice.activity)
        if learnt:
            prediction = learnt.correct(prediction, voice.states, spoken)
        looked_at = sample_runs(len(portrait.landmarks), STYLE_FRAMES, STYLE_RUN)
        own = mouth_shapes(portrait.landmarks, looked_at)
        manner = style.fit(model.basis, own, prediction, spoken, learnt)
        return perform(model.basis, manner, prediction, voice.activity, intensity)

    def _paint(
        self, brief: RenderPlan, timeline: Timeline, writer: VideoWriter, watch: ProgressReporter
    ) -> NDArray[np.intp]:
        """Pass B: decode in timeline order, paint, encode; return which frames are painted."""
        script = brief.script()
        cuts = cut_points(timeline.frames, key_frames(timeline.rate), self._processes)
        if len(cuts) > 2:
            self._paint_apart(brief, cuts, writer, watch)
        else:
            self._paint_here(brief, script, range(timeline.frames), writer, watch)
        return np.flatnonzero(script.strength > 0) if script else np.empty(0, np.intp)

    def _paint_here(
        self,
        brief: RenderPlan,
        script: DrivingSequence | None,
        every: range,
        writer: VideoWriter,
        watch: ProgressReporter,
    ) -> None:
        """Paint all frames in this process."""
        with watch.stage("study", None):
            speaker = study_speaker(brief, self._engine, self._decoding, watch.frame)
        brief.album.clear()
        heap.release_free_memory()
        shown = render_frames(
            *(brief, self._engine, speaker, script, every),
            decoding=self._decoding,
            room=self._room,
        )
        with (
            watch.stage("paint", len(every)),
            closing(shown) as pictures,
            WriteBehind[Picture](
                lambda done: writer.write(enlarge(done, *writer.size)), self._room
            ) as encode,
        ):
            for k, picture in enumerate(pictures, 1):
                encode(picture)
                watch.frame(k)
                if k % TIDY_FRAMES == 0:
                    heap.release_free_memory()

    def _paint_apart(
        self, brief: RenderPlan, cuts: Sequence[int], writer: VideoWriter, watch: ProgressReporter
    ) -> None:
        """Paint and encode the parts between cuts in a process each, and join them."""
        each = max(1, self._threads // (len(cuts) - 1))
        decoding = DecodeOptions(each, self._device)
        with (
            watch.stage("paint", cuts[-1]),
            RenderPool(brief, self._spec.name, writer.look, cuts, decoding=decoding) as crew,
        ):
            for done in crew.painted():
                watch.at(done, cuts[-1])
            writer.join(crew.segments)


class Heard(NamedTuple):
    """What there was to hear."""

    voice: Voice  #: the new speech
    own: Array | None  #: (S, 1024) speech states of the source's own sound


def _cover(speech: MediaInfo, timeline: Timeline, check: Callable[[], None]) -> Iterator[Floats]:
    """Yield the sound that the output has, in pieces: cut, or followed by silence."""
    left = max(timeline.audio_samples(SAMPLE_RATE), 1)
    for piece in iter_audio(speech, rate=SAMPLE_RATE):
        check()
        yield piece[:left]
        left -= len(piece[:left])
        if not left:
            return
    for start in range(0, left, SAMPLE_RATE):
        check()
        yield np.zeros(min(SAMPLE_RATE, left - start), np.float32)


def _warnings(
    take: Take, timeline: Timeline, painted: int, options: SyncOptions
) -> tuple[str, ...]:
    found = []
    own = take.info.width, take.info.height
    if options.size and enlarged_size(*own, options.size) == own:
        found.append("{} x {} fills {} already: its size is kept".format(*own, options.size))
    if take.info.scaled_from:
        found.append(
            "the picture of {} x {} was scaled down".format(*take.info.scaled_from)
            + f" to {take.info.width} x {take.info.height}"
        )
    if not take.tracks:
        found.append("no face was found: the picture is unchanged")
    elif painted < timeline.frames:
        found.append(
            f"{timeline.frames - painted} of {timeline.frames} frames show no usable face "
            "and are unchanged"
        )
    if len(take.tracks) > 1:
        found.append(
            f"{len(take.tracks)} faces were found: only one was animated; pick another with speaker"
        )
    return tuple(found)
