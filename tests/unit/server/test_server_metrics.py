from __future__ import annotations

import pytest

from lipwright.errors import QueueUnavailable
from lipwright.jobs.model import State
from lipwright.server.metrics import Metrics

COUNTS = {
    "jobs": {State.IN_QUEUE: 3, State.IN_PROGRESS: 1},
    "ended": {State.SUCCEEDED: 10, State.FAILED: 2},
    "failures": {"no_face_found": 2},
    "seconds": {"fetch": 5.0, "track": 10.0, "paint": 30.0},
    "frames": 400,
    "deliveries": {"pending": 1, "dead": 2},
    "oldest_seconds": 12.5,
}


class Ledger:
    def __init__(self, counts=None):
        self._counts = counts

    def counts(self):
        if self._counts is None:
            raise QueueUnavailable
        return self._counts


def lines(metrics: Metrics) -> list[str]:
    return metrics.render().decode().splitlines()


@pytest.mark.parametrize(
    "line",
    [
        "lipwright_database_up 1.0",
        "lipwright_jobs_waiting 3.0",
        "lipwright_jobs_running 1.0",
        "lipwright_jobs_oldest_waiting_seconds 12.5",
        'lipwright_jobs_ended_total{state="succeeded"} 10.0',
        'lipwright_jobs_failed_total{code="no_face_found"} 2.0',
        'lipwright_stage_seconds_total{stage="paint"} 30.0',
        "lipwright_frames_total 400.0",
        "lipwright_frames_per_second 10.0",
        'lipwright_webhooks{state="dead"} 2.0',
    ],
)
def test_the_counts_of_the_ledger_are_shown(line):
    assert line in lines(Metrics(Ledger(COUNTS)))


def test_an_empty_ledger_has_no_frames_per_second():
    empty = {**COUNTS, "jobs": {}, "seconds": {}, "frames": 0}
    shown = lines(Metrics(Ledger(empty)))
    assert "lipwright_frames_per_second 0.0" in shown
    assert "lipwright_jobs_waiting 0.0" in shown


def test_without_a_database_http_metrics_are_shown():
    metrics = Metrics(Ledger())
    metrics.request_started()
    metrics.request_finished("GET", "/v1/models", 200, 0.01)
    shown = lines(metrics)
    assert "lipwright_database_up 0.0" in shown
    assert not any(line.startswith("lipwright_jobs_waiting") for line in shown)
    assert (
        'lipwright_http_requests_total{method="GET",route="/v1/models",status="200"} 1.0' in shown
    )


def test_two_services_in_one_process_have_separate_metrics():
    one, other = Metrics(Ledger(COUNTS)), Metrics(Ledger(COUNTS))
    one.request_started()
    assert "lipwright_http_open 1.0" in lines(one)
    assert "lipwright_http_open 0.0" in lines(other)
