from __future__ import annotations

import math

import numpy as np
import pytest
from bench import measures
from bench.tables import Column, table
from hypothesis import given
from hypothesis import strategies as st

RATE = 25.0
TIMES = np.arange(200) / RATE


def speech(times: np.ndarray) -> np.ndarray:
    """Return a curve like a lip opening, known at any time: syllables of 2 to 6 Hz."""
    waves = [(2.1, 0.3, 1.0), (3.3, 1.1, 0.8), (4.7, 2.0, 0.5), (5.9, 0.7, 0.3)]
    return sum(a * np.sin(2 * math.pi * f * times + p) for f, p, a in waves)


@given(st.floats(-0.2, 0.2))
def test_a_shifted_curve_has_the_lag_it_was_shifted_by(seconds):
    late = speech(TIMES - seconds)
    assert measures.lag(late, speech(TIMES), TIMES) == pytest.approx(seconds, abs=0.002)


@pytest.mark.parametrize("rate", [22.0, 29.97, 50.0])
def test_the_lag_knows_the_frame_rate(rate):
    times = np.arange(int(6 * rate)) / rate
    late = 0.7 * speech(times - 0.033) + 0.2
    assert measures.lag(late, speech(times), times) == pytest.approx(0.033, abs=0.003)


def test_the_lag_follows_irregular_times():
    times = np.delete(TIMES, np.arange(5, 190, 4))
    late = speech(times - 0.05)
    assert measures.lag(late, speech(times), times) == pytest.approx(0.05, abs=0.01)


def test_a_lag_beyond_what_is_tried_is_unknown():
    ramp = TIMES * 1.0
    assert math.isnan(measures.lag(-ramp, ramp, TIMES))
    assert math.isnan(measures.lag(ramp[:4], ramp[:4], TIMES[:4]))


def test_correlation_and_amplitude_of_a_scaled_curve():
    curve = speech(TIMES)
    assert measures.correlation(0.6 * curve + 3, curve) == pytest.approx(1)
    assert measures.correlation(-curve, curve) == pytest.approx(-1)
    assert measures.amplitude(0.6 * curve + 3, curve) == pytest.approx(0.6)
    assert math.isnan(measures.correlation(np.ones(9), curve[:9]))
    assert math.isnan(measures.amplitude(curve, np.ones(9)))


def talk() -> np.ndarray:
    """Return gaps of 0.10 with closures at 10..12 and 30, a pause at 50..69, a half one at 80."""
    gaps = np.full(100, 0.10)
    gaps[[10, 11, 12, 30]] = 0.004
    gaps[50:70] = 0.002
    gaps[80] = 0.025
    return gaps


def test_closures_lie_between_openings_and_are_short():
    gap = measures.gap_of(talk())
    assert 0.004 < gap.closed < 0.025 < gap.parted < 0.10
    assert measures.closures(talk(), gap, 1 / RATE) == [(10, 13), (30, 31)]


def test_a_curve_that_wavers_about_the_closed_level_closes_once():
    gaps = np.full(40, 0.10)
    gaps[[10, 12]] = 0.0
    gaps[11] = 0.022  # above closed, below parted
    gap = measures.Gap(closed=0.015, parted=0.03)
    assert measures.closures(gaps, gap, 1 / RATE) == [(10, 13)]


def test_what_is_not_measured_is_no_closure():
    gaps = talk()
    gaps[29] = np.nan
    gap = measures.gap_of(gaps)
    assert measures.closures(gaps, gap, 1 / RATE) == [(10, 13)]


def test_the_closed_level_is_the_speakers_own():
    gap = measures.gap_of(talk() + 0.02)  # lips that show a gap when they touch
    assert measures.closures(talk() + 0.02, gap, 1 / RATE) == [(10, 13), (30, 31)]


@pytest.mark.parametrize(("shift", "share"), [(0, 1.0), (1, 1.0), (-1, 1.0), (3, 0.0)])
def test_closures_one_frame_off_still_count(shift, share):
    gap = measures.gap_of(talk())
    events = [(30, 31)]
    assert measures.closed_again(np.roll(talk(), shift), events, gap) == share


def test_lips_that_never_close_close_nothing():
    gap = measures.gap_of(talk())
    assert measures.closed_again(np.full(100, 0.05), [(10, 13)], gap) == 0
    assert math.isnan(measures.closed_again(talk(), [], gap))


def test_landmark_distance_is_in_percent_and_blind_to_depth():
    truth = np.zeros((5, 40, 3))
    moved = truth + np.array([0.03, 0.04, 9.0])
    assert measures.landmark_distance(moved, truth) == pytest.approx(5.0)


def test_blur_lowers_the_fine_energy_and_a_shift_of_light_does_not():
    rng = np.random.default_rng(0)
    sharp = rng.integers(0, 256, (60, 60)).astype(np.uint8)
    mask = np.zeros((60, 60), bool)
    mask[10:50, 10:50] = True
    blurred = (sharp.astype(int) + np.roll(sharp, 1, 1)) // 2
    energy = measures.fine_energy(sharp, mask)
    assert 0.2 < measures.fine_energy(blurred, mask) / energy < 0.7
    assert measures.fine_energy(sharp.astype(int) + 40, mask) == pytest.approx(energy)
    assert math.isnan(measures.fine_energy(sharp, np.zeros((60, 60), bool)))


def test_acceleration_and_motion_of_known_curves():
    t = np.arange(50.0)
    used = np.ones(50, bool)
    assert measures.motion(3 * t, used) == pytest.approx(9)
    assert measures.acceleration(3 * t, used) == pytest.approx(0)
    assert measures.acceleration(2 * t**2, used) == pytest.approx(16)


def test_a_step_beside_an_unused_frame_does_not_count():
    curve, used = np.zeros(50), np.ones(50, bool)
    curve[25:] = 100
    assert measures.motion(curve, used) > 0
    used[25] = False
    assert measures.motion(curve, used) == 0
    assert measures.acceleration(curve, used) == 0
    assert math.isnan(measures.motion(curve, np.zeros(50, bool)))


def test_only_long_pauses_are_quiet_and_not_at_their_edges():
    activity = np.ones(300)
    activity[50:65] = 0  # 0.3 s
    activity[100:150] = 0.2  # 1 s
    activity[280:] = 0  # to the end of the sound
    quiet = measures.quiet(activity, 50)
    assert np.flatnonzero(quiet[:280]).tolist() == list(range(106, 144))
    assert np.flatnonzero(quiet[280:]).tolist() == list(range(6, 20))
    assert not measures.quiet(np.ones(9), 50).any()


def planes(height: int = 7, width: int = 9) -> list[np.ndarray]:
    half = (-(-height // 2), -(-width // 2))
    return [np.zeros(s, np.uint8) for s in ((height, width), half, half)]


def test_samples_outside_the_mask_are_counted_in_every_plane():
    before, after = planes(), planes()
    after[0][0, 0], after[1][0, 0], after[2][3, 4] = 1, 1, 1
    mask = np.zeros((7, 9), bool)
    assert measures.differing(before, after, None) == 3
    assert measures.differing(before, after, mask) == 3
    mask[1, 1] = True  # of the four pixels of the first chroma sample, but not the first luma's
    assert measures.differing(before, after, mask) == 2
    mask[6, 8] = True
    assert measures.differing(before, after, mask) == 1


def test_the_interval_holds_the_mean_and_leaves_out_what_is_unknown():
    mean, low, high = measures.mean_and_interval([0.6, 0.8, 0.7, math.nan])
    assert mean == pytest.approx(0.7)
    assert 0.59 < low < mean < high < 0.81
    assert all(math.isnan(v) for v in measures.mean_and_interval([math.nan]))


def test_a_table_has_rows_mean_interval_and_aim():
    columns = (
        Column(key="r", head="opening r", aim="≥ 0.80"),
        Column(key="lag", head="lag ms", form="+.0f", factor=1000),
    )
    text = table(columns, {"a": {"r": 0.5, "lag": 0.02}, "b": {"r": 0.7, "lag": math.nan}})
    lines = text.splitlines()
    assert lines[0] == "| clip | opening r | lag ms |"
    assert lines[2] == "| a | 0.50 | +20 |"
    assert lines[3] == "| b | 0.70 | – |"
    assert lines[4] == "| **mean** | **0.60** | **+20** |"
    assert lines[6] == "| aim | ≥ 0.80 |  |"


def test_a_flash_is_what_lasts_one_frame():
    used = np.ones(20, bool)
    steady = np.broadcast_to(np.arange(20.0)[:, None, None], (20, 4, 4)).copy()
    assert measures.flash(steady, used) == pytest.approx(0)
    steady[9] += 30
    assert measures.flash(steady, used) == pytest.approx(30)
    used[9] = False
    assert measures.flash(steady, used) == pytest.approx(0)
    assert math.isnan(measures.flash(steady[:2], used[:2]))
