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


def test_pace_counts_frames_of_the_stage_and_time_of_the_job():
    clock = Clock()
    pacer = SpeedMeter(clock)
    pacer(at("track", 0, 100, 0.0))
    clock.now += 2
    pace = pacer(at("track", 50, 100, 0.25))
    assert (pace.fps, pace.seconds_left) == (25.0, 6.0)


def test_pace_starts_anew_with_each_stage():
    clock = Clock()
    pacer = SpeedMeter(clock)
    clock.now += 4
    assert pacer(at("paint", 0, 100, 0.5)).fps == 0
    clock.now += 4
    assert pacer(at("paint", 40, 100, 1.0)) == pacer(at("paint", 40, 100, 1.0))
    assert pacer(at("paint", 40, 100, 1.0)).fps == 10


def test_pace_at_the_very_start_is_unknown():
    assert SpeedMeter(Clock())(at("track", 0, None, 0.0)).seconds_left is None


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-:--"), (0, "0:00"), (61.4, "1:01"), (3599.6, "1:00:00")]
)
def test_times_are_written_as_clocks(seconds, text):
    assert format_duration(seconds) == text


def test_lines_are_at_most_one_for_each_tenth_of_a_stage():
    lines: list[str] = []
    report = LineReporter(lines.append, SpeedMeter(Clock()))
    for done in range(1001):
        report(at("track", done, 1000, done / 2000))
    report(at("hear", 0, None, 0.5))
    report(at("hear", 5, None, 0.5))
    assert len(lines) == 12
    assert lines[0].startswith("track: 0/1000 frames")
    assert lines[-1].startswith("hear: 0/? frames")


def test_quiet_shows_nothing():
    with show_progress(quiet=True) as on_progress:
        assert on_progress is None


def job_hit_by(*signals: signal.Signals) -> None:
    """Run a job that looks at its token after the signals have come."""
    with cancel_on_signal() as cancel:
        for number in signals:
            os.kill(os.getpid(), number)
        cancel.raise_if_cancelled()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_the_job_which_ends_by_itself(number):
    before = signal.getsignal(number)
    with pytest.raises(Stopped, match="no partial output remains") as stopped:
        job_hit_by(number)
    assert isinstance(stopped.value.__cause__, Cancelled)
    assert stopped.value.exit_code == 128 + number
    assert signal.getsignal(number) is before


def test_the_second_signal_interrupts():
    with pytest.raises(Stopped) as stopped:
        job_hit_by(signal.SIGTERM, signal.SIGINT)
    assert isinstance(stopped.value.__cause__, KeyboardInterrupt)
    assert stopped.value.exit_code == 143


def test_a_job_that_ended_before_it_saw_the_signal_has_succeeded():
    with cancel_on_signal():
        os.kill(os.getpid(), signal.SIGTERM)


def test_a_cancel_without_a_signal_stays_what_it_is():
    def job() -> None:
        with cancel_on_signal() as cancel:
            cancel.cancel()
            cancel.raise_if_cancelled()

    with pytest.raises(Cancelled):
        job()


def test_other_threads_may_run_jobs():
    seen: list[bool] = []

    def work() -> None:
        with cancel_on_signal() as cancel:
            seen.append(cancel.cancelled)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]
