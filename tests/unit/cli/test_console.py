from __future__ import annotations

import os
import signal
import threading

import pytest

from lipwright.cli.console import (
    LineReporter,
    SpeedMeter,
    Stopped,
    cancel_on_signal,
    format_duration,
    show_progress,
)
from lipwright.errors import Cancelled
from lipwright.progress import Progress


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def at(stage: str, done: int, total: int | None, fraction: float) -> Progress:
    return Progress(stage=stage, done=done, total=total, fraction=fraction)


def test_speed_has_frames_per_second_of_the_stage_and_time_left_of_the_job():
    clock = Clock()
    meter = SpeedMeter(clock)
    meter(at("track", 0, 100, 0.0))
    clock.now += 2
    speed = meter(at("track", 50, 100, 0.25))
    assert (speed.fps, speed.seconds_left) == (25.0, 6.0)


def test_speed_is_measured_anew_in_each_stage():
    clock = Clock()
    meter = SpeedMeter(clock)
    clock.now += 4
    assert meter(at("paint", 0, 100, 0.5)).fps == 0
    clock.now += 4
    assert meter(at("paint", 40, 100, 1.0)) == meter(at("paint", 40, 100, 1.0))
    assert meter(at("paint", 40, 100, 1.0)).fps == 10


def test_time_left_is_unknown_at_the_start():
    assert SpeedMeter(Clock())(at("track", 0, None, 0.0)).seconds_left is None


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-:--"), (0, "0:00"), (61.4, "1:01"), (3599.6, "1:00:00")]
)
def test_durations_are_formatted_as_clocks(seconds, text):
    assert format_duration(seconds) == text


def test_a_stage_prints_at_most_one_line_per_tenth():
    lines: list[str] = []
    report = LineReporter(lines.append, SpeedMeter(Clock()))
    for done in range(1001):
        report(at("track", done, 1000, done / 2000))
    report(at("hear", 0, None, 0.5))
    report(at("hear", 5, None, 0.5))
    assert len(lines) == 12
    assert lines[0].startswith("track: 0/1000 frames")
    assert lines[-1].startswith("hear: 0/? frames")


def test_quiet_has_no_progress_callback():
    with show_progress(quiet=True) as on_progress:
        assert on_progress is None


def run_job_with_signals(*signals: signal.Signals) -> None:
    """Run a job that receives signals and then checks its token."""
    with cancel_on_signal() as cancel:
        for number in signals:
            os.kill(os.getpid(), number)
        cancel.raise_if_cancelled()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_the_job_and_restores_the_handler(number):
    before = signal.getsignal(number)
    with pytest.raises(Stopped, match="no partial output remains") as stopped:
        run_job_with_signals(number)
    assert isinstance(stopped.value.__cause__, Cancelled)
    assert stopped.value.exit_code == 128 + number
    assert signal.getsignal(number) is before


def test_the_second_signal_interrupts_the_job():
    with pytest.raises(Stopped) as stopped:
        run_job_with_signals(signal.SIGTERM, signal.SIGINT)
    assert isinstance(stopped.value.__cause__, KeyboardInterrupt)
    assert stopped.value.exit_code == 143


def test_a_signal_after_the_last_check_does_not_fail_the_job():
    before = signal.getsignal(signal.SIGTERM)
    results: list[bool] = []
    with cancel_on_signal() as cancel:
        os.kill(os.getpid(), signal.SIGTERM)
        results.append(cancel.cancelled)
    assert results == [True]
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_cancellation_without_a_signal_is_raised_unchanged():
    def job() -> None:
        with cancel_on_signal() as cancel:
            cancel.cancel()
            cancel.raise_if_cancelled()

    with pytest.raises(Cancelled):
        job()


def test_jobs_can_run_in_other_threads():
    seen: list[bool] = []

    def work() -> None:
        with cancel_on_signal() as cancel:
            seen.append(cancel.cancelled)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]
