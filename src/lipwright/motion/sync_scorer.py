"""Do this mouth and this voice belong together, and which of them is late?

Two small networks turn half a second of speech and half a second of mouth motion into vectors; they
were trained so that vectors agree (cosine) when both come from the same moment (InfoNCE, van den
Oord et al. 2018, arXiv:1807.03748; the idea is SyncNet's, Chung & Zisserman 2016).

**Confidence** is the mean cosine at the asked or best offset, less the mean cosine over all offsets
within ± 0.6 s that are more than 0.12 s away from it: how much the true moment stands out from
the same voice at wrong ones. Clips of 4 s and more score about 0.34 with their own voice; with
another one 0.10 at the best offset and 0.01 at a given one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lipwright.motion import resampling as curve
from lipwright.motion.model import blocks
from lipwright.runtime.disk_array import Array, chunks
from lipwright.types import Doubles, Floats
from lipwright.weights.store import WeightStore, onnx_session

RATE = 25  # mouth shapes per second that the network sees
MOST = 15  # frames of 25 Hz: offsets tried on each side
BLUR = np.array([1, 2, 4, 2, 1]) / 10  # of the scores, before their maximum is taken
NEAR = 3  # frames around the best offset that do not count as wrong


@dataclass(frozen=True, kw_only=True)
class Sync:
    """How a mouth and a voice go together."""

    offset: float  #: frames of 25 Hz by which the sound belonging to a picture comes after it
    confidence: float  #: about 0.34 for a true pair, 0.1 for a wrong voice
    scores: Floats  #: (61,) mean cosine at offsets -15, -14.5, … 15 frames

    def at(self, offset: float) -> float:
        """Return the confidence at an offset given in frames of 25 Hz, -15 to 15."""
        return confidence(self.scores, round((offset + MOST) * 2))


def confidence(scores: Floats, place: int) -> float:
    """Return by how much ``scores[place]`` exceeds the mean of those well away from it."""
    away = np.abs(np.arange(len(scores)) - place) > 2 * NEAR
    return float(scores[place] - scores[away].mean())


class SyncScorer:
    """The two trained networks, warm."""

    def __init__(self, store: WeightStore | None = None, *, threads: int = 1) -> None:
        """Open the networks.

        Raises:
            WeightsMissing: if the file is not installed.
            WeightsCorrupt: if it is not the published one.
        """
        self._session: Any = onnx_session((store or WeightStore()).path("sync_scorer"), threads)
        facts = self._session.get_modelmeta().custom_metadata_map
        self._reach = {name: int(facts[name]) for name in ("states", "mouth")}
        self._width = {i.name: int(i.shape[2]) for i in self._session.get_inputs()}

    def offset(self, mouth: Floats, times: Doubles, states: Array) -> Sync:
        """Find the offset between a mouth and a voice.

        Args:
            mouth: canonical mouth shapes (T, 61, 3); NaN where the face is not seen.
            times: seconds of each, float64 (T,), from the start of the sound.
            states: speech states (S, 1024) at 50 Hz.

        Returns:
            The best offset and its confidence; 0 and 0 when there is nothing to compare.
        """
        return best(self.scores(mouth, times, states))

    def scores(self, mouth: Floats, times: Doubles, states: Array) -> Floats:
        """Return the mean cosine (61,) at offsets from -15 to 15 frames of 25 Hz, by halves."""
        grid, shapes, seen = resample(mouth, times)
        if not seen.any() or not len(states):
            return np.zeros(4 * MOST + 1, np.float32)
        vectors = self._vectors("mouth", shapes.reshape(len(shapes), -1))
        voice = self._vectors("states", states)
        return match(vectors[seen], grid[seen], voice)

    def _vectors(self, name: str, values: Array) -> Floats:
        """Return the vectors (n, 64) of one of the two inputs (n, channels)."""
        parts = []
        other = "mouth" if name == "states" else "states"
        unused = np.zeros((1, 2 * self._reach[other] + 1, self._width[other]), np.float32)
        pieces = (part.astype(np.float32, copy=False) for _, part in chunks(values))
        for block in blocks(pieces, self._reach[name]):
            feed = {name: block[None], other: unused}
            parts.append(self._session.run([f"{name}_vector"], feed)[0][0])
        return np.concatenate(parts)


def best(scores: Floats) -> Sync:
    """Return the offset with the highest score, between the tried ones by a parabola."""
    if not scores.any():
        return Sync(offset=0.0, confidence=0.0, scores=scores)
    half = len(BLUR) // 2
    padded = np.pad(scores.astype(np.float64), half, mode="edge")
    place = peak(np.convolve(padded, BLUR, "valid"))
    return Sync(offset=place / 2 - MOST, confidence=confidence(scores, round(place)), scores=scores)


def peak(scores: NDArray[np.float64]) -> float:
    """Return the place of the maximum of scores (n,), refined by a parabola through three."""
    top = int(scores.argmax())
    if 0 < top < len(scores) - 1:
        left, middle, right = scores[top - 1 : top + 2]
        bend = left - 2 * middle + right
        if bend < -1e-12:
            return top + float(0.5 * (left - right) / bend)
    return float(top)


def match(vectors: Floats, times: Doubles, voice: Floats) -> Floats:
    """Return the mean cosine (61,) of mouth vectors (n, 64) with voice vectors (S, 64) at 50 Hz.

    Only moments within the sound count, at each offset.
    """
    length = len(voice) / curve.RATE
    out = np.zeros(4 * MOST + 1, np.float32)
    for i in range(len(out)):
        moved = times + (i / 2 - MOST) / RATE
        inside = (moved >= 0) & (moved <= length)
        if inside.any():
            heard = curve.read(voice, moved[inside])
            out[i] = (vectors[inside] * heard).sum(1).mean()
    return out


def resample(mouth: Floats, times: Doubles) -> tuple[Doubles, Floats, NDArray[np.bool_]]:
    """Bring mouth shapes to 25 Hz and take the mean off.

    Returns:
        Doubles (n,), shapes (n, 61, 3) and whether the face is seen there (n,).
    """
    known = np.isfinite(mouth[:, 0, 0])
    grid = np.arange(times[0], times[-1] + 0.5 / RATE, 1 / RATE)
    if not known.any():
        return grid, np.zeros((len(grid), *mouth.shape[1:]), np.float32), np.zeros(len(grid), bool)
    at = np.interp(grid, times[known], np.arange(known.sum()))
    first = np.floor(at).astype(int)
    f = (at - first).astype(np.float32)[:, None, None]
    found = mouth[known]
    shapes = found[first] * (1 - f) + found[np.minimum(first + 1, len(found) - 1)] * f
    nearest = np.clip(np.searchsorted(times, grid), 0, len(times) - 1)
    shapes -= shapes[known[nearest]].mean(0)
    return grid, shapes.astype(np.float32), known[nearest]
