"""What a network is told of each cell: how it looks, and how it looks while nothing is before it.

For every frame the uncovered face is the mean of all frames of the take, near ones in pose and
mouth counting most (Nadaraya and Watson 1964), each cell by how sure it is that nothing lies before
it there. A long take shows each pose again at other times, with the shadows that belong to it:
there only the nearest count, and none of about the same time, which show what is before it, too.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lipwright.face.expected import Expectation
from lipwright.face.raster import SIDE, layout
from lipwright.types import Bools, Floats, Ints

CHANNELS = 21  # of the network's input
FAR = 0.02  # weight of a frame that is not near at all
LONG_TAKE = 250  # frames from which on a take shows each pose again,
CLOSER = 4.0  # frames have to be so many times as near (squared distance),
FAR_IN_LONG = 0.002  # and others count so much;
SAME_TIME = 60  # frames less apart than this are of the same time
OTHER_SHOT = 3.0  # squared distance by which a frame of another shot is farther
SOME_FRAMES = 0.5  # worth of uncovered frames at which a cell is half known
KNOWN, FREE = 0.3, 0.5  # from which a cell tells of the light
DOUBTED, SURE = 2.0, 3.0  # deviation at which a cell is as likely free as not, and how steeply
MIDDLE = np.array([50, 10, 12], np.float32)[:, None, None]  # of skin: L, a, b
SPAN = np.array([25, 12, 12], np.float32)[:, None, None]  # what is one unit: of a look,
APART = np.array([10, 4, 4], np.float32)[:, None, None]  # of a difference,
SPREAD = np.array([5, 2, 2], np.float32)[:, None, None]  # and of a spread
MOST = 6.0  # units


@dataclass(frozen=True, kw_only=True)
class Frames:
    """Frames (m,) as the cells show them."""

    look: Floats  #: (m, 3, SIDE, SIDE) L 0 to 100, a, b about 0
    causes: Floats  #: (m, k) of :func:`lipwright.face.expected.causes_of`
    visible: Bools  #: (m, SIDE, SIDE) cells that face the camera
    strange: Floats  #: (m, SIDE, SIDE) usual deviations from what is expected
    lost: Floats  #: (m,) likeness to a mouth that is lost; 1 is suspicious
    shot: Ints  #: (m,) number of each frame's shot
    number: Ints  #: (m,) of each frame in the take

    @classmethod
    def of(
        cls,
        model: Expectation,
        values: Floats,
        causes: Floats,
        visible: Bools,
        shot: Ints,
        number: Ints,
    ) -> Frames:
        """Compare :func:`lipwright.face.expected.values_of` frames with what is expected."""
        look = np.ascontiguousarray(values[..., :3].transpose(0, 3, 1, 2))
        look[:, 1:] -= 128
        return cls(
            look=look,
            causes=causes,
            visible=visible,
            strange=model.deviation(values, causes, visible),
            lost=model.lost(values, causes),
            shot=shot,
            number=number,
        )

    def at(self, some: Ints) -> Frames:
        """Return some of them."""
        return Frames(**{name: value[some] for name, value in vars(self).items()})

    def free(self) -> Floats:
        """Return how surely nothing lies before each cell (m, SIDE, SIDE), by its deviation."""
        odds = np.clip((self.strange - DOUBTED) * SURE, -30, 30)
        free: Floats = (1 / (1 + np.exp(odds))).astype(np.float32)
        return free


@dataclass(frozen=True, kw_only=True)
class Uncovered:
    """The face of a take with nothing before it, known from some of its frames (n,)."""

    frames: Frames
    free: Floats  #: (n, SIDE, SIDE) 0 to 1, how surely nothing lies before each cell
    long: bool = False  #: whether the take is one that shows each pose again

    def inputs(self, asked: Frames, free: Floats) -> Floats:
        """Return what the network is told of frames (m,): float32 (m, CHANNELS, SIDE, SIDE).

        Args:
            asked: the frames.
            free: (m, SIDE, SIDE) 0 to 1, what is known of their cells so far.
        """
        mean, spread, known = self.look_of(asked)
        light = _light(asked, mean, known, free)
        out = np.zeros((len(asked.look), CHANNELS, SIDE, SIDE), np.float32)
        there = known[:, None]
        out[:, 0:3] = (asked.look - MIDDLE) / SPAN
        out[:, 3:6] = (asked.look - light[:, :, None, None] - mean) / APART * there
        out[:, 6:9] = (mean - MIDDLE) / SPAN * there
        out[:, 9:12] = np.log1p(spread / SPREAD) * there
        out[:, 12] = known
        out[:, 13] = asked.visible
        out[:, 14:16] = np.mgrid[0:SIDE, 0:SIDE][::-1] / (SIDE / 2) - 1
        yaw, pitch, gap = asked.causes[:, [0, 1, 5]].T
        out[:, 16], out[:, 17], out[:, 18] = (x[:, None, None] for x in (gap, yaw, pitch))
        out[:, 19] = np.clip(asked.lost, -2, 3)[:, None, None]
        out[:, 20] = np.sqrt(np.maximum(asked.strange, 0)) - 1
        return np.clip(out, -MOST, MOST, out=out)

    @cached_property
    def _sums(self) -> tuple[Floats, Floats, Floats]:
        """What is summed over the frames: weight (n, c), looks and their squares (n, 3, c)."""
        kept = self.frames
        cells = (self.free * kept.visible).reshape(len(kept.look), 1, -1)
        look = kept.look.reshape(len(kept.look), 3, -1)
        return cells[:, 0], cells * look, cells * look**2

    def _weights(self, asked: Frames) -> Floats:
        """Return how much each frame counts for each of those asked for, (m, n)."""
        kept, far = self.frames, FAR
        away = ((asked.causes[:, None] - kept.causes[None]) ** 2).sum(-1) / 2
        if self.long:
            away, far = CLOSER * away, FAR_IN_LONG
        away += OTHER_SHOT * (asked.shot[:, None] != kept.shot[None])
        apart = np.abs(asked.number[:, None] - kept.number[None])
        counts = (apart >= SAME_TIME) | (not self.long)
        nearest = np.where(counts, away, np.inf).min(1, keepdims=True)
        near = np.exp(np.minimum(nearest - away, 0)) + far
        weight: Floats = (near * counts).astype(np.float32)
        return weight

    def look_of(self, asked: Frames) -> tuple[Floats, Floats, Floats]:
        """Return mean, spread (m, 3, SIDE, SIDE) and how far both are known (m, SIDE, SIDE)."""
        weight = self._weights(asked)
        cells, once, twice = self._sums
        total = weight @ cells
        first = np.tensordot(weight, once, 1) / (total[:, None] + np.float32(1e-3))
        second = np.tensordot(weight, twice, 1) / (total[:, None] + np.float32(1e-3))
        spread = np.sqrt(np.maximum(second - first**2, 0))
        shape = (len(asked.look), 3, SIDE, SIDE)
        known = (total / (total + SOME_FRAMES)).reshape(-1, SIDE, SIDE)
        return first.reshape(shape), spread.reshape(shape), known


def _light(asked: Frames, mean: Floats, known: Floats, free: Floats) -> Floats:
    """Return by how much frames (m,) differ in light from the uncovered face: (m, 3) L, a, b."""
    near = layout().light
    tells = (asked.visible & (known > KNOWN) & (free > FREE))[:, near]
    apart = np.where(tells[:, None], (asked.look - mean)[:, :, near], np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # where nothing tells
        shift: Floats = np.nan_to_num(np.nanmedian(apart, -1)).astype(np.float32)
    return shift
