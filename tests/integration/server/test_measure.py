"""Measuring media files in a separate process."""

from __future__ import annotations

import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from api_parts import V2_BODY, open_api
from lipwright.errors import InputError, LimitExceeded, MediaUnreadable
from lipwright.server.measure import COMMAND, MEMORY_BYTES, measure
from lipwright.server.sync_v2 import estimate
from live_api import until
from small_media import write_clip, write_voice

ENOUGH = 60.0  # seconds


def script(text: str) -> list[str]:
    """Return the command of a reader that runs *text* instead."""
    return [sys.executable, "-c", text]


def test_the_length_of_video_and_audio_is_exact(tmp_path: Path):
    clip = write_clip(tmp_path / "clip.mp4", frames=10, rate=Fraction(30_000, 1001))
    voice = write_voice(tmp_path / "voice.wav", seconds=0.3)
    pictures = measure(clip, "video", seconds=ENOUGH)
    assert (pictures.rate, pictures.duration) == (Fraction(30_000, 1001), Fraction(10_010, 30_000))
    assert measure(voice, "audio", seconds=ENOUGH).duration == Fraction(3, 10)


@pytest.mark.parametrize("kind", ["video", "audio"])
def test_an_error_of_the_reader_is_raised_without_the_path(tmp_path: Path, kind):
    path = tmp_path / "nonsense"
    path.write_bytes(bytes(range(128, 256)) * 4)
    with pytest.raises(MediaUnreadable, match="the file cannot be read as media") as caught:
        measure(path, kind, seconds=ENOUGH)
    assert str(tmp_path) not in str(caught.value)


def test_a_crash_of_the_reader_is_an_error_of_the_file(tmp_path: Path):
    crash = script("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(MediaUnreadable, match="crashed its reader"):
        measure(tmp_path / "x", "video", seconds=ENOUGH, command=crash)


def test_a_stalled_reader_is_killed(tmp_path: Path):
    pid = tmp_path / "pid"
    stall = script(
        f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    )
    with pytest.raises(LimitExceeded, match="took longer than 2 s"):
        measure(tmp_path / "x", "video", seconds=2.0, command=stall)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


@pytest.mark.parametrize("output", ["", "{", "[]", "null", '{"duration": 1}', "x" * 10**5])
def test_malformed_output_of_the_reader_is_one_clear_error(tmp_path: Path, output):
    with pytest.raises(MediaUnreadable, match="cannot be measured"):
        measure(tmp_path / "x", "audio", seconds=ENOUGH, command=script(f"print({output!r})"))


def test_the_reader_cannot_use_all_memory_or_write_files(tmp_path: Path):
    text = f"""
import errno
from lipwright.server.measure import _limit_resources
_limit_resources()
try:
    bytearray({MEMORY_BYTES})
except MemoryError:
    print("no memory")
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    with open({str(tmp_path / "file")!r}, "wb", buffering=0) as file:
        file.write(b"x")
except OSError as error:
    print(errno.errorcode[error.errno])
"""
    output = subprocess.run(script(text), capture_output=True, text=True, check=True).stdout
    assert output.split() == ["no", "memory", "EFBIG"]


def test_the_reader_gets_no_settings(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("LIPWRIGHT_DATABASE_URL", "postgresql://dub:password@db/dub")
    output = "import json, os; error = {'code': 'bad_input', 'message': str(dict(os.environ))}; "
    spy = script(f"{output}print(json.dumps({{'error': error}}))")
    with pytest.raises(InputError, match="PATH") as caught:
        measure(tmp_path / "x", "video", seconds=ENOUGH, command=spy)
    assert "password" not in str(caught.value)


def test_a_crash_of_the_reader_leaves_the_service_alive(tmp_path: Path, monkeypatch):
    crash = script("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    monkeypatch.setattr(
        estimate, "measure", lambda path, kind, *, seconds: measure(
            path, kind, seconds=seconds, command=crash
        )
    )  # fmt: skip
    with open_api("memory", tmp_path) as api:
        url = api("POST", "/v1/files", content=b"bytes").json()["url"]
        items = [{"type": kind, "url": url} for kind in ("video", "audio")]
        answer = api("POST", "/v2/analyze/cost", json={**V2_BODY, "input": items})
        assert (answer.status_code, answer.json()["errorCode"]) == (400, "media_unreadable")
        assert answer.json()["detail"][0]["loc"] == ["body", "input", 0, "url"]
        assert api.plain("GET", "/healthz").status_code == 200
        until(lambda: list((tmp_path / "incoming").iterdir()) == [])


def test_the_reader_ends_when_its_stdin_closes(tmp_path: Path):
    voice = write_voice(tmp_path / "voice.wav", seconds=0.5)
    output = subprocess.run(
        [*COMMAND, "audio", str(voice)], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    assert (output.returncode, output.stdout) == (-9, b"")
