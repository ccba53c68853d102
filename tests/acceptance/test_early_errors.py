"""Errors before the first frame end with their documented exit code, whatever runs beside them."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from lipwright.pipeline.pipeline import Pipeline

REPEAT = 3  # runs of each; before, one in ten ended with another code
EARLY = {
    "no video": (["none.mp4", "speech.wav", "-o", "out.mp4"], 3),
    "empty video": (["empty.mp4", "speech.wav", "-o", "out.mp4", "--json"], 3),
    "no audio": (["talk.mp4", "notes.txt", "-o", "out.mp4"], 3),
    "unknown container": (["talk.mp4", "speech.wav", "-o", "out.xyz", "--json"], 2),
    "no such folder": (["talk.mp4", "speech.wav", "-o", "none/out.mp4"], 6),
}
LIBRARY = """
import sys, lipwright
try:
    lipwright.sync("none.mp4", "speech.wav", "out.mp4")
except lipwright.LipwrightError as error:
    sys.exit(error.exit_code)
"""


@pytest.fixture
def folder(tmp_path, talk, speech):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "notes.txt").write_text("no sound\n")
    return tmp_path


@pytest.mark.parametrize("name", EARLY)
def test_an_early_error_has_its_exit_code_every_time(folder, process, name):
    arguments, code = EARLY[name]
    runs = [process("sync", *arguments, cwd=folder).status for _ in range(REPEAT)]
    assert runs == [code] * REPEAT


def test_python_ends_with_the_code_it_is_given(folder):
    command = [sys.executable, "-c", LIBRARY]
    runs = [subprocess.run(command, cwd=folder, check=False).returncode for _ in range(REPEAT)]
    assert runs == [3] * REPEAT


def test_python_waits_for_every_thread_of_a_pipeline():
    """A daemon thread in native code aborts the process when Python ends."""
    before = {*threading.enumerate()}
    with Pipeline(engine="passthrough", threads=2):
        started = {*threading.enumerate()} - before
        assert not [thread.name for thread in started if thread.daemon]
