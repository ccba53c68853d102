"""Exemplars: pictures of this speaker's own lower face, within a fixed number of bytes on disk."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.face.lips import BELOW_LIP, LOWER_LIP, LOWER_RIM, OUTER_LIPS, UPPER_RIM
from lipwright.face.shape import EYE_LEFT, EYE_RIGHT, interocular
from lipwright.media.picture import Box
from lipwright.render.composite import LOOP, mouths, polygon
from lipwright.render.detail import Detail, detail_of
from lipwright.render.face_mesh import ring_of
from lipwright.render.path import Look
from lipwright.render.tone import Palette, palette_of
from lipwright.runtime.disk_array import CHUNK_ROWS, Array, TempFile
from lipwright.types import DeepRgb, Floats, Ints

RUN_FRAMES = 12  # neighbouring frames are kept together, so that paths find runs
AT_HAND = 12  # exemplars in memory at a time: those of a few frames
CROP_MARGIN = 0.3  # around the loop of the mask, inter-ocular distances
SHARP_ENOUGH = 0.6  # of the median sharpness
# Where the inside of a mouth is looked at, from the upper lip to the lower, and how softly.
DEPTHS: Floats = np.array([1 / 6, 1 / 2, 5 / 6], np.float32)
CLOSED, PARTED = 0.02, 0.05  # openings through which nothing, or all, is seen; canonical
# Of what shows in a mouth so much is darker than teeth, of mouths so many show fewer teeth; and the
# tone of the dimmest teeth, of a mouth that shows none.
TEETH_SHOWN, MOST_SHOWN, DIMMEST = 0.8, 0.9, 0.6
INSIDE_BLUR = 0.012  # sigma, inter-ocular distances
# An exemplar whose lower lip differs in hue from most of a bank by ODD times what is usual was
# spoilt by a codec or by a passing light; each further ODD_UNIT of it costs one unit.
ODD, ODD_UNIT = 3.0, 0.035
# One whose lips open or close by more than FAST a frame shows neither of both mouths; canonical.
FAST, FAST_UNIT = 0.03, 0.02
BLUR_COST = 2.0  # for each share of the usual sharpness that an exemplar lacks


@dataclass(frozen=True, kw_only=True)
class Exemplar:
    """One stored picture of the face."""

    kept: Callable[[], tuple[DeepRgb, Floats]]  #: returns pixels and landmarks, wherever they lie
    origin: tuple[int, int]  #: x, y of the crop in its frame
    tone: float | None = None  #: of the speaker's teeth, see :func:`tone_of`

    @property
    def rgb(self) -> DeepRgb:
        """(h, w, 3) RGB crop, 8 or 16 bit."""
        return self.kept()[0]

    @property
    def landmarks(self) -> Floats:
        """(478, 3) pixels of its frame."""
        return self.kept()[1]

    @property
    def vertices(self) -> Floats:
        """Mesh vertices (510, 3) of the face, pixels of its frame."""
        return ring_of(self.landmarks, interocular(self.landmarks))

    @property
    def box(self) -> Box:
        """Where the crop lies in its frame."""
        x, y = self.origin
        height, width = self.rgb.shape[:2]
        return Box(x, y, x + width, y + height)

    @cached_property
    def detail(self) -> Detail:
        """How strong its detail is, in its own code values."""
        box = self.box
        lips = mouths([self.landmarks], box, interocular(self.landmarks)) > 0
        return detail_of(self.rgb, (polygon(self.landmarks[LOOP], box) > 0) & ~lips, lips)

    @cached_property
    def palette(self) -> Palette:
        """The light on the face."""
        return palette_of(self.rgb, self.origin, self.landmarks, self.tone)

    @cached_property
    def hue(self) -> Floats:
        """(3,) RGB of the lower lip over that of the skin, as logarithms less their mean."""
        skin = self._skin()
        lower = self.landmarks[np.concatenate([BELOW_LIP, LOWER_LIP[::-1]])]
        lip = polygon(lower, self.box) > 0
        if not (skin.any() and lip.any()):
            return np.zeros(3, np.float32)
        shown, around = self.rgb[lip], self.rgb[::4, ::4][skin]
        ratio = np.log(np.maximum(np.median(shown, 0), 1) / np.maximum(np.median(around, 0), 1))
        return np.asarray(ratio - ratio.mean(), np.float32)

    @cached_property
    def inside(self) -> Floats:
        """(21,) how bright what shows between the lips is, in 3 rows of 7, lit skin being 1."""
        box, unit = self.box, interocular(self.landmarks)
        skin = self._skin()
        upper, lower = (self.landmarks[rim[1:-1], :2] for rim in (UPPER_RIM, LOWER_RIM))
        at = upper + DEPTHS[:, None, None] * (lower - upper) - [box.x0, box.y0]
        green = self.rgb[..., 1]  # as good as luma here, and at hand
        x0, y0 = np.maximum(np.floor(at.min((0, 1))).astype(int) - 4, 0)
        x1, y1 = np.ceil(at.max((0, 1))).astype(int) + 5
        part = green[y0:y1, x0:x1].astype(np.float32)
        if not (skin.any() and part.size):
            return np.zeros(at.shape[0] * at.shape[1], np.float32)
        soft = cv2.GaussianBlur(part, (0, 0), max(INSIDE_BLUR * unit, 0.5))
        x, y = np.moveaxis((at - [x0, y0]).astype(np.float32), -1, 0)
        shown = cv2.remap(soft, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(shown.ravel() / max(float(np.median(green[::4, ::4][skin])), 1))

    def _skin(self) -> NDArray[np.bool_]:
        """Return where skin is around the lips, on every fourth pixel (h / 4, w / 4)."""
        around, lips = (polygon(self.landmarks[i], self.box) for i in (LOOP, OUTER_LIPS))
        skin: NDArray[np.bool_] = (around - lips)[::4, ::4] > 0
        return skin


class Shelf:
    """Keeps exemplars in a temporary file, and the last ones used in memory."""

    def __init__(self) -> None:
        self._file = TempFile()
        self._end = 0
        self._last: OrderedDict[int, tuple[DeepRgb, Floats]] = OrderedDict()

    def put(self, rgb: DeepRgb, origin: tuple[int, int], landmarks: Floats) -> Exemplar:
        """Keep a crop (h, w, 3) and the landmarks (478, 3) of its face.

        Raises:
            EncodeFailed: the folder for temporary files is full.
        """
        at, rgb = self._end, np.array(rgb)
        self._end = self._file.write(landmarks, self._file.write(rgb, at))
        self._remember(at, rgb, landmarks)
        kept = partial(self._get, at, rgb.shape, rgb.dtype, landmarks.shape)
        return Exemplar(kept=kept, origin=origin)

    def _get(
        self, at: int, shape: tuple[int, ...], dtype: Any, points: tuple[int, ...]
    ) -> tuple[DeepRgb, Floats]:
        if at not in self._last:
            rgb = self._file.read(shape, dtype, at)
            self._remember(at, rgb, self._file.read(points, np.float32, at + rgb.nbytes))
        self._last.move_to_end(at)
        return self._last[at]

    def _remember(self, at: int, rgb: DeepRgb, landmarks: Floats) -> None:
        self._last[at] = rgb, landmarks
        while len(self._last) > AT_HAND:
            self._last.popitem(last=False)


def choose(
    look: Look, *, sharpness: Floats, usable: NDArray[np.bool_], most: int, shot: Ints
) -> Ints:
    """Return which frames to keep (rising indices), at most *most*, covering shape and pose.

    Whole runs are taken greedily, each time the one that lies farthest from all taken so far
    (Gonzalez 1985, k-centre), after one of each shot, long shots first. Frames that are blurred for
    their shot are left out. Deterministic.

    Args:
        look: of T frames.
        sharpness: (T,) higher is sharper.
        usable: (T,) which frames may be kept.
        most: how many.
        shot: (T,) number of each frame's shot.
    """
    frames = np.flatnonzero(_sharp(sharpness, usable, shot))
    if len(frames) <= most:
        return frames
    runs = _runs(frames, shot, min(RUN_FRAMES, most))
    room = most // runs.shape[1]
    features = _features(look)
    centres = features[runs].mean(1)
    extremes = features[runs].reshape(len(runs), -1)
    taken = _firsts(centres, shot[runs[:, 0]])[:room]
    distance = np.min([np.linalg.norm(extremes - extremes[i], axis=1) for i in taken], 0)
    while len(taken) < min(room, len(runs)):
        taken.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(extremes - extremes[taken[-1]], axis=1))
    return np.unique(runs[taken])


def _sharp(sharpness: Floats, usable: NDArray[np.bool_], shot: Ints) -> NDArray[np.bool_]:
    """Return which usable frames (T,) are about as sharp as their shot."""
    kept = usable.copy()
    for number in np.unique(shot[usable]):
        here = usable & (shot == number)
        kept[here] = sharpness[here] >= SHARP_ENOUGH * np.median(sharpness[here])
    return kept


def _runs(frames: Ints, shot: Ints, length: int) -> Ints:
    """Return the frames in runs (r, length), none over a cut; a short shot repeats its last."""
    runs = []
    for number in np.unique(shot[frames]):
        here = frames[shot[frames] == number]
        count = max(1, len(here) // length)
        at = np.minimum(np.arange(count * length), len(here) - 1)
        runs.append(here[at].reshape(count, length))
    return np.concatenate(runs)


def _firsts(centres: Floats, shot: Ints) -> list[int]:
    """Return of each shot the run that lies farthest from its middle, long shots first."""
    numbers, counts = np.unique(shot, return_counts=True)
    firsts = []
    for number in numbers[np.argsort(-counts, kind="stable")]:
        here = np.flatnonzero(shot == number)
        away = np.linalg.norm(centres[here] - centres[here].mean(0), axis=1)
        firsts.append(int(here[away.argmax()]))
    return firsts


def faults(sharpness: Floats, hue: Floats, speed: Floats) -> Floats:
    """Return what their own faults make exemplars (n,) cost: blur, odd colour, fast lips.

    Args:
        sharpness: (n,) higher is sharper.
        hue: (n, 3) :attr:`Exemplar.hue`.
        speed: (n,) of the opening, canonical units a frame.
    """
    blur = np.clip(1 - sharpness / max(float(np.median(sharpness)), 1e-6), 0, 1)
    apart = np.linalg.norm(hue - np.median(hue, 0), axis=1)
    odd = np.maximum(apart - ODD * np.median(apart), 0) / ODD_UNIT
    fast = np.maximum(speed - FAST, 0) / FAST_UNIT
    return np.asarray(BLUR_COST * blur + odd + fast, np.float32)


def speed_of(gap: Floats, index: Ints) -> Floats:
    """Return how fast mouths open or close both before and after (n,), canonical units a frame.

    Args:
        gap: (n,) openings.
        index: (n,) their frames, rising; over a hole in them nothing is known.
    """
    step = np.where(np.diff(index) == 1, np.abs(np.diff(gap)), 0)
    return np.asarray(np.minimum(np.append(step, 0), np.insert(step, 0, 0)), np.float32)


def inner_looks(inside: Floats, gap: Floats) -> Floats:
    """Return what is seen between lips (n, c): the less they are parted, the more all are alike.

    Args:
        inside: (n, c) :attr:`Exemplar.inside`.
        gap: (n,) openings, canonical.
    """
    usual = inside.mean(0)
    parted = np.clip((gap - CLOSED) / (PARTED - CLOSED), 0, 1)[:, None]
    return np.asarray(usual + (inside - usual) * parted, np.float32)


def tone_of(inside: Floats, gap: Floats) -> float | None:
    """Return how bright a speaker's teeth are over the skin; None where no mouth is open.

    One tone for all exemplars: what some show and others lack must not change from one to another.

    Args:
        inside: (n, c) :attr:`Exemplar.inside`.
        gap: (n,) openings, canonical.
    """
    parted = gap >= PARTED
    if not parted.any():
        return None
    bright = np.quantile(inside[parted], TEETH_SHOWN, axis=1)
    return max(float(np.quantile(bright, MOST_SHOWN)), DIMMEST)


def most_bytes(landmarks: Array, frames: Ints, depth: int) -> int:
    """Return the bytes of the largest exemplar of some frames (m,) of a take.

    Args:
        landmarks: (T, 478, 3) pixels.
        frames: (m,) which.
        depth: bits per sample.
    """
    largest = 0.0
    for at in range(0, len(frames), CHUNK_ROWS):
        points = landmarks[frames[at : at + CHUNK_ROWS]]
        eyes = np.linalg.norm(points[:, EYE_LEFT] - points[:, EYE_RIGHT], axis=-1)
        sides = np.ptp(points[:, LOOP, :2], axis=1) + (2 * CROP_MARGIN * eyes[:, None] + 3)
        largest = max(largest, float(sides.prod(1).max()))
    return int(largest) * 3 * (1 if depth == 8 else 2)


def _features(look: Look) -> Floats:
    """Return what exemplars should cover, (n, k), each column in comparable units."""
    mouth = look.mouth.reshape(len(look), -1) / np.sqrt(look.mouth.shape[1]) / 0.02
    light = look.light[:, None] / 10.0
    features: Floats = np.concatenate([mouth, look.angles[:, :2] / 6.0, light], 1)
    return features


def crop_box(landmarks: Floats) -> Box:
    """Return what an exemplar keeps of its frame: mouth, chin and folds, with a margin."""
    loop = landmarks[LOOP, :2]
    margin = CROP_MARGIN * interocular(landmarks)
    x0, y0 = np.floor(loop.min(0) - margin).astype(int)
    x1, y1 = np.ceil(loop.max(0) + margin).astype(int) + 1
    return Box(int(x0), int(y0), int(x1), int(y1))


def cut(shelf: Shelf, rgb: DeepRgb, box: Box, landmarks: Floats) -> Exemplar:
    """Return an exemplar cut out of a view, kept on a shelf.

    Args:
        shelf: where it is kept.
        rgb: (h, w, 3) view.
        box: where the view lies in its frame.
        landmarks: (478, 3) pixels of the frame.
    """
    want = crop_box(landmarks)
    x0, y0 = max(want.x0, box.x0), max(want.y0, box.y0)
    x1, y1 = max(min(want.x1, box.x1), x0 + 1), max(min(want.y1, box.y1), y0 + 1)
    crop = rgb[y0 - box.y0 : y1 - box.y0, x0 - box.x0 : x1 - box.x0]
    return shelf.put(crop, (x0, y0), landmarks)
