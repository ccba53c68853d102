"""Adapt the prediction to one speaker, from the speaker's own speech (pure).

The source's own (sound, mouth) pairs are a training set for exactly this person. A linear
correction learns the error of the network on them: ridge regression (Hoerl & Kennard 1970) from the
principal directions of the speech states, at the present and 80 ms before and after, to the error
of the predicted coefficients. The penalty shrinks the correction towards none, the more so the less
speech there is; its size gained most on clips of many speakers. Cross-validation over parts of the
clip decides whether the correction is used for this speaker.

A high-pass filter removes slow changes: they come with the pose of the head, and speech does not
predict them. The directions are those of the source's own sound, about the mean of each voice, so a
new voice moves the mouth only along directions that matter in the source's speech.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from lipwright.motion.basis import Basis
from lipwright.motion.resampling import STATE_RATE, resample
from lipwright.motion.sync_scorer import MOUTH_RATE, SyncEstimate
from lipwright.runtime.disk_array import Array, chunks
from lipwright.types import Bools, Doubles, Floats

MIN_SECONDS = 8.0  # of a mouth both seen and heard; with less, nothing is learnt
MAX_SECONDS = 120.0  # of the source; more improves little and costs time
MIN_CONFIDENCE = 0.15  # of the sync scorer; the voice of another person reaches 0.1
MAX_OFFSET = 12.0  # frames at 25 Hz; offsets near the end of the tried range are unreliable
DIRECTIONS = 100  # principal directions of the states
SHIFTS = (-4, 0, 4)  # states: the context, before and after the present
DIRECTION_SCALE = 10.0  # size of a typical principal direction of the states
PENALTY = 150.0  # of the ridge regression, in frames at 25 Hz
BLOCK_SECONDS = 2.5  # held out at once
MIN_BLOCKS = 5
GUARD_SECONDS = 0.3  # left out on both sides of a held-out block
MIN_GAIN = 0.15  # mean gain of opening r and width r, times seconds; less may be chance
MIN_CORRELATION = 0.25  # opening r of the plain prediction; less: the sound is another person's
HIGH_PASS_SECONDS = 4.0  # slower changes are not speech
MEAN_PRIOR_STATES = 150  # weight of the source's mean state beside the new voice's states


@dataclass(frozen=True, kw_only=True)
class TrainingPairs:
    """A mouth and the sound that belongs to it, n frames."""

    mouth: Floats  #: (n, 61, 3) canonical mouth shapes, seen in all frames
    times: Doubles  #: (n,) seconds in the sound that belong to each frame, rising
    states: Array  #: (S, 1024) speech states of the sound at 50 Hz
    prediction: Floats  #: (S, K) coefficients that the network predicts for it

    @property
    def rate(self) -> float:
        """Frames per second, by the median distance of neighbours."""
        return float(1 / np.median(np.diff(self.times))) if len(self.times) > 1 else 25.0

    @property
    def seconds(self) -> float:
        """Length of the part that is both seen and heard."""
        return len(self.times) / self.rate


@dataclass(frozen=True, kw_only=True)
class Adaptation:
    """A learnt correction: how a speaker moves differently from what the network predicts."""

    mean: Floats  #: (1024,) mean state of the source's voice
    directions: Floats  #: (1024, D) principal directions of its states, scaled
    filters: Floats  #: (3 D, K) from the directions at the three shifts to coefficients
    opening_gain: float  #: gain in correlation r of the lip opening, cross-validated
    width_gain: float  #: the same of the mouth width

    @property
    def description(self) -> str:
        """One line for the result: what was done, and what it gained."""
        gains = f"opening r {self.opening_gain:+.3f}, width r {self.width_gain:+.3f} where held out"
        return f"fitted to the speaker's own speech ({gains})"

    def correct(self, prediction: Floats, states: Array, speech: Bools | None = None) -> Floats:
        """Correct predicted coefficients for this speaker.

        Args:
            prediction: coefficients (S, K) of the network.
            states: the speech states (S, 1024) it was made from; read twice, in chunks.
            speech: mask (S,) of the states that are speech, for the mean of the voice; None: all.

        Returns:
            float32 (S, K).
        """
        speech = np.ones(len(states), bool) if speech is None or not speech.any() else speech
        level = np.zeros(self.directions.shape[1])
        for part, projected in _projected(states, self.mean, self.directions):
            level += projected[speech[part]].sum(0, dtype=np.float64)
        level /= speech.sum() + MEAN_PRIOR_STATES
        filters = np.split(self.filters, len(SHIFTS))
        corrections = np.empty((len(SHIFTS), *prediction.shape), np.float32)
        for part, projected in _projected(states, self.mean, self.directions):
            corrections[:, part] = (projected - level.astype(np.float32)) @ np.stack(filters)
        indices = np.arange(len(states))
        out = prediction.astype(np.float32)
        for shift, correction in zip(SHIFTS, corrections, strict=True):
            out += correction[np.clip(indices + shift, 0, max(len(indices) - 1, 0))]
        return out


def pair_speech_with_mouth(
    mouth: Floats, times: Doubles, states: Array, prediction: Floats, sync: SyncEstimate
) -> TrainingPairs:
    """Pair the frames of a mouth with the sound that belongs to them.

    Args:
        mouth: canonical mouth shapes (T, 61, 3); NaN where not seen.
        times: seconds of each frame (T,), from the start of the sound.
        states: speech states of the sound (S, 1024).
        prediction: coefficients (S, K) that the network predicts for them.
        sync: estimated offset between mouth and sound, and its confidence.

    Returns:
        The frames that are both seen and heard; none if the voice seems to be another person's.
    """
    heard_at = times + sync.offset / MOUTH_RATE
    used = np.isfinite(mouth[:, 0, 0]) & (heard_at >= 0) & (heard_at <= len(states) / STATE_RATE)
    if sync.confidence < MIN_CONFIDENCE or abs(sync.offset) > MAX_OFFSET:
        used[:] = False
    return TrainingPairs(
        mouth=mouth[used], times=heard_at[used], states=states, prediction=prediction
    )


def fit_adaptation(basis: Basis, pairs: TrainingPairs) -> Adaptation | None:
    """Fit the correction for a speaker.

    Args:
        basis: basis of the coefficients.
        pairs: see :func:`pair_speech_with_mouth`.

    Returns:
        The correction, or None if there is too little speech, if the sound does not fit the mouth,
        or if cross-validation shows no gain.
    """
    if pairs.seconds < MIN_SECONDS:
        return None
    mean, directions = _directions(pairs)
    projected = np.concatenate([p for _, p in _projected(pairs.states, mean, directions)])
    problem = _RidgeProblem.of(basis, pairs, projected)
    if _correlation(problem.plain[:, 0], problem.true[:, 0]) < MIN_CORRELATION:
        return None
    opening_gain, width_gain = problem.cross_validate(PENALTY)
    if (opening_gain + width_gain) / 2 < MIN_GAIN / pairs.seconds:
        return None
    return Adaptation(
        mean=mean,
        directions=directions,
        filters=problem.solve(PENALTY).astype(np.float32),
        opening_gain=opening_gain,
        width_gain=width_gain,
    )


def _directions(pairs: TrainingPairs) -> tuple[Floats, Floats]:
    """Return the mean state (1024,) and the scaled principal directions (1024, D) of the sound."""
    first, last = np.clip(pairs.times[[0, -1]] * STATE_RATE, 0, len(pairs.states)).astype(int)
    inside = np.arange(first, min(last + 1, len(pairs.states)))
    width = pairs.states.shape[1]
    mean: Doubles = np.zeros(width)
    for _, indices in chunks(inside):
        mean += pairs.states[indices].sum(0, dtype=np.float64) / len(inside)
    if len(inside) < width:  # the smaller Gram matrix gives the same directions
        centred = pairs.states[inside] - mean
        values, left = np.linalg.eigh(centred @ centred.T)
        vectors = centred.T @ (left / np.sqrt(np.maximum(values, 1e-9)))
    else:
        covariance = np.zeros((width, width))
        for _, indices in chunks(inside):
            centred = pairs.states[indices] - mean
            covariance += centred.T @ centred
        values, vectors = np.linalg.eigh(covariance)
    size = np.sqrt(np.maximum(values[::-1][:DIRECTIONS] / max(len(inside) - 1, 1), 1e-6))
    # Half-way between unscaled and fully whitened states.
    scaled = vectors[:, ::-1][:, :DIRECTIONS] / np.sqrt(size * DIRECTION_SCALE)
    return mean.astype(np.float32), scaled.astype(np.float32)


def _projected(states: Array, mean: Floats, directions: Floats) -> Iterator[tuple[slice, Floats]]:
    """Yield the states (S, 1024) projected on the directions: a slice, and float32 (s, D)."""
    for part, chunk in chunks(states):
        yield part, ((chunk - mean) @ directions).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class _RidgeProblem:
    """A ridge regression that can also be solved without some of its frames."""

    features: Doubles  #: (n, 3 D) projected states at the three shifts
    residual: Doubles  #: (n, K) true minus predicted coefficients
    plain: Doubles  #: (n, 2) predicted opening and width
    true: Doubles  #: (n, 2) true opening and width
    measures: Doubles  #: (K, 2) opening and width per unit of each coefficient
    weight: float  #: frames at 25 Hz that one frame counts for
    gram: Doubles  #: (3 D, 3 D) of the features of all frames
    cross: Doubles  #: (3 D, K) of features and residual
    blocks: tuple[tuple[Bools, Bools], ...]  #: held-out frames, and frames not trained on then

    @classmethod
    def of(cls, basis: Basis, pairs: TrainingPairs, projected: Floats) -> _RidgeProblem:
        size = round(HIGH_PASS_SECONDS / 2 * pairs.rate)
        mean = pairs.mouth.mean(0, dtype=np.float64).astype(np.float32)
        own = basis.coefficients(pairs.mouth - mean)
        predicted = resample(pairs.prediction, pairs.times)
        shifted = [resample(projected, pairs.times + shift / STATE_RATE) for shift in SHIFTS]
        x, y = _high_pass(np.concatenate(shifted, 1), size), _high_pass(own - predicted, size)
        measures = np.stack([basis.opening, basis.width], 1).astype(np.float64)
        weight = 25 / pairs.rate
        return cls(
            features=x,
            residual=y,
            plain=_high_pass(predicted, size) @ measures,
            true=_high_pass(own, size) @ measures,
            measures=measures,
            weight=weight,
            gram=weight * (x.T @ x),
            cross=weight * (x.T @ y),
            blocks=tuple(_blocks(pairs.times)),
        )

    def solve(self, penalty: float, without: Bools | None = None) -> Doubles:
        """Return the filters (3 D, K), fitted without the frames of the mask *without* (n,)."""
        gram: Doubles = self.gram + penalty * np.eye(len(self.gram))
        cross: Doubles = self.cross
        if without is not None:
            x, y = self.features[without], self.residual[without]
            gram -= self.weight * (x.T @ x)
            cross = cross - self.weight * (x.T @ y)
        out: Doubles = np.asarray(np.linalg.solve(gram, cross), np.float64)
        return out

    def cross_validate(self, penalty: float) -> tuple[float, float]:
        """Return the gain of opening r and width r on held-out frames."""
        corrected = self.plain.copy()
        for held, without in self.blocks:
            corrected[held] += self.features[held] @ self.solve(penalty, without) @ self.measures
        opening, width = (
            _correlation(corrected[:, i], self.true[:, i])
            - _correlation(self.plain[:, i], self.true[:, i])
            for i in (0, 1)
        )
        return opening, width


def _blocks(times: Doubles) -> Iterator[tuple[Bools, Bools]]:
    """Yield two masks of frames (n,): a block of the clip, and the same with a guard around it."""
    count = max(MIN_BLOCKS, int((times[-1] - times[0]) / BLOCK_SECONDS))
    edges = np.linspace(times[0], times[-1] + 1e-6, count + 1)
    for start, stop in pairwise(edges):
        held = (times >= start) & (times < stop)
        yield held, (times >= start - GUARD_SECONDS) & (times < stop + GUARD_SECONDS)


def _high_pass(values: Floats, size: int) -> Doubles:
    """Return values (n, c) minus their mean over about two times *size* frames around each."""
    half = size // 2
    slow = np.asarray(values, np.float64)
    for _ in range(2):
        sums = np.cumsum(np.pad(slow, ((half + 1, half), (0, 0)), mode="edge"), 0)
        slow = np.asarray(sums[2 * half + 1 :] - sums[: -2 * half - 1]) / (2 * half + 1)
    out: Doubles = values - slow
    return out


def _correlation(a: Doubles, b: Doubles) -> float:
    """Return the correlation of a and b (n,); 0 if one of them is constant."""
    a, b = a - a.mean(), b - b.mean()
    power = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / power if power > 1e-12 else 0.0
