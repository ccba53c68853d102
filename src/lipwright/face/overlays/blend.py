"""Fit how a graphic of one colour is blended over the picture: C = s F + P."""

from __future__ import annotations

import numpy as np

from lipwright.types import Floats

MAX_SLOPE = 0.85  # share of the picture that shows through a graphic at most
MAX_RESIDUAL = 10.0  # codes by which the model may miss the pixels that it is fitted to
MIN_FITTING = 0.6  # share of the samples that it must fit
MIN_CORRELATION = 0.6  # of what is seen and what is under a translucent graphic
MAX_POINTS = 1500  # that it is fitted to


def fit_blend(inner: Floats, outer: Floats) -> tuple[float, Floats] | None:
    """Fit inner = slope x outer + own; return the slope and own (3,), None if none fits.

    Args:
        inner: (n, m, 3) colours inside the edges of a graphic.
        outer: (n, m, 3) colours outside.
    """
    a, b = inner.reshape(-1, 3), outer.reshape(-1, 3)
    a, b = (side[:: max(1, len(a) // MAX_POINTS)] for side in (a, b))
    # Edges in the picture make outliers: first the slope with the least median residual.
    slopes = np.arange(0, MAX_SLOPE + 0.05, 0.05, dtype=np.float32)
    offsets = [np.median(a - slope * b, 0) for slope in slopes]
    misses = [
        float(np.median(np.abs(a - slope * b - offset).max(1)))
        for slope, offset in zip(slopes, offsets, strict=True)
    ]
    best = int(np.argmin(misses))
    slope, own = float(slopes[best]), offsets[best]
    for _ in range(2):
        kept = np.abs(a - slope * b - own).max(1) < MAX_RESIDUAL
        if kept.mean() < MIN_FITTING / 2:
            return None
        x, y = b[kept], a[kept]
        dx, dy = x - x.mean(0), y - y.mean(0)
        slope = _slope(dx, dy)
        own = y.mean(0) - slope * x.mean(0)
    return (slope, own.astype(np.float32)) if slope < MAX_SLOPE else None


def _slope(x: Floats, y: Floats) -> float:
    """Return the slope of deviations y over x: the ratio of their sizes where they agree.

    Both were read some pixels apart. Least squares alone would give too small a slope.
    """
    shared, size = float((x * y).sum()), max(float((x**2).sum()), 1e-6)
    ratio = float(np.sqrt((y**2).sum() / size))
    agree = shared > MIN_CORRELATION * ratio * size
    return min(ratio if agree else max(shared / size, 0.0), 1.0)
