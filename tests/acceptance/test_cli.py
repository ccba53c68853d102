from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import lipwright
import tiny_media
from lipwright.cli import demo
from lipwright.cli.common import to_plain, print_json
from lipwright.media.decode.video import read_video
from lipwright.media.probe import probe
from lipwright.pipeline import pipeline
from lipwright.weights.store import FILES, WeightStore
from live_service import read_all
from outcome import Run

LOCAL = ("sync", "probe", "demo", "sample", "engines", "doctor")
SERVICE = ("serve", "config", "submit", "watch", "status", "result", "cancel", "list")
COMMANDS = (*LOCAL, *SERVICE)


# ------------------------------------------------------------------------------------- the shell
def test_the_bare_command_explains_itself(run: Run):
    told = run()
    assert told.status == 0
    assert all(command in told.out for command in COMMANDS)


def test_a_group_of_commands_explains_itself(run: Run):
    told = run("keys")
    assert told.status == 0
    assert all(command in told.out for command in ("create", "list", "revoke"))


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_and_json(command: str, run: Run):
    told = run(command, "--help")
    assert told.status == 0
    assert "--json" in told.out


def test_it_runs_as_a_module_and_knows_its_version(process: Run):
    told = process("--version")
    assert (told.status, told.out) == (0, f"lipwright {lipwright.__version__}\n")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("sing",), "sing"),
        (("sync", "a.mp4"), "AUDIO"),
        (("sync", "a.mp4", "b.wav"), "--output"),
        (("probe", "--colour", "a.mp4"), "--colour"),
        (("sample", "a.mp4", "--size", "big"), "1280x720"),
        (("sample", "a.mp4", "--rate", "1/0"), "30000/1001"),
    ],
)
def test_a_wrong_command_is_one_line_with_what_to_do(words: tuple[str, ...], says: str, run: Run):
    told = run(*words)
    assert told.status == 2
    assert told.out == ""
    assert told.err.startswith("error: ")
    assert told.err.count("\n") == 1
    assert says in told.err
    assert "--help" in told.err
    assert run(*words, "--json").json["error"]["code"] == "invalid_options"


def test_a_defect_is_one_line_unless_debugging(run: Run, monkeypatch: pytest.MonkeyPatch):
    def fail(*_words: object, **_options: object) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(pipeline, "sync", fail)
    told = run("sync", "a.mp4", "b.wav", "-o", "c.mp4")
    assert told.status == 1
    assert "ZeroDivisionError: a defect" in told.err
    assert told.err.count("\n") == 1
    monkeypatch.setenv("LIPWRIGHT_DEBUG", "1")
    assert "Traceback" in run("sync", "a.mp4", "b.wav", "-o", "c.mp4").err


def test_values_become_plain(tmp_path: Path):
    value = {"rate": Fraction(30000, 1001), "duration": Fraction(1, 2), "path": tmp_path, "n": (1,)}
    assert to_plain(value) == {
        "rate": "30000/1001",
        "duration": 0.5,
        "path": str(tmp_path),
        "n": [1],
    }
    assert to_plain(lipwright.SyncOptions())["mode"] == "cut_off"


# ------------------------------------------------------------------------------------------ sync
def test_sync_writes_the_dub_and_says_so(run: Run, talk: Path, speech: Path, tmp_path: Path):
    out = tmp_path / "dubbed.mp4"
    told = run("sync", talk, speech, "-o", out)
    assert told.status == 0, told.err
    assert told.out.startswith(f"{out}: 15 frames at 25 fps, 0.60 s, cut_off")
    assert sum(1 for _ in read_video(probe(out))) == 15
    stages = [line.split(":")[0] for line in told.err.splitlines()]
    assert {"track", "paint"} <= set(stages)
    assert max(map(stages.count, stages)) <= 11


def test_sync_tells_machines_in_one_object(run: Run, talk: Path, speech: Path, tmp_path: Path):
    out = tmp_path / "dubbed.mov"
    told = run("sync", talk, speech, "-o", out, "--mode", "silence", "--json")
    assert told.status == 0
    assert told.err == ""
    answer = told.json
    assert answer["path"] == str(out)
    assert (answer["frames"], answer["rate"], answer["duration"]) == (20, "25/1", 0.8)
    assert (answer["mode"], answer["engine"]) == ("silence", "exemplar")
    assert {"style", "face_frames", "warnings", "timings", "weights"} <= set(answer)


def test_quiet_prints_no_progress(run: Run, talk: Path, speech: Path, tmp_path: Path):
    told = run("sync", talk, speech, "-o", tmp_path / "a.mp4", "--engine", "passthrough", "-q")
    progress = [line for line in told.err.splitlines() if not line.startswith("warning: ")]
    assert (told.status, progress) == (0, [])


def test_an_older_output_is_replaced(run: Run, talk: Path, speech: Path, tmp_path: Path):
    out = tmp_path / "dubbed.mp4"
    out.write_bytes(b"older")
    assert run("sync", talk, speech, "-o", out, "--engine", "passthrough").status == 0
    assert probe(out).video is not None
    assert {p.name for p in tmp_path.iterdir()} == {"talk.mp4", "speech.wav", "dubbed.mp4"}


@pytest.mark.parametrize("link", [None, "symlink_to", "hardlink_to"])
def test_an_output_that_is_an_input_is_refused(
    link: str | None, run: Run, talk: Path, speech: Path, tmp_path: Path
):
    out = talk
    if link is not None:
        out = tmp_path / "other.mp4"
        getattr(out, link)(talk)
    before = talk.read_bytes()
    told = run("sync", talk, speech, "-o", out, "--json")
    assert told.json["error"]["code"] == "invalid_options"
    assert told.status == 2
    assert talk.read_bytes() == before


def test_a_bar_shows_stage_pace_and_time_on_a_terminal(talk: Path, speech: Path, tmp_path: Path):
    pty = pytest.importorskip("pty")
    reader, writer = pty.openpty()
    words = ["sync", talk, speech, "-o", tmp_path / "a.mp4"]
    command = [sys.executable, "-m", "lipwright", *map(str, words)]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(
        command, stderr=writer, stdout=subprocess.PIPE, env=environment
    ) as running:
        os.close(writer)
        shown = read_all(reader)
        assert running.wait(60) == 0
    assert "track" in shown
    assert "paint" in shown
    assert " fps " in shown
    assert " left" in shown


# --------------------------------------------------------------------------------------- signals
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("stage", ["track", "paint"])
def test_a_signal_ends_the_job_and_leaves_nothing(
    number: int, status: int, stage: str, talk: Path, tmp_path: Path
):
    speech = tiny_media.write_wav(tmp_path / "long.wav", 40)
    out = tmp_path / "out.mp4"
    out.write_bytes(b"older")
    words = ["sync", talk, speech, "-o", out, "--mode", "loop", "--engine", "passthrough"]
    with subprocess.Popen(
        [sys.executable, "-m", "lipwright", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stderr is not None
        wait_for(running, stage)
        running.send_signal(number)
        _, rest = running.communicate(timeout=60)
    assert running.returncode == status, rest
    errors = [line for line in rest.splitlines() if line.startswith("error: ")]
    assert errors == [rest.splitlines()[-1]]
    assert "no partial output remains" in errors[0]
    assert out.read_bytes() == b"older"
    assert {p.name for p in tmp_path.iterdir()} == {"talk.mp4", "long.wav", "out.mp4"}


def wait_for(running: subprocess.Popen[str], stage: str) -> None:
    """Read progress until a stage begins."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert running.stderr is not None
        ready, _, _ = select.select([running.stderr], [], [], 1)
        line = running.stderr.readline() if ready else "still nothing"
        if line.startswith(f"{stage}:"):
            return
        assert line, f"ended before {stage}"
    raise AssertionError(f"{stage} did not begin")


# ---------------------------------------------------------------------------------------- others
def test_probe_tells_what_a_file_holds(run: Run, talk: Path, speech: Path):
    told = run("probe", talk)
    assert "h264 192x192, 25 fps, 0.800 s" in told.out
    assert "audio: aac" in told.out
    answer = run("probe", talk, "--json").json
    assert answer["video"]["rate"] == "25/1"
    assert answer["video"]["duration"] == 0.8
    assert run("probe", speech, "--json").json["video"] is None


def test_probe_refuses_what_is_not_media(run: Run, tmp_path: Path):
    assert run("probe", tmp_path / "gone.mp4").status == 3


def test_sample_writes_a_clip_and_its_truth(run: Run, tmp_path: Path):
    out = tmp_path / "talk.mkv"
    words = ("sample", out, "--seconds", "0.5", "--size", "128x96", "--rate", "30000/1001")
    answer = run(*words, "--json").json
    assert (answer["frames"], answer["rate"]) == (15, "30000/1001")
    video = probe(out).video
    assert video is not None
    assert (video.width, video.height, video.rate) == (128, 96, Fraction(30000, 1001))
    with np.load(answer["truth_path"]) as truth:
        assert truth["landmarks"].shape == (15, 478, 3)
        assert np.allclose(truth["opening"], answer["opening"], atol=1e-4)
    assert {p.name for p in tmp_path.iterdir()} == {"talk.mkv", "talk.truth.npz"}


@pytest.mark.parametrize("wish", [("--size", "10x10"), ("--rate", "0"), ("--seconds", "0")])
def test_sample_refuses_what_it_cannot_make(wish: tuple[str, str], run: Run, tmp_path: Path):
    assert run("sample", tmp_path / "talk.mp4", *wish).status == 2
    assert not list(tmp_path.iterdir())


def test_demo_shows_the_main_job(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(demo, "SIZE", (192, 192))
    monkeypatch.setattr(demo, "SECONDS", 1.0)
    told = run("demo", tmp_path / "new" / "demo")
    assert told.status == 0, told.err
    names = {"source.mp4", "speech.flac", "dubbed.mp4", "before_after.png"}
    assert {p.name for p in (tmp_path / "new" / "demo").iterdir()} >= names
    assert all(name in told.out for name in names)


def test_demo_names_a_folder_it_cannot_make(run: Run, speech: Path):
    told = run("demo", speech / "demo")
    assert told.status == 6
    assert "speech.wav" in told.err


def test_engines_are_listed(run: Run):
    assert {"exemplar:", "passthrough:"} <= set(run("engines").out.split())
    names = [engine["name"] for engine in run("engines", "--json").json["engines"]]
    assert names == sorted(names)


def test_doctor_finds_all_that_is_needed(run: Run):
    told = run("doctor")
    assert told.status == 0, told.out
    assert "ready: everything required is installed" in told.out
    report = run("doctor", "--json").json
    assert report["packages"]["av"]
    assert {weight["state"] for weight in report["weights"]} == {"ok"}
    assert all(weight["origin"] and weight["licence"] for weight in report["weights"])


def test_doctor_names_what_is_missing_or_damaged(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for path in FILES.iterdir():
        if path.name.startswith("face_") and path.is_file():
            shutil.copy(path, tmp_path)
    (tmp_path / "face_detector.tflite").write_bytes(b"damaged")
    monkeypatch.setattr("lipwright.cli.doctor.WeightStore", lambda: WeightStore(tmp_path))
    told = run("doctor")
    assert told.status == 5
    assert "face_detector.tflite is corrupt" in told.out
    assert "silero_vad.onnx is missing" in told.out
    assert "face_blendshapes: ok" in told.out


def test_the_command_line_prints_json_in_utf8(capsys: pytest.CaptureFixture[str]):
    print_json({"path": "Zürich.mp4"})
    assert json.loads(capsys.readouterr().out) == {"path": "Zürich.mp4"}
