"""Free memory returns to the system."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from lipwright.runtime import memory


def resident() -> int:
    """Resident memory of this process, bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.skipif(memory._trim() is None, reason="the C library has no malloc_trim")
def test_free_memory_returns_to_the_system():
    kept, pinned = [], []
    for _ in range(2000):  # small enough to lie on the heap
        kept.append(np.ones(12_000, np.uint8))
        pinned.append(np.ones(64, np.uint8))  # so that the heap cannot shrink by itself
    before = resident()
    kept.clear()
    memory.release_free_memory()
    assert resident() < before - 10_000_000


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="malloc_trim is glibc's")
def test_all_free_memory_is_released_where_the_c_library_can(monkeypatch):
    calls: list[int] = []
    for library in (SimpleNamespace(malloc_trim=calls.append), SimpleNamespace()):
        monkeypatch.setattr(memory.ctypes, "CDLL", lambda _name, library=library: library)
        monkeypatch.setattr(memory, "_trim", memory._trim.__wrapped__)
        memory.release_free_memory()
        monkeypatch.undo()
    assert calls == [0]
