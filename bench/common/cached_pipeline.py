"""The product's pipeline stages, with tracked faces, encoded sound and studied speakers cached."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.common.clips import Clip, EncodedSpeech
from bench.common.footage_cache import FootageCache
from lipwright import environment
from lipwright.engines.base import DrivingSequence, Engine, FaceTrack, FaceView, FetchViews, Patch
from lipwright.engines.registry import find_engine
from lipwright.errors import NoFaceFound
from lipwright.face.speaker import choose_speaker
from lipwright.face.track import RawTrack, Take
from lipwright.media.encode.mux import VideoWriter
from lipwright.media.probe import MediaInfo, probe, require_audio
from lipwright.media.timeline import Timeline
from lipwright.motion.animate import MouthMotion
from lipwright.motion.sync_scorer import MOUTH_RATE
from lipwright.options import DEFAULT_ENGINE, SyncOptions
from lipwright.pipeline import stages
from lipwright.pipeline.driving import build_face_track
from lipwright.pipeline.plan import RenderPlan
from lipwright.pipeline.resources import Resources
from lipwright.pipeline.stages import HeardSpeech
from lipwright.pipeline.timing import plan_output
from lipwright.runtime.device import select_device
from lipwright.runtime.threads import single_threaded_blas
from lipwright.types import Doubles, Floats


@dataclass(frozen=True, kw_only=True)
class SyncScores:
    """How well a mouth and a sound agree."""

    offset: float  #: seconds by which the sound that belongs to a picture comes after it
    confidence: float  #: at the best offset
    confidence_at_zero: float


class CachedPipeline:
    """Runs the stages of a job; tracks each clip once, and studies a speaker once in a row."""

    def __init__(self, cache: FootageCache, *, engine: str = DEFAULT_ENGINE) -> None:
        """Open an engine.

        Args:
            cache: of tracked faces and encoded sound.
            engine: name of an installed engine.
        """
        device = select_device(environment.device())
        self.resources = Resources(threads=environment.threads(), device=device)
        self.engine = find_engine(engine).open(device, self.resources.store)
        self._cached_engine = CachedEngine(self.engine)
        self._engine_name, self._cache = engine, cache

    def load_clip(self, info: MediaInfo) -> Clip:
        """Track a clip, encode its sound, and choose its speaker.

        Raises:
            NoFaceFound: the clip shows no face.
        """
        take = self._cache.take(info, lambda: self.resources.landmarker)
        if not take.tracks:
            raise NoFaceFound(f"no face was found in {info.path}: leave it out with --clips")
        sync_score = stages.speaker_sync_score(take, info, self.resources)
        track = choose_speaker(take, None, sync_score)
        return Clip(info=info, take=take, track=track, speech=self.encode_speech(info.path))

    def encode_speech(self, path: Path) -> EncodedSpeech:
        """Return the encoded sound of a file."""
        return self._cache.speech(path, lambda: self.resources.speech_encoder)

    def score_sync(self, mouth: Floats, times: Doubles, speech: EncodedSpeech) -> SyncScores:
        """Compare mouth shapes (T, 61, 3) at frame times (T,) in seconds with a sound."""
        estimate = self.resources.sync_scorer.estimate_offset(mouth, times, speech.states)
        return SyncScores(
            offset=estimate.offset / MOUTH_RATE,
            confidence=estimate.confidence,
            confidence_at_zero=estimate.confidence_at(0.0),
        )

    def face_track(self, track: RawTrack, take: Take) -> FaceTrack:
        """Return a tracked face as engines receive it."""
        return build_face_track(track, take, self.resources.occlusion_detector)

    def animate(
        self, face: FaceTrack, clip: Clip, speech: MediaInfo, timeline: Timeline
    ) -> MouthMotion:
        """Predict the mouth motion of a speaker, as a job does.

        Args:
            face: of the speaker, NaN in frames to ignore.
            clip: that shows the speaker; the motion is adapted to its own sound.
            speech: sound to speak.
            timeline: of the result.
        """
        heard = HeardSpeech(
            speech=stages.hear_speech(speech, timeline, self.resources),
            own=stages.hear_source(clip.info, self.resources),
        )
        return stages.animate(face, clip.take, heard, self.resources).motion

    @single_threaded_blas()
    def dub(self, clip: Clip, speech: Path, out: Path, options: SyncOptions) -> RenderPlan:
        """Run a whole job but for its tracking; return the plan that was painted.

        Args:
            clip: to dub.
            speech: file with the new speech.
            out: file to write.
            options: of the job.
        """
        audio, resources = probe(speech), self.resources
        timeline = plan_output(clip.take, require_audio(audio), options.mode)
        heard = stages.hear(audio, timeline, clip.info, resources)
        faces = [
            stages.animate(face, clip.take, heard, resources)
            for face in stages.select_faces(clip.take, clip.info, resources, options=options)
        ]
        plan = stages.plan(
            *(clip.info, clip.take, timeline, faces),
            options=options,
            engine=self._engine_name,
        )
        with VideoWriter(
            out,
            like=clip.take.info,
            timeline=timeline,
            audio=audio,
            crf=options.crf,
            metadata=clip.info.metadata,
            threads=resources.threads,
        ) as writer:
            pictures = stages.paint(plan, self._cached_engine, resources)
            stages.write(pictures, writer, resources, total=plan.frames)
        return plan


class CachedEngine:
    """An engine that keeps the last speaker it studied."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._key, self._speaker = b"", None

    def study(self, face: FaceTrack, fetch: FetchViews) -> Any:
        """Return the speaker, from the cache if it is the last one again."""
        key = hashlib.sha256(
            np.asarray(face.landmarks).tobytes() + face.confidence.tobytes()
        ).digest()
        if key != self._key:
            self._speaker, self._key = self._engine.study(face, fetch), key
        return self._speaker

    def paint(
        self, speaker: Any, driving: DrivingSequence, views: Iterable[FaceView | None]
    ) -> Iterator[Patch | None]:
        """Paint as the wrapped engine does."""
        return self._engine.paint(speaker, driving, views)

    def close(self) -> None:
        """Close the wrapped engine."""
        self._engine.close()
