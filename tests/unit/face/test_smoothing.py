from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipwright.face import smoothing
from lipwright.face.canonical import estimate_pose, mouth_opening, mouth_shapes, reference_face
from lipwright.face.smoothing import find_runs, overlapping_chunks, smooth_landmarks
from lipwright.runtime.disk_array import DiskArray
from lipwright.testing import synthetic_landmarks

UNIT = 84.0


def jitter(landmarks, seed=0, sigma=0.5):
    noise = np.random.default_rng(seed).normal(0, sigma, landmarks.shape)
    return (landmarks + noise).astype(np.float32)


@given(st.lists(st.booleans(), max_size=60))
def test_runs_are_maximal_ranges_of_true(seen):
    found = find_runs(np.array(seen, bool))
    back = np.zeros(len(seen), bool)
    for start, stop in found:
        assert start < stop
        back[start:stop] = True
        assert start == 0 or not seen[start - 1]
        assert stop == len(seen) or not seen[stop]
    assert back.tolist() == seen


def test_jitter_is_reduced():
    clean = synthetic_landmarks(60)
    noisy = jitter(clean)
    before, after = (np.abs(x - clean).mean() for x in (noisy, smooth_landmarks(noisy)))
    assert after < 0.75 * before


def test_landmarks_without_jitter_hardly_change():
    clean = synthetic_landmarks(60)
    assert np.abs(smooth_landmarks(clean) - clean).max() < 0.03 * UNIT
    still = np.repeat(clean[:1], 20, 0)
    assert np.abs(smooth_landmarks(still) - still).max() < 1e-3 * UNIT


def test_steady_motion_is_kept_even_at_its_ends():
    steps = np.arange(20, dtype=np.float32)[:, None, None] * np.array([7, -3, 0], np.float32)
    walking = synthetic_landmarks(1) + steps
    assert np.abs(smooth_landmarks(walking) - walking).max() < 1e-3 * UNIT


def test_short_closure_is_kept():
    gap = np.full(30, 0.12, np.float32)
    gap[14:17] = 0.06, 0.0, 0.06  # one /p/ at 25 fps
    landmarks = synthetic_landmarks(30, opening=gap)
    before, after = (
        mouth_opening(mouth_shapes(x)) for x in (landmarks, smooth_landmarks(landmarks))
    )
    assert after[15] - before[15] < 0.25 * (before[10] - before[15])
    assert int(after.argmin()) == 15


def test_closure_within_one_frame_keeps_its_timing():
    gap = np.full(30, 0.2, np.float32)
    gap[15:18] = 0.0
    landmarks = synthetic_landmarks(30, opening=gap)
    before, after = (
        mouth_opening(mouth_shapes(x)) for x in (landmarks, smooth_landmarks(landmarks))
    )
    assert np.abs(after - before)[12:21].max() < 0.012


def test_head_jump_is_kept():
    """As at a jump cut that shot detection does not find."""
    landmarks = jitter(synthetic_landmarks(30), sigma=0.2)
    landmarks[15:] += np.array([0.3, -0.2, 0], np.float32) * UNIT
    assert np.abs(smooth_landmarks(landmarks) - landmarks)[13:17].mean() < 0.01 * UNIT


def test_chin_moves_with_fast_lips():
    gap = np.full(30, 0.2, np.float32)
    gap[15] = 0.0
    noisy = jitter(synthetic_landmarks(30, opening=gap), sigma=0.3)
    turned = smooth_landmarks(noisy)[15] - noisy[15]
    turned = turned - turned.mean(0)  # where the head is may be smoothed
    assert np.abs(turned).max() < 0.02 * UNIT


def test_gaps_are_kept_and_separate_runs():
    landmarks = jitter(synthetic_landmarks(40))
    landmarks[18:22] = np.nan
    both = smooth_landmarks(landmarks)
    assert np.isnan(both[18:22]).all()
    assert np.array_equal(both[:18], smooth_landmarks(landmarks[:18]))
    assert np.array_equal(both[22:], smooth_landmarks(landmarks[22:]))


def test_shots_are_smoothed_separately():
    landmarks = jitter(synthetic_landmarks(40))
    landmarks[20:] += 60
    apart = smooth_landmarks(landmarks, np.repeat([0, 1], 20))
    assert np.array_equal(apart[:20], smooth_landmarks(landmarks[:20]))
    assert np.array_equal(apart[20:], smooth_landmarks(landmarks[20:]))
    assert not np.array_equal(apart, smooth_landmarks(landmarks))


@pytest.mark.parametrize("frames", [0, 1, 2, 4])
def test_runs_too_short_to_filter_are_unchanged(frames):
    landmarks = jitter(synthetic_landmarks(4))[:frames]
    assert np.array_equal(smooth_landmarks(landmarks), landmarks)


@pytest.mark.parametrize("frames", [5, 6, 7])
def test_shortest_runs_are_smoothed(frames):
    landmarks = jitter(synthetic_landmarks(frames))
    assert np.isfinite(smooth_landmarks(landmarks)).all()
    assert not np.array_equal(smooth_landmarks(landmarks), landmarks)


def test_input_is_not_modified():
    landmarks = jitter(synthetic_landmarks(12))
    before = landmarks.copy()
    smooth_landmarks(landmarks)
    assert np.array_equal(landmarks, before)
    assert smooth_landmarks(landmarks).dtype == np.float32


def test_pose_stays_a_rotation_in_a_fast_turn():
    turn = np.radians(np.linspace(-60, 60, 12))
    c, s, o, i = np.cos(turn), np.sin(turn), np.zeros(12), np.ones(12)
    rotation = np.stack(
        [np.stack([c, o, -s], 1), np.stack([o, i, o], 1), np.stack([s, o, c], 1)], 1
    )
    face = (reference_face() @ np.swapaxes(rotation, 1, 2) * UNIT).astype(np.float32)
    assert estimate_pose(smooth_landmarks(face)).angles()[:, 0] == pytest.approx(
        np.degrees(turn), abs=1.0
    )
    assert mouth_shapes(smooth_landmarks(face)) == pytest.approx(mouth_shapes(face), abs=0.01)


# ------------------------------------------------------------------------------------- in chunks
@given(st.integers(0, 40), st.integers(1, 60), st.integers(0, 3), st.integers(4, 20))
def test_chunks_cover_the_range_and_include_context(start, length, context, size):
    stop, covered = start + length, []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(smoothing, "CHUNK_ROWS", size)
        chunks = list(overlapping_chunks(start, stop, context))
    for first, last, inner in chunks:
        own = range(first, last)[inner]
        covered += own
        assert first == max(start, own[0] - context)
        assert last == min(stop, own[-1] + 1 + context)
    assert covered == list(range(start, stop))


def test_chunked_smoothing_equals_whole_smoothing(monkeypatch):
    noisy = jitter(synthetic_landmarks(90))
    noisy[40:43] = np.nan
    shots = np.repeat([0, 1], [70, 20])
    whole = smooth_landmarks(noisy, shots)
    monkeypatch.setattr(smoothing, "CHUNK_ROWS", 8)
    on_disk = DiskArray(noisy.shape[1:], np.float32)
    on_disk.extend(noisy)
    chunks = smooth_landmarks(on_disk, shots)
    assert isinstance(chunks, DiskArray)
    assert np.allclose(np.asarray(chunks), whole, rtol=0, atol=1e-3, equal_nan=True)
    assert np.array_equal(smooth_landmarks(noisy, shots), np.asarray(chunks), equal_nan=True)
