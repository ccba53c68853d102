"""Locks, names and workspaces of slots."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from lipwright.errors import Busy
from lipwright.worker.slot import Slot


def test_a_slot_can_be_locked_once(tmp_path):
    slot = Slot(data_dir=tmp_path, number=0)
    with slot.lock(), pytest.raises(Busy, match="another process"), slot.lock():
        pytest.fail("it was locked twice")
    with slot.lock():
        pass


def test_a_lock_ends_with_its_process_even_if_a_child_lives(tmp_path):
    program = (
        "import subprocess, sys\n"
        "from pathlib import Path\n"
        "from lipwright.worker.slot import Slot\n"
        f"with Slot(data_dir=Path({str(tmp_path)!r}), number=0).lock():\n"
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
        with pytest.raises(Busy), slot.lock():
            pytest.fail("it is held by another process")
        os.kill(child, 0)  # the child lives
        holder.kill()
        holder.wait()
        with slot.lock(wait_seconds=10.0):
            pass


def test_a_slot_name_is_stable_and_unique(tmp_path):
    one = Slot(data_dir=tmp_path / "a", number=0)
    assert one.name == Slot(data_dir=tmp_path / "a", number=0).name
    assert one.name != Slot(data_dir=tmp_path / "a", number=1).name
    assert one.name != Slot(data_dir=tmp_path / "b", number=0).name


def test_the_workspace_of_a_slot_can_be_cleared(tmp_path):
    slot = Slot(data_dir=tmp_path, number=0)
    (slot.clear_workspace() / "job.1").mkdir()
    (slot.workspace / "job.1" / "half.mp4").write_bytes(b"x")
    assert list(slot.clear_workspace().iterdir()) == []
