"""How a face looks with nothing before it, from frames in some of which there is something."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lipwright.face.expected import Expectation, causes_of, values_of
from lipwright.face.raster import SIDE, layout, lower_face, visible
from lipwright.face.uncovered import CHANNELS, Frames, Uncovered
from lipwright.testing import draw_face, synthetic_landmarks

COUNT = 24
BESIDE = (slice(None), slice(18, 22), slice(12, 20))  # cells of the chin


@pytest.fixture(scope="module")
def frames() -> Frames:
    gap = (0.02 + 0.02 * np.sin(np.arange(COUNT))).astype(np.float32)
    landmarks = synthetic_landmarks(COUNT, opening=gap)
    rasters = np.stack([lower_face(draw_face(p, seed=k), p) for k, p in enumerate(landmarks)])
    causes, shown = causes_of(landmarks, np.ones(COUNT, bool)), visible(landmarks)
    values = values_of(rasters)
    model = Expectation.fit(values, causes, shown)
    return Frames.of(model, values, causes, shown, np.zeros(COUNT, np.int64), np.arange(COUNT))


def free(frames: Frames) -> np.ndarray:
    return np.ones((len(frames.look), SIDE, SIDE), np.float32)


def test_what_is_told_is_finite_and_of_the_networks_shape(frames: Frames) -> None:
    told = Uncovered(frames=frames, free=frames.free()).inputs(frames, frames.free())
    assert told.shape == (COUNT, CHANNELS, SIDE, SIDE)
    assert told.dtype == np.float32
    assert np.isfinite(told).all()
    assert frames.free()[:, layout().judged].min() > 0.5  # nothing is strange about it


def test_covered_cells_do_not_count(frames: Frames) -> None:
    look, known = frames.look.copy(), free(frames)
    look[8:16, 0, 18:22, 12:20] = 5  # dark for a third of the take
    known[8:16, 18:22, 12:20] = 0
    hidden = replace(frames, look=look)
    mean, spread, _ = Uncovered(frames=hidden, free=known).look_of(hidden)
    true, _, _ = Uncovered(frames=frames, free=free(frames)).look_of(frames)
    assert mean[BESIDE[0], 0, 18:22, 12:20] == pytest.approx(
        true[BESIDE[0], 0, 18:22, 12:20], abs=2
    )
    naive, wide, _ = Uncovered(frames=hidden, free=free(frames)).look_of(hidden)
    assert np.abs(naive - true)[:, 0, 18:22, 12:20].mean() > 10
    assert wide[:, 0, 18:22, 12:20].mean() > 3 * spread[:, 0, 18:22, 12:20].mean()


def test_a_change_of_light_is_no_difference(frames: Frames) -> None:
    face = Uncovered(frames=frames, free=free(frames))
    brighter = replace(frames, look=frames.look + np.array([7, 1, 2])[:, None, None])
    apart = face.inputs(brighter, free(frames))[:, 3:6] - face.inputs(frames, free(frames))[:, 3:6]
    assert np.abs(apart).max() < 0.05


def test_the_own_shot_counts_most(frames: Frames) -> None:
    shot = (np.arange(COUNT) >= COUNT // 2).astype(np.int64)
    look = frames.look + 20 * shot[:, None, None, None].astype(np.float32)
    two = replace(frames, look=look, shot=shot)
    mean, _, _ = Uncovered(frames=two, free=free(frames)).look_of(two)
    apart = (mean - look)[:, 0, layout().light]
    assert np.abs(np.median(apart, 1)).max() < 6


def test_in_a_long_take_frames_of_the_same_time_do_not_count(frames: Frames) -> None:
    look = frames.look.copy()
    look[8:12, 0, 18:22, 12:20] = 5  # dark for a while, and nobody has noticed
    spread_out = replace(frames, look=look, number=15 * np.arange(COUNT))
    true, _, _ = Uncovered(frames=frames, free=free(frames)).look_of(frames)
    apart = []
    for long in (False, True):
        mean, _, _ = Uncovered(frames=spread_out, free=free(frames), long=long).look_of(spread_out)
        apart.append(np.abs(mean - true)[8:12, 0, 18:22, 12:20].mean())
    assert apart[0] > 8
    assert apart[1] < 1


def test_a_cell_that_was_never_free_is_not_known(frames: Frames) -> None:
    known = free(frames)
    known[BESIDE] = 0
    told = Uncovered(frames=frames, free=known).inputs(frames, known)
    assert np.abs(told[:, 3:13, 18:22, 12:20]).max() == 0
