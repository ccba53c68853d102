"""Estimate whether a mouth and a voice belong together, and the offset between them.

Two small networks embed half a second of speech and half a second of mouth motion as vectors. They
were trained so that the vectors agree (cosine) when both come from the same moment (InfoNCE, van
den Oord et al. 2018, arXiv:1807.03748; the idea is SyncNet's, Chung & Zisserman 2016).

**Confidence** is the mean cosine at the given or best offset, minus the mean cosine over all
offsets within ± 0.6 s that are more than 0.12 s away from it: how much the true moment stands out
from the same voice at wrong ones. Clips of 4 s and more score about 0.34 with their own voice; with
the voice of another person 0.10 at the best offset and 0.01 at a given one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lipwright.motion.model import overlapping_blocks
from lipwright.motion.resampling import STATE_RATE, resample
from lipwright.runtime.disk_array import Array, chunks
from lipwright.types import Doubles, Floats
from lipwright.weights.store import WeightStore, onnx_session

MOUTH_RATE = 25  # Hz: mouth shapes that the network takes
MAX_OFFSET = 15  # frames at 25 Hz: largest offset tried on each side
SMOOTHING = np.array([1, 2, 4, 2, 1]) / 10  # kernel over the scores, before their maximum is taken
NEAR_FRAMES = 3  # at 25 Hz around the best offset, not counted as wrong offsets


@dataclass(frozen=True, kw_only=True)
class SyncEstimate:
    """The estimated offset between a mouth and a voice."""

    offset: float  #: frames at 25 Hz by which the sound of a picture comes after the picture
    confidence: float  #: about 0.34 for a true pair, 0.1 for a wrong voice
    scores: Floats  #: (61,) mean cosine at offsets -15, -14.5, … 15 frames

    def confidence_at(self, offset: float) -> float:
        """Return the confidence at a given offset, in frames at 25 Hz, -15 to 15."""
        return confidence(self.scores, round((offset + MAX_OFFSET) * 2))


def confidence(scores: Floats, index: int) -> float:
    """Return by how much ``scores[index]`` exceeds the mean of the scores well away from it."""
    away = np.abs(np.arange(len(scores)) - index) > 2 * NEAR_FRAMES
    return float(scores[index] - scores[away].mean())


class SyncScorer:
    """The two trained networks; keeps the ONNX session open."""

    def __init__(self, store: WeightStore | None = None, *, threads: int = 1) -> None:
        """Load the networks.

        Raises:
            WeightsMissing: the weight file is not installed.
            WeightsCorrupt: the weight file is not the published one.
        """
        self._session: Any = onnx_session((store or WeightStore()).path("sync_scorer"), threads)
        metadata = self._session.get_modelmeta().custom_metadata_map
        self._reach = {name: int(metadata[name]) for name in ("states", "mouth")}
        self._width = {i.name: int(i.shape[2]) for i in self._session.get_inputs()}

    def estimate_offset(self, mouth: Floats, times: Doubles, states: Array) -> SyncEstimate:
        """Estimate the offset between a mouth and a voice.

        Args:
            mouth: canonical mouth shapes (T, 61, 3); NaN where the face is not seen.
            times: seconds of each frame, float64 (T,), from the start of the sound.
            states: speech states (S, 1024) at 50 Hz.

        Returns:
            The best offset and its confidence; both 0 if there is nothing to compare.
        """
        return best_offset(self.score_offsets(mouth, times, states))

    def score_offsets(self, mouth: Floats, times: Doubles, states: Array) -> Floats:
        """Return the mean cosine (61,) at offsets of -15, -14.5, … 15 frames at 25 Hz."""
        grid, shapes, seen = resample_mouth(mouth, times)
        if not seen.any() or not len(states):
            return np.zeros(4 * MAX_OFFSET + 1, np.float32)
        vectors = self._vectors("mouth", shapes.reshape(len(shapes), -1))
        voice = self._vectors("states", states)
        return score_vectors(vectors[seen], grid[seen], voice)

    def _vectors(self, name: str, values: Array) -> Floats:
        """Embed one of the two inputs (n, channels) as vectors (n, 64)."""
        parts = []
        other = "mouth" if name == "states" else "states"
        unused = np.zeros((1, 2 * self._reach[other] + 1, self._width[other]), np.float32)
        pieces = (part.astype(np.float32, copy=False) for _, part in chunks(values))
        for block in overlapping_blocks(pieces, self._reach[name]):
            feed = {name: block[None], other: unused}
            parts.append(self._session.run([f"{name}_vector"], feed)[0][0])
        return np.concatenate(parts)


def best_offset(scores: Floats) -> SyncEstimate:
    """Return the offset with the highest score (61,), refined between the tried ones."""
    if not scores.any():
        return SyncEstimate(offset=0.0, confidence=0.0, scores=scores)
    half = len(SMOOTHING) // 2
    padded = np.pad(scores.astype(np.float64), half, mode="edge")
    position = find_peak(np.convolve(padded, SMOOTHING, "valid"))
    return SyncEstimate(
        offset=position / 2 - MAX_OFFSET,
        confidence=confidence(scores, round(position)),
        scores=scores,
    )


def find_peak(scores: NDArray[np.float64]) -> float:
    """Return the fractional index of the maximum of scores (n,), by a parabola through three."""
    top = int(scores.argmax())
    if 0 < top < len(scores) - 1:
        left, middle, right = scores[top - 1 : top + 2]
        curvature = left - 2 * middle + right
        if curvature < -1e-12:
            return top + float(0.5 * (left - right) / curvature)
    return float(top)


def score_vectors(vectors: Floats, times: Doubles, voice: Floats) -> Floats:
    """Return the mean cosine (61,) of mouth vectors (n, 64) with voice vectors (S, 64) at 50 Hz.

    At each offset, only moments inside the sound count.
    """
    length = len(voice) / STATE_RATE
    out = np.zeros(4 * MAX_OFFSET + 1, np.float32)
    for i in range(len(out)):
        moved = times + (i / 2 - MAX_OFFSET) / MOUTH_RATE
        inside = (moved >= 0) & (moved <= length)
        if inside.any():
            spoken = resample(voice, moved[inside])
            out[i] = (vectors[inside] * spoken).sum(1).mean()
    return out


def resample_mouth(mouth: Floats, times: Doubles) -> tuple[Doubles, Floats, NDArray[np.bool_]]:
    """Resample mouth shapes to 25 Hz and subtract their mean.

    Args:
        mouth: canonical mouth shapes (T, 61, 3); NaN where the face is not seen.
        times: seconds of each frame, float64 (T,).

    Returns:
        Times (n,), shapes (n, 61, 3) and a mask (n,) of where the face is seen.
    """
    known = np.isfinite(mouth[:, 0, 0])
    grid = np.arange(times[0], times[-1] + 0.5 / MOUTH_RATE, 1 / MOUTH_RATE)
    if not known.any():
        return grid, np.zeros((len(grid), *mouth.shape[1:]), np.float32), np.zeros(len(grid), bool)
    at = np.interp(grid, times[known], np.arange(known.sum()))
    first = np.floor(at).astype(int)
    f = (at - first).astype(np.float32)[:, None, None]
    seen = mouth[known]
    shapes = seen[first] * (1 - f) + seen[np.minimum(first + 1, len(seen) - 1)] * f
    nearest = np.clip(np.searchsorted(times, grid), 0, len(times) - 1)
    shapes -= shapes[known[nearest]].mean(0)
    return grid, shapes.astype(np.float32), known[nearest]
