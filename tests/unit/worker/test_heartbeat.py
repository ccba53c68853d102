"""Progress of a job: speed, fraction and remaining time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lipwright.progress import Progress
from lipwright.worker.heartbeat import ProgressMeter


def test_progress_becomes_speed_and_time_left():
    now = [100.0]
    meter = ProgressMeter(lambda: now[0])
    now[0] = 110.0
    progress = meter.job_progress(Progress(stage="paint", done=0, total=50, fraction=0.5))
    assert (progress.stage, progress.done, progress.total, progress.fps) == ("paint", 0, 50, None)
    assert (progress.fraction, progress.seconds_left) == (0.5, 10.0)
    now[0] = 112.0
    progress = meter.job_progress(Progress(stage="paint", done=25, total=50, fraction=0.75))
    assert (progress.fps, progress.seconds_left) == (12.5, 4.0)


def test_no_speed_or_remaining_time_is_reported_at_the_start():
    progress = ProgressMeter().job_progress(
        Progress(stage="track", done=0, total=None, fraction=0.0)
    )
    assert (progress.fps, progress.seconds_left) == (None, None)


@given(st.lists(st.floats(0, 1), min_size=2).map(sorted))
def test_the_fraction_never_falls_and_stays_below_one(fractions):
    meter = ProgressMeter()
    reported = [
        meter.job_progress(Progress(stage="paint", done=1, total=9, fraction=f)).fraction
        for f in fractions
    ]
    assert reported == sorted(reported)
    assert 0 < reported[0] <= reported[-1] < 1
