"""What the tables of quality measure, as functions of arrays; docs/reference/measures.md explains.

Curves are (T,) over the frames of one clip. ``used`` (T,) marks the frames that count; what needs
neighbouring frames looks only at unbroken stretches of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lipwright.types import Bools

Floats = NDArray[np.floating[Any]]
Samples = NDArray[np.integer[Any]]

CLOSED_QUANTILE, WIDE_QUANTILE = 0.02, 0.90  # of the gap over the whole clip
CLOSED_SHARE, PARTED_SHARE = 0.15, 0.30  # of the way from closed to wide
LONGEST_CLOSURE = 0.4  # seconds; longer ones are pauses, which are easy
SPEECH = 0.5  # probability from which somebody speaks
LEAST_PAUSE = 0.4  # seconds
PAUSE_MARGIN = 0.12  # seconds at its ends in which the mouth may still or already move
MOST_LAG = 0.3  # seconds
LAG_STEPS = 4  # shifts tried per frame
BINOMIAL = np.array([1, 4, 6, 4, 1], np.float64) / 16  # about a Gaussian of one pixel


def correlation(a: Floats, b: Floats) -> float:
    """Return Pearson's correlation of two curves (n,); NaN where one of them is constant."""
    a, b = a - a.mean(), b - b.mean()
    power = math.sqrt(float((a * a).sum()) * float((b * b).sum()))
    return float((a * b).sum()) / power if power > 1e-12 else math.nan


def amplitude(result: Floats, truth: Floats) -> float:
    """Return how far a curve (n,) moves, as a share of the true one: standard deviations."""
    return ratio(float(result.std()), float(truth.std()))


def ratio(a: float, b: float) -> float:
    """Return a / b; NaN where b is 0."""
    return a / b if b > 1e-12 else math.nan


def lag(result: Floats, truth: Floats, times: Floats) -> float:
    """Return by how many seconds *result* (n,) comes after *truth* (n,); negative: it leads.

    The place of the highest correlation within ± 0.3 s, in quarters of a frame, refined by a
    parabola. NaN where the best place is the end of what was tried, where nothing correlates, or
    where the curves are too short.

    Args:
        result: curve.
        truth: curve, of the same times.
        times: seconds (n,), rising; need not be regular.
    """
    if len(times) < 8:
        return math.nan
    frame = float(np.median(np.diff(times)))
    count = round(min(MOST_LAG, (times[-1] - times[0]) / 3) / frame * LAG_STEPS)
    shifts = np.arange(-count, count + 1) * frame / LAG_STEPS
    scores = np.array([_shifted(result, truth, times, s) for s in shifts])
    scores = np.nan_to_num(scores, nan=-1.0)
    place = peak(scores)
    if not 0 < place < len(scores) - 1 or scores.max() <= 0:
        return math.nan
    return float((place - count) * frame / LAG_STEPS)


def peak(scores: Floats) -> float:
    """Return the place of the maximum of scores (n,), refined by a parabola through three."""
    best = int(scores.argmax())
    if 0 < best < len(scores) - 1:
        left, middle, right = scores[best - 1 : best + 2]
        bend = left - 2 * middle + right
        if bend < -1e-12:
            return best + float(0.5 * (left - right) / bend)
    return float(best)


def _shifted(result: Floats, truth: Floats, times: Floats, shift: float) -> float:
    """Return the correlation of the truth with the result *shift* seconds later."""
    moved = times + shift
    inside = (moved >= times[0]) & (moved <= times[-1])
    return correlation(_spline(moved[inside], times, result), truth[inside])


def _spline(at: Floats, times: Floats, values: Floats) -> Floats:
    """Return a curve read at other times, by cubic Hermite pieces (Catmull and Rom 1974)."""
    slopes = np.gradient(values, times)
    i = np.clip(np.searchsorted(times, at, "right") - 1, 0, len(times) - 2)
    step = times[i + 1] - times[i]
    u = (at - times[i]) / step
    a, b = values[i], values[i + 1]
    ma, mb = slopes[i] * step, slopes[i + 1] * step
    out: Floats = a + u * ma + u**2 * (3 * (b - a) - 2 * ma - mb) + u**3 * (2 * (a - b) + ma + mb)
    return out


@dataclass(frozen=True, kw_only=True)
class Gap:
    """What closed and parted mean for one speaker, by the gap of the inner lips."""

    closed: float  #: at most this: closed
    parted: float  #: at least this: open again


def gap_of(openings: Floats) -> Gap:
    """Learn the levels from the gaps (T,) of a whole clip, NaN where there is no face.

    Lips that touch still show a small gap of the speaker's own, lipstick, beard and all. A little
    above it, in proportion to how wide this speaker opens, counts as closed.
    """
    known = openings[np.isfinite(openings)]
    low, wide = np.quantile(known, [CLOSED_QUANTILE, WIDE_QUANTILE])
    return Gap(
        closed=float(low + CLOSED_SHARE * (wide - low)),
        parted=float(low + PARTED_SHARE * (wide - low)),
    )


def closures(openings: Floats, gap: Gap, frame: float) -> list[tuple[int, int]]:
    """Return the closures (start, stop) of a curve of gaps (T,): closed between two openings.

    Args:
        openings: NaN where not measured.
        gap: levels of the speaker.
        frame: seconds per frame.
    """
    found: list[tuple[int, int]] = []
    start = stop = -1
    armed = False
    for i, value in enumerate(openings):
        if not math.isfinite(value):
            armed, start = False, -1
        elif value <= gap.closed and armed:
            start = i if start < 0 else start
            stop = i + 1
        elif value >= gap.parted:
            if start >= 0 and (stop - start) * frame <= LONGEST_CLOSURE:
                found.append((start, stop))
            armed, start = True, -1
    return found


def closed_again(openings: Floats, events: Sequence[tuple[int, int]], gap: Gap) -> float:
    """Return the share of closures at which *openings* (T,) closes too, within ± 1 frame."""
    if not events:
        return math.nan
    hits = [np.nanmin(openings[max(a - 1, 0) : b + 1]) <= gap.closed for a, b in events]
    return float(np.mean(hits))


def quiet(activity: Floats, rate: float) -> Bools:
    """Return where nobody speaks (n,): in pauses that last, away from the speech around them.

    The product's own notion of a pause is not asked: it may be what is wrong.

    Args:
        activity: probability of speech (n,).
        rate: values per second.
    """
    still = np.asarray(activity) < SPEECH
    out = np.zeros(len(still), bool)
    edges = np.flatnonzero(np.diff(still.astype(np.int8), prepend=0, append=0))
    margin = round(PAUSE_MARGIN * rate)
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        if (stop - start) / rate >= LEAST_PAUSE:
            first = start + margin if start else start
            last = stop - margin if stop < len(still) else stop
            out[first:last] = True
    return out


def landmark_distance(result: Floats, truth: Floats) -> float:
    """Return the mean distance of points (T, n, 2+), in % of the unit of their coordinates."""
    return 100 * float(np.linalg.norm(result[..., :2] - truth[..., :2], axis=-1).mean())


def fine_energy(luma: Samples, mask: Bools) -> float:
    """Return the mean square of what a blur of one pixel takes away, inside a mask.

    Args:
        luma: (h, w) code values.
        mask: (h, w) where to look; its outer two pixels are left out.
    """
    x = luma.astype(np.float64)
    inside = mask.copy()
    inside[:2], inside[-2:], inside[:, :2], inside[:, -2:] = False, False, False, False
    return float(((x - _blurred(x))[inside] ** 2).mean()) if inside.any() else math.nan


def _blurred(x: NDArray[np.float64]) -> NDArray[np.float64]:
    for axis in (0, 1):
        x = np.sum([k * np.roll(x, i - 2, axis) for i, k in enumerate(BINOMIAL)], 0)
    return x


def change(before: Samples, after: Samples, mask: Bools, depth: int) -> float:
    """Return the 95th percentile of |after - before| (h, w) inside a mask, 8-bit levels."""
    apart = np.abs(after[mask].astype(np.int32) - before[mask])
    return float(np.percentile(apart, 95)) / (1 << (depth - 8)) if mask.any() else math.nan


def acceleration(points: Floats, used: Bools) -> float:
    """Return the mean square of the second difference over time of values (T, …)."""
    whole = used[:-2] & used[1:-1] & used[2:]
    bend = points[2:] - 2 * points[1:-1] + points[:-2]
    return float((bend[whole] ** 2).mean()) if whole.any() else math.nan


def flash(pictures: Floats, used: Bools) -> float:
    """Return the largest change that lasts one frame, of pictures (T, h, w): mean over pixels.

    It is what a frame differs in from the mean of its neighbours: a steady motion has none.
    """
    whole = used[:-2] & used[1:-1] & used[2:]
    lone = np.abs(pictures[1:-1] - (pictures[:-2] + pictures[2:]) / 2).mean((1, 2))
    return float(lone[whole].max()) if whole.any() else math.nan


def motion(points: Floats, used: Bools) -> float:
    """Return the mean square of the first difference over time of values (T, …)."""
    whole = used[:-1] & used[1:]
    return float((np.diff(points, axis=0)[whole] ** 2).mean()) if whole.any() else math.nan


def differing(before: Sequence[Samples], after: Sequence[Samples], mask: Bools | None) -> int:
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
            allowed = mask if old.shape == mask.shape else any_of_four(mask)
        count += int(np.count_nonzero((old != new) & ~allowed))
    return count


def any_of_four(mask: Bools) -> Bools:
    """Return (ceil(H/2), ceil(W/2)): whether any pixel of a 2 x 2 block is in the mask (H, W)."""
    h, w = mask.shape
    even = np.pad(mask, ((0, h % 2), (0, w % 2)))
    return np.asarray(even.reshape(-(-h // 2), 2, -(-w // 2), 2).any((1, 3)), bool)


def mean_and_interval(values: Sequence[float], seed: int = 0) -> tuple[float, float, float]:
    """Return the mean over clips and its 95 % bootstrap interval; NaN values are left out."""
    data = np.array([v for v in values if math.isfinite(v)])
    if not len(data):
        return math.nan, math.nan, math.nan
    draws = np.random.default_rng(seed).integers(0, len(data), (2000, len(data)))
    low, high = np.percentile(data[draws].mean(1), [2.5, 97.5])
    return float(data.mean()), float(low), float(high)
