"""The exemplar bank: crops of the speaker's own lower face, chosen within a number of bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.face.canonical import interocular_distance
from lipwright.face.landmarks import (
    EYE_LEFT,
    EYE_RIGHT,
    LOWER_BORDER_FULL,
    LOWER_RIM,
    LOWER_RIM_FULL,
    OUTER_LIPS,
    UPPER_RIM,
)
from lipwright.media.picture import Box
from lipwright.render.composite import MOUTH_LOOP, fill_polygon, lip_mask
from lipwright.render.detail import Detail, measure_detail
from lipwright.render.face_mesh import rest_vertices
from lipwright.render.path import FrameFeatures
from lipwright.render.tone import Tone, measure_tone
from lipwright.runtime.disk_array import CHUNK_ROWS, Array, TempFile
from lipwright.types import DeepRgb, Floats, Ints

RUN_FRAMES = 12  # consecutive frames kept together, so that paths find runs
CACHED_EXEMPLARS = 12  # exemplars held in memory: enough for a few output frames
CROP_MARGIN = 0.3  # inter-ocular distances around the loop of the mask
MIN_SHARPNESS = 0.6  # share of the shot's median sharpness; blurred frames are left out
# Rows in which the interior of a mouth is sampled, from 0 at the upper lip to 1 at the lower.
INTERIOR_DEPTHS: Floats = np.array([1 / 6, 1 / 2, 5 / 6], np.float32)
INTERIOR_BLUR = 0.012  # sigma of the blur before sampling, inter-ocular distances
INTERIOR_LEAST_BLUR = 0.5  # pixels: the least sigma of that blur, against aliasing in small faces
INTERIOR_MARGIN = 4  # pixels around the samples that the blur needs
CLOSED, PARTED = 0.02, 0.05  # canonical openings that show nothing, or all, of the interior
TEETH_QUANTILE = 0.8  # of the brightness in one mouth: the rest is darker than its teeth
MOUTH_QUANTILE = 0.9  # of the mouths by brightness: the rest shows fewer teeth
MIN_TEETH_LEVEL = 0.6  # over the skin: the level of the dimmest teeth, for mouths that show none
# A codec or a passing light has spoilt an exemplar whose lower lip differs in hue from the bank's
# median by more than MAX_HUE_DEVIATION times the usual difference (a ratio). Each further HUE_UNIT
# (natural logarithm of colour ratios) adds one unit of cost.
MAX_HUE_DEVIATION, HUE_UNIT = 3.0, 0.035
# Lips that open or close by more than MAX_SPEED (canonical units a frame) are blurred between two
# shapes. Each further SPEED_UNIT adds one unit of cost.
MAX_SPEED, SPEED_UNIT = 0.03, 0.02
BLUR_COST = 2.0  # cost of an exemplar without any of the bank's median sharpness
SHAPE_SPREAD = 0.02  # canonical units between mouth shapes that count as one step of coverage
ANGLE_SPREAD = 6.0  # degrees of yaw or pitch that count as one step of coverage
LIGHT_SPREAD = 10.0  # 8-bit levels of mean luminance that count as one step of coverage
SKIN_STRIDE = 4  # pixels: skin is sampled on every fourth row and column, enough for a median


@dataclass(frozen=True, kw_only=True)
class Exemplar:
    """A stored crop of the speaker's lower face."""

    load: Callable[[], tuple[DeepRgb, Floats]]  #: returns pixels and landmarks from the store
    origin: tuple[int, int]  #: x, y of the crop in its frame
    teeth_level: float | None = None  #: of the speaker's teeth, see :func:`estimate_teeth_level`

    @property
    def rgb(self) -> DeepRgb:
        """(h, w, 3) RGB crop, 8 or 16 bit."""
        return self.load()[0]

    @property
    def landmarks(self) -> Floats:
        """(478, 3) pixels of its frame."""
        return self.load()[1]

    @property
    def vertices(self) -> Floats:
        """Mesh vertices (510, 3) of the face, pixels of its frame."""
        return rest_vertices(self.landmarks, interocular_distance(self.landmarks))

    @property
    def box(self) -> Box:
        """Position of the crop in its frame."""
        x, y = self.origin
        height, width = self.rgb.shape[:2]
        return Box(x, y, x + width, y + height)

    @cached_property
    def detail(self) -> Detail:
        """Strength of its detail, in its own code values."""
        box = self.box
        lips = lip_mask([self.landmarks], box, interocular_distance(self.landmarks)) > 0
        loop = fill_polygon(self.landmarks[MOUTH_LOOP], box) > 0
        return measure_detail(self.rgb, loop & ~lips, lips)

    @cached_property
    def tone(self) -> Tone:
        """The light on the face."""
        return measure_tone(self.rgb, self.origin, self.landmarks, self.teeth_level)

    @cached_property
    def hue(self) -> Floats:
        """(3,) logarithms of the lower lip's RGB over the skin's, less their mean."""
        skin = self._skin()
        lower = self.landmarks[np.concatenate([LOWER_BORDER_FULL, LOWER_RIM_FULL[::-1]])]
        lip = fill_polygon(lower, self.box) > 0
        if not (skin.any() and lip.any()):
            return np.zeros(3, np.float32)
        lip_rgb, skin_rgb = self.rgb[lip], self.rgb[::SKIN_STRIDE, ::SKIN_STRIDE][skin]
        ratio = np.log(np.maximum(np.median(lip_rgb, 0), 1) / np.maximum(np.median(skin_rgb, 0), 1))
        return np.asarray(ratio - ratio.mean(), np.float32)

    @cached_property
    def interior(self) -> Floats:
        """(21,) brightness between the lips in 3 rows of 7 samples, over that of lit skin."""
        box, unit = self.box, interocular_distance(self.landmarks)
        skin = self._skin()
        upper, lower = (self.landmarks[rim[1:-1], :2] for rim in (UPPER_RIM, LOWER_RIM))
        points = upper + INTERIOR_DEPTHS[:, None, None] * (lower - upper) - [box.x0, box.y0]
        green = self.rgb[..., 1]  # close enough to luma here, and needs no conversion
        x0, y0 = np.maximum(np.floor(points.min((0, 1))).astype(int) - INTERIOR_MARGIN, 0)
        x1, y1 = np.ceil(points.max((0, 1))).astype(int) + INTERIOR_MARGIN + 1
        part = green[y0:y1, x0:x1].astype(np.float32)
        if not (skin.any() and part.size):
            return np.zeros(points.shape[0] * points.shape[1], np.float32)
        soft = cv2.GaussianBlur(part, (0, 0), max(INTERIOR_BLUR * unit, INTERIOR_LEAST_BLUR))
        x, y = np.moveaxis((points - [x0, y0]).astype(np.float32), -1, 0)
        samples = cv2.remap(soft, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        skin_green = green[::SKIN_STRIDE, ::SKIN_STRIDE][skin]
        return np.asarray(samples.ravel() / max(float(np.median(skin_green)), 1))

    def _skin(self) -> NDArray[np.bool_]:
        """Return the mask of skin around the lips, on every fourth pixel (h / 4, w / 4)."""
        loop, lips = (fill_polygon(self.landmarks[i], self.box) for i in (MOUTH_LOOP, OUTER_LIPS))
        skin: NDArray[np.bool_] = (loop - lips)[::SKIN_STRIDE, ::SKIN_STRIDE] > 0
        return skin


class ExemplarStore:
    """Stores exemplars in a temporary file and caches the most recently used ones in memory."""

    def __init__(self) -> None:
        self._file = TempFile()
        self._end = 0
        self._cache: OrderedDict[int, tuple[DeepRgb, Floats]] = OrderedDict()

    def add(self, rgb: DeepRgb, origin: tuple[int, int], landmarks: Floats) -> Exemplar:
        """Store a crop (h, w, 3) and the landmarks (478, 3) of its face.

        Raises:
            StorageFull: the disk of temporary files is full.
        """
        offset, rgb = self._end, np.array(rgb)
        self._end = self._file.write(landmarks, self._file.write(rgb, offset))
        self._put_in_cache(offset, rgb, landmarks)
        load = partial(self._load, offset, rgb.shape, rgb.dtype, landmarks.shape)
        return Exemplar(load=load, origin=origin)

    def _load(
        self,
        offset: int,
        rgb_shape: tuple[int, ...],
        dtype: Any,
        landmarks_shape: tuple[int, ...],
    ) -> tuple[DeepRgb, Floats]:
        if offset not in self._cache:
            rgb = self._file.read(rgb_shape, dtype, offset)
            landmarks = self._file.read(landmarks_shape, np.float32, offset + rgb.nbytes)
            self._put_in_cache(offset, rgb, landmarks)
        self._cache.move_to_end(offset)
        return self._cache[offset]

    def _put_in_cache(self, offset: int, rgb: DeepRgb, landmarks: Floats) -> None:
        self._cache[offset] = rgb, landmarks
        while len(self._cache) > CACHED_EXEMPLARS:
            self._cache.popitem(last=False)


def choose_exemplars(
    features: FrameFeatures,
    *,
    sharpness: Floats,
    usable: NDArray[np.bool_],
    limit: int,
    shot: Ints,
) -> Ints:
    """Return the frames to keep (rising indices): a sample that covers mouth shapes and poses.

    The choice is greedy and deterministic. It takes whole runs of frames: first one of each shot,
    long shots first, then always the run farthest from all taken so far (Gonzalez 1985, k-centre).
    Frames that are blurred in comparison with their shot are left out.

    Args:
        features: of T frames.
        sharpness: (T,) higher is sharper.
        usable: (T,) whether each frame may be kept.
        limit: maximum number of frames.
        shot: (T,) number of each frame's shot.
    """
    frames = np.flatnonzero(_sharp_frames(sharpness, usable, shot))
    if len(frames) <= limit:
        return frames
    runs = _split_runs(frames, shot, min(RUN_FRAMES, limit))
    run_limit = limit // runs.shape[1]
    vectors = _coverage_vectors(features)
    centres = vectors[runs].mean(1)
    points = vectors[runs].reshape(len(runs), -1)
    chosen = _one_run_per_shot(centres, shot[runs[:, 0]])[:run_limit]
    distance = np.min([np.linalg.norm(points - points[i], axis=1) for i in chosen], 0)
    while len(chosen) < min(run_limit, len(runs)):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return np.unique(runs[chosen])


def _sharp_frames(sharpness: Floats, usable: NDArray[np.bool_], shot: Ints) -> NDArray[np.bool_]:
    """Return which usable frames (T,) are about as sharp as their shot."""
    sharp = usable.copy()
    for number in np.unique(shot[usable]):
        in_shot = usable & (shot == number)
        sharp[in_shot] = sharpness[in_shot] >= MIN_SHARPNESS * np.median(sharpness[in_shot])
    return sharp


def _split_runs(frames: Ints, shot: Ints, length: int) -> Ints:
    """Return the frames in runs (r, length) within a shot; a short shot repeats its last frame."""
    runs = []
    for number in np.unique(shot[frames]):
        in_shot = frames[shot[frames] == number]
        count = max(1, len(in_shot) // length)
        indices = np.minimum(np.arange(count * length), len(in_shot) - 1)
        runs.append(in_shot[indices].reshape(count, length))
    return np.concatenate(runs)


def _one_run_per_shot(centres: Floats, shot: Ints) -> list[int]:
    """Return for each shot the run farthest from the shot's mean, long shots first."""
    numbers, counts = np.unique(shot, return_counts=True)
    chosen = []
    for number in numbers[np.argsort(-counts, kind="stable")]:
        runs = np.flatnonzero(shot == number)
        distance = np.linalg.norm(centres[runs] - centres[runs].mean(0), axis=1)
        chosen.append(int(runs[distance.argmax()]))
    return chosen


def exemplar_cost(sharpness: Floats, hue: Floats, speed: Floats) -> Floats:
    """Return the cost (n,) of each exemplar's own defects: blur, odd colour and fast lips.

    Args:
        sharpness: (n,) higher is sharper.
        hue: (n, 3) :attr:`Exemplar.hue`.
        speed: (n,) of the opening, canonical units a frame.
    """
    blur = np.clip(1 - sharpness / max(float(np.median(sharpness)), 1e-6), 0, 1)
    deviation = np.linalg.norm(hue - np.median(hue, 0), axis=1)
    odd_hue = np.maximum(deviation - MAX_HUE_DEVIATION * np.median(deviation), 0) / HUE_UNIT
    fast_lips = np.maximum(speed - MAX_SPEED, 0) / SPEED_UNIT
    return np.asarray(BLUR_COST * blur + odd_hue + fast_lips, np.float32)


def opening_speed(openings: Floats, source_frame: Ints) -> Floats:
    """Return the speed (n,) at which mouths open or close, canonical units a frame.

    It is the lesser of the speeds before and after each frame.

    Args:
        openings: (n,) canonical.
        source_frame: (n,) frame of each, rising; the speed beside a gap is 0.
    """
    step = np.where(np.diff(source_frame) == 1, np.abs(np.diff(openings)), 0)
    return np.asarray(np.minimum(np.append(step, 0), np.insert(step, 0, 0)), np.float32)


def interior_features(interior: Floats, openings: Floats) -> Floats:
    """Return the visible part (n, c) of mouth interiors: nearly closed ones approach the mean.

    Args:
        interior: (n, c) :attr:`Exemplar.interior`.
        openings: (n,) canonical.
    """
    mean = interior.mean(0)
    visible = np.clip((openings - CLOSED) / (PARTED - CLOSED), 0, 1)[:, None]
    return np.asarray(mean + (interior - mean) * visible, np.float32)


def estimate_teeth_level(interior: Floats, openings: Floats) -> float | None:
    """Return the brightness of a speaker's teeth over the skin; None if no mouth is open.

    All exemplars share one level, so that synthetic teeth do not change between exemplars.

    Args:
        interior: (n, c) :attr:`Exemplar.interior`.
        openings: (n,) canonical.
    """
    parted = openings >= PARTED
    if not parted.any():
        return None
    bright = np.quantile(interior[parted], TEETH_QUANTILE, axis=1)
    return max(float(np.quantile(bright, MOUTH_QUANTILE)), MIN_TEETH_LEVEL)


def largest_exemplar_bytes(landmarks: Array, frames: Ints, depth: int) -> int:
    """Return the bytes of the largest exemplar that any of some frames would make.

    Args:
        landmarks: (T, 478, 3) pixels.
        frames: (m,) indices of the frames.
        depth: bits per sample.
    """
    largest = 0.0
    for start in range(0, len(frames), CHUNK_ROWS):
        points = landmarks[frames[start : start + CHUNK_ROWS]]
        eyes = np.linalg.norm(points[:, EYE_LEFT] - points[:, EYE_RIGHT], axis=-1)
        # Rounding the corners to whole pixels adds up to 3 pixels.
        sides = np.ptp(points[:, MOUTH_LOOP, :2], axis=1) + (2 * CROP_MARGIN * eyes[:, None] + 3)
        largest = max(largest, float(sides.prod(1).max()))
    return int(largest) * 3 * (1 if depth == 8 else 2)


def _coverage_vectors(features: FrameFeatures) -> Floats:
    """Return the vectors (n, k) that exemplars should cover, their columns in comparable units."""
    flat = features.mouth.reshape(len(features), -1)
    mouth = flat / np.sqrt(features.mouth.shape[1]) / SHAPE_SPREAD
    light = features.light[:, None] / LIGHT_SPREAD
    vectors: Floats = np.concatenate([mouth, features.angles[:, :2] / ANGLE_SPREAD, light], 1)
    return vectors


def crop_box(landmarks: Floats) -> Box:
    """Return the part of a frame that an exemplar keeps: mouth, chin and folds, with a margin."""
    loop = landmarks[MOUTH_LOOP, :2]
    margin = CROP_MARGIN * interocular_distance(landmarks)
    x0, y0 = np.floor(loop.min(0) - margin).astype(int)
    x1, y1 = np.ceil(loop.max(0) + margin).astype(int) + 1
    return Box(int(x0), int(y0), int(x1), int(y1))


def crop_exemplar(store: ExemplarStore, rgb: DeepRgb, box: Box, landmarks: Floats) -> Exemplar:
    """Crop an exemplar out of a view and add it to a store.

    Args:
        store: keeps the crop.
        rgb: (h, w, 3) view.
        box: position of the view in its frame.
        landmarks: (478, 3) pixels of the frame.
    """
    want = crop_box(landmarks)
    x0, y0 = max(want.x0, box.x0), max(want.y0, box.y0)
    x1, y1 = max(min(want.x1, box.x1), x0 + 1), max(min(want.y1, box.y1), y0 + 1)
    crop = rgb[y0 - box.y0 : y1 - box.y0, x0 - box.x0 : x1 - box.x0]
    return store.add(crop, (x0, y0), landmarks)
