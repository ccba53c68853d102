"""What comes in front of a mouth: hands, microphones, cups, hair.

Every frame's lower face is sampled on a small canonical raster over the landmark mesh, so that a
cell shows the same piece of skin whatever the pose and the mouth do. Over a take each cell is
predicted from head pose and mouth shape (ridge regression, reweighted: Holland and Welsch 1977);
what deviates in colour or in pattern, strongly and over several cells, lies in front of the face.
The prediction starts from the frames whose lower face looks most like a mouth, so that what stays
for half of the take is not learnt as the face. The mouth's inside, where teeth and tongue come and
go, is judged by what surrounds it. A take of a few frames cannot tell how a mouth that opens
changes the face, nor how much is usual: there, what any face may do is allowed for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.face.shape import (
    Floats,
    Ints,
    align,
    mouth_shapes,
    opening,
    pose_of,
    reference,
    triangles,
    width,
)
from lipwright.face.smooth import overlapping, runs
from lipwright.rows import CHUNK, Array, Reel
from lipwright.weights.store import WeightStore

Bools = NDArray[np.bool_]
Raster = NDArray[np.uint8]  #: (SIDE, SIDE, 3) L, a, b of the lower face, 8 bit

SIDE = 32  # cells
X0, X1, Y0, Y1 = -0.8, 0.8, 0.35, 1.45  # canonical extent of the raster
FINE_CELLS = 1.5  # sigma: what is finer is pattern, the rest is colour
FINE_FACE = 40.0  # pixels between the eyes; on a smaller face landmarks miss by whole cells
FACING = 0.5  # cosine from which a cell is judged
FLOORS = np.array(
    [6.0, 2.0, 2.0, 1.0], np.float32
)  # deviations that mean nothing: L, a, b, pattern
PRIOR_FRAMES = 60.0  # strength of the prior "pose changes nothing"
EFFECT = np.array([4.0, 1.2, 1.2, 1.5], np.float32)  # what a cause may change all the same
FEW_FRAMES = 6.0  # trusted ones from which on a take tells what causes change
USUAL = np.array([1.6, 1.0, 1.1, 0.9], np.float32)  # spread in long takes
USUAL_FRAMES = 10.0  # strength of that prior
LIKE_SHARE, LIKE_LAG = 0.35, 0.15  # frames most like a mouth, and how much less like counts too
MODEL_FRAMES = 300  # looked at for the prediction
PASSES = 2
UNUSUAL = 3.0  # deviations at which a cell is left out of the prediction
SEED, GROW = 3.0, 1.9  # deviations at which an occluder is found, and down to which it reaches
LEAST_CELLS = 4  # of a seed
DOUBT = (0.2, 6.0)  # likeness lost by a frame in doubt, absolutely and in usual deviations
DOUBTED = 1.45  # factor of deviations in such a frame
FULL_COVER, NO_COVER = 0.4, 0.7  # share of the lips covered: full effect, none
REACH = 2  # frames before and after that an outline depends on

# fmt: off
_OUTER = [61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185]
_INNER = [78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191]
# fmt: on


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The raster's cells on the reference face."""

    triangle: Ints  #: (SIDE, SIDE) index into the mesh, -1 outside of the face
    corners: Ints  #: (SIDE * SIDE, 3) landmarks
    weights: Floats  #: (SIDE * SIDE, 3) barycentric
    face: Bools  #: (SIDE, SIDE) cells on the face
    judged: Bools  #: where occluders are looked for: mouth, chin, folds
    light: Bools  #: nose and cheeks, which tell how a frame is lit
    lips: Bools
    inner: Bools  #: between the lips


@cache
def layout() -> Layout:
    """Return the layout, the same for every face."""
    face, mesh = reference(), triangles()
    scale = np.array([SIDE / (X1 - X0), SIDE / (Y1 - Y0)])
    points = _cells(face)
    ids = np.full((SIDE, SIDE), -1, np.int32)
    for i in np.argsort(-face[mesh, 2].mean(1), kind="stable"):
        cv2.fillConvexPoly(ids, np.rint(points[mesh[i]] * 16).astype(np.int32), int(i), shift=4)
    corners = mesh[np.maximum(ids, 0).ravel()]
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float64)
    system = np.concatenate([points[corners].transpose(0, 2, 1), np.ones((SIDE**2, 1, 3))], 1)
    at = np.stack([x.ravel(), y.ravel(), np.ones(SIDE**2)], 1)[..., None]
    weights = np.clip(np.linalg.solve(system, at)[..., 0], 0, 1)
    down, across = Y0 + (y + 0.5) / scale[1], np.abs(X0 + (x + 0.5) / scale[0])
    on_face = ids >= 0
    return Layout(
        triangle=ids.astype(np.int64),
        corners=corners,
        weights=(weights / weights.sum(1, keepdims=True)).astype(np.float32),
        face=on_face,
        judged=on_face & (down > 0.66) & (down < 1.33) & (across < 0.58),
        light=on_face & (down < 0.72) & (across < 0.6),
        lips=inside(np.array(_OUTER)),
        inner=inside(np.array(_INNER)),
    )


def inside(loop: Ints) -> Bools:
    """Return the cells (SIDE, SIDE) within a loop of landmarks (n,), and one around them."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    points = np.rint(_cells(reference())[loop] * 16).astype(np.int32)
    cv2.fillPoly(mask, [points], 1, shift=4)
    grown: Bools = cv2.dilate(mask, np.ones((3, 3), np.uint8)) > 0
    return grown


def _cells(face: Floats) -> NDArray[np.float64]:
    """Return where the mesh of a canonical face (478, 3) lies on the raster, (468, 2) cells."""
    scale = np.array([SIDE / (X1 - X0), SIDE / (Y1 - Y0)])
    placed: NDArray[np.float64] = (face[:468, :2] - [X0, Y0]) * scale - 0.5
    return placed


@cache
def pattern() -> Floats:
    """Return the pattern (SIDE, SIDE) of a lower face, the mean of many people's."""
    with np.load(WeightStore().path("mouth_pattern")) as data:
        return np.asarray(data["pattern"], np.float32)


def lower_face(rgb: NDArray[np.uint8], landmarks: Floats) -> Raster:
    """Sample the lower face of a picture on the raster.

    Args:
        rgb: (h, w, 3) RGB, 8 bit.
        landmarks: (478, 3) pixels of *rgb*.
    """
    plan = layout()
    at = (plan.weights[..., None] * landmarks[plan.corners][..., :2]).sum(1)
    low, high = np.floor(at.min(0)).astype(int) - 2, np.ceil(at.max(0)).astype(int) + 3
    last = np.array(rgb.shape[1::-1])
    low, high = np.clip(low, 0, last - 1), np.clip(high, 1, last)
    high = np.maximum(high, low + 1)
    part = rgb[low[1] : high[1], low[0] : high[0]]
    at = at - low
    shrink = max(1, int((high - low).max() / (2 * SIDE)))
    if shrink > 1:
        size = (max(1, part.shape[1] // shrink), max(1, part.shape[0] // shrink))
        factor = np.array(size) / part.shape[1::-1]
        part = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
        at = (at + 0.5) * factor - 0.5
    part = cv2.blur(part, (2, 2)) if min(part.shape[:2]) > SIDE else part
    at = at.astype(np.float32).reshape(SIDE, SIDE, 2)
    cells = cv2.remap(part, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    raster: Raster = cv2.cvtColor(cells, cv2.COLOR_RGB2LAB)
    return raster


def occluded(rasters: Array, landmarks: Array, shots: Ints | None = None) -> Array:
    """Return the cells (T, SIDE, SIDE) in which something lies in front of the face.

    In memory when the landmarks are, else in a reel.

    Args:
        rasters: (T, SIDE, SIDE, 3) of :func:`lower_face`.
        landmarks: (T, 478, 3) pixels, NaN where no face is.
        shots: (T,) number of each frame's shot.
    """
    cells = Reel((SIDE, SIDE), np.bool_)
    for part in _occluded(rasters, landmarks, shots):
        cells.extend(part)
    return np.asarray(cells) if isinstance(landmarks, np.ndarray) else cells


def _occluded(rasters: Array, landmarks: Array, shots: Ints | None) -> Iterator[Bools]:
    """Yield the cells part by part."""
    seen = np.isfinite(landmarks[:, 0, 0])
    done = 0
    if seen.any():
        index = np.flatnonzero(seen)
        causes = _causes(landmarks, seen)
        some = index[:: max(1, -(-len(index) // MODEL_FRAMES))]
        model = _Model.fit(_values(rasters[some]), causes[some], _visible(landmarks[some]))
        for start, stop in runs(seen, shots):
            yield from _nothing(done, start)
            for first, last, inner in overlapping(start, stop, REACH):
                part = slice(first, last)
                found = _outlines(model, rasters[part], landmarks[part], causes[part])
                yield _steady(found)[inner]
            done = stop
    yield from _nothing(done, len(seen))


def _nothing(start: int, stop: int) -> Iterator[Bools]:
    for low in range(start, stop, CHUNK):
        yield np.zeros((min(CHUNK, stop - low), SIDE, SIDE), bool)


def _outlines(model: _Model, rasters: Raster, landmarks: Floats, causes: Floats) -> Bools:
    """Return the cells (m, SIDE, SIDE) found in each frame by itself."""
    values = _values(rasters)
    strange = model.deviation(values, causes, _visible(landmarks))
    doubts = model.doubts(values, causes)
    trust = np.minimum(1, 1 / (FINE_FACE * align(landmarks).scale))
    strange *= (trust * np.where(doubts, DOUBTED, 1))[:, None, None]
    return np.array([_outline(s, d) for s, d in zip(strange, doubts, strict=True)])


def lips_covered(found: Array) -> Floats:
    """Return the share of the lips that is covered, (T,) 0 to 1."""
    share: Floats = found[:, layout().lips].mean(1).astype(np.float32)
    return share


def bearable(found: Array) -> Floats:
    """Return how much of the effect frames bear, (T,): none where the mouth is mostly covered."""
    share = (NO_COVER - lips_covered(found)) / (NO_COVER - FULL_COVER)
    out: Floats = np.clip(share, 0, 1).astype(np.float32)
    return out


@dataclass(frozen=True, kw_only=True)
class _Model:
    """What each cell looks like, as a function of pose and mouth."""

    base: Floats  #: (SIDE, SIDE, 4) L, a, b, pattern
    slopes: Floats  #: (k, SIDE * SIDE * 4)
    offset: Floats  #: (k - 1,) mean of the causes
    spread: Floats  #: (SIDE, SIDE, 4)
    unlearnt: float  #: 0 to 1, how little the take can tell of what causes change
    likeness: Floats  #: (k + 1,) that to a mouth, by cause, and its spread

    @classmethod
    def fit(cls, values: Floats, causes: Floats, visible: Bools) -> _Model:
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

    def doubts(self, values: Floats, causes: Floats) -> Bools:
        """Return which frames (T,) look much less like a mouth than they should.

        A hand has the colour of the face, but not its pattern.
        """
        expected = np.minimum(_with_one(causes - self.offset) @ self.likeness[:-1], 1)
        lost = expected - _likeness(values[..., 3])
        doubtful: Bools = lost > max(DOUBT[0], DOUBT[1] * float(self.likeness[-1]))
        return doubtful

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


def _values(rasters: Raster) -> Floats:
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


def _causes(landmarks: Array, seen: Bools) -> Floats:
    """Return what the look of a face depends on, (T, k), in comparable units."""
    angles = np.nan_to_num(pose_of(landmarks).angles())
    mouth = np.nan_to_num(mouth_shapes(landmarks))
    yaw, pitch, roll = angles.T
    gap, across = opening(mouth), width(mouth)
    across = across - across[seen].mean()
    columns = [yaw / 15, pitch / 10, roll / 10, (yaw / 15) ** 2, yaw * pitch / 150]
    causes: Floats = np.stack([*columns, gap / 0.06, across / 0.06], 1).astype(np.float32)
    return causes


def _visible(landmarks: Floats) -> Bools:
    """Return which cells (T, SIDE, SIDE) face the camera."""
    plan = layout()
    corners = landmarks[:, triangles()]
    normal = np.cross(corners[:, :, 1] - corners[:, :, 0], corners[:, :, 2] - corners[:, :, 0])
    facing = normal[..., 2] / np.maximum(np.linalg.norm(normal, axis=-1), 1e-6)
    ahead = np.sign(_ahead())
    shown: Bools = (facing * ahead > FACING)[:, np.maximum(plan.triangle, 0)] & plan.face
    return shown


@cache
def _ahead() -> Floats:
    """Return the sign of the z of each triangle's normal on the reference face (m,)."""
    a, b, c = reference()[triangles()].transpose(1, 0, 2)
    z: Floats = np.cross(b - a, c - a)[:, 2]
    return z


def _pooled(square: Floats, visible: Floats, side: int) -> Floats:
    """Return the mean over a square of visible cells."""
    norm = np.maximum(cv2.blur(visible, (side, side)), 0.1)
    mean: Floats = cv2.blur(square * visible, (side, side)) / norm
    return mean


def _outline(strange: Floats, doubtful: bool) -> Bools:
    """Return the cells (SIDE, SIDE) of occluders: what hangs together with a strong seed.

    Between the lips nothing is a seed. In a doubtful frame all that lies between what was found
    counts too: the flat of a finger is no stranger than a cheek.
    """
    plan = layout()
    wide = (strange > GROW) & plan.judged
    seeds = (strange > SEED) & plan.judged & ~plan.inner
    count, marks = cv2.connectedComponents(wide.astype(np.uint8), connectivity=8)
    found = np.zeros((SIDE, SIDE), np.uint8)
    for i in range(1, count):
        if (seeds & (marks == i)).sum() >= LEAST_CELLS:
            found[marks == i] = 1
    closed = cv2.morphologyEx(found, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    if doubtful and found.any():
        hull = cv2.convexHull(np.argwhere(found)[:, ::-1].astype(np.int32))
        cv2.fillConvexPoly(closed, hull, 1)
    outline: Bools = (closed > 0) & plan.face
    return outline


def _steady(found: Bools) -> Bools:
    """Return the cells of a run (m, SIDE, SIDE) that stay, or come and go with others in time.

    A cell counts where it is found in two of three neighbouring frames; what counts does so a frame
    before and after as well, since things move. No frame depends on one more than REACH away.
    """
    if len(found) < 3:
        return found
    padded = np.concatenate([found[:1], found, found[-1:]]).astype(np.int8)
    often = padded[:-2] + padded[1:-1] + padded[2:] >= 2
    wide = np.concatenate([often[:1], often, often[-1:]])
    out: Bools = wide[:-2] | wide[1:-1] | wide[2:]
    return out


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
