"""Real workers with jobs that succeed, fail, hang or kill their process."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import faulty_engines
import live_service
import tiny_media
from lipwright.jobs.model import Failure, State
from lipwright.jobs.queue import WorkQueue
from lipwright.sample import SampleTruth
from lipwright.settings import Settings
from processes import linux_only, wait_for
from service_harness import ServiceHarness, open_service_harness, started_in_order

pytestmark = linux_only


@pytest.fixture(scope="session")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return faulty_engines.install(tmp_path_factory.mktemp("plugins"))


@pytest.fixture
def bench(tmp_path: Path, original: SampleTruth, plugins: Path) -> Iterator[ServiceHarness]:
    speech = tiny_media.write_wav(tmp_path / "speech.wav", 0.3)
    with open_service_harness(tmp_path, original.path, speech, plugins) as opened:
        yield opened


def test_jobs_start_by_priority_then_by_key_in_turn_then_by_arrival(bench):
    names = {}
    with bench.serving():
        first = bench.submit("slow")
        bench.wait_study(first)
        for name in ("a1", "a2", "a3"):
            names[name] = bench.submit(key="k1")
        for name in ("b1", "b2"):
            names[name] = bench.submit(key="k2")
        names["urgent"] = bench.submit(key="k1", priority=1)
        jobs = {name: bench.wait(job_id) for name, job_id in names.items()}
    assert {job.state for job in jobs.values()} == {State.SUCCEEDED}
    assert started_in_order(jobs) == ["urgent", "b1", "a1", "b2", "a2", "a3"]
    ends = sorted((job.started_at, job.finished_at) for job in jobs.values())
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(ends))


def test_a_job_that_times_out_fails_and_its_slot_continues(bench):
    with bench.serving(job_timeout_seconds=6):
        late, good = bench.submit("sleeper"), bench.submit()
        failure = bench.wait(late).failure
        assert failure is not None
        assert failure.code == "job_timed_out"
        bench.wait(good)
        bench.check_output(good)
    bench.check_tidy()


def test_a_job_that_keeps_killing_its_process_fails_and_its_slot_continues(bench):
    with bench.serving(max_attempts=1):
        killers = bench.submit("suicide"), bench.submit("assassin")
        good = bench.submit()
        for job_id in killers:
            job = bench.wait(job_id)
            assert job.failure is not None
            assert job.failure.code == "worker_died"
        assert [bench.job(job_id).attempts for job_id in killers] == [2, 3]
        bench.wait(good)
        bench.check_output(good)
    bench.check_tidy()


def test_a_full_disk_fails_the_job_and_leaves_no_file(bench, monkeypatch):
    monkeypatch.setenv("DISK_FULL", "1")
    with bench.serving():
        job = bench.wait(bench.submit())
    assert job.failure is not None
    assert job.failure.code == "storage_full"
    assert str(bench.data_dir) not in job.failure.message
    assert bench.files() == {}
    bench.check_tidy()


def test_a_cancelled_job_never_runs(bench):
    with bench.serving():
        first = bench.submit("slow")
        bench.wait_study(first)
        waiting = [bench.submit() for _ in range(10)]
        cancelled = [job_id for job_id in waiting[::2] if bench.services.ledger.cancel(job_id)[1]]
        assert not bench.services.ledger.cancel(first)[1]
        ended = [bench.wait(job_id) for job_id in (first, *waiting[1::2])]
    assert len(cancelled) == 5
    assert {job.state for job in ended} == {State.SUCCEEDED}
    assert {bench.job(job_id).epoch for job_id in cancelled} == {0}
    assert not [name for name in bench.files() for job_id in cancelled if f"/{job_id}/" in name]


def test_cancelling_a_running_job_in_the_queue_has_no_effect(bench):
    """DBOS can cancel running workflows without a reply: only the ledger decides."""
    with bench.serving():
        job_id = bench.submit("slow")
        bench.wait_study(job_id)
        queue = WorkQueue(Settings(data_dir=bench.data_dir).database)
        queue.cancel(f"{job_id}:0")
        queue.close()
        job = bench.wait(job_id)
        assert (job.state, job.epoch) == (State.SUCCEEDED, 1)
        bench.wait(after := bench.submit())
        bench.check_output(after)


def test_a_job_returned_by_a_worker_that_died_is_not_run_twice(bench):
    """The worker died between returning the job and completing its queue entry."""
    job_id = bench.submit()
    job = bench.services.ledger.claim(job_id, "a dead worker")
    failure = Failure(code="worker_died", message="")
    assert job is not None
    assert bench.services.ledger.retry(job_id, job.epoch, failure, 0.0)
    with bench.serving(slots=2):
        assert bench.wait(job_id).epoch == 2
        bench.wait(bench.submit())  # the old queue entry was processed by now
        assert bench.job(job_id).epoch == 2


# -------------------------------------------------------------------------------- drain and stop
def test_one_signal_lets_the_running_job_finish_and_starts_no_other(bench):
    with bench.serving() as live:
        running, waiting = bench.submit("slow"), bench.submit()
        bench.wait_study(running)
        assert live.stop() == 0
    assert bench.job(running).state is State.SUCCEEDED
    assert bench.job(waiting).state is State.IN_QUEUE
    assert bench.processes() == []
    with bench.serving():
        bench.wait(waiting)
        bench.check_output(waiting)


@pytest.mark.parametrize("cause", ["second signal", "drain timeout"])
def test_a_job_that_does_not_finish_in_time_returns_to_the_queue(bench, cause):
    drain_seconds = 600 if cause == "second signal" else 0.5
    with bench.serving(drain_seconds=drain_seconds) as live:
        job_id = bench.submit("sleeper")
        bench.wait_study(job_id)
        began = time.monotonic()
        live.process.send_signal(signal.SIGINT)
        if cause == "second signal":  # of another kind: two of one kind may be merged
            live.process.send_signal(signal.SIGTERM)
        assert live.process.wait(60) == 0
        assert time.monotonic() - began < 30
    job = bench.job(job_id)
    assert (job.state, job.attempts) == (State.IN_QUEUE, 0)
    assert bench.processes() == []
    bench.check_tidy()


def test_a_worker_runs_without_a_supervisor_and_only_once_per_slot(bench):
    settings = {
        "LIPWRIGHT_DATA_DIR": str(bench.data_dir),
        "LIPWRIGHT_LEASE_SECONDS": "3",
        "PYTHONPATH": str(bench.plugins),
    }
    command = [sys.executable, "-m", "lipwright.worker.main", "--slot", "0"]
    environment = live_service.environment(**settings)
    first = subprocess.Popen(command, env=environment)
    try:
        job_id = bench.submit()
        bench.wait(job_id)
        bench.check_output(job_id)
        second = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert second.returncode == 7
        assert "another process holds the lock" in second.stderr
        assert "Traceback" not in second.stderr
    finally:
        first.terminate()
        assert first.wait(60) == 0


# ----------------------------------------------------------------------- dead and silent workers
def test_the_job_of_a_slot_that_does_not_return_is_handed_on(bench):
    with bench.serving(slots=2) as live:
        jobs = [bench.submit("sleeper"), bench.submit("sleeper")]
        for job_id in jobs:
            bench.wait_study(job_id)
        live.process.send_signal(signal.SIGSTOP)  # it cannot restart its workers
        for process in bench.processes("worker"):
            process.kill()
        live.process.kill()
        live.process.wait()
        wait_for(lambda: not bench.processes())
    with bench.serving(slots=1, job_timeout_seconds=1):
        failures = [bench.wait(job_id).failure for job_id in jobs]
    assert [failure.code for failure in failures if failure] == ["job_timed_out"] * 2


def test_the_job_of_a_silent_worker_is_taken_over_and_its_late_result_is_refused(bench):
    with bench.serving(slots=2):
        wait_for(lambda: len(bench.processes("worker")) == 2)
        job_id = bench.submit("slow")
        bench.wait_study(job_id)
        slot = int((bench.job(job_id).worker or "").rpartition("-")[2])
        (silent,) = (p for p in bench.processes("worker") if p.slot == slot)
        silent.signal(signal.SIGSTOP)
        try:
            job = bench.wait(job_id)
        finally:
            os.kill(silent.pid, signal.SIGCONT)
        assert (job.state, job.epoch) == (State.SUCCEEDED, 2)
        assert job.worker is not None
        assert not job.worker.endswith(f"-{slot}")
        later = [bench.submit() for _ in range(4)]  # both slots continue
        for other in later:
            bench.wait(other)
            bench.check_output(other)
        assert bench.job(job_id) == job
    bench.check_output(job_id)
    bench.check_tidy()
