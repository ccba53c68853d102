from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipwright.face.canonical import mouth_opening
from lipwright.face.pose_drift import fit_pose_drift
from lipwright.testing import synthetic_mouth


def sway(frames, seed=0):
    """Yaw, pitch and roll (T, 3) in degrees."""
    wave = np.sin(np.arange(frames)[:, None] * [0.11, 0.17, 0.07] + np.arange(3) + seed)
    return (wave * [18, 9, 5]).astype(np.float32)


def still(frames):
    return synthetic_mouth(np.zeros(frames, np.float32))


def test_still_mouth_has_no_drift():
    angles = sway(300)
    drift = fit_pose_drift(still(300), angles)
    assert np.abs(drift.at(angles)).max() < 1e-6
    assert drift.mean == pytest.approx(still(1)[0], abs=1e-6)


def test_motion_that_follows_the_pose_is_drift():
    angles = sway(2000)
    slide = 0.002 * angles[:, :1] - 0.0005 * angles[:, 1:2] + 0.00005 * angles[:, :1] ** 2
    mouth = still(2000)
    mouth[:, :, 0] += slide
    drift = fit_pose_drift(mouth, angles)
    missed = drift.at(angles)[:, :, 0] - (slide - slide.mean())
    assert np.abs(missed).max() < 0.15 * np.abs(slide).max()
    assert np.abs(drift.at(angles)[:, :, 1]).max() < 1e-5


def test_drift_does_not_open_the_lips():
    """Even if the speaker happened to open the mouth whenever the head turned."""
    angles = sway(200)
    mouth = synthetic_mouth((0.05 + 0.002 * angles[:, 0]).astype(np.float32))
    moved = still(1) + fit_pose_drift(mouth, angles).at(angles)
    assert mouth_opening(moved) == pytest.approx(np.full(200, mouth_opening(still(1))[0]), abs=2e-3)
    assert np.ptp(mouth_opening(mouth)) > 0.05


def test_speech_independent_of_the_pose_is_no_drift():
    angles = sway(3000)
    mouth = synthetic_mouth(np.random.default_rng(0).uniform(0, 0.1, 3000).astype(np.float32))
    assert np.abs(fit_pose_drift(mouth, angles).at(angles)).mean() < 0.003


@given(st.integers(3, 200), st.integers(0, 100))
def test_drift_has_zero_mean_over_the_take(frames, seed):
    angles = sway(frames, seed)
    mouth = synthetic_mouth(np.random.default_rng(seed).uniform(0, 0.1, frames).astype(np.float32))
    assert fit_pose_drift(mouth, angles).at(angles).mean(0) == pytest.approx(
        np.zeros((61, 3)), abs=1e-5
    )


def test_few_frames_give_little_drift():
    angles = sway(4)
    mouth = synthetic_mouth(np.array([0, 0.1, 0, 0.1], np.float32))
    moved = np.abs(fit_pose_drift(mouth, angles).at(angles)).max()
    assert moved < 0.2 * np.ptp(mouth, axis=0).max()


def test_frames_without_a_face_are_ignored():
    angles, mouth = sway(60), synthetic_mouth(np.linspace(0, 0.1, 60, dtype=np.float32))
    holed = mouth.copy()
    holed[10:20] = np.nan
    seen = np.r_[0:10, 20:60]
    ours, theirs = fit_pose_drift(holed, angles), fit_pose_drift(mouth[seen], angles[seen])
    assert np.array_equal(ours.at(angles), theirs.at(angles))
    assert np.isfinite(ours.mean).all()


def test_a_take_of_one_frame_has_no_drift():
    drift = fit_pose_drift(still(1), sway(1))
    assert drift.at(sway(5)).shape == (5, 61, 3)
    assert np.abs(drift.at(sway(5))).max() == 0


@pytest.mark.model
def test_mean_is_exact_over_ten_minutes():
    frames = 15_000
    mean = fit_pose_drift(still(frames), np.zeros((frames, 3), np.float32)).mean
    assert np.abs(mean - still(1)[0]).max() < 1e-6
