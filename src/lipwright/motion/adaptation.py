"""Adaptation to one speaker, learnt from their own speech (pure).

The source's own (sound, mouth) pairs are a training set for exactly this person. What the network
gets wrong about them is learnt as a linear correction: ridge regression (Hoerl & Kennard 1970) of
the error of the predicted coefficients on the main directions of the speech states, now and 80 ms
before and after. The penalty shrinks it towards no correction at all, the more the less speech
there is; its size is the one that paid most on clips of many speakers. Parts of the clip, held out
one after the other, tell whether it pays for this one.

Slow changes are left out: they come with the pose of the head, and the voice does not tell them.
The directions are those of the source's own sound, about the mean of each voice: a new voice moves
the mouth only by what the source's speech has shown to matter.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from lipwright.motion import resampling as curve
from lipwright.motion.basis import Basis
from lipwright.motion.sync_scorer import RATE, Sync
from lipwright.runtime.disk_array import Array, chunks
from lipwright.types import Bools, Doubles, Floats

LEAST_SECONDS = 8.0  # of a mouth that is seen and heard, to learn from it
MOST_SECONDS = 120.0  # more is not heard: it teaches little and costs time
LEAST_CONFIDENCE = 0.15  # of the scorer; another's voice reaches 0.1
MOST_OFFSET = 12.0  # frames of 25 Hz; at the end of what the scorer tries nothing is certain
DIRECTIONS = 100  # of the states
SHIFTS = (-4, 0, 4)  # states: what is heard beside the present
UNIT = 10.0  # size of a state's main direction
PENALTY = 150.0  # in frames of 25 Hz
BLOCK = 2.5  # seconds that are held out at once
LEAST_BLOCKS = 5
GUARD = 0.3  # seconds left out beside a block
MARGIN = 0.15  # mean gain of opening r and width r, times seconds: less may be chance
LEAST_AGREEMENT = 0.25  # opening r of the plain prediction; less, and the sound is another's
SLOW = 4.0  # seconds: what changes more slowly is not speech
VOICE_STATES = 150  # so much does the source's voice weigh beside the new one's in its mean


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """A mouth and what was heard with it, n frames."""

    mouth: Floats  #: (n, 61, 3) canonical, seen in all frames
    times: Doubles  #: (n,) seconds of the sound that belongs to each, rising
    states: Array  #: (S, 1024) of the sound
    prediction: Floats  #: (S, K) what the network makes of it

    @property
    def rate(self) -> float:
        """Frames per second, of those that follow each other."""
        return float(1 / np.median(np.diff(self.times))) if len(self.times) > 1 else 25.0

    @property
    def seconds(self) -> float:
        """Length of what is seen and heard."""
        return len(self.times) / self.rate


@dataclass(frozen=True, kw_only=True)
class Adaptation:
    """What a speaker does otherwise than the network expects."""

    mean: Floats  #: (1024,) state of the source's voice
    directions: Floats  #: (1024, D)
    filters: Floats  #: (3 D, K)
    opening: float  #: r of the lip opening that held-out speech gained
    width: float  #: r of the mouth width that it gained

    @property
    def text(self) -> str:
        """What was done, for the result."""
        gains = f"opening r {self.opening:+.3f}, width r {self.width:+.3f} where held out"
        return f"fitted to the speaker's own speech ({gains})"

    def correct(self, prediction: Floats, states: Array, spoken: Bools | None = None) -> Floats:
        """Return predicted coefficients (S, K) as this speaker would move.

        Args:
            prediction: of the network.
            states: it was made of (S, 1024); read twice, part by part.
            spoken: which of the states are speech, for the mean of the voice; None: all.
        """
        spoken = np.ones(len(states), bool) if spoken is None or not spoken.any() else spoken
        level = np.zeros(self.directions.shape[1])
        for part, heard in _projected(states, self.mean, self.directions):
            level += heard[spoken[part]].sum(0, dtype=np.float64)
        level /= spoken.sum() + VOICE_STATES
        filters = np.split(self.filters, len(SHIFTS))
        moved = np.empty((len(SHIFTS), *prediction.shape), np.float32)
        for part, heard in _projected(states, self.mean, self.directions):
            moved[:, part] = (heard - level.astype(np.float32)) @ np.stack(filters)
        places = np.arange(len(states))
        out = prediction.astype(np.float32)
        for shift, by in zip(SHIFTS, moved, strict=True):
            out += by[np.clip(places + shift, 0, max(len(places) - 1, 0))]
        return out


def pair(mouth: Floats, times: Doubles, states: Array, prediction: Floats, sync: Sync) -> Pairs:
    """Bring a mouth and its sound together.

    Args:
        mouth: canonical mouth shapes (T, 61, 3); NaN where not seen.
        times: seconds of each (T,), from the start of the sound.
        states: of the sound (S, 1024).
        prediction: what the network makes of them (S, K).
        sync: how both go together.

    Returns:
        The frames that are seen and heard: none where the voice seems to be another's.
    """
    moved = times + sync.offset / RATE
    used = np.isfinite(mouth[:, 0, 0]) & (moved >= 0) & (moved <= len(states) / curve.RATE)
    if sync.confidence < LEAST_CONFIDENCE or abs(sync.offset) > MOST_OFFSET:
        used[:] = False
    return Pairs(mouth=mouth[used], times=moved[used], states=states, prediction=prediction)


def learn(basis: Basis, pairs: Pairs) -> Adaptation | None:
    """Learn what a speaker does otherwise; None where that is not to be known, or does not pay.

    Args:
        basis: of the model.
        pairs: see `pair`.
    """
    if pairs.seconds < LEAST_SECONDS:
        return None
    mean, directions = _directions(pairs)
    projected = np.concatenate([p for _, p in _projected(pairs.states, mean, directions)])
    problem = _Problem.of(basis, pairs, projected)
    if _correlation(problem.plain[:, 0], problem.true[:, 0]) < LEAST_AGREEMENT:
        return None
    opening, width = problem.gain(PENALTY)
    if (opening + width) / 2 < MARGIN / pairs.seconds:
        return None
    return Adaptation(
        mean=mean,
        directions=directions,
        filters=problem.solve(PENALTY).astype(np.float32),
        opening=opening,
        width=width,
    )


def _directions(pairs: Pairs) -> tuple[Floats, Floats]:
    """Return the mean state (1024,) and main directions (1024, D) of the sound of the pairs."""
    first, last = np.clip(pairs.times[[0, -1]] * curve.RATE, 0, len(pairs.states)).astype(int)
    inside = np.arange(first, min(last + 1, len(pairs.states)))
    width = pairs.states.shape[1]
    mean: Doubles = np.zeros(width)
    for _, places in chunks(inside):
        mean += pairs.states[places].sum(0, dtype=np.float64) / len(inside)
    if len(inside) < width:  # the same directions from the smaller of two matrices
        heard = pairs.states[inside] - mean
        values, left = np.linalg.eigh(heard @ heard.T)
        vectors = heard.T @ (left / np.sqrt(np.maximum(values, 1e-9)))
    else:
        power = np.zeros((width, width))
        for _, places in chunks(inside):
            heard = pairs.states[places] - mean
            power += heard.T @ heard
        values, vectors = np.linalg.eigh(power)
    size = np.sqrt(np.maximum(values[::-1][:DIRECTIONS] / max(len(inside) - 1, 1), 1e-6))
    # Half-way between states as they are and states made equal in all directions.
    scaled = vectors[:, ::-1][:, :DIRECTIONS] / np.sqrt(size * UNIT)
    return mean.astype(np.float32), scaled.astype(np.float32)


def _projected(states: Array, mean: Floats, directions: Floats) -> Iterator[tuple[slice, Floats]]:
    """Yield what matters of states (S, 1024), part by part: where it lies, and float32 (s, D)."""
    for part, heard in chunks(states):
        yield part, ((heard - mean) @ directions).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class _Problem:
    """A ridge regression, and the same without some of its frames."""

    heard: Doubles  #: (n, 3 D)
    error: Doubles  #: (n, K) what the prediction lacks
    plain: Doubles  #: (n, 2) predicted opening and width
    true: Doubles  #: (n, 2)
    measures: Doubles  #: (K, 2) how coefficients open and widen the mouth
    weight: float  #: frames of 25 Hz that a frame counts for
    power: Doubles  #: (3 D, 3 D) of all frames
    shared: Doubles  #: (3 D, K) the same of what is heard and the error
    blocks: tuple[tuple[Bools, Bools], ...]  #: what is held out, what is not learnt from then

    @classmethod
    def of(cls, basis: Basis, pairs: Pairs, projected: Floats) -> _Problem:
        size = round(SLOW / 2 * pairs.rate)
        mean = pairs.mouth.mean(0, dtype=np.float64).astype(np.float32)
        own = basis.coefficients(pairs.mouth - mean)
        said = curve.read(pairs.prediction, pairs.times)
        heard = [curve.read(projected, pairs.times + shift / curve.RATE) for shift in SHIFTS]
        x, y = _fast(np.concatenate(heard, 1), size), _fast(own - said, size)
        measures = np.stack([basis.opening, basis.width], 1).astype(np.float64)
        weight = 25 / pairs.rate
        return cls(
            heard=x,
            error=y,
            plain=_fast(said, size) @ measures,
            true=_fast(own, size) @ measures,
            measures=measures,
            weight=weight,
            power=weight * (x.T @ x),
            shared=weight * (x.T @ y),
            blocks=tuple(_blocks(pairs.times)),
        )

    def solve(self, penalty: float, without: Bools | None = None) -> Doubles:
        """Return the filters (3 D, K), learnt without some of the frames (n,)."""
        power: Doubles = self.power + penalty * np.eye(len(self.power))
        shared: Doubles = self.shared
        if without is not None:
            x, y = self.heard[without], self.error[without]
            power -= self.weight * (x.T @ x)
            shared = shared - self.weight * (x.T @ y)
        out: Doubles = np.asarray(np.linalg.solve(power, shared), np.float64)
        return out

    def gain(self, penalty: float) -> tuple[float, float]:
        """Return what opening r and width r gain where they are held out."""
        corrected = self.plain.copy()
        for held, without in self.blocks:
            corrected[held] += self.heard[held] @ self.solve(penalty, without) @ self.measures
        opening, width = (
            _correlation(corrected[:, i], self.true[:, i])
            - _correlation(self.plain[:, i], self.true[:, i])
            for i in (0, 1)
        )
        return opening, width


def _blocks(times: Doubles) -> Iterator[tuple[Bools, Bools]]:
    """Yield masks of frames (n,): a part of the clip, and the same with a guard around it."""
    count = max(LEAST_BLOCKS, int((times[-1] - times[0]) / BLOCK))
    edges = np.linspace(times[0], times[-1] + 1e-6, count + 1)
    for start, stop in pairwise(edges):
        held = (times >= start) & (times < stop)
        yield held, (times >= start - GUARD) & (times < stop + GUARD)


def _fast(values: Floats, size: int) -> Doubles:
    """Return values (n, c) less their mean over about two times *size* frames around each."""
    half = size // 2
    slow = np.asarray(values, np.float64)
    for _ in range(2):
        sums = np.cumsum(np.pad(slow, ((half + 1, half), (0, 0)), mode="edge"), 0)
        slow = np.asarray(sums[2 * half + 1 :] - sums[: -2 * half - 1]) / (2 * half + 1)
    out: Doubles = values - slow
    return out


def _correlation(a: Doubles, b: Doubles) -> float:
    a, b = a - a.mean(), b - b.mean()
    power = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / power if power > 1e-12 else 0.0
