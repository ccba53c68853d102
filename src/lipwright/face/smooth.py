"""Take the tracker's jitter out of landmarks without taking the speech out.

Head pose and mouth shape are smoothed apart, each by a Savitzky-Golay filter (1964; quadratic over
five frames: it keeps velocity and acceleration); the rest of the face, which moves slowly, by a
wider one. Where a filter changes more than jitter does, it gives way to what was tracked: lips
close within a frame, and heads jump where a take was cut shorter.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import overload

import numpy as np
from numpy.typing import NDArray

from lipwright.face.shape import MOUTH, Pose, align, opening, to_canonical, to_image
from lipwright.runtime.disk_array import CHUNK_ROWS, Array, DiskArray
from lipwright.types import Floats, Ints

QUADRATIC_5: Floats = np.array([-3, 12, 17, 12, -3], np.float32) / np.float32(35)
GENTLE_5: Floats = np.array([1, 2, 3, 2, 1], np.float32) / np.float32(9)
# A filter that changes the opening by less than the first takes jitter out of a mouth; by more than
# the second it smears lips that close within a frame. Canonical units.
JITTER, SPEECH = 0.008, 0.016
# The same for where the head is: by more, it smears a jump, as of a take that was cut shorter.
TREMOR, JUMP = 0.015, 0.03


@overload
def smooth(landmarks: Floats, shots: Ints | None = None) -> Floats: ...
@overload
def smooth(landmarks: Array, shots: Ints | None = None) -> Array: ...
def smooth(landmarks: Array, shots: Ints | None = None) -> Array:
    """Return landmarks (T, 478, 3) with less jitter; in memory when they are, else in a reel.

    Runs between gaps (NaN) are smoothed apart, and so are *shots* (T,), numbers that change where
    a shot ends.
    """
    calm = calmed(landmarks, shots)
    if isinstance(landmarks, np.ndarray):
        return np.concatenate([landmarks[:0], *calm])
    out = DiskArray(landmarks.shape[1:], np.float32)
    for part in calm:
        out.extend(part)
    return out


def calmed(landmarks: Array, shots: Ints | None = None) -> Iterator[Floats]:
    """Yield :func:`smooth` of landmarks (T, 478, 3) in parts, a part in memory at a time."""
    seen, done = np.isfinite(landmarks[:, 0, 0]), 0
    for start, stop in runs(seen, shots):
        yield from _as_is(landmarks, done, start)
        done = stop
        if stop - start < len(QUADRATIC_5):
            yield landmarks[start:stop]
            continue
        for first, last, inner in overlapping(start, stop, len(QUADRATIC_5) // 2):
            yield _smooth_run(landmarks[first:last])[inner]
    yield from _as_is(landmarks, done, len(landmarks))


def _as_is(landmarks: Array, start: int, stop: int) -> Iterator[Floats]:
    for low in range(start, stop, CHUNK_ROWS):
        yield landmarks[low : min(low + CHUNK_ROWS, stop)]


def overlapping(
    start: int, stop: int, reach: int, size: int | None = None
) -> Iterator[tuple[int, int, slice]]:
    """Cut a stretch of frames into parts that know *reach* frames of their neighbours.

    Args:
        start: first frame.
        stop: end of the stretch.
        reach: frames on each side of a part.
        size: frames of a part; None: as many as rows are read at a time.

    Yields:
        First frame and end of what to look at, and which of it is the part itself.
    """
    size = size or CHUNK_ROWS
    for low in range(start, stop, size):
        high = min(low + size, stop)
        if stop - high <= reach:  # so short a rest would have too few neighbours
            high = stop
        first, last = max(start, low - reach), min(stop, high + reach)
        yield first, last, slice(low - first, high - first)
        if high == stop:
            return


def runs(seen: NDArray[np.bool_], shots: Ints | None = None) -> list[tuple[int, int]]:
    """Return the stretches (start, stop) of True in *seen* (T,), each inside one shot."""
    parts = seen.astype(np.int64) if shots is None else np.where(seen, shots + 1, 0)
    bounds = [0, *(np.flatnonzero(np.diff(parts)) + 1).tolist(), len(parts)]
    pairs = pairwise(bounds)
    return [(a, b) for a, b in pairs if a < b and parts[a] > 0]


def _smooth_run(landmarks: Floats) -> Floats:
    pose = align(landmarks)
    calm = Pose(
        scale=_filter(pose.scale, GENTLE_5),
        rotation=_filter(pose.rotation, QUADRATIC_5),
        centre=_filter(pose.centre, QUADRATIC_5),
    )
    moved = np.linalg.norm(calm.centre - pose.centre, axis=1) * pose.scale
    jump = _between(moved, TREMOR, JUMP)
    rotation = calm.rotation + (pose.rotation - calm.rotation) * jump[:, None, None]
    u, _, vt = np.linalg.svd(rotation)
    steady = Pose(
        scale=calm.scale + (pose.scale - calm.scale) * jump,
        rotation=(u @ vt).astype(np.float32),
        centre=calm.centre + (pose.centre - calm.centre) * jump[:, None],
    )
    return to_image(_calm_shape(to_canonical(landmarks, pose)), steady)


def _calm_shape(shape: Floats) -> Floats:
    """Return canonical shapes (T, 478, 3) without jitter, as they are where lips move too fast."""
    calm = _filter(shape, GENTLE_5)
    calm[:, MOUTH] = _filter(shape[:, MOUTH], QUADRATIC_5)
    changed = np.abs(opening(calm[:, MOUTH]) - opening(shape[:, MOUTH]))
    fast = _between(changed, JITTER, SPEECH)[:, None, None]
    calm += (shape - calm) * fast  # all of it: lips would part from a chin that lags behind
    return calm


def _between(values: Floats, low: float, high: float) -> Floats:
    """Return values (T,) as shares of the way from *low* to *high*, 0 to 1."""
    out: Floats = np.clip((values - low) / (high - low), 0, 1).astype(np.float32)
    return out


def _filter(values: Floats, kernel: Floats) -> Floats:
    """Convolve along the first axis, the ends mirrored through their points."""
    half = len(kernel) // 2
    head = 2 * values[:1] - values[half:0:-1]
    tail = 2 * values[-1:] - values[-2 : -2 - half : -1]
    padded = np.concatenate([head, values, tail])
    out = sum(k * padded[i : i + len(values)] for i, k in enumerate(kernel))
    return np.asarray(out, np.float32)
