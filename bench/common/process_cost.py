"""Time and memory of a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# A process starts with the peak memory of its parent, so a small process starts it.
LAUNCHER = """
import json, os, sys, time
began = time.perf_counter()
process = os.posix_spawn(sys.executable, [sys.executable, *sys.argv[1:]], os.environ,
                         file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)])
_, status, used = os.wait4(process, 0)
print(json.dumps({"wall": time.perf_counter() - began, "cpu": used.ru_utime + used.ru_stime,
                  "peak": used.ru_maxrss * 1024.0}))
sys.exit(os.waitstatus_to_exitcode(status))
"""


@dataclass(frozen=True, kw_only=True)
class ProcessCost:
    """Time and memory that a process used."""

    wall: float  #: seconds
    cpu: float  #: seconds, of all its threads and children
    peak: float  #: bytes of memory held at most at once


def run_python(*arguments: str | Path, python: str | Path = sys.executable) -> ProcessCost:
    """Run Python with these arguments in a process of its own.

    Raises:
        SystemExit: the process failed.
    """
    command: Sequence[str] = [str(python), "-c", LAUNCHER, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, arguments))} ended with {done.returncode}")
    return ProcessCost(**json.loads(done.stdout))


def run_sync(clip: Path, speech: Path, mode: str = "cut_off") -> ProcessCost:
    """Run ``lipwright sync`` as a user would; the result lies next to the clip."""
    out = clip.with_name("dubbed.mp4")
    return run_python("-m", "lipwright", "sync", clip, speech, "-o", out, "--mode", mode, "--quiet")
