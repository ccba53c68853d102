"""Metrics of mouth motion and pictures, as functions of arrays.

``docs/reference/measures.md`` explains them. Curves are (T,) over the frames of one clip. ``used``
(T,) marks the frames that count; metrics that need neighbouring frames use unbroken stretches only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.interpolate import CubicHermiteSpline

from lipwright.types import Bools

Floats = NDArray[np.floating[Any]]
Samples = NDArray[np.integer[Any]]

CLOSED_QUANTILE, WIDE_QUANTILE = 0.02, 0.90  # of the gap over the whole clip
CLOSED_SHARE, OPEN_SHARE = 0.15, 0.30  # of the way from closed to wide
MAX_CLOSURE_SECONDS = 0.4  # longer ones are pauses, which are easy
SPEECH_THRESHOLD = 0.5  # probability of speech
MIN_PAUSE_SECONDS = 0.4
PAUSE_MARGIN = 0.12  # seconds at its ends in which the mouth may still or already move
MAX_LAG = 0.3  # seconds
LAG_STEPS = 4  # shifts tried per frame
BINOMIAL = np.array([1, 4, 6, 4, 1], np.float64) / 16  # approximates a Gaussian of one pixel
BOOTSTRAP_RESAMPLES = 2000
EPSILON = 1e-12  # below which a variance, a denominator or a curvature counts as 0


def correlation(a: Floats, b: Floats) -> float:
    """Return Pearson's correlation of two curves (n,); NaN where one of them is constant."""
    a, b = a - a.mean(), b - b.mean()
    power = math.sqrt(float((a * a).sum()) * float((b * b).sum()))
    return float((a * b).sum()) / power if power > EPSILON else math.nan


def amplitude_ratio(result: Floats, truth: Floats) -> float:
    """Return the standard deviation of a curve (n,) over that of the true one."""
    return ratio(float(result.std()), float(truth.std()))


def ratio(a: float, b: float) -> float:
    """Return a / b; NaN where b is 0."""
    return a / b if b > EPSILON else math.nan


def lag(result: Floats, truth: Floats, times: Floats) -> float:
    """Return by how many seconds *result* (n,) comes after *truth* (n,); negative: it leads.

    The lag is the shift of the highest correlation within ± 0.3 s, tried in quarters of a frame
    and refined by a parabola.

    Args:
        result: curve.
        truth: curve, at the same times.
        times: seconds (n,), rising; need not be regular.

    Returns:
        Seconds. NaN where the best shift is an end of the range tried, where no correlation is
        positive, or where the curves are too short.
    """
    if len(times) < 8:
        return math.nan
    frame = float(np.median(np.diff(times)))
    count = round(min(MAX_LAG, (times[-1] - times[0]) / 3) / frame * LAG_STEPS)
    shifts = np.arange(-count, count + 1) * frame / LAG_STEPS
    curve = CubicHermiteSpline(times, result, np.gradient(result, times))
    scores = np.nan_to_num([_shifted(curve, truth, times, s) for s in shifts], nan=-1.0)
    best = parabolic_peak(scores)
    if not 0 < best < len(scores) - 1 or scores.max() <= 0:
        return math.nan
    return float((best - count) * frame / LAG_STEPS)


def parabolic_peak(scores: Floats) -> float:
    """Return the index of the maximum of scores (n,), refined by a parabola through three."""
    best = int(scores.argmax())
    if 0 < best < len(scores) - 1:
        left, middle, right = scores[best - 1 : best + 2]
        curvature = left - 2 * middle + right
        if curvature < -EPSILON:
            return best + float(0.5 * (left - right) / curvature)
    return float(best)


def _shifted(curve: CubicHermiteSpline, truth: Floats, times: Floats, shift: float) -> float:
    """Return the correlation of the truth with the curve read *shift* seconds later."""
    moved = times + shift
    inside = (moved >= times[0]) & (moved <= times[-1])
    return correlation(curve(moved[inside]), truth[inside])


@dataclass(frozen=True, kw_only=True)
class ClosureLevels:
    """Gaps of the inner lips at which one speaker's mouth counts as closed and as open."""

    closed: float  #: at most this: closed
    open: float  #: at least this: open again


def estimate_closure_levels(openings: Floats) -> ClosureLevels:
    """Estimate the levels from the gaps (T,) of a whole clip, NaN where there is no face.

    Lips that touch still show a small gap, which depends on the speaker (lipstick, beard). A gap
    slightly above it, in proportion to how wide this speaker opens, counts as closed.
    """
    known = openings[np.isfinite(openings)]
    low, wide = np.quantile(known, [CLOSED_QUANTILE, WIDE_QUANTILE])
    return ClosureLevels(
        closed=float(low + CLOSED_SHARE * (wide - low)),
        open=float(low + OPEN_SHARE * (wide - low)),
    )


def find_closures(openings: Floats, levels: ClosureLevels, frame: float) -> list[tuple[int, int]]:
    """Return the closures (start, stop) of a curve of gaps (T,): closed between two openings.

    Args:
        openings: NaN where not measured.
        levels: of the speaker.
        frame: seconds per frame.
    """
    closures: list[tuple[int, int]] = []
    start = stop = -1
    was_open = False
    for i, value in enumerate(openings):
        if not math.isfinite(value):
            was_open, start = False, -1
        elif value <= levels.closed and was_open:
            start = i if start < 0 else start
            stop = i + 1
        elif value >= levels.open:
            if start >= 0 and (stop - start) * frame <= MAX_CLOSURE_SECONDS:
                closures.append((start, stop))
            was_open, start = True, -1
    return closures


def closure_recall(
    openings: Floats, closures: Sequence[tuple[int, int]], levels: ClosureLevels
) -> float:
    """Return the share of closures at which *openings* (T,) closes too, within ± 1 frame."""
    if not closures:
        return math.nan
    hits = [np.nanmin(openings[max(a - 1, 0) : b + 1]) <= levels.closed for a, b in closures]
    return float(np.mean(hits))


def pause_mask(activity: Floats, rate: float) -> Bools:
    """Return where nobody speaks (n,): in long pauses, without the margins next to speech.

    The product's own detection of pauses is not used here, because it may be at fault.

    Args:
        activity: probability of speech (n,).
        rate: values per second.
    """
    silent = np.asarray(activity) < SPEECH_THRESHOLD
    mask = np.zeros(len(silent), bool)
    edges = np.flatnonzero(np.diff(silent.astype(np.int8), prepend=0, append=0))
    margin = round(PAUSE_MARGIN * rate)
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        if (stop - start) / rate >= MIN_PAUSE_SECONDS:
            first = start + margin if start else start
            last = stop - margin if stop < len(silent) else stop
            mask[first:last] = True
    return mask


def landmark_distance(result: Floats, truth: Floats) -> float:
    """Return the mean distance of points (T, n, 2+), in % of the unit of their coordinates."""
    return 100 * float(np.linalg.norm(result[..., :2] - truth[..., :2], axis=-1).mean())


def detail_energy(luma: Samples, mask: Bools) -> float:
    """Return the mean square of luma minus its blur of one pixel, inside a mask.

    Args:
        luma: (h, w) code values.
        mask: (h, w) pixels to use; the outer two rows and columns are left out.
    """
    x = luma.astype(np.float64)
    inside = mask.copy()
    inside[:2], inside[-2:], inside[:, :2], inside[:, -2:] = False, False, False, False
    blurred = ndimage.correlate1d(ndimage.correlate1d(x, BINOMIAL, 0), BINOMIAL, 1)
    return float(((x - blurred)[inside] ** 2).mean()) if inside.any() else math.nan


def luma_change(before: Samples, after: Samples, mask: Bools, depth: int) -> float:
    """Return the 95th percentile of |after - before| (h, w) inside a mask, 8-bit levels."""
    apart = np.abs(after[mask].astype(np.int32) - before[mask])
    return float(np.percentile(apart, 95)) / (1 << (depth - 8)) if mask.any() else math.nan


def mean_square_acceleration(points: Floats, used: Bools) -> float:
    """Return the mean square of the second difference over time of values (T, …)."""
    whole = used[:-2] & used[1:-1] & used[2:]
    second = points[2:] - 2 * points[1:-1] + points[:-2]
    return float((second[whole] ** 2).mean()) if whole.any() else math.nan


def mean_square_velocity(points: Floats, used: Bools) -> float:
    """Return the mean square of the first difference over time of values (T, …)."""
    whole = used[:-1] & used[1:]
    return float((np.diff(points, axis=0)[whole] ** 2).mean()) if whole.any() else math.nan


def largest_flash(pictures: Floats, used: Bools) -> float:
    """Return the largest change that lasts one frame, of pictures (T, h, w): mean over pixels.

    The change is the difference of a frame from the mean of its neighbours: a steady motion has
    none.
    """
    whole = used[:-2] & used[1:-1] & used[2:]
    flashes = np.abs(pictures[1:-1] - (pictures[:-2] + pictures[2:]) / 2).mean((1, 2))
    return float(flashes[whole].max()) if whole.any() else math.nan


def count_changed_samples(
    before: Sequence[Samples], after: Sequence[Samples], mask: Bools | None
) -> int:
    """Count the samples of Y, U and V that differ outside a mask.

    Args:
        before: planes Y (H, W), U and V (ceil(H/2), ceil(W/2)).
        after: the same, painted.
        mask: (H, W) where painting is allowed, None: nowhere. A chroma sample may change
            where any of its four pixels may.
    """
    count = 0
    for old, new in zip(before, after, strict=True):
        allowed: Bools = np.zeros(old.shape, np.bool_)
        if mask is not None:
            allowed = mask if old.shape == mask.shape else any_in_2x2(mask)
        count += int(np.count_nonzero((old != new) & ~allowed))
    return count


def any_in_2x2(mask: Bools) -> Bools:
    """Return (ceil(H/2), ceil(W/2)): whether any pixel of a 2 x 2 block is in the mask (H, W)."""
    h, w = mask.shape
    even = np.pad(mask, ((0, h % 2), (0, w % 2)))
    return np.asarray(even.reshape(-(-h // 2), 2, -(-w // 2), 2).any((1, 3)), bool)


def mean_and_interval(values: Sequence[float], seed: int = 0) -> tuple[float, float, float]:
    """Return the mean and the ends of its 95 % bootstrap interval; NaN values are left out."""
    data = np.array([v for v in values if math.isfinite(v)])
    if len(data) < 2:
        return (float(data[0]),) * 3 if len(data) else (math.nan,) * 3
    from scipy import stats  # takes half a second

    interval = stats.bootstrap(
        (data,),
        np.mean,
        n_resamples=BOOTSTRAP_RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(data.mean()), float(interval.low), float(interval.high)
