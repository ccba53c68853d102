"""Which exemplar when: the cheapest path through the bank (Viterbi 1967)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lipwright.face.shape import opening
from lipwright.types import Floats, Ints

# What one unit of cost is worth. Shapes and openings in canonical units, angles in degrees.
SHAPE_UNIT = 0.02
TURN_UNIT = 6.0
LACK_UNIT = 0.012  # an exemplar less open than wanted has no teeth to show
EXCESS_UNIT = 0.025  # one more open than wanted only folds them away,
SHUT_UNIT = 0.015  # unless lips shall close: then what is between them is squeezed to a smear
SHUT = (0.02, 0.05)  # openings up to which, and from which on, lips close or do not
BUILT_COST = 5.0  # of an inside of the mouth built anew, where it is seen
# A mouth whose opening is changed by less than the first factor shows its own inside; from the
# second on that is built anew. Openings count from OPEN on: under it there is next to nothing to
# see.
STRETCH = (1.35, 2.0)
OPEN = 0.03
LIGHT_UNIT = 6.0  # 8-bit levels of mean luminance over the face
JUMP_COST = 3.0  # a new run
JUMP_SWING = 0.7  # share by which it costs less between closed lips, more in open ones
MOST_RUNS = 0.1  # share of frames that may start a new run; where more would,
DEARER = 1.4  # new runs cost so many times as much,
DEARER_TIMES = 6  # so often at most
# For a change of what shows between the lips, where it is seen: teeth that come, go or change their
# light. So much for one as large as lit skin is bright, nothing for one of less than ALIKE.
INSIDE_COST = 9.0
ALIKE = 0.12
ORIGINS = 32  # a new run starts from one of so many exemplars, the best so far
OPEN_UNIT = 0.08  # opening at which all is seen, canonical
# Inside a run, by source frames: teeth that go to and fro quiver more than those that stay.
STEP_COSTS = {1: 0.1, 0: 0.0, 2: 0.3, -1: 0.4, 3: 0.6, -2: 0.7}
WINDOW_FRAMES, LOOK_AHEAD_FRAMES = 150, 50
COSTED_FRAMES = 25
DISSOLVE = (0.25, 0.5, 0.25)  # shares of the frames before, at and after, where a run gives way
FAR_FRAMES = 400.0  # source frames over which light and make-up drift by one unit of cost


Mix = list[tuple[int, float]]  # exemplars and their shares, which add up to 1


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a path is chosen by, for n frames."""

    mouth: Floats  #: (n, 61, 3) canonical mouth shape
    angles: Floats  #: (n, 3) yaw, pitch, roll in degrees
    light: Floats  #: (n,) mean luminance of the face, 0 to 255
    index: Floats  #: (n,) source frame

    def at(self, frames: Ints | slice) -> Look:
        """Return the looks of some frames."""
        return Look(
            mouth=self.mouth[frames],
            angles=self.angles[frames],
            light=self.light[frames],
            index=self.index[frames],
        )

    def __len__(self) -> int:
        return len(self.index)


class Goal(Protocol):
    """How T output frames shall look: a :class:`Look`, or what makes parts of one."""

    def __len__(self) -> int:
        """Return T."""

    def at(self, frames: slice) -> Look:
        """Return how some of them shall look."""


def costs(wanted: Look, bank: Look, faults: Floats) -> Floats:
    """Return how badly each exemplar (n) fits each output frame (T): (T, n)."""
    starts = range(0, len(wanted), COSTED_FRAMES)  # not all at once: there may be 3,000 exemplars
    parts = (wanted.at(slice(start, start + COSTED_FRAMES)) for start in starts)
    return np.concatenate([_costs(part, bank, faults) for part in parts])


def _costs(wanted: Look, bank: Look, faults: Floats) -> Floats:
    a, b = wanted.mouth.reshape(len(wanted), -1), bank.mouth.reshape(len(bank), -1)
    total: Floats = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    np.maximum(total, 0, out=total)
    total = np.sqrt(total / wanted.mouth.shape[1], out=total)
    total /= SHAPE_UNIT
    for axis in (0, 1):
        total += np.abs(wanted.angles[:, axis, None] - bank.angles[None, :, axis]) / TURN_UNIT
    want, given = opening(wanted.mouth)[:, None], opening(bank.mouth)[None]
    gap = want - given
    unit = np.interp(want, SHUT, (SHUT_UNIT, EXCESS_UNIT))
    lack = np.maximum(gap - 0.01, 0) / LACK_UNIT
    wide = np.maximum(want / OPEN_UNIT, 1)  # what a little matters to, and a wide mouth not
    total += np.where(gap < 0, -gap / unit, lack) / wide
    total += BUILT_COST * built_share(want, given) * np.minimum(want / OPEN_UNIT, 1)
    total += np.abs(wanted.light[:, None] - bank.light[None]) / LIGHT_UNIT
    total += np.minimum(np.abs(wanted.index[:, None] - bank.index[None]) / FAR_FRAMES, 1)
    total += faults[None]
    return total


def built_share(wanted: Floats, given: Floats) -> Floats:
    """Return how much of the inside of a mouth is built anew, 0 to 1, by openings (...)."""
    factor = np.maximum(wanted, OPEN) / np.maximum(given, OPEN)
    factor = np.maximum(factor, 1 / factor)
    x = np.clip((factor - STRETCH[0]) / (STRETCH[1] - STRETCH[0]), 0, 1)
    return np.asarray(x * x * (3 - 2 * x), np.float32)


def find_path(wanted: Goal, bank: Look, faults: Floats, inside: Floats | None = None) -> Ints:
    """Return the exemplar (T,) of each output frame, in windows of bounded memory.

    Args:
        wanted: what the output frames shall look like; asked for in order, window by window.
        bank: how the exemplars (n) look.
        faults: (n,) what its own make each exemplar cost.
        inside: (n, c) what shows between the lips of each, see :attr:`Exemplar.inside`; None: all
            the same.
    """
    index = bank.index.astype(np.int64)
    path = np.zeros(0, np.int64)
    for start in range(0, len(wanted), WINDOW_FRAMES):
        stop = min(start + WINDOW_FRAMES + LOOK_AHEAD_FRAMES, len(wanted))
        first = max(start - 1, 0)  # a change is seen between two frames
        look = wanted.at(slice(first, stop))
        part = slice(start - first, None)
        last = int(path[-1]) if len(path) else None
        cost = costs(look.at(part), bank, faults)
        ahead = _calm(cost, index, seen=visibility(look)[part], inside=inside, after=last)
        path = np.concatenate([path, ahead])
    return path


def _calm(
    cost: Floats, index: Ints, *, seen: Floats, inside: Floats | None, after: int | None
) -> Ints:
    """Return the cheapest path of the window that starts no more new runs than it may."""
    for times in range(DEARER_TIMES + 1):
        dear = DEARER**times
        path = cheapest(cost, index, seen=seen, inside=inside, after=after, dear=dear)
        path = path[:WINDOW_FRAMES]
        way = path if after is None else np.append(after, path)
        if jumps(way, index).sum() <= max(1, int(MOST_RUNS * len(path))):
            break
    return path


def visibility(wanted: Look) -> Floats:
    """Return how much a change of exemplar would be seen in each output frame (T,), 0 to 1.

    Nothing where the lips are closed in it or in the frame before. Motion hides no change: other
    teeth for one frame of a mouth that closes fast were seen as a flash.
    """
    open_: Floats = np.clip(opening(wanted.mouth) / OPEN_UNIT, 0, 1)
    open_[1:] = np.minimum(open_[1:], open_[:-1])
    return open_


def cheapest(
    cost: Floats,
    index: Ints,
    *,
    seen: Floats | None = None,
    inside: Floats | None = None,
    after: int | None = None,
    dear: float = 1.0,
) -> Ints:
    """Return the exemplar (T,) of each frame on the cheapest path.

    Args:
        cost: (T, n) of each exemplar at each output frame.
        index: (n,) source frame of each exemplar, rising; neighbours in the source make runs.
        seen: (T,) how much a new run would be seen, 0 to 1; None: middling.
        inside: (n, c) what shows between the lips of each; None: all the same.
        after: the exemplar just before the first frame, if any.
        dear: how many times its usual cost a new run costs.
    """
    count = cost.shape[1]
    seen = np.full(len(cost), 0.5, np.float32) if seen is None else seen
    inside = np.zeros((count, 1), np.float32) if inside is None else inside
    moves = _moves(index, inside)
    best: NDArray[np.float64] = np.zeros(count)
    if after is not None:
        best = np.full(count, np.inf)
        best[after] = 0
        best, _ = _arrive(best, moves, inside, float(seen[0]), dear)
    best += cost[0]
    back = np.zeros(cost.shape, np.int32)
    for t in range(1, len(cost)):
        arrive, back[t] = _arrive(best, moves, inside, float(seen[t]), dear)
        arrive += cost[t]
        best = arrive
    path = np.zeros(len(cost), np.int64)
    path[-1] = best.argmin()
    for t in range(len(cost) - 1, 0, -1):
        path[t - 1] = back[t, path[t]]
    return path


def _moves(index: Ints, inside: Floats) -> list[tuple[Ints, Floats, Floats]]:
    """Return the steps inside runs: from where each exemplar (n,) is come to, and for how much.

    The second price is for what changes between the lips.
    """
    moves = []
    for step, price in STEP_COSTS.items():
        origin = _neighbour(index, step)
        change = np.zeros(len(index), np.float32)
        if step not in (0, 1):  # nothing changes, or teeth come and go by themselves in time
            change = _noticed(((inside[origin] - inside) ** 2).mean(-1))
        moves.append((origin, np.where(origin >= 0, np.float32(price), np.inf), change))
    return moves


def _arrive(
    best: NDArray[np.float64],
    moves: list[tuple[Ints, Floats, Floats]],
    inside: Floats,
    seen: float,
    dear: float,
) -> tuple[NDArray[np.float64], Ints]:
    """Return the least cost of coming to each exemplar (n,), and from which (n,)."""
    ends = _origins(best, dear * INSIDE_COST * seen)
    price = best[ends, None] + dear * jump_cost(seen, changes(inside[ends], inside))
    which = price.argmin(0)
    arrive, origin = price[which, np.arange(len(best))], ends[which]
    for come_from, step, shown in moves:
        stay = best[come_from] + step + INSIDE_COST * seen * shown
        better = stay <= arrive
        arrive[better], origin[better] = stay[better], come_from[better]
    return arrive, origin


def jump_cost(seen: float, change: Floats) -> NDArray[np.float64]:
    """Return what new runs cost where so much is seen and the inside of the mouth so changes."""
    alone = JUMP_COST * (1 + JUMP_SWING * (2 * seen - 1))
    return np.asarray(alone + INSIDE_COST * seen * change, np.float64)


def _origins(best: NDArray[np.float64], most: float) -> Ints:
    """Return from which exemplars a new run may pay: one costs at most so much more than others."""
    few = min(ORIGINS, len(best))
    ends: Ints = np.argpartition(best, few - 1)[:few]
    near: Ints = ends[best[ends] <= best[ends].min() + most]
    return near


def changes(inside: Floats, other: Floats) -> Floats:
    """Return how far what shows between lips (n, c) differs from others (m, c), (n, m)."""
    square = (inside**2).mean(1)[:, None] + (other**2).mean(1)[None]
    square -= inside @ other.T * np.float32(2 / inside.shape[1])
    return _noticed(np.maximum(square, 0))


def _noticed(square: Floats) -> Floats:
    """Return how much of changes between lips counts, by their mean squares (...)."""
    out: Floats = np.maximum(np.sqrt(square) - np.float32(ALIKE), 0)
    return out


def _neighbour(index: Ints, step: int) -> Ints:
    """Return for each exemplar the one *step* source frames before it, or -1."""
    at = np.searchsorted(index, index - step)
    at = np.minimum(at, len(index) - 1)
    return np.where(index[at] == index - step, at, -1)


def jumps(path: Ints, index: Ints) -> NDArray[np.bool_]:
    """Return at which frames (T,) a new run starts; the first frame is none."""
    steps = np.diff(index[path], prepend=index[path[0]] - 1)
    starts: NDArray[np.bool_] = ~np.isin(steps, list(STEP_COSTS))
    return starts


def blend_runs(path: Ints, index: Ints) -> Iterator[Mix]:
    """Yield exemplars with shares for each frame: runs give way to each other over frames.

    A run that is fading out or not yet in goes on at its own pace, or holds where the bank ends.
    """
    starts = jumps(path, index)
    run = np.cumsum(starts)
    bounds = np.flatnonzero(starts).tolist()
    first, last = np.array([0, *bounds]), np.array([*bounds, len(path)]) - 1
    half = len(DISSOLVE) // 2
    for t in range(len(path)):
        shares: dict[int, float] = {}
        for offset, share in enumerate(DISSOLVE, -half):
            r = int(run[min(max(t + offset, 0), len(path) - 1)])
            at = min(max(t, first[r]), last[r])
            exemplar = _go_on(int(path[at]), t - int(at), index)
            shares[exemplar] = shares.get(exemplar, 0.0) + share
        yield list(shares.items())


def _go_on(exemplar: int, frames: int, index: Ints) -> int:
    """Return the exemplar that many source frames on, or the last before the bank ends."""
    step = 1 if frames > 0 else -1
    for _ in range(abs(frames)):
        beside = exemplar + step
        if not 0 <= beside < len(index) or index[beside] != index[exemplar] + step:
            break
        exemplar = beside
    return exemplar
