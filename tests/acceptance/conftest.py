"""Fixtures that run commands as a user does."""

from __future__ import annotations

import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

import tiny_media
from lipwright.cli import main
from lipwright.sample import SampleTruth, make_sample
from outcome import Outcome, Run


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command line in this process."""
    monkeypatch.delenv("LIPWRIGHT_DEBUG", raising=False)

    def run(*arguments: object) -> Outcome:
        capfd.readouterr()
        status = main([str(argument) for argument in arguments])
        return Outcome(status, *capfd.readouterr())

    return run


@pytest.fixture
def process() -> Run:
    """Run the command line in another process."""

    def process(*arguments: object, **settings: Any) -> Outcome:
        command = [sys.executable, "-m", "lipwright", *map(str, arguments)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, **settings)
        return Outcome(ended.returncode, ended.stdout, ended.stderr)

    return process


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> SampleTruth:
    """A talking clip of 20 frames; copy it before use."""
    folder = tmp_path_factory.mktemp("talk")
    return make_sample(folder / "talk.mp4", seconds=0.8, size=(192, 192), rate=Fraction(25))


@pytest.fixture
def talk(original: SampleTruth, tmp_path: Path) -> Path:
    """A talking clip of 20 frames."""
    return Path(shutil.copy(original.path, tmp_path / "talk.mp4"))


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    """A recording of 0.6 s: 15 frames of the clip."""
    return tiny_media.write_wav(tmp_path / "speech.wav")


@pytest.fixture
def faceless(tmp_path: Path) -> Path:
    """A clip of 10 frames without a face."""
    return tiny_media.write_video(tmp_path / "faceless.mp4")
