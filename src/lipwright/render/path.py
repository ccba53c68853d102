"""Choose the exemplar of each output frame: the cheapest path through the bank (Viterbi 1967)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lipwright.face.canonical import mouth_opening
from lipwright.types import Floats, Ints

# Units: the difference that adds one unit of cost. Shapes and openings are canonical.
SHAPE_UNIT = 0.02  # root mean square over the mouth's landmarks
TURN_UNIT = 6.0  # degrees of yaw or pitch
LACK_UNIT = 0.012  # opening: an exemplar that is less open than the target has no teeth to show
LACK_TOLERANCE = 0.01  # opening that an exemplar may lack at no cost: so little shows no more teeth
EXCESS_UNIT = 0.025  # opening: an exemplar that is more open only folds its teeth away,
CLOSING_UNIT = 0.015  # unless the target closes: then its interior is squeezed to a smear
CLOSING_RANGE = (0.02, 0.05)  # target openings up to which CLOSING_UNIT, from which EXCESS_UNIT
FILL_COST = 5.0  # of a mouth interior that is fully synthetic, where it is visible
# The factor between the exemplar's and the target's opening up to which the exemplar's own interior
# is shown, and from which on it is synthetic. Openings count from MIN_OPENING (canonical): below it
# there is next to nothing to see.
STRETCH = (1.35, 2.0)
MIN_OPENING = 0.03
LIGHT_UNIT = 6.0  # 8-bit levels of mean luminance over the face
JUMP_COST = 3.0  # of a new run
JUMP_SWING = 0.7  # share of JUMP_COST by which it is lower in closed mouths and higher in open ones
MAX_RUN_SHARE = 0.1  # share of frames that may start a new run; where the path has more,
JUMP_COST_FACTOR = 1.4  # new runs cost this many times as much
JUMP_COST_RAISES = 6  # and that is repeated at most this often
# Cost of a change of the visible mouth interior (teeth that come, go or change their light): per
# difference in brightness as large as that of lit skin, over INTERIOR_TOLERANCE (same measure).
INTERIOR_COST = 9.0
INTERIOR_TOLERANCE = 0.12
JUMP_ORIGINS = 32  # cheapest exemplars from which a new run may start
VISIBLE_OPENING = 0.08  # canonical opening at which the whole interior is visible
# Cost of a step inside a run, by source frames: teeth that go to and fro quiver more visibly than
# those that stay.
STEP_COSTS = {1: 0.1, 0: 0.0, 2: 0.3, -1: 0.4, 3: 0.6, -2: 0.7}
WINDOW_FRAMES, LOOK_AHEAD_FRAMES = 150, 50  # output frames decided at once; seen beyond them
COST_CHUNK = 25  # output frames whose costs are computed at once, to bound memory
DISSOLVE = (0.25, 0.5, 0.25)  # shares of the frames before, at and after a change of runs
FAR_FRAMES = 400.0  # source frames over which light and make-up drift by one unit of cost, at most
DEFAULT_VISIBILITY = 0.5  # of changes, 0 to 1, where the caller does not know it


ExemplarMix = list[tuple[int, float]]  # exemplars and their shares, which add up to 1


@dataclass(frozen=True, kw_only=True)
class FrameFeatures:
    """The features of n frames by which a path is chosen."""

    mouth: Floats  #: (n, 61, 3) canonical mouth shape
    angles: Floats  #: (n, 3) yaw, pitch, roll in degrees
    light: Floats  #: (n,) mean luminance of the face, 0 to 255
    source_frame: Floats  #: (n,) index of the source frame

    def at(self, frames: Ints | slice) -> FrameFeatures:
        """Return the features of some frames."""
        return FrameFeatures(
            mouth=self.mouth[frames],
            angles=self.angles[frames],
            light=self.light[frames],
            source_frame=self.source_frame[frames],
        )

    def __len__(self) -> int:
        return len(self.source_frame)


class FeatureSource(Protocol):
    """Features of T output frames: :class:`FrameFeatures`, or an object that computes parts."""

    def __len__(self) -> int:
        """Return T."""

    def at(self, frames: slice) -> FrameFeatures:
        """Return the features of some frames."""


def match_cost(target: FrameFeatures, bank: FrameFeatures, exemplar_cost: Floats) -> Floats:
    """Return the cost (T, n) of showing each exemplar in each output frame.

    Args:
        target: features of the T output frames.
        bank: features of the n exemplars.
        exemplar_cost: (n,) of each exemplar's own defects.
    """
    starts = range(0, len(target), COST_CHUNK)  # there may be 3,000 exemplars
    parts = (target.at(slice(start, start + COST_CHUNK)) for start in starts)
    return np.concatenate([_match_cost(part, bank, exemplar_cost) for part in parts])


def _match_cost(target: FrameFeatures, bank: FrameFeatures, exemplar_cost: Floats) -> Floats:
    a, b = target.mouth.reshape(len(target), -1), bank.mouth.reshape(len(bank), -1)
    total: Floats = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    np.maximum(total, 0, out=total)
    total = np.sqrt(total / target.mouth.shape[1], out=total)
    total /= SHAPE_UNIT
    for axis in (0, 1):  # yaw and pitch; a roll is undone by the warp
        total += np.abs(target.angles[:, axis, None] - bank.angles[None, :, axis]) / TURN_UNIT
    wanted, given = mouth_opening(target.mouth)[:, None], mouth_opening(bank.mouth)[None]
    gap = wanted - given
    excess_unit = np.interp(wanted, CLOSING_RANGE, (CLOSING_UNIT, EXCESS_UNIT))
    lack = np.maximum(gap - LACK_TOLERANCE, 0) / LACK_UNIT
    wide = np.maximum(wanted / VISIBLE_OPENING, 1)  # the same difference matters less when wide
    total += np.where(gap < 0, -gap / excess_unit, lack) / wide
    total += FILL_COST * fill_share(wanted, given) * np.minimum(wanted / VISIBLE_OPENING, 1)
    total += np.abs(target.light[:, None] - bank.light[None]) / LIGHT_UNIT
    frames_apart = np.abs(target.source_frame[:, None] - bank.source_frame[None])
    total += np.minimum(frames_apart / FAR_FRAMES, 1)
    total += exemplar_cost[None]
    return total


def fill_share(wanted: Floats, given: Floats) -> Floats:
    """Return how much of a mouth interior is synthetic (...), 0 to 1.

    Args:
        wanted: (...) canonical openings to paint.
        given: (...) canonical openings of the exemplars.
    """
    factor = np.maximum(wanted, MIN_OPENING) / np.maximum(given, MIN_OPENING)
    factor = np.maximum(factor, 1 / factor)
    x = np.clip((factor - STRETCH[0]) / (STRETCH[1] - STRETCH[0]), 0, 1)
    return np.asarray(x * x * (3 - 2 * x), np.float32)


def find_path(
    target: FeatureSource,
    bank: FrameFeatures,
    exemplar_cost: Floats,
    interior: Floats | None = None,
) -> Ints:
    """Return the exemplar (T,) of each output frame, in windows of bounded memory.

    Args:
        target: features of the output frames, read in order, window by window.
        bank: features of the n exemplars.
        exemplar_cost: (n,) of each exemplar's own defects.
        interior: (n, c) visible mouth interior of each, see
            :func:`lipwright.render.bank.interior_features`; None: all the same.
    """
    source_frame = bank.source_frame.astype(np.int64)
    path = np.zeros(0, np.int64)
    for start in range(0, len(target), WINDOW_FRAMES):
        stop = min(start + WINDOW_FRAMES + LOOK_AHEAD_FRAMES, len(target))
        first = max(start - 1, 0)  # the visibility of a change depends on the frame before
        features = target.at(slice(first, stop))
        window = slice(start - first, None)
        cost = match_cost(features.at(window), bank, exemplar_cost)
        visibility = change_visibility(features)[window]
        previous = int(path[-1]) if len(path) else None
        found = _limit_runs(
            cost, source_frame, visibility=visibility, interior=interior, previous=previous
        )
        path = np.concatenate([path, found])
    return path


def _limit_runs(
    cost: Floats,
    source_frame: Ints,
    *,
    visibility: Floats,
    interior: Floats | None,
    previous: int | None,
) -> Ints:
    """Return the cheapest path of a window that starts at most MAX_RUN_SHARE new runs.

    Where even the last raise of their cost leaves more, the path of that cost is returned.
    """
    for raises in range(JUMP_COST_RAISES + 1):
        path = cheapest_path(
            cost,
            source_frame,
            visibility=visibility,
            interior=interior,
            previous=previous,
            jump_factor=JUMP_COST_FACTOR**raises,
        )
        path = path[:WINDOW_FRAMES]
        whole = path if previous is None else np.append(previous, path)
        if run_starts(whole, source_frame).sum() <= max(1, int(MAX_RUN_SHARE * len(path))):
            break
    return path


def change_visibility(target: FrameFeatures) -> Floats:
    """Return how visible a change of exemplar is in each output frame (T,), 0 to 1.

    It is 0 where the lips are closed in the frame or the one before. Motion hides no change: other
    teeth for one frame of a mouth that closes fast were visible as a flash.
    """
    visibility: Floats = np.clip(mouth_opening(target.mouth) / VISIBLE_OPENING, 0, 1)
    visibility[1:] = np.minimum(visibility[1:], visibility[:-1])
    return visibility


def cheapest_path(
    cost: Floats,
    source_frame: Ints,
    *,
    visibility: Floats | None = None,
    interior: Floats | None = None,
    previous: int | None = None,
    jump_factor: float = 1.0,
) -> Ints:
    """Return the exemplar (T,) of each frame on the cheapest path.

    Args:
        cost: (T, n) of each exemplar at each output frame.
        source_frame: (n,) of each exemplar, rising; neighbours in the source make runs.
        visibility: (T,) of a new run, 0 to 1; None: DEFAULT_VISIBILITY.
        interior: (n, c) visible mouth interior of each; None: all the same.
        previous: the exemplar just before the first frame, if any.
        jump_factor: multiplies the cost of a new run.
    """
    count = cost.shape[1]
    if visibility is None:
        visibility = np.full(len(cost), DEFAULT_VISIBILITY, np.float32)
    interior = np.zeros((count, 1), np.float32) if interior is None else interior
    steps = _run_steps(source_frame, interior)
    best: NDArray[np.float64] = np.zeros(count)
    if previous is not None:
        best = np.full(count, np.inf)
        best[previous] = 0
        best, _ = _advance(best, steps, interior, float(visibility[0]), jump_factor)
    best += cost[0]
    back = np.zeros(cost.shape, np.int32)
    for t in range(1, len(cost)):
        best, back[t] = _advance(best, steps, interior, float(visibility[t]), jump_factor)
        best += cost[t]
    path = np.zeros(len(cost), np.int64)
    path[-1] = best.argmin()
    for t in range(len(cost) - 1, 0, -1):
        path[t - 1] = back[t, path[t]]
    return path


def _run_steps(source_frame: Ints, interior: Floats) -> list[tuple[Ints, Floats, Floats]]:
    """Return the steps inside runs: origin, cost and interior change of each exemplar (n,).

    The interior change is 0 for steps that show the footage's own motion.
    """
    steps = []
    for step, step_cost in STEP_COSTS.items():
        origin = _frames_before(source_frame, step)
        change = np.zeros(len(source_frame), np.float32)
        if step not in (0, 1):  # nothing changes, or teeth come and go as they were filmed
            change = _visible_change(((interior[origin] - interior) ** 2).mean(-1))
        steps.append((origin, np.where(origin >= 0, np.float32(step_cost), np.inf), change))
    return steps


def _advance(
    best: NDArray[np.float64],
    steps: list[tuple[Ints, Floats, Floats]],
    interior: Floats,
    visibility: float,
    jump_factor: float,
) -> tuple[NDArray[np.float64], Ints]:
    """Return the least cost of reaching each exemplar (n,) in the next frame, and its origin (n,).

    Args:
        best: (n,) least cost of reaching each exemplar in this frame.
        steps: see :func:`_run_steps`.
        interior: (n, c) visible mouth interior of each exemplar.
        visibility: of a change, 0 to 1.
        jump_factor: multiplies the cost of a new run.
    """
    candidates = _jump_origins(best, jump_factor * INTERIOR_COST * visibility)
    change = interior_change(interior[candidates], interior)
    price = best[candidates, None] + jump_factor * jump_cost(visibility, change)
    which = price.argmin(0)
    least, origin = price[which, np.arange(len(best))], candidates[which]
    for step_origin, step_cost, step_change in steps:
        stay = best[step_origin] + step_cost + INTERIOR_COST * visibility * step_change
        better = stay <= least
        least[better], origin[better] = stay[better], step_origin[better]
    return least, origin


def jump_cost(visibility: float, change: Floats) -> NDArray[np.float64]:
    """Return the cost (...) of new runs, by visibility 0 to 1 and interior change (...)."""
    base = JUMP_COST * (1 + JUMP_SWING * (2 * visibility - 1))
    return np.asarray(base + INTERIOR_COST * visibility * change, np.float64)


def _jump_origins(best: NDArray[np.float64], margin: float) -> Ints:
    """Return the exemplars (k,) from which a new run may start: within *margin* of the cheapest."""
    few = min(JUMP_ORIGINS, len(best))
    cheapest: Ints = np.argpartition(best, few - 1)[:few]
    near: Ints = cheapest[best[cheapest] <= best[cheapest].min() + margin]
    return near


def interior_change(interior: Floats, other: Floats) -> Floats:
    """Return how much visible mouth interiors (n, c) differ from others (m, c), (n, m)."""
    square = (interior**2).mean(1)[:, None] + (other**2).mean(1)[None]
    square -= interior @ other.T * np.float32(2 / interior.shape[1])
    return _visible_change(np.maximum(square, 0))


def _visible_change(square: Floats) -> Floats:
    """Return how far changes of the interior, given as mean squares (...), exceed the tolerance."""
    out: Floats = np.maximum(np.sqrt(square) - np.float32(INTERIOR_TOLERANCE), 0)
    return out


def _frames_before(source_frame: Ints, step: int) -> Ints:
    """Return for each exemplar (n,) the one *step* source frames before it, or -1."""
    index = np.searchsorted(source_frame, source_frame - step)
    index = np.minimum(index, len(source_frame) - 1)
    return np.where(source_frame[index] == source_frame - step, index, -1)


def run_starts(path: Ints, source_frame: Ints) -> NDArray[np.bool_]:
    """Return whether a new run starts at each frame (T,) of a path; the first frame starts none."""
    steps = np.diff(source_frame[path], prepend=source_frame[path[0]] - 1)
    starts: NDArray[np.bool_] = ~np.isin(steps, list(STEP_COSTS))
    return starts


def blend_runs(path: Ints, source_frame: Ints) -> Iterator[ExemplarMix]:
    """Yield the exemplars of each frame with their shares; runs dissolve into each other.

    A run that fades in or out plays on at its own pace, or holds where the bank ends.
    """
    starts = run_starts(path, source_frame)
    run = np.cumsum(starts)
    bounds = np.flatnonzero(starts).tolist()
    first, last = np.array([0, *bounds]), np.array([*bounds, len(path)]) - 1
    half = len(DISSOLVE) // 2
    for t in range(len(path)):
        shares: dict[int, float] = {}
        for offset, share in enumerate(DISSOLVE, -half):
            r = int(run[min(max(t + offset, 0), len(path) - 1)])
            nearest = min(max(t, first[r]), last[r])
            exemplar = _play_on(int(path[nearest]), t - int(nearest), source_frame)
            shares[exemplar] = shares.get(exemplar, 0.0) + share
        yield list(shares.items())


def _play_on(exemplar: int, frames: int, source_frame: Ints) -> int:
    """Return the exemplar that many source frames on, or the last one before a gap in the bank."""
    step = 1 if frames > 0 else -1
    for _ in range(abs(frames)):
        neighbour = exemplar + step
        if not 0 <= neighbour < len(source_frame):
            break
        if source_frame[neighbour] != source_frame[exemplar] + step:
            break
        exemplar = neighbour
    return exemplar
