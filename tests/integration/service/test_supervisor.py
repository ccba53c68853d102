"""The supervisor with small programs as workers: it restarts them and ends them all."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lipwright.settings import Settings
from lipwright.worker import supervisor as supervisor_module
from lipwright.worker.supervisor import Supervisor

DEADLINE = 30.0
READ_SETTINGS = "import json, pathlib, sys; settings = json.loads(sys.stdin.readline());"
WELL_BEHAVED = READ_SETTINGS + "sys.stdin.read()"  # until its stdin ends
STUBBORN = READ_SETTINGS + (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "pathlib.Path(settings['data_dir'], 'ignoring').touch(); time.sleep(600)"
)


@contextmanager
def supervised(folder: Path, program: str, **settings: float) -> Iterator[Supervisor]:
    parts = Settings(data_dir=folder, slots=2, **settings)
    with Supervisor(parts, command=[sys.executable, "-c", program]) as supervisor:
        wait_for(lambda: all(supervisor.alive().values()))
        yield supervisor


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def pids_of(supervisor: Supervisor) -> list[int]:
    return [pid for pid in supervisor.pids().values() if pid is not None]


def test_a_dead_worker_is_restarted(tmp_path):
    with supervised(tmp_path, WELL_BEHAVED) as supervisor:
        assert supervisor.alive() == {"slot-0": True, "slot-1": True}
        before = supervisor.pids()
        os.kill(before["slot-0"] or 0, signal.SIGKILL)
        wait_for(lambda: supervisor.pids()["slot-0"] not in (None, before["slot-0"]))
        assert supervisor.pids()["slot-1"] == before["slot-1"]
        last = pids_of(supervisor)
    assert all(gone(pid) for pid in last)


def test_a_drained_worker_exits_and_is_not_restarted(tmp_path):
    with supervised(tmp_path, WELL_BEHAVED) as supervisor:
        last = pids_of(supervisor)
        supervisor.drain()
        assert supervisor.join(DEADLINE)
        assert supervisor.alive() == {"slot-0": False, "slot-1": False}
    assert all(gone(pid) for pid in last)


def test_a_worker_that_ignores_the_drain_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor_module, "STOP_SECONDS", 0.2)
    with supervised(tmp_path, STUBBORN, drain_seconds=0.1) as supervisor:
        wait_for(lambda: (tmp_path / "ignoring").exists())
        last = pids_of(supervisor)
        supervisor.drain()
        assert supervisor.join(DEADLINE)
    assert all(gone(pid) for pid in last)


def test_a_missing_command_is_retried_until_stopped(tmp_path, caplog):
    supervisor = Supervisor(Settings(data_dir=tmp_path), command=["/nowhere/worker"])
    supervisor.start()
    wait_for(lambda: "could not be started" in caplog.text)
    assert supervisor.alive() == {"slot-0": False}
    supervisor.stop()
    assert supervisor.join(DEADLINE)


def test_secrets_are_not_in_the_arguments_or_the_environment_of_a_worker(tmp_path):
    if not Path("/proc").exists():
        pytest.skip("processes are looked at in /proc")
    secret = "postgresql://user:pa55word@db/lipwright"
    parts = Settings(data_dir=tmp_path, database_url=secret)
    with Supervisor(parts, command=[sys.executable, "-c", WELL_BEHAVED]) as supervisor:
        wait_for(lambda: all(supervisor.alive().values()))
        (pid,) = pids_of(supervisor)
        for name in ("cmdline", "environ"):
            assert b"pa55word" not in Path(f"/proc/{pid}/{name}").read_bytes()
