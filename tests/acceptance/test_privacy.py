"""A job sends nothing, looks nothing up and leaves nothing behind."""

from __future__ import annotations

import os
import sys

import pytest

from closed_network import closed_network_available, run_closed

LOOK_UP = (
    "import socket, contextlib\nwith contextlib.suppress(OSError): socket.getaddrinfo('a.test', 1)"
)

needs_namespaces = pytest.mark.skipif(
    not closed_network_available(), reason="needs Linux and the right to make network namespaces"
)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home, and an empty folder for temporary files."""
    for name in [name for name in os.environ if name.startswith(("XDG_", "LIPWRIGHT_", "ORT_"))]:
        monkeypatch.delenv(name)
    folders = tmp_path / "home", tmp_path / "tmp"
    for folder, name in zip(folders, ("HOME", "TMPDIR"), strict=True):
        folder.mkdir()
        monkeypatch.setenv(name, str(folder))
    return folders


@needs_namespaces
def test_a_job_needs_no_network_and_leaves_no_file_in_the_home(home, talk, speech, tmp_path):
    out = tmp_path / "out.mp4"
    command = [sys.executable, "-m", "lipwright", "sync", str(talk), str(speech), "-o", str(out)]
    ended = run_closed(command, os.environ, tmp_path / "report.json")
    assert (ended.status, ended.lookups) == (0, []), ended.error
    assert out.stat().st_size
    assert [path for folder in home for path in folder.rglob("*") if path.is_file()] == []


@needs_namespaces
def test_a_look_up_would_be_seen(home, tmp_path):
    ended = run_closed([sys.executable, "-c", LOOK_UP], os.environ, tmp_path / "report.json")
    assert "a.test" in ended.lookups
