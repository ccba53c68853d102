"""Which exemplar when: the cheapest path through the bank (Viterbi 1967)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lipwright.face.shape import Floats, Ints, opening

# What one unit of cost is worth. Shapes and openings in canonical units, angles in degrees.
SHAPE_UNIT = 0.02
TURN_UNIT = 6.0
LACK_UNIT = 0.012  # an exemplar less open than wanted has no teeth to show
EXCESS_UNIT = 0.025  # one more open than wanted only folds them away
LIGHT_UNIT = 6.0  # 8-bit levels of mean luminance over the face
JUMP_COST = 3.0  # a new run
JUMP_SWING = 0.7  # share by which it costs less between closed lips, more in open ones
MOST_RUNS = 0.1  # share of frames that may start a new run; where more would,
DEARER = 1.4  # new runs cost so many times as much,
DEARER_TIMES = 6  # so often at most
TEETH_COST = 3.0  # for each row of teeth that a change brings or takes, where it is seen
OPEN_UNIT = 0.08  # opening at which all is seen, canonical
# Inside a run, by source frames: teeth that go to and fro quiver more than those that stay.
STEP_COSTS = {1: 0.1, 0: 0.0, 2: 0.3, -1: 0.4}
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
    gap = opening(wanted.mouth)[:, None] - opening(bank.mouth)[None]
    total += np.where(gap < 0, -gap / EXCESS_UNIT, np.maximum(gap - 0.01, 0) / LACK_UNIT)
    total += np.abs(wanted.light[:, None] - bank.light[None]) / LIGHT_UNIT
    total += np.minimum(np.abs(wanted.index[:, None] - bank.index[None]) / FAR_FRAMES, 1)
    total += faults[None]
    return total


def find_path(wanted: Goal, bank: Look, faults: Floats, teeth: Ints | None = None) -> Ints:
    """Return the exemplar (T,) of each output frame, in windows of bounded memory.

    Args:
        wanted: what the output frames shall look like; asked for in order, window by window.
        bank: how the exemplars (n) look.
        faults: (n,) what its own make each exemplar cost.
        teeth: (n,) which rows of teeth each shows, as bits 1 and 2; None: all the same.
    """
    index = bank.index.astype(np.int64)
    teeth = np.zeros(len(bank), np.int64) if teeth is None else teeth
    path = np.zeros(0, np.int64)
    for start in range(0, len(wanted), WINDOW_FRAMES):
        stop = min(start + WINDOW_FRAMES + LOOK_AHEAD_FRAMES, len(wanted))
        first = max(start - 1, 0)  # a change is seen between two frames
        look = wanted.at(slice(first, stop))
        part = slice(start - first, None)
        last = int(path[-1]) if len(path) else None
        cost = costs(look.at(part), bank, faults)
        ahead = _calm(cost, index, seen=visibility(look)[part], teeth=teeth, after=last)
        path = np.concatenate([path, ahead])
    return path


def _calm(cost: Floats, index: Ints, *, seen: Floats, teeth: Ints, after: int | None) -> Ints:
    """Return the cheapest path of the window that starts no more new runs than it may."""
    for times in range(DEARER_TIMES + 1):
        dear = DEARER**times
        path = cheapest(cost, index, seen=seen, teeth=teeth, after=after, dear=dear)
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
    teeth: Ints | None = None,
    after: int | None = None,
    dear: float = 1.0,
) -> Ints:
    """Return the exemplar (T,) of each frame on the cheapest path.

    Args:
        cost: (T, n) of each exemplar at each output frame.
        index: (n,) source frame of each exemplar, rising; neighbours in the source make runs.
        seen: (T,) how much a new run would be seen, 0 to 1; None: middling.
        teeth: (n,) which rows of teeth each shows, as bits 1 and 2; None: all the same.
        after: the exemplar just before the first frame, if any.
        dear: how many times its usual cost a new run costs.
    """
    count = cost.shape[1]
    seen = np.full(len(cost), 0.5, np.float32) if seen is None else seen
    teeth = np.zeros(count, np.int64) if teeth is None else teeth
    moves = {step: _neighbour(index, step) for step in STEP_COSTS}
    best: NDArray[np.float64] = np.zeros(count)
    if after is not None:
        best = np.full(count, np.inf)
        best[after] = 0
        best, _ = _arrive(best, moves, teeth, float(seen[0]), dear)
    best += cost[0]
    back = np.zeros(cost.shape, np.int32)
    for t in range(1, len(cost)):
        arrive, back[t] = _arrive(best, moves, teeth, float(seen[t]), dear)
        arrive += cost[t]
        best = arrive
    path = np.zeros(len(cost), np.int64)
    path[-1] = best.argmin()
    for t in range(len(cost) - 1, 0, -1):
        path[t - 1] = back[t, path[t]]
    return path


def _arrive(
    best: NDArray[np.float64],
    moves: dict[int, Ints],
    teeth: Ints,
    seen: float,
    dear: float,
) -> tuple[NDArray[np.float64], Ints]:
    """Return the least cost of coming to each exemplar (n,), and from which (n,)."""
    arrive: NDArray[np.float64] = np.full(len(best), np.inf)
    origin = np.zeros(len(best), np.int64)
    for kind in np.unique(teeth):  # a new run starts from the best exemplar of one kind
        of_kind = np.flatnonzero(teeth == kind)
        end = int(of_kind[best[of_kind].argmin()])
        price = best[end] + dear * jump_cost(seen, rows_apart(kind, teeth))
        better = price < arrive
        arrive[better], origin[better] = price[better], end
    for step, come_from in moves.items():
        stay = np.where(come_from >= 0, best[come_from] + STEP_COSTS[step], np.inf)
        if step != 1:  # as time goes on, teeth come and go by themselves
            stay += TEETH_COST * seen * rows_apart(teeth[come_from], teeth)
        better = stay <= arrive
        arrive[better], origin[better] = stay[better], come_from[better]
    return arrive, origin


def jump_cost(seen: float, rows: Ints) -> NDArray[np.float64]:
    """Return what new runs (n,) cost where so much is seen and so many rows of teeth change."""
    alone = JUMP_COST * (1 + JUMP_SWING * (2 * seen - 1))
    return np.asarray(alone + TEETH_COST * seen * rows, np.float64)


def rows_apart(one: int | Ints, others: Ints) -> Ints:
    """Return how many rows of teeth come or go between one kind, or n, and others (n,): 0 to 2."""
    differ = np.bitwise_xor(one, others)
    return (differ & 1) + (differ >> 1)


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
