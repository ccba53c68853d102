"""Locks, names and workspaces of slots."""

from __future__ import annotations

import pytest

from lipwright.errors import Busy
from lipwright.worker.slot import Slot


def test_a_slot_can_be_locked_once(tmp_path):
    slot = Slot(data_dir=tmp_path, number=0)
    with slot.lock(), pytest.raises(Busy, match="another process"), slot.lock():
        pytest.fail("it was locked twice")
    with slot.lock():
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
