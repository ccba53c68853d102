from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipwright.face.canonical import reference_face
from lipwright.face.effect_strength import (
    FADE_SECONDS,
    PITCH,
    SHAPE_JUMP,
    YAW,
    effect_strength,
)
from lipwright.face.landmarks import LIPS

RATE = 25.0
SIZE = (1000, 1000)


def heads(yaw, pitch=0.0):
    """Landmarks (T, 478, 3) of heads turned by degrees of yaw (T,) and pitch (T,)."""
    yaw, pitch = np.broadcast_arrays(*np.atleast_1d(np.radians(yaw), np.radians(pitch)))
    c, s, o = np.cos(yaw), np.sin(yaw), np.zeros_like(yaw)
    across = np.array([[c, o, -s], [o, o + 1, o], [s, o, c]]).transpose(2, 0, 1)
    c, s = np.cos(pitch), np.sin(pitch)
    down = np.array([[o + 1, o, o], [o, c, -s], [o, s, c]]).transpose(2, 0, 1)
    return (reference_face() @ np.swapaxes(across @ down, 1, 2) * 90 + 300).astype(np.float32)


def strengths(yaw, pitch=0.0, rate=RATE):
    landmarks = heads(yaw, pitch)
    return effect_strength(landmarks, np.ones(len(landmarks), np.float32), rate, SIZE)


def test_frontal_face_has_full_strength_in_every_frame():
    assert strengths(np.zeros(20)).tolist() == [1.0] * 20
    assert strengths(np.zeros(1)).tolist() == [1.0]


@pytest.mark.parametrize(("ends", "turn"), [(YAW, lambda a: (a, 0.0)), (PITCH, lambda a: (0.0, a))])
@pytest.mark.parametrize("side", [-1, 1])
def test_strength_fades_as_the_face_turns_away(ends, turn, side):
    full, none = ends
    angles = side * np.array([0, full - 1, (full + none) / 2, none + 1, 80])
    shown = [float(strengths(*turn(angle))[0]) for angle in angles]
    assert shown == pytest.approx([1, 1, 0.5, 0, 0], abs=0.01)


@pytest.mark.parametrize("rate", [25.0, 50.0])
def test_strength_changes_gradually_when_the_head_turns_at_once(rate):
    turned = np.where((np.arange(80) > 30) & (np.arange(80) < 50), 75.0, 0.0)
    shown = strengths(turned, rate=rate)
    assert (shown[turned > 0] == 0).all()
    assert (shown[[0, -1]] == 1).all()
    assert np.abs(np.diff(shown)).max() <= 1 / (FADE_SECONDS * rate) + 1e-6


def test_strength_is_zero_during_a_fast_turn():
    yaw = np.interp(np.arange(60), [28, 31], [-25, 25])  # 50 degrees in 3 frames
    shown = strengths(yaw)
    assert (shown[28:32] == 0).all()
    assert (shown[[15, 45]] == 1).all()
    slow = strengths(np.interp(np.arange(60), [20, 40], [-25, 25]))
    assert (slow == 1).all()


def test_strength_is_zero_where_landmarks_jump():
    landmarks = heads(np.zeros(40))
    landmarks[20, :234] += 90 * 2 * SHAPE_JUMP[1]  # one side of the face flies off for a frame
    shown = effect_strength(landmarks, np.ones(40, np.float32), RATE, SIZE)
    assert (shown[19:22] == 0).all()
    assert (shown[[10, 30]] == 1).all()
    assert (np.diff(shown[14:20]) < 0).all()


def test_strength_is_zero_where_landmarks_fit_no_head():
    """A face squeezed to a quarter of its height for longer than a moment."""
    landmarks = heads(np.zeros(40))
    landmarks[12:28, :, 1] = 300 + (landmarks[12:28, :, 1] - 300) * 0.25
    shown = effect_strength(landmarks, np.ones(40, np.float32), RATE, SIZE)
    assert (shown[12:28] == 0).all()
    assert (shown[[5, 35]] == 1).all()


def test_low_confidence_fades_the_effect():
    doubtful = np.ones(40, np.float32)
    doubtful[18:22] = 0.7
    shown = effect_strength(heads(np.zeros(40)), doubtful, RATE, SIZE)
    assert shown[18:22] == pytest.approx(np.full(4, 0.5), abs=0.01)
    assert (shown[[5, 35]] == 1).all()


@given(st.floats(0, 85), st.floats(0, 20), st.floats(0, 85))
def test_strength_never_increases_with_the_angle(yaw, more, pitch):
    low, high = (float(strengths(a, pitch)[0]) for a in (yaw, min(yaw + more, 85)))
    assert 0 <= high <= low + 1e-4 <= 1 + 1e-4


def test_fade_around_a_gap_takes_the_same_time_at_any_rate():
    for rate in (25.0, 50.0):
        fade = round(FADE_SECONDS * rate)
        landmarks = heads(np.zeros(100))
        landmarks[40:60] = np.nan
        shown = effect_strength(landmarks, np.ones(100, np.float32), rate, SIZE)
        assert (shown[40:60] == 0).all()
        out, back = shown[:40], shown[60:]
        assert (np.diff(out[-fade:]) < 0).all()
        assert (np.diff(back[:fade]) > 0).all()
        assert np.abs(np.diff(shown)).max() <= 1 / fade + 1e-6
        assert (out[:-fade] == 1).all()
        assert (back[fade:] == 1).all()
        assert out[-1] > 0


def test_face_seen_briefly_does_not_reach_full_strength():
    landmarks = np.full((20, 478, 3), np.nan, np.float32)
    landmarks[8:10] = heads(np.zeros(2))
    shown = effect_strength(landmarks, np.ones(20, np.float32), RATE, SIZE)
    assert 0 < shown[8] == shown[9] < 0.5
    assert np.count_nonzero(shown) == 2


def test_zero_confidence_counts_as_no_face():
    landmarks = heads(np.zeros(6))
    shown = effect_strength(landmarks, np.array([1, 1, 0, 0, 1, 1], np.float32), RATE, SIZE)
    assert (shown[2:4] == 0).all()
    assert (shown[[0, 1, 4, 5]] > 0).all()


def test_strength_is_zero_without_a_face():
    landmarks = np.full((7, 478, 3), np.nan, np.float32)
    assert effect_strength(landmarks, np.zeros(7, np.float32), RATE, SIZE).tolist() == [0.0] * 7


def test_strength_fades_as_the_lips_leave_the_frame():
    landmarks = np.repeat(heads(np.zeros(1)), 3, 0)
    middle = landmarks[0, LIPS, 0].mean()
    landmarks[1:, :, 0] += np.array([[1000 - middle], [2000]], np.float32)
    apart = np.arange(3)
    shown = effect_strength(landmarks, np.ones(3, np.float32), RATE, SIZE, apart)
    assert shown[0] == 1
    assert shown[1] < 0.2
    assert shown[2] == 0


def test_strength_changes_at_once_at_a_cut():
    """The face is there in the second and the fourth shot, from cut to cut."""
    shots = np.repeat([0, 1, 2, 3], 20)
    landmarks = heads(np.zeros(80))
    landmarks[shots % 2 == 0] = np.nan
    shown = effect_strength(landmarks, np.ones(80, np.float32), RATE, SIZE, shots)
    assert shown.tolist() == (shots % 2 == 1).astype(float).tolist()


def test_face_that_appears_within_a_shot_fades_in():
    shots = np.repeat([0, 1], 20)
    landmarks = heads(np.zeros(40))
    landmarks[20:24] = np.nan
    shown = effect_strength(landmarks, np.ones(40, np.float32), RATE, SIZE, shots)
    assert (shown[:20] == 1).all()
    assert (np.diff(shown[24:28]) > 0).all()
