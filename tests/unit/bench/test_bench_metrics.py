from __future__ import annotations

import math

import numpy as np
import pytest
from bench.common import metrics
from bench.common.markdown import Column, score_table
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.model  # slow

RATE = 25.0
TIMES = np.arange(200) / RATE


def speech(times: np.ndarray) -> np.ndarray:
    """Return a curve like a lip opening at any times: syllables of 2 to 6 Hz."""
    waves = [(2.1, 0.3, 1.0), (3.3, 1.1, 0.8), (4.7, 2.0, 0.5), (5.9, 0.7, 0.3)]
    return sum(a * np.sin(2 * math.pi * f * times + p) for f, p, a in waves)


@given(st.floats(-0.2, 0.2))
def test_lag_equals_the_shift_of_a_curve(seconds):
    late = speech(TIMES - seconds)
    assert metrics.lag(late, speech(TIMES), TIMES) == pytest.approx(seconds, abs=0.002)


@pytest.mark.parametrize("rate", [22.0, 29.97, 50.0])
def test_lag_does_not_depend_on_the_frame_rate(rate):
    times = np.arange(int(6 * rate)) / rate
    late = 0.7 * speech(times - 0.033) + 0.2
    assert metrics.lag(late, speech(times), times) == pytest.approx(0.033, abs=0.003)


def test_lag_with_irregular_frame_times():
    times = np.delete(TIMES, np.arange(5, 190, 4))
    late = speech(times - 0.05)
    assert metrics.lag(late, speech(times), times) == pytest.approx(0.05, abs=0.01)


def test_lag_outside_the_range_is_nan():
    ramp = TIMES * 1.0
    assert math.isnan(metrics.lag(-ramp, ramp, TIMES))
    assert math.isnan(metrics.lag(ramp[:4], ramp[:4], TIMES[:4]))


def test_correlation_and_amplitude_of_a_scaled_curve():
    curve = speech(TIMES)
    assert metrics.correlation(0.6 * curve + 3, curve) == pytest.approx(1)
    assert metrics.correlation(-curve, curve) == pytest.approx(-1)
    assert metrics.amplitude_ratio(0.6 * curve + 3, curve) == pytest.approx(0.6)
    assert math.isnan(metrics.correlation(np.ones(9), curve[:9]))
    assert math.isnan(metrics.amplitude_ratio(curve, np.ones(9)))


def talk() -> np.ndarray:
    """Return gaps of 0.10 with closures at 10..12 and 30, a pause at 50..69, a half one at 80."""
    gaps = np.full(100, 0.10)
    gaps[[10, 11, 12, 30]] = 0.004
    gaps[50:70] = 0.002
    gaps[80] = 0.025
    return gaps


def test_closures_are_short_and_between_openings():
    levels = metrics.estimate_closure_levels(talk())
    assert 0.004 < levels.closed < 0.025 < levels.open < 0.10
    assert metrics.find_closures(talk(), levels, 1 / RATE) == [(10, 13), (30, 31)]


def test_wavering_around_the_closed_level_is_one_closure():
    gaps = np.full(40, 0.10)
    gaps[[10, 12]] = 0.0
    gaps[11] = 0.022  # above closed, below parted
    levels = metrics.ClosureLevels(closed=0.015, open=0.03)
    assert metrics.find_closures(gaps, levels, 1 / RATE) == [(10, 13)]


def test_frames_without_a_face_are_not_closures():
    gaps = talk()
    gaps[29] = np.nan
    levels = metrics.estimate_closure_levels(gaps)
    assert metrics.find_closures(gaps, levels, 1 / RATE) == [(10, 13)]


def test_closure_levels_adapt_to_the_speaker():
    levels = metrics.estimate_closure_levels(talk() + 0.02)  # lips that show a gap when they touch
    assert metrics.find_closures(talk() + 0.02, levels, 1 / RATE) == [(10, 13), (30, 31)]


@pytest.mark.parametrize(("shift", "share"), [(0, 1.0), (1, 1.0), (-1, 1.0), (3, 0.0)])
def test_closure_recall_tolerates_one_frame(shift, share):
    levels = metrics.estimate_closure_levels(talk())
    events = [(30, 31)]
    assert metrics.closure_recall(np.roll(talk(), shift), events, levels) == share


def test_closure_recall_without_closures():
    levels = metrics.estimate_closure_levels(talk())
    assert metrics.closure_recall(np.full(100, 0.05), [(10, 13)], levels) == 0
    assert math.isnan(metrics.closure_recall(talk(), [], levels))


def test_landmark_distance_is_in_percent_and_ignores_depth():
    truth = np.zeros((5, 40, 3))
    shifted = truth + np.array([0.03, 0.04, 9.0])
    assert metrics.landmark_distance(shifted, truth) == pytest.approx(5.0)


def test_detail_energy_falls_with_blur_but_not_with_brightness():
    rng = np.random.default_rng(0)
    sharp = rng.integers(0, 256, (60, 60)).astype(np.uint8)
    mask = np.zeros((60, 60), bool)
    mask[10:50, 10:50] = True
    blurred = (sharp.astype(int) + np.roll(sharp, 1, 1)) // 2
    energy = metrics.detail_energy(sharp, mask)
    assert 0.2 < metrics.detail_energy(blurred, mask) / energy < 0.7
    assert metrics.detail_energy(sharp.astype(int) + 40, mask) == pytest.approx(energy)
    assert math.isnan(metrics.detail_energy(sharp, np.zeros((60, 60), bool)))


def test_acceleration_and_velocity_of_known_curves():
    t = np.arange(50.0)
    used = np.ones(50, bool)
    assert metrics.mean_square_velocity(3 * t, used) == pytest.approx(9)
    assert metrics.mean_square_acceleration(3 * t, used) == pytest.approx(0)
    assert metrics.mean_square_acceleration(2 * t**2, used) == pytest.approx(16)


def test_steps_next_to_unused_frames_do_not_count():
    curve, used = np.zeros(50), np.ones(50, bool)
    curve[25:] = 100
    assert metrics.mean_square_velocity(curve, used) > 0
    used[25] = False
    assert metrics.mean_square_velocity(curve, used) == 0
    assert metrics.mean_square_acceleration(curve, used) == 0
    assert math.isnan(metrics.mean_square_velocity(curve, np.zeros(50, bool)))


def test_pause_mask_covers_long_pauses_without_margins():
    activity = np.ones(300)
    activity[50:65] = 0  # 0.3 s
    activity[100:150] = 0.2  # 1 s
    activity[280:] = 0  # to the end of the sound
    paused = metrics.pause_mask(activity, 50)
    assert np.flatnonzero(paused[:280]).tolist() == list(range(106, 144))
    assert np.flatnonzero(paused[280:]).tolist() == list(range(6, 20))
    assert not metrics.pause_mask(np.ones(9), 50).any()


def planes(height: int = 7, width: int = 9) -> list[np.ndarray]:
    half = (-(-height // 2), -(-width // 2))
    return [np.zeros(s, np.uint8) for s in ((height, width), half, half)]


def test_changed_samples_are_counted_in_every_plane():
    before, after = planes(), planes()
    after[0][0, 0], after[1][0, 0], after[2][3, 4] = 1, 1, 1
    mask = np.zeros((7, 9), bool)
    assert metrics.count_changed_samples(before, after, None) == 3
    assert metrics.count_changed_samples(before, after, mask) == 3
    mask[1, 1] = True  # of the four pixels of the first chroma sample, but not the first luma's
    assert metrics.count_changed_samples(before, after, mask) == 2
    mask[6, 8] = True
    assert metrics.count_changed_samples(before, after, mask) == 1


@pytest.mark.model
def test_interval_contains_the_mean_and_ignores_nan():
    mean, low, high = metrics.mean_and_interval([0.6, 0.8, 0.7, math.nan])
    assert mean == pytest.approx(0.7)
    assert 0.59 < low < mean < high < 0.81
    assert metrics.mean_and_interval([0.5, math.nan]) == (0.5, 0.5, 0.5)
    assert all(math.isnan(v) for v in metrics.mean_and_interval([math.nan]))


def test_score_table_has_rows_mean_interval_and_aim():
    columns = (
        Column(key="r", head="opening r", aim="≥ 0.80"),
        Column(key="lag", head="lag ms", form="+.0f", factor=1000),
    )
    text = score_table(columns, {"a": {"r": 0.5, "lag": 0.02}, "b": {"r": 0.7, "lag": math.nan}})
    lines = text.splitlines()
    assert lines[0] == "| clip | opening r | lag ms |"
    assert lines[2] == "| a | 0.50 | +20 |"
    assert lines[3] == "| b | 0.70 | – |"
    assert lines[4] == "| **mean** | **0.60** | **+20** |"
    assert lines[6] == "| aim | ≥ 0.80 |  |"


def test_flash_is_a_change_that_lasts_one_frame():
    used = np.ones(20, bool)
    steady = np.broadcast_to(np.arange(20.0)[:, None, None], (20, 4, 4)).copy()
    assert metrics.largest_flash(steady, used) == pytest.approx(0)
    steady[9] += 30
    assert metrics.largest_flash(steady, used) == pytest.approx(30)
    used[9] = False
    assert metrics.largest_flash(steady, used) == pytest.approx(0)
    assert math.isnan(metrics.largest_flash(steady[:2], used[:2]))
