"""Remove the tracker's jitter from landmarks, but not the speech.

Head pose and mouth shape are smoothed separately, each by a Savitzky-Golay filter (1964; quadratic
over five frames: it keeps velocity and acceleration). The rest of the face moves slowly and gets a
stronger filter. Where a filter changes more than jitter would, the tracked values are kept: lips
close within a frame, and heads jump where footage was cut out.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import overload

import numpy as np
from numpy.typing import NDArray

from lipwright.face.canonical import Pose, estimate_pose, mouth_opening, to_canonical, to_image
from lipwright.face.landmarks import MOUTH
from lipwright.runtime.disk_array import CHUNK_ROWS, Array, DiskArray
from lipwright.types import Floats, Ints

QUADRATIC_5: Floats = np.array([-3, 12, 17, 12, -3], np.float32) / np.float32(35)
TRIANGLE_5: Floats = np.array([1, 2, 3, 2, 1], np.float32) / np.float32(9)
# If the filter changes the opening by less than the first, it removes jitter; if by more than the
# second, it smears lips that close within a frame. Canonical units.
MOUTH_JITTER, MOUTH_MOTION = 0.008, 0.016
# The same for the position of the head: above the second, the filter smears a jump cut.
HEAD_JITTER, HEAD_JUMP = 0.015, 0.03


@overload
def smooth_landmarks(landmarks: Floats, shots: Ints | None = None) -> Floats: ...
@overload
def smooth_landmarks(landmarks: Array, shots: Ints | None = None) -> Array: ...
def smooth_landmarks(landmarks: Array, shots: Ints | None = None) -> Array:
    """Return landmarks (T, 478, 3) with less jitter.

    The result is in memory if the landmarks are, else a :class:`DiskArray`.

    Args:
        landmarks: (T, 478, 3) pixels, NaN where no face is. Runs between gaps are smoothed
            separately.
        shots: (T,) index of each frame's shot. Shots are smoothed separately.
    """
    chunks = iter_smoothed(landmarks, shots)
    if isinstance(landmarks, np.ndarray):
        return np.concatenate([landmarks[:0], *chunks])
    out = DiskArray(landmarks.shape[1:], np.float32)
    for part in chunks:
        out.extend(part)
    return out


def iter_smoothed(landmarks: Array, shots: Ints | None = None) -> Iterator[Floats]:
    """Yield :func:`smooth_landmarks` in chunks (n, 478, 3), one in memory at a time."""
    seen, done = np.isfinite(landmarks[:, 0, 0]), 0
    for start, stop in find_runs(seen, shots):
        yield from _unchanged(landmarks, done, start)
        done = stop
        if stop - start < len(QUADRATIC_5):
            yield landmarks[start:stop]
            continue
        for first, last, inner in overlapping_chunks(start, stop, len(QUADRATIC_5) // 2):
            yield _smooth_run(landmarks[first:last])[inner]
    yield from _unchanged(landmarks, done, len(landmarks))


def _unchanged(landmarks: Array, start: int, stop: int) -> Iterator[Floats]:
    for low in range(start, stop, CHUNK_ROWS):
        yield landmarks[low : min(low + CHUNK_ROWS, stop)]


def overlapping_chunks(
    start: int, stop: int, context: int, size: int | None = None
) -> Iterator[tuple[int, int, slice]]:
    """Divide a range of frames into chunks that overlap their neighbours by *context* frames.

    Args:
        start: first frame.
        stop: frame after the last.
        context: frames to read on each side of a chunk.
        size: frames of a chunk; None: CHUNK_ROWS.

    Yields:
        First frame and end of the range to read, and the slice of it that is the chunk itself.
    """
    size = size or CHUNK_ROWS
    for low in range(start, stop, size):
        high = min(low + size, stop)
        if stop - high <= context:  # a shorter remainder would lack context
            high = stop
        first, last = max(start, low - context), min(stop, high + context)
        yield first, last, slice(low - first, high - first)
        if high == stop:
            return


def find_runs(seen: NDArray[np.bool_], shots: Ints | None = None) -> list[tuple[int, int]]:
    """Return the runs (start, stop) of True in *seen* (T,), each inside one shot."""
    parts = seen.astype(np.int64) if shots is None else np.where(seen, shots + 1, 0)
    bounds = [0, *(np.flatnonzero(np.diff(parts)) + 1).tolist(), len(parts)]
    pairs = pairwise(bounds)
    return [(a, b) for a, b in pairs if a < b and parts[a] > 0]


def _smooth_run(landmarks: Floats) -> Floats:
    pose = estimate_pose(landmarks)
    smooth = Pose(
        scale=_filter(pose.scale, TRIANGLE_5),
        rotation=_filter(pose.rotation, QUADRATIC_5),
        centre=_filter(pose.centre, QUADRATIC_5),
    )
    moved = np.linalg.norm(smooth.centre - pose.centre, axis=1) * pose.scale
    jump = _ramp(moved, HEAD_JITTER, HEAD_JUMP)
    rotation = smooth.rotation + (pose.rotation - smooth.rotation) * jump[:, None, None]
    u, _, vt = np.linalg.svd(rotation)
    blended = Pose(
        scale=smooth.scale + (pose.scale - smooth.scale) * jump,
        rotation=(u @ vt).astype(np.float32),
        centre=smooth.centre + (pose.centre - smooth.centre) * jump[:, None],
    )
    return to_image(_smooth_shape(to_canonical(landmarks, pose)), blended)


def _smooth_shape(shape: Floats) -> Floats:
    """Return canonical shapes (T, 478, 3) without jitter, unchanged where lips move too fast."""
    smooth = _filter(shape, TRIANGLE_5)
    smooth[:, MOUTH] = _filter(shape[:, MOUTH], QUADRATIC_5)
    changed = np.abs(mouth_opening(smooth[:, MOUTH]) - mouth_opening(shape[:, MOUTH]))
    fast = _ramp(changed, MOUTH_JITTER, MOUTH_MOTION)[:, None, None]
    smooth += (shape - smooth) * fast  # the whole face: lips would part from a chin that lags
    return smooth


def _ramp(values: Floats, low: float, high: float) -> Floats:
    """Return values (T,) as fractions of the way from *low* to *high*, 0 to 1."""
    out: Floats = np.clip((values - low) / (high - low), 0, 1).astype(np.float32)
    return out


def _filter(values: Floats, kernel: Floats) -> Floats:
    """Convolve along the first axis, extended at the ends by point reflection."""
    half = len(kernel) // 2
    head = 2 * values[:1] - values[half:0:-1]
    tail = 2 * values[-1:] - values[-2 : -2 - half : -1]
    padded = np.concatenate([head, values, tail])
    out = sum(k * padded[i : i + len(values)] for i, k in enumerate(kernel))
    return np.asarray(out, np.float32)
