"""Detect what comes in front of a mouth: hands, microphones, cups, hair.

Every frame's lower face is sampled on a small canonical raster
(:mod:`lipwright.face.lower_face_raster`). A small network estimates for each cell the probability
that something covers the face there. Its input (:mod:`lipwright.face.occlusion_input`) holds the
colour of the cell, its deviation from what pose and mouth shape predict
(:mod:`lipwright.face.appearance_model`), and the face without occluders. The probabilities become
masks in :mod:`lipwright.face.occlusion_mask`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lipwright.face.appearance_model import (
    AppearanceModel,
    cell_features,
    load_mouth_pattern,
    predictors_of,
)
from lipwright.face.canonical import estimate_pose
from lipwright.face.lower_face_raster import RASTER_SIDE, raster_layout, visible_cells
from lipwright.face.occlusion_input import LONG_TAKE, MIN_CONFIDENCE, CellFrames, UnoccludedFace
from lipwright.face.occlusion_mask import (
    CONTEXT_FRAMES,
    compare_with_face,
    drop_false_occluders,
    segment_occluders,
    silhouette_cells,
    stabilise_masks,
)
from lipwright.face.smoothing import find_runs, overlapping_chunks
from lipwright.runtime.disk_array import CHUNK_ROWS, Array, DiskArray
from lipwright.types import Bools, Floats, Ints
from lipwright.weights.store import WeightStore, onnx_session

MODEL_FRAMES = 150  # frames that the appearance model is fitted to
FINE_FACE = 40.0  # pixels between the eyes; on a smaller face landmarks miss by whole cells
CHUNK_FRAMES = 64  # frames whose inputs are in memory at a time: 86 KB each
BATCH_FRAMES = 32  # of them in one call of the network
FULL_COVER, NO_COVER = 0.4, 0.7  # share of the lips covered: up to it full effect, from it none


class OcclusionDetector:
    """The loaded network that detects what covers a face."""

    def __init__(self, store: WeightStore | None = None, *, threads: int = 1) -> None:
        """Load the network.

        Args:
            store: where the weights are; None: the files of the package.
            threads: of the network.

        Raises:
            WeightsMissing: a file is not installed.
            WeightsCorrupt: a file is not the published one.
        """
        store = store or WeightStore()
        self.mouth_pattern: Floats = load_mouth_pattern(store)
        self._session: Any = onnx_session(store.path("occlusion"), threads)

    def probabilities(self, inputs: Floats) -> Floats:
        """Return the probability (m, SIDE, SIDE), 0 to 1, that something covers each cell.

        Args:
            inputs: (m, CHANNELS, SIDE, SIDE) of :meth:`UnoccludedFace.network_input`.
        """
        parts = [
            self._session.run(None, {"cells": inputs[at : at + BATCH_FRAMES]})[0]
            for at in range(0, len(inputs), BATCH_FRAMES)
        ]
        return np.concatenate(parts)


def detect_occluders(
    rasters: Array, landmarks: Array, detector: OcclusionDetector, shots: Ints | None = None
) -> Array:
    """Return the cells (T, SIDE, SIDE) in which something covers the face.

    The result is in memory if the landmarks are, else a :class:`DiskArray`.

    Args:
        rasters: (T, SIDE, SIDE, 3) of :func:`lipwright.face.lower_face_raster.sample_lower_face`.
        landmarks: (T, 478, 3) pixels, NaN where no face is.
        detector: the network.
        shots: (T,) index of each frame's shot.
    """
    cells = DiskArray((RASTER_SIDE, RASTER_SIDE), np.bool_)
    for part in _iter_occluders(rasters, landmarks, detector, shots):
        cells.extend(part)
    return np.asarray(cells) if isinstance(landmarks, np.ndarray) else cells


def _iter_occluders(
    rasters: Array, landmarks: Array, detector: OcclusionDetector, shots: Ints | None
) -> Iterator[Bools]:
    """Yield the cells of :func:`detect_occluders` chunk by chunk."""
    seen = np.isfinite(landmarks[:, 0, 0])
    done = 0
    if seen.any():
        take = _TakeOccluders.fit(rasters, landmarks, seen, detector, shots)
        for start, stop in find_runs(seen, shots):
            yield from _empty_cells(done, start)
            for first, last, inner in overlapping_chunks(start, stop, CONTEXT_FRAMES, CHUNK_FRAMES):
                masks, comparisons = take.frame_masks(np.arange(first, last))
                yield stabilise_masks(drop_false_occluders(masks, comparisons))[inner]
            done = stop
    yield from _empty_cells(done, len(seen))


def _empty_cells(start: int, stop: int) -> Iterator[Bools]:
    for low in range(start, stop, CHUNK_ROWS):
        yield np.zeros((min(CHUNK_ROWS, stop - low), RASTER_SIDE, RASTER_SIDE), bool)


@dataclass(frozen=True, kw_only=True)
class _TakeOccluders:
    """Masks single frames of one take, with models fitted to the take."""

    rasters: Array
    landmarks: Array
    predictors: Floats
    shots: Ints
    detector: OcclusionDetector
    model: AppearanceModel
    face: UnoccludedFace

    @classmethod
    def fit(
        cls,
        rasters: Array,
        landmarks: Array,
        seen: Bools,
        detector: OcclusionDetector,
        shots: Ints | None,
    ) -> _TakeOccluders:
        """Learn what the face looks like from some frames, spread over the take."""
        index = np.flatnonzero(seen)
        some = index[:: max(1, -(-len(index) // MODEL_FRAMES))]
        predictors = predictors_of(landmarks, seen)
        shots = np.zeros(len(seen), np.int64) if shots is None else shots
        features, visible = cell_features(rasters[some]), visible_cells(landmarks[some])
        model = AppearanceModel.fit(features, predictors[some], visible, detector.mouth_pattern)
        frames = CellFrames.of(model, features, predictors[some], visible, shots[some], some)
        long_take = len(index) > LONG_TAKE
        # First by deviation alone, then by what the network finds with it.
        face = UnoccludedFace(
            frames=frames, unoccluded=frames.unoccluded_by_deviation(), long_take=long_take
        )
        unoccluded = 1 - detector.probabilities(face.network_input(frames, face.unoccluded))
        face = UnoccludedFace(frames=frames, unoccluded=unoccluded, long_take=long_take)
        return cls(
            rasters=rasters,
            landmarks=landmarks,
            predictors=predictors,
            shots=shots,
            detector=detector,
            model=model,
            face=face,
        )

    def frame_masks(self, index: Ints) -> tuple[Bools, NDArray[np.int8]]:
        """Return the masks (m, SIDE, SIDE) of frames, each by itself, and their comparisons."""
        landmarks = self.landmarks[index]
        frames = CellFrames.of(
            self.model,
            cell_features(self.rasters[index]),
            self.predictors[index],
            visible_cells(landmarks),
            self.shots[index],
            index,
        )
        probabilities = self.detector.probabilities(
            self.face.network_input(frames, frames.unoccluded_by_deviation())
        )
        trust = np.minimum(1, 1 / (FINE_FACE * estimate_pose(landmarks).scale))
        probabilities *= frames.visible * trust[:, None, None]
        masks = np.array(
            [
                segment_occluders(p * ~silhouette_cells(v))
                for p, v in zip(probabilities, frames.visible, strict=True)
            ]
        )
        comparisons = np.zeros(masks.shape, np.int8)
        some = np.flatnonzero(masks.any((1, 2)))
        if len(some):
            face, _, confidence = self.face.estimate_colour(frames.select(some))
            comparable = frames.visible[some] & (confidence > MIN_CONFIDENCE)
            for k, own, cells in zip(some, face, comparable, strict=True):
                comparisons[k] = compare_with_face(masks[k], frames.colour[k], own, cells)
        return masks, comparisons


def covered_lip_share(occluders: Array) -> Floats:
    """Return the share of the lips that is covered, (T,) 0 to 1.

    Args:
        occluders: (T, SIDE, SIDE) of :func:`detect_occluders`.
    """
    share: Floats = occluders[:, raster_layout().lips].mean(1).astype(np.float32)
    return share


def strength_limit(occluders: Array, full: float = FULL_COVER, none: float = NO_COVER) -> Floats:
    """Return the maximum strength of the effect, (T,) 0 to 1: none on a mostly covered mouth.

    Args:
        occluders: (T, SIDE, SIDE) of :func:`detect_occluders`.
        full: covered share of the lips up to which the effect is full.
        none: share from which there is none.
    """
    share = (none - covered_lip_share(occluders)) / (none - full)
    limit: Floats = np.clip(share, 0, 1).astype(np.float32)
    return limit
