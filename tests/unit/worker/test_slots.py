"""Turns, cores, pauses, locks, heartbeats and the reaper: the small parts around a worker."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipwright.errors import (
    LipwrightError,
    MediaUnreadable,
    PublishFailed,
    QueueUnavailable,
    WorkerDied,
)
from lipwright.jobs.ledger.memory import Memory
from lipwright.jobs.model import RANKS, Job, Limits, State, Ticket
from lipwright.jobs.queue import Turns
from lipwright.progress import Progress
from lipwright.runtime.signals import handle_signals
from lipwright.settings import Settings
from lipwright.worker.heartbeat import Meter
from lipwright.worker.reaper import LOCK, Reaper
from lipwright.worker.renderer import cores_for, error_of, threads_for
from lipwright.worker.run import LONGEST_PAUSE, Policy
from lipwright.worker.slot import Slot, locked
from lipwright.worker.supervisor import PAUSES, pause_after


# ------------------------------------------------------------------------------------------ turns
def rank(priority: int, sequence: int) -> int:
    return priority * RANKS + sequence


def test_the_better_priority_goes_first_whenever_it_came():
    turns = Turns()
    heads = {"early": rank(10, 1), "urgent": rank(1, 999)}
    assert [turns.choose(heads, {}) for _ in range(3)] == ["urgent"] * 3


def test_keys_of_one_priority_take_turns_however_much_one_of_them_waits():
    turns, chosen = Turns(), []
    first = {"a": 1, "b": 501, "c": 502}
    for k in range(6):
        heads = {key: rank(10, sequence + k) for key, sequence in first.items()}
        chosen.append(turns.choose(heads, {}))
    assert chosen == ["a", "b", "c", "a", "b", "c"]


def test_a_key_with_fewer_running_jobs_goes_before_one_with_more():
    heads = {"a": rank(10, 1), "b": rank(10, 2)}
    assert Turns().choose(heads, {"a": 2, "b": 1}) == "b"


def test_nobody_goes_when_nobody_waits():
    assert Turns().choose({}, {"a": 1}) is None


@given(st.lists(st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 99), min_size=1)))
def test_no_key_that_waits_is_passed_over_for_ever(rounds):
    """Among keys of the same priority nobody goes twice while another one waits all the time."""
    turns, passed = Turns(), dict.fromkeys("abcdef", 0)
    for waiting in rounds:
        heads = {key: rank(10, sequence) for key, sequence in waiting.items()}
        chosen = turns.choose(heads, {})
        for key in passed:
            passed[key] = passed[key] + 1 if key in heads and key != chosen else 0
        assert max(passed.values()) < len(passed)


# ---------------------------------------------------------------------------------------- threads
def test_cores_are_shared_evenly_unless_a_number_is_given():
    assert threads_for(0, slots=2, cores=8) == 4
    assert threads_for(0, slots=3, cores=2) == 1
    assert threads_for(5, slots=2, cores=8) == 5


def test_each_slot_has_cores_of_its_own_while_there_are_enough():
    available = [0, 1, 4, 5]
    assert [cores_for(slot, 2, available) for slot in range(3)] == [[0, 1], [4, 5], [0, 1]]
    assert cores_for(1, 9, available) == available


@given(
    st.integers(0, 20), st.integers(1, 20), st.lists(st.integers(0, 63), min_size=1, unique=True)
)
def test_a_slot_never_gets_cores_that_are_not_there(slot, threads, available):
    cores = cores_for(slot, threads, available)
    assert set(cores) <= set(available)
    assert len(cores) == min(threads, len(available))


def test_an_error_comes_back_from_the_child_as_what_it_was():
    error = error_of("media_unreadable", "no pictures")
    assert isinstance(error, MediaUnreadable)
    assert str(error) == "no pictures"
    assert type(error_of("nothing we know", "x")) is LipwrightError


# ----------------------------------------------------------------------------------------- pauses
def test_only_what_may_pass_is_tried_again():
    policy = Policy(max_attempts=2, retry_seconds=10.0)
    assert policy.pause_after(MediaUnreadable(), 1) is None
    assert policy.pause_after(PublishFailed(), 1) == 10.0
    assert policy.pause_after(WorkerDied(), 2) == 20.0
    assert policy.pause_after(WorkerDied(), 3) is None
    assert Policy(max_attempts=99).pause_after(WorkerDied(), 50) == LONGEST_PAUSE
    assert Policy(max_attempts=0).pause_after(WorkerDied(), 1) is None


def test_a_worker_that_dies_at_once_is_replaced_ever_more_slowly():
    first, longest = PAUSES
    assert [pause_after(n) for n in (0, 1, 2, 3)] == [first, first, 2 * first, 4 * first]
    assert pause_after(1000) == longest


# ------------------------------------------------------------------------------------------ meter
def test_progress_becomes_speed_and_time_left():
    now = [100.0]
    meter = Meter(lambda: now[0])
    now[0] = 110.0
    stage = meter.stage(Progress(stage="paint", done=0, total=50, fraction=0.5))
    assert (stage.stage, stage.done, stage.total, stage.fps) == ("paint", 0, 50, None)
    assert (stage.fraction, stage.seconds_left) == (0.5, 10.0)
    now[0] = 112.0
    stage = meter.stage(Progress(stage="paint", done=25, total=50, fraction=0.75))
    assert (stage.fps, stage.seconds_left) == (12.5, 4.0)


def test_nothing_is_promised_before_there_is_something_to_go_by():
    stage = Meter().stage(Progress(stage="track", done=0, total=None, fraction=0.0))
    assert (stage.fps, stage.seconds_left) == (None, None)


@given(st.lists(st.floats(0, 1), min_size=2).map(sorted))
def test_the_fraction_never_falls_and_leaves_room_for_publishing(fractions):
    meter = Meter()
    told = [
        meter.stage(Progress(stage="paint", done=1, total=9, fraction=f)).fraction
        for f in fractions
    ]
    assert told == sorted(told)
    assert 0 < told[0] <= told[-1] < 1


# ------------------------------------------------------------------------------------------ locks
def test_two_processes_never_live_in_one_slot(tmp_path):
    slot = Slot(data_dir=tmp_path, number=0)
    with slot.held(), pytest.raises(QueueUnavailable, match="another process"), slot.held():
        pytest.fail("it was held twice")
    with slot.held():
        pass


def test_a_lock_goes_with_its_process_and_no_child_of_it_keeps_it(tmp_path):
    program = (
        "import subprocess, sys\n"
        "from pathlib import Path\n"
        "from lipwright.worker.slot import Slot\n"
        f"with Slot(data_dir=Path({str(tmp_path)!r}), number=0).held():\n"
        "    child = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)\n"
        "    print(child.pid, flush=True)\n"
        "    input()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    with holder.stdin, holder.stdout:
        child = int(holder.stdout.readline())
        slot = Slot(data_dir=tmp_path, number=0)
        with pytest.raises(QueueUnavailable), slot.held():
            pytest.fail("it is held by another process")
        os.kill(child, 0)  # the child lives
        holder.kill()
        holder.wait()
        with slot.held(wait_seconds=10.0):
            pass


def test_the_name_of_a_slot_stays_and_is_no_other_folders(tmp_path):
    one = Slot(data_dir=tmp_path / "a", number=0)
    assert one.name == Slot(data_dir=tmp_path / "a", number=0).name
    assert one.name != Slot(data_dir=tmp_path / "a", number=1).name
    assert one.name != Slot(data_dir=tmp_path / "b", number=0).name


def test_what_a_killed_process_left_in_a_slot_is_cleared(tmp_path):
    slot = Slot(data_dir=tmp_path, number=0)
    (slot.cleared() / "job.1").mkdir()
    (slot.folder / "job.1" / "half.mp4").write_bytes(b"x")
    assert list(slot.cleared().iterdir()) == []


# ----------------------------------------------------------------------------------------- reaper
class FakeExecutor:
    """Knows whose work is unfinished, and notes whose is recovered."""

    def __init__(self, *owners: str) -> None:
        self._owners, self.recovered = set(owners), []

    def owners(self) -> set[str]:
        return self._owners

    def recover(self, names: Sequence[str]) -> None:
        self.recovered.extend(names)


def reaper(tmp_path: Path, executor: FakeExecutor, memory: Memory, **settings: float) -> Reaper:
    return Reaper(
        ledger=memory.ledger,
        executor=executor,
        slot=Slot(data_dir=tmp_path, number=0),
        settings=Settings(data_dir=tmp_path, heartbeat_seconds=0.001, **settings),
    )


def slots(tmp_path: Path) -> list[Slot]:
    return [Slot(data_dir=tmp_path, number=number) for number in range(3)]


def test_the_work_of_a_dead_slot_is_handed_on_and_no_living_ones(tmp_path):
    own, dead, living = slots(tmp_path)
    with own.held(), dead.held():
        pass  # each has lived once
    executor = FakeExecutor(own.name, dead.name, living.name)
    with own.held(), living.held():
        reaper(tmp_path, executor, Memory()).look()
    assert executor.recovered == [dead.name]


def test_a_slot_of_another_machine_is_not_judged_by_its_lock(tmp_path):
    executor = FakeExecutor("somewhere-0")
    reaper(tmp_path, executor, Memory()).look()
    assert executor.recovered == []


def test_one_of_all_workers_of_a_machine_looks(tmp_path):
    _, dead, _ = slots(tmp_path)
    with dead.held():
        pass
    executor = FakeExecutor(dead.name)
    with locked(tmp_path, LOCK):
        reaper(tmp_path, executor, Memory()).look()
    assert executor.recovered == []


class Clock:
    """Turned by hand."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def silent_job(clock: Clock, claims: int = 1) -> tuple[Memory, Job]:
    """A job whose worker said nothing for 20 seconds."""
    memory = Memory(clock=clock)
    ticket = Ticket(
        id="j1", key_id="k", model_id="m", dialect="runcomfy", engine="e", input={}, work={}
    )
    memory.ledger.submit(ticket, Limits(max_queued=9, submits_per_minute=9))
    for _ in range(claims):
        job = memory.ledger.claim("j1", "elsewhere-0")
    assert job is not None
    clock.now += timedelta(seconds=20)
    return memory, job


def test_a_job_without_heartbeats_goes_back_and_its_late_worker_is_refused(tmp_path):
    memory, job = silent_job(Clock())
    reaper(tmp_path, FakeExecutor(), memory, lease_seconds=15.0).look()
    back = memory.ledger.get("j1")
    assert back.state is State.IN_QUEUE
    assert memory.work[-1] == (back.work_id, 0.0)
    assert not memory.ledger.finish(job.id, job.epoch, output={}, failure=None)


def test_a_job_that_silenced_too_many_workers_fails(tmp_path):
    memory, _ = silent_job(Clock(), claims=2)
    reaper(tmp_path, FakeExecutor(), memory, lease_seconds=15.0, max_attempts=1).look()
    failure = memory.ledger.get("j1").failure
    assert failure is not None
    assert failure.code == "worker_died"


def test_a_job_with_heartbeats_is_left_alone(tmp_path):
    memory, job = silent_job(Clock())
    reaper(tmp_path, FakeExecutor(), memory, lease_seconds=25.0).look()
    assert memory.ledger.get("j1") == job


# ---------------------------------------------------------------------------------------- signals
def test_two_signals_that_come_together_are_both_heard_at_once():
    program = (
        "import queue, signal, sys\n"
        "from lipwright.runtime.signals import heard\n"
        "told = queue.SimpleQueue()\n"
        "with heard([signal.SIGINT, signal.SIGTERM], told.put):\n"
        "    print('ready', flush=True)\n"
        "    print(sorted([told.get(), told.get()]), flush=True)\n"
    )
    for _ in range(5):
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            process.send_signal(signal.SIGINT)
            process.send_signal(signal.SIGTERM)
            try:
                assert process.stdout.readline() == b"[2, 15]\n"
            finally:
                process.kill()


def test_signals_mean_what_they_did_when_nobody_listens_any_more():
    before = signal.getsignal(signal.SIGTERM)
    told: queue.SimpleQueue[int] = queue.SimpleQueue()
    with handle_signals([signal.SIGTERM], told.put):
        os.kill(os.getpid(), signal.SIGTERM)
        assert told.get(timeout=10.0) == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before
