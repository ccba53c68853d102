from __future__ import annotations

import os
import time
from pathlib import Path

from lipwright.server.uploads.receive import LEFTOVER_SECONDS, remove_leftovers


def age(*paths: Path) -> None:
    then = time.time() - LEFTOVER_SECONDS - 60
    for path in paths:
        os.utime(path, (then, then))


def test_old_leftovers_are_removed_and_young_files_stay(tmp_path: Path):
    dead, half, young = (tmp_path / name for name in ("dead/inner", "half", "young"))
    for folder in (dead, half, young):
        folder.mkdir(parents=True)
    for path in (old := [dead / "video", half / "video", tmp_path / "upload-1"]):
        path.write_bytes(b"x")
    for path in (fresh := [half / "audio", tmp_path / "upload-2"]):
        path.write_bytes(b"x")
    age(*old, dead, dead.parent, half)
    assert remove_leftovers(tmp_path) == 3
    left = set(tmp_path.rglob("*"))
    assert left == {*fresh, half, young}
    assert remove_leftovers(tmp_path) == 0


def test_a_link_is_removed_and_not_followed(tmp_path: Path):
    incoming, elsewhere = tmp_path / "incoming", tmp_path / "elsewhere"
    incoming.mkdir()
    elsewhere.write_bytes(b"x")
    age(elsewhere)
    link = incoming / "link"
    link.symlink_to(elsewhere)
    remove_leftovers(incoming)
    assert elsewhere.exists()
