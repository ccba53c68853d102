"""What comes in front of a mouth: hands, microphones, cups, hair.

Every frame's lower face lies on a small canonical raster (:mod:`lipwright.face.raster`). A small
network says of each cell whether something lies in front of the face there. It is told how the cell
looks, how much that deviates from what pose and mouth let expect (:mod:`lipwright.face.expected`),
and how the face looks with nothing before it (:mod:`lipwright.face.uncovered`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lipwright.face.expected import Expectation, causes_of, values_of
from lipwright.face.outline import REACH, in_truth, limb, outline, steady, verdict
from lipwright.face.raster import SIDE, layout, visible
from lipwright.face.shape import align
from lipwright.face.smooth import overlapping, runs
from lipwright.face.uncovered import KNOWN, LONG_TAKE, Frames, Uncovered
from lipwright.runtime.disk_array import CHUNK_ROWS, Array, DiskArray
from lipwright.types import Bools, Floats, Ints
from lipwright.weights.store import WeightStore, onnx_session

MODEL_FRAMES = 150  # looked at for what is expected
FINE_FACE = 40.0  # pixels between the eyes; on a smaller face landmarks miss by whole cells
PART = 64  # frames whose inputs are in memory at a time: 86 KB each
BATCH = 32  # of them judged at once
FULL_COVER, NO_COVER = 0.4, 0.7  # share of the lips covered: full effect, none


class OcclusionDetector:
    """The network that says where something is in front of a face, warm."""

    def __init__(self, store: WeightStore | None = None, *, threads: int = 1) -> None:
        """Open the network.

        Raises:
            WeightsMissing: if the file is not installed.
            WeightsCorrupt: if it is not the published one.
        """
        self._session: Any = onnx_session((store or WeightStore()).path("occlusion"), threads)

    def chances(self, inputs: Floats) -> Floats:
        """Return the chance (m, SIDE, SIDE), 0 to 1, that something lies before each cell.

        Args:
            inputs: (m, CHANNELS, SIDE, SIDE) of :meth:`Uncovered.inputs`.
        """
        parts = [
            self._session.run(None, {"cells": inputs[at : at + BATCH]})[0]
            for at in range(0, len(inputs), BATCH)
        ]
        return np.concatenate(parts)


def occluded(
    rasters: Array, landmarks: Array, detector: OcclusionDetector, shots: Ints | None = None
) -> Array:
    """Return the cells (T, SIDE, SIDE) in which something lies in front of the face.

    In memory when the landmarks are, else in a reel.

    Args:
        rasters: (T, SIDE, SIDE, 3) of :func:`lipwright.face.raster.lower_face`.
        landmarks: (T, 478, 3) pixels, NaN where no face is.
        detector: the network.
        shots: (T,) number of each frame's shot.
    """
    cells = DiskArray((SIDE, SIDE), np.bool_)
    for part in _occluded(rasters, landmarks, detector, shots):
        cells.extend(part)
    return np.asarray(cells) if isinstance(landmarks, np.ndarray) else cells


def _occluded(
    rasters: Array, landmarks: Array, detector: OcclusionDetector, shots: Ints | None
) -> Iterator[Bools]:
    """Yield the cells part by part."""
    seen = np.isfinite(landmarks[:, 0, 0])
    done = 0
    if seen.any():
        judge = _Judge.of(rasters, landmarks, seen, detector, shots)
        for start, stop in runs(seen, shots):
            yield from _nothing(done, start)
            for first, last, inner in overlapping(start, stop, REACH, PART):
                found, verdicts = judge.outlines(np.arange(first, last))
                yield steady(in_truth(found, verdicts))[inner]
            done = stop
    yield from _nothing(done, len(seen))


def _nothing(start: int, stop: int) -> Iterator[Bools]:
    for low in range(start, stop, CHUNK_ROWS):
        yield np.zeros((min(CHUNK_ROWS, stop - low), SIDE, SIDE), bool)


@dataclass(frozen=True, kw_only=True)
class _Judge:
    """Tells the cells of one take's frames."""

    rasters: Array
    landmarks: Array
    causes: Floats
    shots: Ints
    detector: OcclusionDetector
    model: Expectation
    face: Uncovered

    @classmethod
    def of(
        cls,
        rasters: Array,
        landmarks: Array,
        seen: Bools,
        detector: OcclusionDetector,
        shots: Ints | None,
    ) -> _Judge:
        """Learn what the face looks like from some frames, spread over the take."""
        index = np.flatnonzero(seen)
        some = index[:: max(1, -(-len(index) // MODEL_FRAMES))]
        causes = causes_of(landmarks, seen)
        shots = np.zeros(len(seen), np.int64) if shots is None else shots
        values, shown = values_of(rasters[some]), visible(landmarks[some])
        model = Expectation.fit(values, causes[some], shown)
        frames = Frames.of(model, values, causes[some], shown, shots[some], some)
        long = len(index) > LONG_TAKE
        face = Uncovered(frames=frames, free=frames.free(), long=long)
        free = 1 - detector.chances(face.inputs(frames, face.free))
        face = Uncovered(frames=frames, free=free, long=long)
        return cls(
            rasters=rasters,
            landmarks=landmarks,
            causes=causes,
            shots=shots,
            detector=detector,
            model=model,
            face=face,
        )

    def outlines(self, index: Ints) -> tuple[Bools, NDArray[np.int8]]:
        """Return the cells (m, SIDE, SIDE) found in each frame by itself, and the verdicts."""
        landmarks = self.landmarks[index]
        frames = Frames.of(
            self.model,
            values_of(self.rasters[index]),
            self.causes[index],
            visible(landmarks),
            self.shots[index],
            index,
        )
        chances = self.detector.chances(self.face.inputs(frames, frames.free()))
        trust = np.minimum(1, 1 / (FINE_FACE * align(landmarks).scale))
        chances *= frames.visible * trust[:, None, None]
        found = np.array(
            [outline(c * ~limb(v)) for c, v in zip(chances, frames.visible, strict=True)]
        )
        verdicts = np.zeros(found.shape, np.int8)
        some = np.flatnonzero(found.any((1, 2)))
        if len(some):
            face, _, known = self.face.look_of(frames.at(some))
            tells = frames.visible[some] & (known > KNOWN)
            for k, own, cells in zip(some, face, tells, strict=True):
                verdicts[k] = verdict(found[k], frames.look[k], own, cells)
        return found, verdicts


def lips_covered(found: Array) -> Floats:
    """Return the share of the lips that is covered, (T,) 0 to 1."""
    share: Floats = found[:, layout().lips].mean(1).astype(np.float32)
    return share


def bearable(found: Array) -> Floats:
    """Return how much of the effect frames bear, (T,): none where the mouth is mostly covered."""
    share = (NO_COVER - lips_covered(found)) / (NO_COVER - FULL_COVER)
    out: Floats = np.clip(share, 0, 1).astype(np.float32)
    return out
