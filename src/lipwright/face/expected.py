"""How each cell of the lower face should look, by the pose of the head and the shape of the mouth.

Over a take each cell is predicted by ridge regression, reweighted (Holland and Welsch 1977). The
prediction starts from the frames whose lower face looks most like a mouth, so that what stays for
half of the take is not learnt as the face. A take of a few frames cannot tell how a mouth that
opens changes the face, nor how much is usual: there, what any face may do is allowed for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import cv2
import numpy as np

from lipwright.face.raster import SIDE, Raster, layout
from lipwright.face.shape import mouth_shapes, opening, pose_of, width
from lipwright.runtime.disk_array import Array
from lipwright.types import Bools, Floats
from lipwright.weights.store import WeightStore

FINE_CELLS = 1.5  # sigma: what is finer is pattern, the rest is colour
FLOORS = np.array(
    [6.0, 2.0, 2.0, 1.0], np.float32
)  # deviations that mean nothing: L, a, b, pattern
PRIOR_FRAMES = 60.0  # strength of the prior "pose changes nothing"
EFFECT = np.array([4.0, 1.2, 1.2, 1.5], np.float32)  # what a cause may change all the same
FEW_FRAMES = 6.0  # trusted ones from which on a take tells what causes change
USUAL = np.array([1.6, 1.0, 1.1, 0.9], np.float32)  # spread in long takes
USUAL_FRAMES = 10.0  # strength of that prior
LIKE_SHARE, LIKE_LAG = 0.35, 0.15  # frames most like a mouth, and how much less like counts too
PASSES = 2
UNUSUAL = 3.0  # deviations at which a cell is left out of the prediction
DOUBT = (0.2, 6.0)  # likeness lost by a frame in doubt, absolutely and in usual deviations


@cache
def pattern() -> Floats:
    """Return the pattern (SIDE, SIDE) of a lower face, the mean of many people's."""
    with np.load(WeightStore().path("mouth_pattern")) as data:
        return np.asarray(data["pattern"], np.float32)


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """What each cell looks like, as a function of pose and mouth."""

    base: Floats  #: (SIDE, SIDE, 4) L, a, b, pattern
    slopes: Floats  #: (k, SIDE * SIDE * 4)
    offset: Floats  #: (k - 1,) mean of the causes
    spread: Floats  #: (SIDE, SIDE, 4)
    unlearnt: float  #: 0 to 1, how little the take can tell of what causes change
    likeness: Floats  #: (k + 1,) that to a mouth, by cause, and its spread

    @classmethod
    def fit(cls, values: Floats, causes: Floats, visible: Bools) -> Expectation:
        """Fit to frames (T), beginning with those that look most like a mouth."""
        like = _likeness(values[..., 3])
        best = like >= np.quantile(like, 1 - LIKE_SHARE)
        trusted = like >= np.median(like[best]) - LIKE_LAG
        weight = visible & trusted[:, None, None]
        base = np.median(values[trusted], 0)
        offset = causes[trusted].mean(0)
        count = causes.shape[1] + 1
        frames = float(trusted.sum())
        known = frames / (frames + USUAL_FRAMES)
        blank = np.zeros((count, SIDE * SIDE * 4), np.float32)
        likeness = _fit_likeness(like[trusted], causes[trusted] - offset)
        model = cls(
            base=base,
            slopes=blank,
            offset=offset,
            spread=FLOORS + 0 * base,
            unlearnt=1 / (1 + (frames / FEW_FRAMES) ** 2),
            likeness=likeness,
        )
        for last in range(PASSES):
            lit = values - model._light(values, causes, visible)
            slopes = model._solve(lit, causes, weight)
            model = replace(model, slopes=slopes)
            apart = np.where(weight[..., None], np.abs(lit - model._predict(causes)), np.nan)
            with np.errstate(all="ignore"):
                spread = 1.4826 * _nan_median(apart)
            spread = np.sqrt(known * np.nan_to_num(spread, nan=5.0) ** 2 + (1 - known) * USUAL**2)
            model = replace(model, spread=spread.astype(np.float32))
            if last < PASSES - 1:
                weight = visible & (model.deviation(values, causes, visible) < UNUSUAL)
        return model

    def deviation(self, values: Floats, causes: Floats, visible: Bools) -> Floats:
        """Return how strange each judged cell looks, (T, SIDE, SIDE), in usual deviations."""
        apart = values - self._light(values, causes, visible) - self._predict(causes)
        strayed = self.unlearnt * ((causes - self.offset) ** 2).sum(1)[:, None, None, None]
        square = apart**2 / (self.spread**2 + FLOORS**2 + strayed * EFFECT**2)
        colour = square[..., :3].sum(-1)
        fine = np.minimum(square[..., 3], 60)
        both = [
            np.maximum(_pooled(c, v, 3), _pooled(f, v, 5))
            for c, f, v in zip(colour, fine, visible.astype(np.float32), strict=True)
        ]
        out: Floats = np.where(visible, np.sqrt(np.stack(both)), 0).astype(np.float32)
        return out

    def lost(self, values: Floats, causes: Floats) -> Floats:
        """Return how much less like a mouth frames (T,) look than they should; 1 is suspicious.

        A hand has the colour of the face, but not its pattern.
        """
        expected = np.minimum(_with_one(causes - self.offset) @ self.likeness[:-1], 1)
        usual = max(DOUBT[0], DOUBT[1] * float(self.likeness[-1]))
        lost: Floats = ((expected - _likeness(values[..., 3])) / usual).astype(np.float32)
        return lost

    def _light(self, values: Floats, causes: Floats, visible: Bools) -> Floats:
        """Return how nose and cheeks differ from what was predicted, (T, 1, 1, 4)."""
        near = layout().light
        apart = (values - self._predict(causes))[:, near, :3]
        known = np.where(visible[:, near, None], apart, np.nan)
        shift = np.zeros((len(values), 1, 1, 4), np.float32)
        with np.errstate(all="ignore"):
            shift[:, 0, 0, :3] = np.nan_to_num(_nan_median(known.swapaxes(0, 1)))
        return shift

    def _predict(self, causes: Floats) -> Floats:
        moved: Floats = _with_one(causes - self.offset) @ self.slopes
        return self.base + moved.reshape(-1, *self.base.shape)

    def _solve(self, values: Floats, causes: Floats, weight: Bools) -> Floats:
        """Return the slopes of a weighted ridge regression of every cell."""
        x = _with_one(causes - self.offset)
        k, cells = x.shape[1], SIDE * SIDE
        w = weight.reshape(-1, cells).astype(np.float32)
        products = (x[:, :, None] * x[:, None, :]).reshape(-1, k * k)
        prior = np.diag([1e-2] + [PRIOR_FRAMES] * (k - 1))
        left = (w.T @ products).reshape(cells, k, k) + prior
        moved = (values - self.base).reshape(-1, cells, 4)
        right = np.stack([x.T @ (w * moved[..., c]) for c in range(4)], -1)  # (k, cells, 4)
        solved = np.linalg.solve(left, right.transpose(1, 0, 2))
        slopes: Floats = solved.transpose(1, 0, 2).reshape(k, -1).astype(np.float32)
        return slopes


def values_of(rasters: Raster) -> Floats:
    """Return L, a, b and fine pattern of each cell, (T, SIDE, SIDE, 4)."""
    values = np.empty((*rasters.shape[:3], 4), np.float32)
    values[..., :3] = rasters
    values[..., :3] *= np.array([100 / 255, 1, 1], np.float32)
    face = layout().face.astype(np.float32)
    norm = cv2.GaussianBlur(face, (0, 0), FINE_CELLS) + 1e-3
    for row in values:
        row[..., 3] = row[..., 0] - cv2.GaussianBlur(row[..., 0] * face, (0, 0), FINE_CELLS) / norm
    return values


def _likeness(fine: Floats) -> Floats:
    """Return the correlation (T,) of patterns with that of a mouth."""
    cells = layout().judged
    a, b = fine[:, cells], pattern()[cells]
    a, b = a - a.mean(1, keepdims=True), b - b.mean()
    out: Floats = (a @ b) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b) + 1e-6)
    return out


def _fit_likeness(like: Floats, causes: Floats) -> Floats:
    """Return the ridge regression of likeness (T,) on causes (T, k - 1), and its spread."""
    x, middle = _with_one(causes), float(np.median(like))
    prior = np.diag([1e-2] + [PRIOR_FRAMES] * (x.shape[1] - 1))
    slopes = np.linalg.solve(x.T @ x + prior, x.T @ (like - middle))
    slopes[0] += middle
    spread = 1.4826 * np.median(np.abs(like - x @ slopes))
    return np.append(slopes, spread).astype(np.float32)


def causes_of(landmarks: Array, seen: Bools) -> Floats:
    """Return what the look of a face depends on, (T, k), in comparable units."""
    angles = np.nan_to_num(pose_of(landmarks).angles())
    mouth = np.nan_to_num(mouth_shapes(landmarks))
    yaw, pitch, roll = angles.T
    gap, across = opening(mouth), width(mouth)
    across = across - across[seen].mean()
    columns = [yaw / 15, pitch / 10, roll / 10, (yaw / 15) ** 2, yaw * pitch / 150]
    causes: Floats = np.stack([*columns, gap / 0.06, across / 0.06], 1).astype(np.float32)
    return causes


def _pooled(square: Floats, visible: Floats, side: int) -> Floats:
    """Return the mean over a square of visible cells."""
    norm = np.maximum(cv2.blur(visible, (side, side)), 0.1)
    mean: Floats = cv2.blur(square * visible, (side, side)) / norm
    return mean


def _nan_median(values: Floats) -> Floats:
    """Return the median over the first axis, NaN left out; NaN where there is nothing else."""
    ordered = np.sort(values, 0)  # NaN last
    count = np.isfinite(values).sum(0)
    middle = np.maximum((count - 1) // 2, 0)
    median = np.take_along_axis(ordered, middle[None], 0)[0]
    out: Floats = np.where(count > 0, median, np.nan)
    return out


def _with_one(causes: Floats) -> Floats:
    return np.column_stack([np.ones(len(causes), np.float32), causes]).astype(np.float32)
