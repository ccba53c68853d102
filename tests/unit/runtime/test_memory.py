"""Memory that is free again goes back to the system."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from lipwright.runtime import memory


def resident() -> int:
    """Bytes that this process holds."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.skipif(memory._trim() is None, reason="the C library keeps what is free")
def test_what_is_free_goes_back():
    kept, pinned = [], []
    for _ in range(2000):  # small enough to lie on the heap
        kept.append(np.ones(12_000, np.uint8))
        pinned.append(np.ones(64, np.uint8))  # so that the heap cannot shrink by itself
    before = resident()
    kept.clear()
    memory.release_free_memory()
    assert resident() < before - 10_000_000


def test_a_c_library_without_it_is_left_alone(monkeypatch):
    monkeypatch.setattr(memory, "_trim", lambda: None)
    memory.release_free_memory()
