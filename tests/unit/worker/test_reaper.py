"""The reaper requeues the work of dead slots and stale jobs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lipwright.jobs.ledger.memory import MemoryBackend
from lipwright.jobs.model import Job, JobSpec, State, SubmitLimits
from lipwright.settings import Settings
from lipwright.worker.reaper import LOCK, Reaper
from lipwright.worker.slot import Slot, file_lock


class FakeExecutor:
    """Has executors with unfinished work, and records which are recovered."""

    def __init__(self, *pending: str) -> None:
        self._pending, self.recovered = set(pending), []

    def pending_executors(self) -> set[str]:
        return self._pending

    def recover(self, names: Sequence[str]) -> None:
        self.recovered.extend(names)


def reaper(
    tmp_path: Path, executor: FakeExecutor, memory: MemoryBackend, **settings: float
) -> Reaper:
    return Reaper(
        ledger=memory.ledger,
        executor=executor,
        slot=Slot(data_dir=tmp_path, number=0),
        settings=Settings(data_dir=tmp_path, heartbeat_seconds=0.001, **settings),
    )


def slots(tmp_path: Path) -> list[Slot]:
    return [Slot(data_dir=tmp_path, number=number) for number in range(3)]


def test_only_the_work_of_dead_slots_is_recovered(tmp_path):
    own, dead, living = slots(tmp_path)
    with own.lock(), dead.lock():
        pass  # a worker has run in each
    executor = FakeExecutor(own.name, dead.name, living.name)
    with own.lock(), living.lock():
        reaper(tmp_path, executor, MemoryBackend()).run_round()
    assert executor.recovered == [dead.name]


def test_slots_of_other_machines_are_skipped(tmp_path):
    executor = FakeExecutor("somewhere-0")
    reaper(tmp_path, executor, MemoryBackend()).run_round()
    assert executor.recovered == []


def test_one_worker_of_a_machine_runs_a_round(tmp_path):
    _, dead, _ = slots(tmp_path)
    with dead.lock():
        pass
    executor = FakeExecutor(dead.name)
    with file_lock(tmp_path, LOCK):
        reaper(tmp_path, executor, MemoryBackend()).run_round()
    assert executor.recovered == []


class Clock:
    """A clock that only a test advances."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def stale_job(clock: Clock, claims: int = 1) -> tuple[MemoryBackend, Job]:
    """A job without a heartbeat for 20 seconds."""
    memory = MemoryBackend(clock=clock)
    spec = JobSpec(
        id="j1", key_id="k", model_id="m", dialect="runcomfy", engine="e", input={}, payload={}
    )
    memory.ledger.submit(spec, SubmitLimits(max_queued=9, submits_per_minute=9))
    for _ in range(claims):
        job = memory.ledger.claim("j1", "elsewhere-0")
    assert job is not None
    clock.now += timedelta(seconds=20)
    return memory, job


def test_a_stale_job_is_requeued_and_its_old_claim_refused(tmp_path):
    memory, job = stale_job(Clock())
    reaper(tmp_path, FakeExecutor(), memory, lease_seconds=15.0).run_round()
    requeued = memory.ledger.get("j1")
    assert requeued.state is State.IN_QUEUE
    assert memory.work[-1] == (requeued.work_id, 0.0)
    assert not memory.ledger.finish(job.id, job.epoch, output={}, failure=None)


def test_a_stale_job_fails_after_too_many_attempts(tmp_path):
    memory, _ = stale_job(Clock(), claims=2)
    reaper(tmp_path, FakeExecutor(), memory, lease_seconds=15.0, max_attempts=1).run_round()
    failure = memory.ledger.get("j1").failure
    assert failure is not None
    assert failure.code == "worker_died"


def test_a_job_with_heartbeats_is_left_alone(tmp_path):
    memory, job = stale_job(Clock())
    reaper(tmp_path, FakeExecutor(), memory, lease_seconds=25.0).run_round()
    assert memory.ledger.get("j1") == job
