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
from lipwright.cli.common import print_json, to_plain
from lipwright.media.decode.video import read_video
from lipwright.media.probe import probe
from lipwright.pipeline import pipeline
from lipwright.weights.store import FILES, WeightStore
from live_service import read_all
from outcome import Run

LOCAL = ("sync", "probe", "demo", "sample", "engines", "doctor")
SERVICE = ("serve", "config", "submit", "watch", "status", "result", "cancel", "list")
COMMANDS = (*LOCAL, *SERVICE)


# -------------------------------------------------------------------------------- help and errors
def test_the_command_without_arguments_prints_help(run: Run):
    outcome = run()
    assert outcome.status == 0
    assert all(command in outcome.out for command in COMMANDS)


def test_a_command_group_without_arguments_prints_help(run: Run):
    outcome = run("keys")
    assert outcome.status == 0
    assert all(command in outcome.out for command in ("create", "list", "revoke"))


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_and_json(command: str, run: Run):
    outcome = run(command, "--help")
    assert outcome.status == 0
    assert "--json" in outcome.out


def test_the_package_runs_as_a_module_and_prints_its_version(process: Run):
    outcome = process("--version")
    assert (outcome.status, outcome.out) == (0, f"lipwright {lipwright.__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sing",), "sing"),
        (("sync", "a.mp4"), "AUDIO"),
        (("sync", "a.mp4", "b.wav"), "--output"),
        (("probe", "--colour", "a.mp4"), "--colour"),
        (("sample", "a.mp4", "--size", "big"), "1280x720"),
        (("sample", "a.mp4", "--rate", "1/0"), "30000/1001"),
    ],
)
def test_a_usage_error_is_one_line_with_a_remedy(
    arguments: tuple[str, ...], message: str, run: Run
):
    outcome = run(*arguments)
    assert outcome.status == 2
    assert outcome.out == ""
    assert outcome.err.startswith("error: ")
    assert outcome.err.count("\n") == 1
    assert message in outcome.err
    assert "--help" in outcome.err
    assert run(*arguments, "--json").json["error"]["code"] == "invalid_options"


def test_an_unexpected_error_is_one_line_unless_debugging(
    run: Run, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_arguments: object, **_options: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(pipeline, "sync", fail)
    outcome = run("sync", "a.mp4", "b.wav", "-o", "c.mp4")
    assert outcome.status == 1
    assert "ZeroDivisionError: a bug" in outcome.err
    assert outcome.err.count("\n") == 1
    monkeypatch.setenv("LIPWRIGHT_DEBUG", "1")
    assert "Traceback" in run("sync", "a.mp4", "b.wav", "-o", "c.mp4").err


def test_values_are_converted_to_plain_json_types(tmp_path: Path):
    value = {"rate": Fraction(30000, 1001), "duration": Fraction(1, 2), "path": tmp_path, "n": (1,)}
    assert to_plain(value) == {
        "rate": "30000/1001",
        "duration": 0.5,
        "path": str(tmp_path),
        "n": [1],
    }
    assert to_plain(lipwright.SyncOptions())["mode"] == "cut_off"


# ------------------------------------------------------------------------------------------ sync
def test_sync_writes_the_video_and_prints_a_summary(
    run: Run, talk: Path, speech: Path, tmp_path: Path
):
    out = tmp_path / "dubbed.mp4"
    outcome = run("sync", talk, speech, "-o", out)
    assert outcome.status == 0, outcome.err
    assert outcome.out.startswith(f"{out}: 15 frames at 25 fps, 0.60 s, cut_off")
    assert sum(1 for _ in read_video(probe(out))) == 15
    stages = [line.split(":")[0] for line in outcome.err.splitlines()]
    assert {"track", "paint"} <= set(stages)
    assert max(map(stages.count, stages)) <= 11


def test_sync_prints_one_json_object(run: Run, talk: Path, speech: Path, tmp_path: Path):
    out = tmp_path / "dubbed.mov"
    outcome = run("sync", talk, speech, "-o", out, "--mode", "silence", "--json")
    assert outcome.status == 0
    assert outcome.err == ""
    result = outcome.json
    assert result["path"] == str(out)
    assert (result["frames"], result["rate"], result["duration"]) == (20, "25/1", 0.8)
    assert (result["mode"], result["engine"]) == ("silence", "exemplar")
    assert {"style", "face_frames", "warnings", "timings", "weights"} <= set(result)


def test_quiet_prints_no_progress(run: Run, talk: Path, speech: Path, tmp_path: Path):
    outcome = run("sync", talk, speech, "-o", tmp_path / "a.mp4", "--engine", "passthrough", "-q")
    progress = [line for line in outcome.err.splitlines() if not line.startswith("warning: ")]
    assert (outcome.status, progress) == (0, [])


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
    outcome = run("sync", talk, speech, "-o", out, "--json")
    assert outcome.json["error"]["code"] == "invalid_options"
    assert outcome.status == 2
    assert talk.read_bytes() == before


def test_a_terminal_shows_a_bar_with_stage_speed_and_time_left(
    talk: Path, speech: Path, tmp_path: Path
):
    pty = pytest.importorskip("pty")
    reader, writer = pty.openpty()
    arguments = ["sync", talk, speech, "-o", tmp_path / "a.mp4"]
    command = [sys.executable, "-m", "lipwright", *map(str, arguments)]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(
        command, stderr=writer, stdout=subprocess.PIPE, env=environment
    ) as process:
        os.close(writer)
        shown = read_all(reader)
        assert process.wait(60) == 0
    assert "track" in shown
    assert "paint" in shown
    assert " fps " in shown
    assert " left" in shown


# --------------------------------------------------------------------------------------- signals
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("stage", ["track", "paint"])
def test_a_signal_ends_the_job_and_keeps_the_older_output(
    number: int, status: int, stage: str, talk: Path, tmp_path: Path
):
    speech = tiny_media.write_wav(tmp_path / "long.wav", 40)
    out = tmp_path / "out.mp4"
    out.write_bytes(b"older")
    options = ["-o", out, "--mode", "loop", "--engine", "passthrough"]
    arguments = ["sync", talk, speech, *options]
    with subprocess.Popen(
        [sys.executable, "-m", "lipwright", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        wait_for_stage(process, stage)
        process.send_signal(number)
        _, rest = process.communicate(timeout=60)
    assert process.returncode == status, rest
    errors = [line for line in rest.splitlines() if line.startswith("error: ")]
    assert errors == [rest.splitlines()[-1]]
    assert "no partial output remains" in errors[0]
    assert out.read_bytes() == b"older"
    assert {p.name for p in tmp_path.iterdir()} == {"talk.mp4", "long.wav", "out.mp4"}


def wait_for_stage(process: subprocess.Popen[str], stage: str) -> None:
    """Read progress until a stage begins."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.stderr is not None
        ready, _, _ = select.select([process.stderr], [], [], 1)
        line = process.stderr.readline() if ready else "no line yet"
        if line.startswith(f"{stage}:"):
            return
        assert line, f"ended before {stage}"
    raise AssertionError(f"{stage} did not begin")


# -------------------------------------------------------------------------------- other commands
def test_probe_prints_the_streams_of_a_file(run: Run, talk: Path, speech: Path):
    outcome = run("probe", talk)
    assert "h264 192x192, 25 fps, 0.800 s" in outcome.out
    assert "audio: aac" in outcome.out
    info = run("probe", talk, "--json").json
    assert info["video"]["rate"] == "25/1"
    assert info["video"]["duration"] == 0.8
    assert run("probe", speech, "--json").json["video"] is None


def test_probe_of_a_missing_file_fails(run: Run, tmp_path: Path):
    assert run("probe", tmp_path / "gone.mp4").status == 3


def test_sample_writes_a_clip_and_its_truth(run: Run, tmp_path: Path):
    out = tmp_path / "talk.mkv"
    options = ("--seconds", "0.5", "--size", "128x96", "--rate", "30000/1001")
    summary = run("sample", out, *options, "--json").json
    assert (summary["frames"], summary["rate"]) == (15, "30000/1001")
    video = probe(out).video
    assert video is not None
    assert (video.width, video.height, video.rate) == (128, 96, Fraction(30000, 1001))
    with np.load(summary["truth_path"]) as truth:
        assert truth["landmarks"].shape == (15, 478, 3)
        assert np.allclose(truth["opening"], summary["opening"], atol=1e-4)
    assert {p.name for p in tmp_path.iterdir()} == {"talk.mkv", "talk.truth.npz"}


@pytest.mark.parametrize("option", [("--size", "10x10"), ("--rate", "0"), ("--seconds", "0")])
def test_sample_refuses_options_out_of_range(option: tuple[str, str], run: Run, tmp_path: Path):
    assert run("sample", tmp_path / "talk.mp4", *option).status == 2
    assert not list(tmp_path.iterdir())


def test_demo_writes_its_files(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(demo, "SIZE", (192, 192))
    monkeypatch.setattr(demo, "SECONDS", 1.0)
    outcome = run("demo", tmp_path / "new" / "demo")
    assert outcome.status == 0, outcome.err
    names = {"source.mp4", "speech.flac", "dubbed.mp4", "before_after.png"}
    assert {p.name for p in (tmp_path / "new" / "demo").iterdir()} >= names
    assert all(name in outcome.out for name in names)


def test_demo_names_a_folder_that_cannot_be_created(run: Run, speech: Path):
    outcome = run("demo", speech / "demo")
    assert outcome.status == 6
    assert "speech.wav" in outcome.err


def test_engines_are_listed(run: Run):
    assert {"exemplar:", "passthrough:"} <= set(run("engines").out.split())
    names = [engine["name"] for engine in run("engines", "--json").json["engines"]]
    assert names == sorted(names)


def test_doctor_reports_a_complete_installation(run: Run):
    outcome = run("doctor")
    assert outcome.status == 0, outcome.out
    assert "ready: everything required is installed" in outcome.out
    report = run("doctor", "--json").json
    assert report["packages"]["av"]
    assert {weight["state"] for weight in report["weights"]} == {"ok"}
    assert all(weight["origin"] and weight["licence"] for weight in report["weights"])


def test_doctor_names_missing_and_corrupt_weights(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for path in FILES.iterdir():
        if path.name.startswith("face_") and path.is_file():
            shutil.copy(path, tmp_path)
    (tmp_path / "face_detector.tflite").write_bytes(b"damaged")
    monkeypatch.setattr("lipwright.cli.doctor.WeightStore", lambda: WeightStore(tmp_path))
    outcome = run("doctor")
    assert outcome.status == 5
    assert "face_detector.tflite is corrupt" in outcome.out
    assert "silero_vad.onnx is missing" in outcome.out
    assert "face_blendshapes: ok" in outcome.out


def test_the_command_line_prints_json_in_utf8(capsys: pytest.CaptureFixture[str]):
    print_json({"path": "Zürich.mp4"})
    assert json.loads(capsys.readouterr().out) == {"path": "Zürich.mp4"}
