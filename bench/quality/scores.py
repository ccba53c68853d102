"""Scores of a self-reenactment: mouth shapes, closures, temporal stability and pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.common import metrics
from bench.common.cached_pipeline import SyncScores
from bench.common.clips import Clip
from bench.common.face_regions import FaceRegions, luma_in_box, mouth_luma
from bench.common.markdown import Column
from bench.quality.reenactment import Reenactment, split_frame
from lipwright.face.canonical import mouth_opening, mouth_shapes, mouth_width
from lipwright.face.landmarks import LIPS
from lipwright.face.smoothing import smooth_landmarks
from lipwright.media.decode.video import read_video
from lipwright.motion.resampling import STATE_RATE
from lipwright.types import Bools, Floats

FULL_STRENGTH = 0.99  # from which a frame counts: below, the frame's own mouth shows through
MIN_FRAMES = 20  # of a clip, to measure it
MIN_PAUSE_FRAMES = 12

COLUMNS = (
    Column(key="frames", head="frames", form=".0f"),
    Column(key="opening", head="opening r", aim="≥ 0.80"),
    Column(key="width", head="width r", aim="≥ 0.70"),
    Column(key="target_opening", head="target opening r"),
    Column(key="target_width", head="target width r"),
    Column(key="closure_recall", head="closures closed %", form=".0f", factor=100, aim="≥ 85"),
    Column(key="closure_precision", head="closures true %", form=".0f", factor=100),
    Column(key="closures", head="closures", form=".0f"),
    Column(key="amplitude", head="amplitude", aim="0.8 – 1.2"),
    Column(key="lag", head="lag ms", form="+.0f", factor=1000, aim="± 20"),
    Column(key="distance", head="landmarks %", form=".1f", aim="≤ 2.5"),
    Column(key="sharpness", head="sharpness", aim="0.95 – 1.05"),
    Column(key="source_sharpness", head="sharpness, source's halves"),
    Column(key="acceleration", head="acceleration", aim="≤ 1.1"),
    Column(key="flicker", head="flicker", aim="≤ 1.1"),
    Column(key="flash", head="flash", aim="≤ 1.0"),
    Column(key="silence", head="silence", aim="≤ 1.0"),
    Column(key="changed_outside", head="changed outside", form=".0f", aim="0"),
    Column(key="neck_change", head="below chin", form=".1f", aim="≤ 3"),
    Column(key="run_starts", head="new runs %", form=".0f", factor=100),
    Column(key="offset", head="A/V offset ms", form="+.0f", factor=1000),
    Column(key="study", head="study ms", form=".1f"),
    Column(key="paint", head="paint ms", form=".1f"),
)


@dataclass(frozen=True, kw_only=True)
class MouthComparison:
    """True and painted mouth shapes of the second half, n frames."""

    times: NDArray[np.float64]  #: (n,) seconds
    truth: Floats  #: (n, 61, 3) canonical, smoothed; NaN where there is no face
    result: Floats  #: (n, 61, 3) of the painted pictures, smoothed
    target: Floats  #: (n, 61, 3) as the painter received them
    raw_truth: Floats  #: (n, 61, 3) as tracked, not smoothed
    raw_result: Floats  #: (n, 61, 3) as tracked, not smoothed
    used: Bools  #: (n,) frames that count
    levels: metrics.ClosureLevels  #: of the speaker


def compare_mouths(clip: Clip, reenactment: Reenactment) -> MouthComparison:
    """Return true and painted mouth shapes of the same frames."""
    mouth = clip.mouth_shapes()
    result = mouth_shapes(smooth_landmarks(reenactment.landmarks))
    truth = mouth[reenactment.frames]
    seen = np.isfinite(truth[:, 0, 0]) & np.isfinite(result[:, 0, 0])
    return MouthComparison(
        times=clip.times[reenactment.frames],
        truth=truth,
        result=result,
        target=reenactment.target,
        raw_truth=mouth_shapes(clip.track.landmarks[reenactment.frames]),
        raw_result=mouth_shapes(reenactment.landmarks),
        used=seen & (reenactment.strength > FULL_STRENGTH),
        levels=metrics.estimate_closure_levels(mouth_opening(mouth)),
    )


def score_shapes(mouths: MouthComparison) -> dict[str, float]:
    """Score how the mouth moves."""
    used, times = mouths.used, mouths.times
    truth, result, target = mouths.truth[used], mouths.result[used], mouths.target[used]
    a, b = mouth_opening(result), mouth_opening(truth)
    return {
        "opening": metrics.correlation(a, b),
        "width": metrics.correlation(mouth_width(result), mouth_width(truth)),
        "target_opening": metrics.correlation(mouth_opening(target), b),
        "target_width": metrics.correlation(mouth_width(target), mouth_width(truth)),
        "amplitude": metrics.amplitude_ratio(a, b),
        "lag": metrics.lag(a, b, times[used]),
        "distance": metrics.landmark_distance(result[:, : len(LIPS)], truth[:, : len(LIPS)]),
        **score_closures(mouths),
    }


def score_closures(mouths: MouthComparison) -> dict[str, float]:
    """Count true and painted closures, and score recall and precision."""
    painted = np.where(mouths.used, mouth_opening(mouths.result), np.nan)
    true = np.where(mouths.used, mouth_opening(mouths.truth), np.nan)
    frame = float(np.median(np.diff(mouths.times)))
    levels = mouths.levels
    true_closures = metrics.find_closures(true, levels, frame)
    painted_closures = metrics.find_closures(painted, levels, frame)
    return {
        "closures": len(true_closures),
        "painted_closures": len(painted_closures),
        "closure_recall": metrics.closure_recall(painted, true_closures, levels),
        "closure_precision": metrics.closure_recall(true, painted_closures, levels),
    }


def score_stability(
    mouths: MouthComparison, reenactment: Reenactment, paused: Bools
) -> dict[str, float]:
    """Score jitter, flicker and motion in pauses, result over truth."""
    lips = [m[:, : len(LIPS), :2] for m in (mouths.raw_result, mouths.raw_truth)]
    jitter = [metrics.mean_square_acceleration(x, mouths.used) for x in lips]
    in_pauses = [metrics.mean_square_velocity(x, mouths.used & paused) for x in lips]
    luma = [
        metrics.mean_square_acceleration(reenactment.skin_luma[:, i], mouths.used) for i in (0, 1)
    ]
    enough = (mouths.used & paused).sum() >= MIN_PAUSE_FRAMES
    mouth_lumas = [np.array([mouth_luma(pair[i]) for pair in reenactment.crops]) for i in (0, 1)]
    return {
        "acceleration": metrics.ratio(*jitter),
        "flicker": math.sqrt(metrics.ratio(*luma)),
        "flash": metrics.ratio(*(metrics.largest_flash(x, mouths.used) for x in mouth_lumas)),
        "silence": metrics.ratio(*in_pauses) if enough else math.nan,
    }


def score_pixels(mouths: MouthComparison, reenactment: Reenactment) -> dict[str, float]:
    """Score sharpness, changes outside the mouth, and the path of exemplars."""
    detail = reenactment.detail[mouths.used].mean(0)
    starts = reenactment.run_starts
    return {
        "sharpness": metrics.ratio(float(detail[0]), float(detail[1])),
        "changed_outside": reenactment.changed_outside,
        "neck_change": float(np.nanmean(reenactment.neck_change[mouths.used])),
        "run_starts": float(starts.mean()) if len(starts) else math.nan,
        "study": reenactment.study_ms,
        "paint": reenactment.paint_ms,
    }


def source_sharpness(clip: Clip) -> float:
    """Return the sharpness of a clip's first half over that of its second, nothing painted."""
    regions = FaceRegions.from_landmarks(smooth_landmarks(clip.track.landmarks))
    detail = np.full(len(clip.take.times), np.nan)
    with read_video(clip.info) as frames:
        for frame in frames:
            if np.isfinite(regions.landmarks[frame.index, 0, 0]):
                box, mask = regions.mouth_region(frame.index)
                detail[frame.index] = metrics.detail_energy(luma_in_box(frame.picture, box), mask)
    split = split_frame(clip)
    return metrics.ratio(float(np.nanmean(detail[:split])), float(np.nanmean(detail[split:])))


def paused_frames(clip: Clip, times: NDArray[np.float64], offset: float) -> Bools:
    """Return at which frame times (n,) nobody speaks, given the A/V offset in seconds."""
    paused = metrics.pause_mask(clip.speech.activity, STATE_RATE)
    indices = np.floor((times + offset) * STATE_RATE).astype(int)
    at_frames: Bools = paused[np.clip(indices, 0, len(paused) - 1)]
    return at_frames


def score_reenactment(clip: Clip, reenactment: Reenactment, sync: SyncScores) -> dict[str, float]:
    """Return all scores of a clip; NaN where it shows too little to measure."""
    mouths = compare_mouths(clip, reenactment)
    scores = dict.fromkeys((c.key for c in COLUMNS), math.nan)
    scores |= {"frames": int(mouths.used.sum()), "offset": sync.offset}
    if scores["frames"] >= MIN_FRAMES:
        scores |= score_shapes(mouths)
        paused = paused_frames(clip, mouths.times, sync.offset)
        scores |= score_stability(mouths, reenactment, paused)
        scores |= score_pixels(mouths, reenactment) | {"source_sharpness": source_sharpness(clip)}
    return scores | {"changed_outside": reenactment.changed_outside}
