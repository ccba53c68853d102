from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipwright.face import smooth as module
from lipwright.face.shape import align, mouth_shapes, opening, reference
from lipwright.face.smooth import overlapping, runs, smooth
from lipwright.runtime.disk_array import DiskArray
from lipwright.testing import synthetic_landmarks

UNIT = 84.0


def jitter(landmarks, seed=0, sigma=0.5):
    noise = np.random.default_rng(seed).normal(0, sigma, landmarks.shape)
    return (landmarks + noise).astype(np.float32)


@given(st.lists(st.booleans(), max_size=60))
def test_runs_are_the_stretches_that_are_true(seen):
    found = runs(np.array(seen, bool))
    back = np.zeros(len(seen), bool)
    for start, stop in found:
        assert start < stop
        back[start:stop] = True
        assert start == 0 or not seen[start - 1]
        assert stop == len(seen) or not seen[stop]
    assert back.tolist() == seen


def test_jitter_is_calmed():
    clean = synthetic_landmarks(60)
    noisy = jitter(clean)
    before, after = (np.abs(x - clean).mean() for x in (noisy, smooth(noisy)))
    assert after < 0.75 * before


def test_a_face_that_does_not_jitter_stays_where_it_is():
    clean = synthetic_landmarks(60)
    assert np.abs(smooth(clean) - clean).max() < 0.03 * UNIT
    still = np.repeat(clean[:1], 20, 0)
    assert np.abs(smooth(still) - still).max() < 1e-3 * UNIT


def test_a_steady_walk_is_not_held_back_even_at_its_ends():
    steps = np.arange(20, dtype=np.float32)[:, None, None] * np.array([7, -3, 0], np.float32)
    walking = synthetic_landmarks(1) + steps
    assert np.abs(smooth(walking) - walking).max() < 1e-3 * UNIT


def test_a_quick_closure_is_kept():
    gap = np.full(30, 0.12, np.float32)
    gap[14:17] = 0.06, 0.0, 0.06  # one /p/ at 25 fps
    landmarks = synthetic_landmarks(30, opening=gap)
    before, after = (opening(mouth_shapes(x)) for x in (landmarks, smooth(landmarks)))
    assert after[15] - before[15] < 0.25 * (before[10] - before[15])
    assert int(after.argmin()) == 15


def test_lips_that_close_within_a_frame_are_neither_early_nor_late():
    gap = np.full(30, 0.2, np.float32)
    gap[15:18] = 0.0
    landmarks = synthetic_landmarks(30, opening=gap)
    before, after = (opening(mouth_shapes(x)) for x in (landmarks, smooth(landmarks)))
    assert np.abs(after - before)[12:21].max() < 0.012


def test_a_head_that_jumps_is_where_it_is():
    """As where a take was cut shorter, and no cut is seen."""
    landmarks = jitter(synthetic_landmarks(30), sigma=0.2)
    landmarks[15:] += np.array([0.3, -0.2, 0], np.float32) * UNIT
    assert np.abs(smooth(landmarks) - landmarks)[13:17].mean() < 0.01 * UNIT


def test_the_chin_goes_with_lips_that_move_fast():
    gap = np.full(30, 0.2, np.float32)
    gap[15] = 0.0
    noisy = jitter(synthetic_landmarks(30, opening=gap), sigma=0.3)
    turned = smooth(noisy)[15] - noisy[15]
    turned = turned - turned.mean(0)  # where the head is may be smoothed
    assert np.abs(turned).max() < 0.02 * UNIT


def test_gaps_stay_gaps_and_nothing_leaks_over_them():
    landmarks = jitter(synthetic_landmarks(40))
    landmarks[18:22] = np.nan
    both = smooth(landmarks)
    assert np.isnan(both[18:22]).all()
    assert np.array_equal(both[:18], smooth(landmarks[:18]))
    assert np.array_equal(both[22:], smooth(landmarks[22:]))


def test_nothing_leaks_over_a_cut():
    landmarks = jitter(synthetic_landmarks(40))
    landmarks[20:] += 60
    apart = smooth(landmarks, np.repeat([0, 1], 20))
    assert np.array_equal(apart[:20], smooth(landmarks[:20]))
    assert np.array_equal(apart[20:], smooth(landmarks[20:]))
    assert not np.array_equal(apart, smooth(landmarks))


@pytest.mark.parametrize("frames", [0, 1, 2, 4])
def test_a_run_too_short_to_smooth_is_left_as_it_is(frames):
    landmarks = jitter(synthetic_landmarks(4))[:frames]
    assert np.array_equal(smooth(landmarks), landmarks)


@pytest.mark.parametrize("frames", [5, 6, 7])
def test_the_shortest_runs_are_smoothed_whole(frames):
    landmarks = jitter(synthetic_landmarks(frames))
    assert np.isfinite(smooth(landmarks)).all()
    assert not np.array_equal(smooth(landmarks), landmarks)


def test_the_input_is_not_touched():
    landmarks = jitter(synthetic_landmarks(12))
    before = landmarks.copy()
    smooth(landmarks)
    assert np.array_equal(landmarks, before)
    assert smooth(landmarks).dtype == np.float32


def test_the_pose_stays_a_rotation_in_a_fast_turn():
    turn = np.radians(np.linspace(-60, 60, 12))
    c, s, o, i = np.cos(turn), np.sin(turn), np.zeros(12), np.ones(12)
    rotation = np.stack(
        [np.stack([c, o, -s], 1), np.stack([o, i, o], 1), np.stack([s, o, c], 1)], 1
    )
    face = (reference() @ np.swapaxes(rotation, 1, 2) * UNIT).astype(np.float32)
    assert align(smooth(face)).angles()[:, 0] == pytest.approx(np.degrees(turn), abs=1.0)
    assert mouth_shapes(smooth(face)) == pytest.approx(mouth_shapes(face), abs=0.01)


# ------------------------------------------------------------------------------------- in parts
@given(st.integers(0, 40), st.integers(1, 60), st.integers(0, 3), st.integers(4, 20))
def test_parts_cover_a_stretch_and_know_their_neighbours(start, length, reach, size):
    stop, covered = start + length, []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK_ROWS", size)
        parts = list(overlapping(start, stop, reach))
    for first, last, inner in parts:
        own = range(first, last)[inner]
        covered += own
        assert first == max(start, own[0] - reach)
        assert last == min(stop, own[-1] + 1 + reach)
    assert covered == list(range(start, stop))


def test_a_long_take_on_disk_is_smoothed_as_if_it_were_whole(monkeypatch):
    noisy = jitter(synthetic_landmarks(90))
    noisy[40:43] = np.nan
    shots = np.repeat([0, 1], [70, 20])
    whole = smooth(noisy, shots)
    monkeypatch.setattr(module, "CHUNK_ROWS", 8)
    reel = DiskArray(noisy.shape[1:], np.float32)
    reel.extend(noisy)
    parts = smooth(reel, shots)
    assert isinstance(parts, DiskArray)
    assert np.asarray(parts) == pytest.approx(whole, abs=1e-3, nan_ok=True)
    assert np.array_equal(smooth(noisy, shots), np.asarray(parts), equal_nan=True)
