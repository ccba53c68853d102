"""Dubs of clips, checked and scored. Finished runs are stored and reused."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from bench.common.cached_pipeline import CachedPipeline
from bench.common.clips import Clip, code_version
from bench.common.contact_sheets import write_all_mouths, write_comparison
from bench.common.exemplar_runs import record_run_starts
from bench.common.face_regions import FaceRegions, lip_crop
from bench.common.frame_comparison import FrameComparison, compare_frames
from bench.common.metrics import mean_square_acceleration, ratio
from bench.common.playback import count_frames, decode_file, find_deviations
from bench.common.tracks import nearest_track
from lipwright.face.canonical import estimate_pose, mouth_opening, mouth_shapes
from lipwright.face.pose_drift import fit_pose_drift
from lipwright.face.smoothing import smooth_landmarks
from lipwright.face.track import track_faces
from lipwright.media.decode.random_access import RandomAccessReader
from lipwright.media.decode.video import read_video
from lipwright.media.probe import probe, require_audio
from lipwright.media.timeline import Timeline, plan_timeline
from lipwright.options import SyncMode, SyncOptions
from lipwright.runtime.disk_array import Array
from lipwright.types import Floats, Rgb

LANGUAGES = ("de", "es", "fr", "ja", "zh", "ar")
LANGUAGE_ORDER = (0, 1, 3, 2, 4, 5)  # in which a clip uses them, counted from its own number
SHEET_FRAMES = 6


@dataclass(frozen=True, kw_only=True)
class DubRun:
    """One dub and its scores."""

    clip: str
    speech: str
    mode: str
    version: str
    planned_frames: int = 0
    deviations: list[str] = field(default_factory=list)  #: from the planned timeline
    seconds: float = 0.0  #: processor time of the job, without tracking and study
    output_seconds: float = 0.0
    style: str = ""
    own: float = float("nan")  #: sync confidence of the clip with its own sound, best offset
    zero: float = float("nan")  #: sync confidence of the dub, offset 0
    best: float = float("nan")  #: sync confidence of the dub, best offset
    offset: float = float("nan")  #: seconds by which the sound comes after the picture
    still_own: float = float("nan")  #: as own, without mouth motion that follows the head's pose
    still_zero: float = float("nan")  #: as zero, without mouth motion that follows the head's pose
    undubbed: float = float("nan")  #: of the unchanged clip with the new voice, offset 0
    sharpness: float = float("nan")  #: detail energy around the mouth, dub over source
    flicker: float = float("nan")  #: of the skin around the lips, dub over source
    neck_change: float = float("nan")  #: change below the chin, 8-bit levels
    run_starts: float = float("nan")  #: share of painted frames that start a new run

    @property
    def key(self) -> str:
        """A name for files."""
        return f"{self.clip}--{self.speech}--{self.mode}"


def choose_speeches(folder: Path, number: int) -> list[Path]:
    """Return one recording per language but English, in the order for the clip of that number."""
    languages = [LANGUAGES[(number + i) % len(LANGUAGES)] for i in LANGUAGE_ORDER]
    return [next(iter(sorted(folder.glob(f"{language}_*")))) for language in languages]


@cache
def _frame_count(path: Path) -> int:
    return count_frames(path)


def plan_dub(clip: Clip, speech: Path, mode: SyncMode) -> Timeline:
    """Plan the output independently of the product, from a fresh count of the clip's frames."""
    info = clip.take.info
    counted = Fraction(_frame_count(clip.info.path)) / info.rate
    length = info.duration if info.variable_rate else counted
    audio = require_audio(probe(speech)).duration
    return plan_timeline(mode, video=length, audio=audio, rate=info.rate)


class DubBench:
    """Executes dubs, or loads the results of earlier runs."""

    def __init__(
        self,
        pipeline: CachedPipeline,
        run_folder: Path,
        sheet_folder: Path,
        *,
        any_version: bool,
        all_mouths: bool,
    ) -> None:
        """Prepare the folder of runs.

        Args:
            pipeline: of the product.
            run_folder: where results of runs are stored.
            sheet_folder: for contact sheets.
            any_version: also use stored results of other code and weights.
            all_mouths: also write pages with every mouth.
        """
        self._pipeline = pipeline
        self._run_folder, self._sheet_folder = run_folder, sheet_folder
        self._version, self._any_version = code_version(), any_version
        self._all_mouths = all_mouths
        run_folder.mkdir(parents=True, exist_ok=True)

    def run(self, clip: Clip, speech: Path, mode: SyncMode) -> DubRun:
        """Dub and score a clip, or return the stored result."""
        blank = DubRun(clip=clip.name, speech=speech.stem, mode=mode.value, version=self._version)
        record = self._run_folder / f"{blank.key}.json"
        if record.exists():
            stored = json.loads(record.read_text())
            if self._any_version or stored["version"] == self._version:
                return DubRun(**stored)
        try:
            run = self._dub(clip, speech, mode, blank)
            record.write_text(json.dumps(asdict(run)))
        except Exception as error:  # the other runs go on
            run = replace(blank, deviations=[f"{type(error).__name__}: {error}"])
        print(f"{run.key}: {run.seconds:.1f} s, {'; '.join(run.deviations) or 'as planned'}")
        return run

    def _dub(self, clip: Clip, speech: Path, mode: SyncMode, blank: DubRun) -> DubRun:
        timeline = plan_dub(clip, speech, mode)
        with tempfile.TemporaryDirectory(prefix="lipwright-bench-") as folder:
            out = Path(folder) / "dub.mp4"
            began = time.process_time()
            with record_run_starts() as starts:
                plan = self._pipeline.dub(clip, speech, out, SyncOptions(mode=mode))
            scores: dict[str, Any] = {
                "planned_frames": timeline.frames,
                "seconds": time.process_time() - began,
                "output_seconds": float(timeline.duration),
                "style": "; ".join(face.motion.style.description for face in plan.faces),
                "deviations": find_deviations(decode_file(out, timeline.rate), timeline),
                "run_starts": float(np.concatenate(starts).mean()) if starts else float("nan"),
            }
            frame = critical_frame(timeline)
            if mode is SyncMode.CUT_OFF:
                sync_scores, frame = self._score_sync(clip, speech, out, timeline)
                scores |= sync_scores | score_picture(clip, out, timeline)
            self._write_sheet(clip, blank, out, timeline, frame)
        return replace(blank, **scores)

    def _score_sync(
        self, clip: Clip, speech: Path, out: Path, timeline: Timeline
    ) -> tuple[dict[str, float], int]:
        """Return the sync confidences of a dub, and the frame with the widest mouth."""
        pipeline, sound = self._pipeline, self._pipeline.encode_speech(speech)
        shown = [i for i, _ in timeline.source_indices(clip.take.times)]
        tracks = track_faces(read_video(probe(out)), pipeline.resources.landmarker)
        painted = smooth_landmarks(nearest_track(tracks, clip.track.landmarks[shown]))
        mouth = mouth_shapes(painted)
        times = np.arange(len(mouth)) / float(timeline.rate)
        own_still = without_pose_drift(smooth_landmarks(clip.track.landmarks))
        own = pipeline.score_sync(clip.mouth_shapes(), clip.times, clip.speech)
        dub = pipeline.score_sync(mouth, times, sound)
        undubbed = pipeline.score_sync(clip.mouth_shapes()[shown], times, sound)
        still_own = pipeline.score_sync(own_still, clip.times, clip.speech)
        still_dub = pipeline.score_sync(without_pose_drift(painted), times, sound)
        scores = {
            "own": own.confidence,
            "zero": dub.confidence_at_zero,
            "best": dub.confidence,
            "offset": dub.offset,
            "undubbed": undubbed.confidence_at_zero,
            "still_own": still_own.confidence,
            "still_zero": still_dub.confidence_at_zero,
        }
        return scores, int(np.argmax(np.nan_to_num(mouth_opening(mouth))))

    def _write_sheet(
        self, clip: Clip, run: DubRun, out: Path, timeline: Timeline, frame: int
    ) -> None:
        """Write a contact sheet of the frames around *frame* and, if wanted, every mouth."""
        start = max(0, min(frame - SHEET_FRAMES // 2, timeline.frames - SHEET_FRAMES))
        window = slice(start, start + SHEET_FRAMES)
        decoded = slice(0, timeline.frames) if self._all_mouths else window
        pairs = list(_mouth_crops(clip, out, timeline, decoded))
        shown = pairs[window] if self._all_mouths else pairs
        label = f"{run.key} frame {start}"
        write_comparison(self._sheet_folder / f"dub_{run.key}.png", [(label, shown)])
        if self._all_mouths:
            mouths = [lip_crop(result) for result, _ in pairs]
            write_all_mouths(self._sheet_folder, f"every_{run.key}", mouths)


def _mouth_crops(
    clip: Clip, out: Path, timeline: Timeline, frames: slice
) -> Iterator[tuple[Rgb, Rgb]]:
    """Yield crops of some frames of result and source; black ones where there is no face."""
    indices = [*timeline.source_indices(clip.take.times)][frames]
    regions = FaceRegions.from_landmarks(smooth_landmarks(clip.track.landmarks))
    sources = RandomAccessReader(clip.info).read(indices)
    results = read_video(probe(out), start=frames.start, stop=frames.start + len(indices))
    for (index, _), source, result in zip(indices, sources, results, strict=True):
        if np.isfinite(regions.landmarks[index, 0, 0]):
            yield regions.mouth_crop(result.picture, index), regions.mouth_crop(source, index)
        else:
            yield regions.blank_crop(), regions.blank_crop()


def score_picture(clip: Clip, out: Path, timeline: Timeline) -> dict[str, float]:
    """Compare the encoded pictures of a dub with those of the source."""
    regions = FaceRegions.from_landmarks(smooth_landmarks(clip.track.landmarks))
    indices = [*timeline.source_indices(clip.take.times)]
    sources, results = RandomAccessReader(clip.info).read(indices), read_video(probe(out))
    compared, skin_luma = list[FrameComparison](), list[Floats]()
    for (index, _), source, result in zip(indices, sources, results, strict=True):
        if np.isfinite(regions.landmarks[index, 0, 0]):
            compared.append(compare_frames(regions, index, source, result.picture))
            skin_luma.append(compared[-1].skin_luma)
        else:
            skin_luma.append(np.full((2, len(regions.skin_cells)), np.nan))
    dub_detail, source_detail = np.mean([c.detail for c in compared], 0)
    luma, used = np.array(skin_luma), np.ones(len(skin_luma), bool)
    flicker = ratio(*(mean_square_acceleration(luma[:, i], used) for i in (0, 1)))
    return {
        "sharpness": ratio(float(dub_detail), float(source_detail)),
        "flicker": float(np.sqrt(flicker)),
        "neck_change": float(np.nanmean([c.neck_change for c in compared])),
    }


def without_pose_drift(landmarks: Array) -> Floats:
    """Return mouth shapes (T, 61, 3) without the motion that follows the head's pose in this take.

    Landmarks slide over the skin as a head turns. The turns belong to the old voice, so they lower
    the score of any dub, although no viewer sees them as motion of the mouth.
    """
    shapes, angles = mouth_shapes(landmarks), estimate_pose(landmarks).angles()
    return shapes - fit_pose_drift(shapes, angles).at(angles)


def critical_frame(timeline: Timeline) -> int:
    """Return the output frame most likely to fail: at a seam, a turn, a hold or the last word."""
    seams = {
        SyncMode.LOOP: timeline.source_frames,
        SyncMode.BOUNCE: timeline.source_frames - 1,
        SyncMode.SILENCE: int(
            min(timeline.video_duration, timeline.audio_duration) * timeline.rate
        ),
    }
    seam = seams.get(timeline.mode, timeline.frames)
    return seam if seam < timeline.frames else timeline.frames // 2


def run_all(
    bench: DubBench,
    clips: Mapping[int, Clip],
    speech_folder: Path,
    modes: Sequence[SyncMode],
    voices: int,
) -> Iterator[DubRun]:
    """Yield the run of each clip, voice and mode.

    Args:
        bench: executes the runs.
        clips: by number, which chooses their voices.
        speech_folder: folder of recordings.
        modes: of each clip and voice.
        voices: number of recordings per clip.
    """
    for number, clip in clips.items():
        for speech in choose_speeches(speech_folder, number)[:voices]:
            for mode in modes:
                yield bench.run(clip, speech, mode)
