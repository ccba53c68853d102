"""Test the estimate of the unoccluded face from frames that are partly covered."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lipwright.face.appearance_model import (
    AppearanceModel,
    cell_features,
    load_mouth_pattern,
    predictors_of,
)
from lipwright.face.lower_face_raster import (
    RASTER_SIDE,
    raster_layout,
    sample_lower_face,
    visible_cells,
)
from lipwright.face.occlusion_input import CHANNELS, CellFrames, UnoccludedFace
from lipwright.testing import draw_face, synthetic_landmarks

pytestmark = pytest.mark.model

FRAMES = 24
CHIN_CELLS = (slice(None), slice(18, 22), slice(12, 20))  # cells of the chin


@pytest.fixture(scope="module")
def frames() -> CellFrames:
    gap = (0.02 + 0.02 * np.sin(np.arange(FRAMES))).astype(np.float32)
    landmarks = synthetic_landmarks(FRAMES, opening=gap)
    rasters = np.stack(
        [sample_lower_face(draw_face(p, seed=k), p) for k, p in enumerate(landmarks)]
    )
    predictors, visible = predictors_of(landmarks, np.ones(FRAMES, bool)), visible_cells(landmarks)
    features = cell_features(rasters)
    model = AppearanceModel.fit(features, predictors, visible, load_mouth_pattern())
    return CellFrames.of(
        model, features, predictors, visible, np.zeros(FRAMES, np.int64), np.arange(FRAMES)
    )


def fully_unoccluded(frames: CellFrames) -> np.ndarray:
    return np.ones((len(frames.colour), RASTER_SIDE, RASTER_SIDE), np.float32)


def test_input_is_finite_and_has_the_networks_shape(frames: CellFrames) -> None:
    inputs = UnoccludedFace(
        frames=frames, unoccluded=frames.unoccluded_by_deviation()
    ).network_input(frames, frames.unoccluded_by_deviation())
    assert inputs.shape == (FRAMES, CHANNELS, RASTER_SIDE, RASTER_SIDE)
    assert inputs.dtype == np.float32
    assert np.isfinite(inputs).all()
    assert (
        frames.unoccluded_by_deviation()[:, raster_layout().searched].min() > 0.5
    )  # no cell deviates


def test_covered_cells_are_ignored(frames: CellFrames) -> None:
    colour, unoccluded = frames.colour.copy(), fully_unoccluded(frames)
    colour[8:16, 0, 18:22, 12:20] = 5  # dark for a third of the take
    unoccluded[8:16, 18:22, 12:20] = 0
    covered = replace(frames, colour=colour)
    mean, spread, _ = UnoccludedFace(frames=covered, unoccluded=unoccluded).estimate_colour(covered)
    true, _, _ = UnoccludedFace(frames=frames, unoccluded=fully_unoccluded(frames)).estimate_colour(
        frames
    )
    assert mean[CHIN_CELLS[0], 0, 18:22, 12:20] == pytest.approx(
        true[CHIN_CELLS[0], 0, 18:22, 12:20], abs=2
    )
    naive, wide, _ = UnoccludedFace(
        frames=covered, unoccluded=fully_unoccluded(frames)
    ).estimate_colour(covered)
    assert np.abs(naive - true)[:, 0, 18:22, 12:20].mean() > 10
    assert wide[:, 0, 18:22, 12:20].mean() > 3 * spread[:, 0, 18:22, 12:20].mean()


def test_lighting_change_is_removed_from_the_difference(frames: CellFrames) -> None:
    face = UnoccludedFace(frames=frames, unoccluded=fully_unoccluded(frames))
    brighter = replace(frames, colour=frames.colour + np.array([7, 1, 2])[:, None, None])
    apart = (
        face.network_input(brighter, fully_unoccluded(frames))[:, 3:6]
        - face.network_input(frames, fully_unoccluded(frames))[:, 3:6]
    )
    assert np.abs(apart).max() < 0.05


def test_frames_of_the_same_shot_count_most(frames: CellFrames) -> None:
    shot = (np.arange(FRAMES) >= FRAMES // 2).astype(np.int64)
    colour = frames.colour + 20 * shot[:, None, None, None].astype(np.float32)
    two = replace(frames, colour=colour, shot=shot)
    mean, _, _ = UnoccludedFace(frames=two, unoccluded=fully_unoccluded(frames)).estimate_colour(
        two
    )
    apart = (mean - colour)[:, 0, raster_layout().skin]
    assert np.abs(np.median(apart, 1)).max() < 6


def test_long_take_ignores_frames_near_in_time(frames: CellFrames) -> None:
    colour = frames.colour.copy()
    colour[8:12, 0, 18:22, 12:20] = 5  # dark for a while, but not marked as covered
    spread_out = replace(frames, colour=colour, index=15 * np.arange(FRAMES))
    true, _, _ = UnoccludedFace(frames=frames, unoccluded=fully_unoccluded(frames)).estimate_colour(
        frames
    )
    apart = []
    for long in (False, True):
        mean, _, _ = UnoccludedFace(
            frames=spread_out, unoccluded=fully_unoccluded(frames), long_take=long
        ).estimate_colour(spread_out)
        apart.append(np.abs(mean - true)[8:12, 0, 18:22, 12:20].mean())
    assert apart[0] > 8
    assert apart[1] < 1


def test_always_covered_cell_has_no_estimate(frames: CellFrames) -> None:
    unoccluded = fully_unoccluded(frames)
    unoccluded[CHIN_CELLS] = 0
    inputs = UnoccludedFace(frames=frames, unoccluded=unoccluded).network_input(frames, unoccluded)
    assert np.abs(inputs[:, 3:13, 18:22, 12:20]).max() == 0
