"""Faulty engines, written as a plug-in into a folder for child processes to import."""

from __future__ import annotations

from pathlib import Path

ENGINES = {
    "printer": "print('not an answer', flush=True)",  # a library that prints
    "broken": "raise ZeroDivisionError('secret of /srv')",
    "brisk": "time.sleep(0.3)",  # long enough to be killed
    "slow": "time.sleep(1.5)",
    "sleeper": "time.sleep(600)",
    "suicide": "os.kill(os.getpid(), signal.SIGKILL)",
    "assassin": "os.kill(os.getppid(), signal.SIGKILL); time.sleep(600)",  # of its worker
}

#: If DISK_FULL is set, render processes behave as if their disk had 1 KiB left.
_FULL_DISK = """
import os, resource, sys
if os.environ.get("DISK_FULL") and "lipwright.worker.render_process" in sys.orig_argv:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))
"""

_MODULE = """
import os, signal, time
from lipwright.engines.base import EngineSpec
from lipwright.engines.passthrough import Passthrough

def spec(name, act):
    class Faulty(Passthrough):
        def study(self, face, fetch_views):
            act()
    return EngineSpec(
        name=name, summary="faulty", licence="Apache-2.0", load=lambda device, store: Faulty()
    )
"""


def install(folder: Path) -> Path:
    """Write the plug-in into *folder*, which the caller puts on ``PYTHONPATH``."""
    acts = "".join(
        f"\ndef {name}():\n    {act}\n{name.upper()} = spec({name!r}, {name})\n"
        for name, act in ENGINES.items()
    )
    (folder / "faulty.py").write_text(_MODULE + acts)
    (folder / "sitecustomize.py").write_text(_FULL_DISK)
    info = folder / "faulty-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 1\n")
    points = "".join(f"{name} = faulty:{name.upper()}\n" for name in ENGINES)
    (info / "entry_points.txt").write_text(f"[lipwright.engines]\n{points}")
    return folder
