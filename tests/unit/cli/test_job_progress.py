from __future__ import annotations

import pytest

from lipwright.cli.job_progress import LinePrinter, view_of_bytes, view_of_job
from lipwright.client import JobState, JobStatus


def job_status(state: JobState, **facts: object) -> JobStatus:
    return JobStatus(id="x", state=state, **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (job_status(JobState.IN_QUEUE, position=3), ("in_queue", "3 ahead of it", 0.0)),
        (job_status(JobState.IN_QUEUE, position=0), ("in_queue", "next", 0.0)),
        (job_status(JobState.IN_PROGRESS), ("in_progress", "", 0.0)),
        (job_status(JobState.IN_PROGRESS, stage="fetch"), ("fetch", "0% of the job", 0.0)),
        (
            job_status(
                JobState.IN_PROGRESS,
                stage="paint",
                done=30,
                total=120,
                fraction=0.5,
                fps=24.6,
                seconds_left=75.0,
            ),
            ("paint", "30/120 frames, 25 fps, 50% of the job, 1:15 left", 0.5),
        ),
        (
            job_status(JobState.IN_PROGRESS, stage="track", done=30, fraction=0.1),
            ("track", "30/? frames, 10% of the job", 0.1),
        ),
        (job_status(JobState.SUCCEEDED, stage="paint", done=5), ("succeeded", "", 1.0)),
        (job_status(JobState.FAILED), ("failed", "", 1.0)),
    ],
)
def test_a_status_is_summarised_in_a_few_words(status: JobStatus, expected: tuple[str, str, float]):
    view = view_of_job(status)
    assert (view.label, view.text, view.fraction) == expected


def test_transfers_are_shown_in_megabytes():
    view = view_of_bytes("upload", 1_250_000, 5_000_000)
    assert (view.label, view.text, view.fraction) == ("upload", "1.2/5.0 MB", 0.25)
    assert view_of_bytes("download", 3_000_000, 0).text == "3.0 MB"


def test_a_line_is_printed_for_each_new_step_only():
    written: list[str] = []
    lines = LinePrinter(written.append)
    for position in (2, 2, 1):
        lines(view_of_job(job_status(JobState.IN_QUEUE, position=position)))
    for done in range(1001):
        facts = {"stage": "paint", "done": done, "total": 1000, "fraction": done / 1000}
        lines(view_of_job(job_status(JobState.IN_PROGRESS, **facts)))
    lines(view_of_job(job_status(JobState.SUCCEEDED)))
    assert written[:2] == ["in_queue: 2 ahead of it", "in_queue: 1 ahead of it"]
    assert len([line for line in written if line.startswith("paint")]) == 11
    assert written[-1] == "succeeded"
