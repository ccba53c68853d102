"""Find graphics in front of faces while a video is tracked.

Every few frames the lower face of each tracked person is sampled. A window of samples is searched
for edges that stand still while the face moves (:mod:`lipwright.face.overlays.coherence`), scaled
down; only where they are found, the matte is estimated at full size. A graphic lasts as long as
the windows before and after show its edges, whether the face moves there or not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.face.canonical import interocular_distance
from lipwright.face.overlays.coherence import NOSE_BRIDGE
from lipwright.face.overlays.graphics import (
    Graphic,
    OverlayGraphics,
    edge_correlation,
    intersection,
    window,
)
from lipwright.face.overlays.matte import Matte, estimate_matte
from lipwright.face.overlays.window import (
    Sample,
    Window,
    common_box,
    full_size,
    lower_face_box,
    scaled,
    window_of,
)
from lipwright.media.picture import Box, Picture
from lipwright.types import Bools, Doubles, Floats

SAMPLE_RATE = 12.5  # samples a second
WINDOW, HOP = 6, 3  # samples: of a window, and from one to the next
MOTION_ROOM = 0.35  # the same, for the motion of the face within a window
SCREENED_UNIT = 80  # pixels between the eyes that windows are scaled down to
# Edges that a window needs, squared inter-ocular distances: in all, in one piece, and those that
# are enough by themselves; fewer must be found in two windows in a row.
MIN_EDGES, MIN_PIECE, SURE_EDGES = 0.010, 0.008, 0.03
MIN_NEW_EDGES = 0.003  # squared inter-ocular distances that no known graphic explains
SAME_FACE = 0.5  # inter-ocular distances that a face moves between samples
HISTORY = 24  # windows that a graphic is followed back
SAME_EDGES = 0.8  # correlation of gradients from which edges are those of the same graphic
SAME_PIECE = 0.6  # the same for one piece of a graphic,
MIN_SHOWN = 0.6  # which must be in this share of the windows that show the graphic
MIN_COMMON = 0.5  # share of the edges of a graphic that a window must contain to judge it
MAX_BYTES = 64 << 20  # of all packed graphics
KNOWN_MARGIN = 5  # pixels, side of the square around a known edge


@dataclass
class _Found:
    """A graphic, while it lasts."""

    start: int
    stop: int
    box: Box
    matte: Matte
    luma: NDArray[np.uint8]  #: (h, w) mean of the samples
    pieces: NDArray[np.int32]  #: (h, w) number of each piece of the matte, 0 for none
    seen: Window  #: that it was found in
    small_pieces: NDArray[np.int32]  #: number of the piece of each edge pixel in that window
    shown: Doubles  #: (pieces + 1,) windows that show each
    judged: Doubles  #: (pieces + 1,) windows that it was looked for in

    @classmethod
    def of(cls, matte: Matte, luma: NDArray[np.uint8], box: Box, seen: Window) -> _Found:
        """Return a new graphic, seen in one window."""
        count, pieces = cv2.connectedComponents((matte.alpha > 0).astype(np.uint8))
        size = seen.maps.still.shape[::-1]
        edges = pieces * matte.edges
        small = cv2.dilate(edges.astype(np.float32), np.ones((seen.shrink,) * 2, np.uint8))
        return cls(
            start=seen.start,
            stop=seen.stop,
            box=box,
            matte=matte,
            luma=luma,
            pieces=pieces,
            seen=seen,
            small_pieces=cv2.resize(small, size, interpolation=cv2.INTER_NEAREST).astype(np.int32),
            shown=np.ones(count),
            judged=np.ones(count),
        )

    def is_in(self, other: Window) -> bool:
        """Return whether a window shows this graphic."""
        if other.shrink != self.seen.shrink:
            return False
        common = intersection(self.seen.box, other.box)
        if common.width <= 0 or common.height <= 0:
            return False
        here, there = (scaled(window(common, w.box), w.shrink) for w in (self.seen, other))
        numbers = self.small_pieces[here]
        edges = numbers > 0
        if edges.sum() < MIN_COMMON * (self.small_pieces > 0).sum():
            return False
        (a, b), (c, d) = (
            (w.maps.gradient_x[part], w.maps.gradient_y[part])
            for w, part in ((self.seen, here), (other, there))
        )
        if edge_correlation((a, b), (c, d), edges) < SAME_EDGES:
            return False
        count = len(self.shown)
        shared, own, others = (
            np.bincount(numbers[edges], weights=values[edges], minlength=count)
            for values in (a * c + b * d, a * a + b * b, c * c + d * d)
        )
        present = own > 0
        self.judged += present
        self.shown += present & (shared > SAME_PIECE * np.sqrt(own * others))
        return True

    def packed(self) -> bytes:
        """Return its pixels, without the pieces that most windows do not show."""
        kept = self.shown >= MIN_SHOWN * self.judged
        kept[0] = False
        inside = kept[self.pieces]
        matte = Matte(
            alpha=self.matte.alpha * inside,
            own=self.matte.own * inside[..., None],
            edges=self.matte.edges & inside,
        )
        graphic = Graphic(
            start=self.start, stop=self.stop, box=self.box, matte=matte, luma=self.luma
        )
        return graphic.pack()


@dataclass
class _Person:
    """The recent samples of one tracked face."""

    samples: deque[Sample] = field(default_factory=lambda: deque(maxlen=WINDOW))
    fresh: int = 0  #: samples since the last window
    suspected: bool = False  #: the last window showed a few edges


class OverlayDetector:
    """Collects the graphics in front of the faces of a video; see the module."""

    def __init__(self, rate: float) -> None:
        """Take the frame rate of the video, per second."""
        self._step = max(1, round(rate / SAMPLE_RATE))
        self._people: list[_Person] = []
        self._history: deque[Window] = deque(maxlen=HISTORY)
        self._lasting: list[_Found] = []
        self._ended: list[tuple[int, int, Box, bytes]] = []

    def feed(
        self, index: int, picture: Picture, faces: Sequence[Floats], *, cut: bool = False
    ) -> None:
        """Take the next frame.

        Args:
            index: of the frame.
            picture: the frame.
            faces: landmarks (478, 3) of every face tracked in it, pixels.
            cut: whether it begins a new shot; graphics may last over cuts.
        """
        if cut:
            self._people = []
        if index % self._step:
            return
        people = [self._person(landmarks) for landmarks in faces]
        self._people = people
        for person, landmarks in zip(people, faces, strict=True):
            box = picture.align(lower_face_box(landmarks, MOTION_ROOM))
            if box.width < 8 or box.height < 8:
                continue
            part = picture.crop(box)
            y, u, v = (plane.copy() for plane in part.planes)  # lets the frame be freed
            kept = replace(part, planes=(y, u, v))
            person.samples.append(Sample(index=index, landmarks=landmarks, picture=kept, box=box))
            person.fresh += 1
            if len(person.samples) == WINDOW and person.fresh >= HOP:
                person.fresh = 0
                self._search(person)

    def graphics(self) -> OverlayGraphics:
        """Return the graphics found so far."""
        return OverlayGraphics.of([*self._ended, *map(_pack, self._lasting)])

    def _person(self, landmarks: Floats) -> _Person:
        """Return whose face this is, by its place in the last sample."""
        limit = SAME_FACE * interocular_distance(landmarks)
        for person in self._people:
            last = person.samples[-1].landmarks if person.samples else None
            if last is not None and np.abs(last - landmarks)[NOSE_BRIDGE, :2].max() < limit:
                self._people = [p for p in self._people if p is not person]
                return person
        return _Person()

    def _search(self, person: _Person) -> None:
        samples = [*person.samples]
        middle = samples[WINDOW // 2]
        unit = interocular_distance(middle.landmarks)
        shrink = max(1, int(unit / SCREENED_UNIT))
        box = common_box(samples, lower_face_box(middle.landmarks, 0), 2 * shrink)
        if box is None:
            return
        seen, searched = window_of(samples, box, shrink, MIN_EDGES)
        self._follow(seen)
        small = unit / shrink
        edges = seen.maps.graphic_edges() & searched
        count = int(edges.sum()) / small**2
        suspected = count >= MIN_EDGES and _largest_piece(edges) >= MIN_PIECE * small**2
        certain = suspected and (count >= SURE_EDGES or person.suspected)
        person.suspected = suspected
        room = sum(len(data) for *_, data in self._ended) < MAX_BYTES
        if certain and room and self._unexplained(edges, seen) > MIN_NEW_EDGES * small**2:
            self._add(samples, seen, unit)
        self._history.append(seen)

    def _follow(self, seen: Window) -> None:
        """Extend the graphics that a window shows; end those that it does not."""
        for graphic in self._lasting:
            if graphic.is_in(seen):
                graphic.stop = max(graphic.stop, seen.stop)
        over = seen.start - HISTORY * HOP * self._step
        self._ended += [_pack(g) for g in self._lasting if g.stop < over]
        self._lasting = [g for g in self._lasting if g.stop >= over]

    def _add(self, samples: Sequence[Sample], seen: Window, unit: float) -> None:
        """Add what stands still in a window and is not known yet."""
        box = seen.box
        rgb, maps, faces, searched = full_size(samples, box)
        matte = estimate_matte(rgb, maps, faces[len(samples) // 2], searched)
        if matte is None:
            return
        luma = cv2.cvtColor(np.mean(rgb, 0).astype(np.uint8), cv2.COLOR_RGB2GRAY)
        found = _Found.of(matte, luma, box, seen)
        for earlier in reversed(self._history):
            if earlier.stop < found.start - HOP * self._step or not found.is_in(earlier):
                break
            found.start = min(found.start, earlier.start)
        self._lasting.append(found)

    def _unexplained(self, edges: Bools, seen: Window) -> int:
        """Return how many edge pixels (h, w) of a window no known graphic of its time has."""
        left = edges.copy()
        square = np.ones((KNOWN_MARGIN, KNOWN_MARGIN), np.uint8)
        for graphic in self._lasting:
            common = intersection(graphic.box, seen.box)
            if graphic.stop < seen.stop or common.width <= 0 or common.height <= 0:
                continue
            part = scaled(window(common, seen.box), seen.shrink)
            known = graphic.matte.edges[window(common, graphic.box)].astype(np.uint8)
            size = left[part].shape[::-1]
            if not min(size):
                continue
            small = cv2.resize(known * np.uint8(255), size, interpolation=cv2.INTER_AREA)
            left[part] &= cv2.dilate(small, square) == 0
        return int(left.sum())


def _pack(found: _Found) -> tuple[int, int, Box, bytes]:
    return found.start, found.stop, found.box, found.packed()


def _largest_piece(mask: Bools) -> int:
    """Return the number of pixels of the largest piece of a mask, grown by a pixel."""
    grown = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8))
    _, _, stats, _ = cv2.connectedComponentsWithStats(grown)
    return int(stats[1:, cv2.CC_STAT_AREA].max(initial=0))
