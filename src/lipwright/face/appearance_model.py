"""Predict how each cell of the lower face looks, from head pose and mouth shape.

Each cell is predicted over a take by ridge regression with reweighting (Holland and Welsch 1977).
The fit starts from the frames whose lower face looks most like a mouth, so that an object that
stays for half of the take is not learnt as the face. A take of a few frames shows neither how an
opening mouth changes the face nor how large usual deviations are. For such takes, the model allows
what any face may do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from lipwright.face.canonical import estimate_pose, mouth_opening, mouth_shapes, mouth_width
from lipwright.face.lower_face_raster import RASTER_SIDE, Raster, raster_layout
from lipwright.runtime.disk_array import Array
from lipwright.types import Bools, Floats
from lipwright.weights.store import WeightStore

PATTERN_SIGMA = 1.5  # cells: finer detail of L is pattern, the rest is colour
# Negligible deviations of L, a, b, pattern:
NOISE_FLOOR = np.array([6.0, 2.0, 2.0, 1.0], np.float32)
PRIOR_FRAMES = 60.0  # strength of the prior "the predictors change nothing"
# How much one unit of a predictor may change L, a, b, pattern where the take cannot tell:
UNKNOWN_EFFECT = np.array([4.0, 1.2, 1.2, 1.5], np.float32)
FEW_FRAMES = 6.0  # trusted frames at which a take begins to tell the effect of the predictors
USUAL_SPREAD = np.array([1.6, 1.0, 1.1, 0.9], np.float32)  # of L, a, b, pattern in long takes
USUAL_FRAMES = 10.0  # strength of the prior USUAL_SPREAD
# Share of the frames that look most like a mouth, and how much lower a correlation is trusted too:
TRUSTED_SHARE, TRUSTED_LAG = 0.35, 0.15
PASSES = 2
OUTLIER = 3.0  # deviation from which a cell is left out of the fit
# Drop of the likeness at which a frame is suspicious: absolute, and in usual deviations.
SUSPICIOUS_DROP = (0.2, 6.0)


def load_mouth_pattern(store: WeightStore | None = None) -> Floats:
    """Return the mean pattern (SIDE, SIDE) of many people's lower faces.

    Args:
        store: where the file is; None: the files of the package.

    Raises:
        WeightsMissing: the file is not installed.
        WeightsCorrupt: the file is not the published one.
    """
    with np.load((store or WeightStore()).path("mouth_pattern")) as data:
        return np.asarray(data["pattern"], np.float32)


@dataclass(frozen=True, kw_only=True)
class AppearanceModel:
    """Appearance of each cell as a function of k - 1 predictors of pose and mouth."""

    base: Floats  #: (SIDE, SIDE, 4) L, a, b, pattern
    slopes: Floats  #: (k, SIDE * SIDE * 4)
    offset: Floats  #: (k - 1,) mean of the predictors
    spread: Floats  #: (SIDE, SIDE, 4) usual deviation
    uncertainty: float  #: 0 to 1, how little the take tells about the effect of the predictors
    likeness: Floats  #: (k + 1,) regression of the likeness to a mouth, and its spread
    mouth_pattern: Floats  #: (SIDE, SIDE) of :func:`load_mouth_pattern`

    @classmethod
    def fit(
        cls, features: Floats, predictors: Floats, visible: Bools, mouth_pattern: Floats
    ) -> AppearanceModel:
        """Fit to frames, beginning with those that look most like a mouth.

        Args:
            features: (T, SIDE, SIDE, 4) of :func:`cell_features`.
            predictors: (T, k - 1) of :func:`predictors_of`.
            visible: (T, SIDE, SIDE) cells that face the camera.
            mouth_pattern: (SIDE, SIDE) of :func:`load_mouth_pattern`.
        """
        like = _mouth_likeness(features[..., 3], mouth_pattern)
        best = like >= np.quantile(like, 1 - TRUSTED_SHARE)
        trusted = like >= np.median(like[best]) - TRUSTED_LAG
        weight = visible & trusted[:, None, None]
        base = np.median(features[trusted], 0)
        offset = predictors[trusted].mean(0)
        count = predictors.shape[1] + 1
        frames = float(trusted.sum())
        known = frames / (frames + USUAL_FRAMES)
        blank = np.zeros((count, RASTER_SIDE * RASTER_SIDE * 4), np.float32)
        model = cls(
            base=base,
            slopes=blank,
            offset=offset,
            spread=NOISE_FLOOR + 0 * base,
            uncertainty=1 / (1 + (frames / FEW_FRAMES) ** 2),
            likeness=_fit_likeness(like[trusted], predictors[trusted] - offset),
            mouth_pattern=mouth_pattern,
        )
        for last in range(PASSES):
            lit = features - model._lighting_shift(features, predictors, visible)
            slopes = model._solve(lit, predictors, weight)
            model = replace(model, slopes=slopes)
            residual = np.where(weight[..., None], np.abs(lit - model._predict(predictors)), np.nan)
            with np.errstate(all="ignore"):
                spread = 1.4826 * _nan_median(residual)
            spread = np.sqrt(
                known * np.nan_to_num(spread, nan=5.0) ** 2 + (1 - known) * USUAL_SPREAD**2
            )
            model = replace(model, spread=spread.astype(np.float32))
            if last < PASSES - 1:
                weight = visible & (model.deviation(features, predictors, visible) < OUTLIER)
        return model

    def deviation(self, features: Floats, predictors: Floats, visible: Bools) -> Floats:
        """Return how far each cell is from the prediction, (T, SIDE, SIDE), in usual deviations."""
        residual = (
            features
            - self._lighting_shift(features, predictors, visible)
            - self._predict(predictors)
        )
        strayed = self.uncertainty * ((predictors - self.offset) ** 2).sum(1)[:, None, None, None]
        square = residual**2 / (self.spread**2 + NOISE_FLOOR**2 + strayed * UNKNOWN_EFFECT**2)
        colour = square[..., :3].sum(-1)
        pattern = np.minimum(square[..., 3], 60)
        both = [
            np.maximum(_masked_mean(c, v, 3), _masked_mean(p, v, 5))
            for c, p, v in zip(colour, pattern, visible.astype(np.float32), strict=True)
        ]
        out: Floats = np.where(visible, np.sqrt(np.stack(both)), 0).astype(np.float32)
        return out

    def likeness_drop(self, features: Floats, predictors: Floats) -> Floats:
        """Return how much less like a mouth frames (T,) look than predicted; 1 is suspicious.

        A hand has the colour of the face, but not its pattern.
        """
        predicted = np.minimum(_with_intercept(predictors - self.offset) @ self.likeness[:-1], 1)
        usual = max(SUSPICIOUS_DROP[0], SUSPICIOUS_DROP[1] * float(self.likeness[-1]))
        likeness = _mouth_likeness(features[..., 3], self.mouth_pattern)
        drop: Floats = ((predicted - likeness) / usual).astype(np.float32)
        return drop

    def _lighting_shift(self, features: Floats, predictors: Floats, visible: Bools) -> Floats:
        """Return how nose and cheeks differ from their prediction, (T, 1, 1, 4)."""
        skin = raster_layout().skin
        residual = (features - self._predict(predictors))[:, skin, :3]
        known = np.where(visible[:, skin, None], residual, np.nan)
        shift = np.zeros((len(features), 1, 1, 4), np.float32)
        with np.errstate(all="ignore"):
            shift[:, 0, 0, :3] = np.nan_to_num(_nan_median(known.swapaxes(0, 1)))
        return shift

    def _predict(self, predictors: Floats) -> Floats:
        """Return the predicted features (T, SIDE, SIDE, 4)."""
        moved: Floats = _with_intercept(predictors - self.offset) @ self.slopes
        return self.base + moved.reshape(-1, *self.base.shape)

    def _solve(self, features: Floats, predictors: Floats, weight: Bools) -> Floats:
        """Return the slopes of a weighted ridge regression of every cell."""
        x = _with_intercept(predictors - self.offset)
        k, cells = x.shape[1], RASTER_SIDE * RASTER_SIDE
        w = weight.reshape(-1, cells).astype(np.float32)
        products = (x[:, :, None] * x[:, None, :]).reshape(-1, k * k)
        prior = np.diag([1e-2] + [PRIOR_FRAMES] * (k - 1))
        left = (w.T @ products).reshape(cells, k, k) + prior
        moved = (features - self.base).reshape(-1, cells, 4)
        right = np.stack([x.T @ (w * moved[..., c]) for c in range(4)], -1)  # (k, cells, 4)
        solved = np.linalg.solve(left, right.transpose(1, 0, 2))
        slopes: Floats = solved.transpose(1, 0, 2).reshape(k, -1).astype(np.float32)
        return slopes


def cell_features(rasters: Raster) -> Floats:
    """Return L (0 to 100), a, b (128: neutral) and pattern of each cell, (T, SIDE, SIDE, 4).

    Args:
        rasters: (T, SIDE, SIDE, 3) of :func:`lipwright.face.lower_face_raster.sample_lower_face`.
    """
    features = np.empty((*rasters.shape[:3], 4), np.float32)
    features[..., :3] = rasters
    features[..., :3] *= np.array([100 / 255, 1, 1], np.float32)
    face = raster_layout().face.astype(np.float32)
    norm = cv2.GaussianBlur(face, (0, 0), PATTERN_SIGMA) + 1e-3
    for frame in features:
        blurred = cv2.GaussianBlur(frame[..., 0] * face, (0, 0), PATTERN_SIGMA)
        frame[..., 3] = frame[..., 0] - blurred / norm
    return features


def _mouth_likeness(pattern: Floats, mouth_pattern: Floats) -> Floats:
    """Return the correlation (T,) of patterns (T, SIDE, SIDE) with that of a mouth."""
    cells = raster_layout().searched
    a, b = pattern[:, cells], mouth_pattern[cells]
    a, b = a - a.mean(1, keepdims=True), b - b.mean()
    out: Floats = (a @ b) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b) + 1e-6)
    return out


def _fit_likeness(likeness: Floats, predictors: Floats) -> Floats:
    """Return the ridge regression of likeness (T,) on predictors (T, k - 1), and its spread."""
    x, middle = _with_intercept(predictors), float(np.median(likeness))
    prior = np.diag([1e-2] + [PRIOR_FRAMES] * (x.shape[1] - 1))
    slopes = np.linalg.solve(x.T @ x + prior, x.T @ (likeness - middle))
    slopes[0] += middle
    spread = 1.4826 * np.median(np.abs(likeness - x @ slopes))
    return np.append(slopes, spread).astype(np.float32)


def predictors_of(landmarks: Array, seen: Bools) -> Floats:
    """Return what the appearance of a face depends on, (T, 7), scaled to about 1.

    The columns are yaw, pitch, roll, the square of yaw, the product of yaw and pitch, the opening
    of the mouth, and its width.

    Args:
        landmarks: (T, 478, 3) pixels, NaN where no face is.
        seen: (T,) frames with a face.
    """
    angles = np.nan_to_num(estimate_pose(landmarks).angles())
    mouth = np.nan_to_num(mouth_shapes(landmarks))
    yaw, pitch, roll = angles.T
    opening, width = mouth_opening(mouth), mouth_width(mouth)
    width = width - width[seen].mean()
    columns = [yaw / 15, pitch / 10, roll / 10, (yaw / 15) ** 2, yaw * pitch / 150]
    predictors: Floats = np.stack([*columns, opening / 0.06, width / 0.06], 1).astype(np.float32)
    return predictors


def _masked_mean(square: Floats, visible: Floats, side: int) -> Floats:
    """Return the mean of visible cells over a square of *side* cells, (SIDE, SIDE)."""
    norm = np.maximum(cv2.blur(visible, (side, side)), 0.1)
    mean: Floats = cv2.blur(square * visible, (side, side)) / norm
    return mean


def _nan_median(values: Floats) -> Floats:
    """Return the median over the first axis, ignoring NaN; NaN where all values are."""
    ordered = np.sort(values, 0)  # NaN last
    count = np.isfinite(values).sum(0)
    middle = np.maximum((count - 1) // 2, 0)
    median = np.take_along_axis(ordered, middle[None], 0)[0]
    out: Floats = np.where(count > 0, median, np.nan)
    return out


def _with_intercept(predictors: Floats) -> Floats:
    return np.column_stack([np.ones(len(predictors), np.float32), predictors]).astype(np.float32)
