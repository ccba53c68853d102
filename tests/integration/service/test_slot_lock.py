"""The lock of a slot, between processes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from lipwright.errors import Busy
from lipwright.worker.slot import Slot


def test_a_lock_ends_with_its_process_even_if_a_child_lives(tmp_path):
    program = (
        "import subprocess, sys\n"
        "from pathlib import Path\n"
        "from lipwright.worker.slot import Slot\n"
        f"with Slot(data_dir=Path({str(tmp_path)!r}), number=0).lock():\n"
        "    waiting = [sys.executable, '-c', 'import sys; sys.stdin.read()']\n"
        "    child = subprocess.Popen(waiting, stdin=subprocess.PIPE)\n"
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
