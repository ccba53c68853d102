from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from lipwright.cli import doctor
from lipwright.cli.doctor import inspect_installation
from lipwright.errors import EngineError
from lipwright.weights.manifest import MANIFEST
from lipwright.weights.store import FILES, WeightStore


@pytest.fixture(scope="module")
def report() -> doctor.InstallationReport:
    return inspect_installation()


def test_a_complete_installation_is_healthy(report: doctor.InstallationReport):
    assert report.problems == ()
    assert report.healthy
    assert {weight.state for weight in report.weights} == {"ok"}


def test_every_weight_is_reported_with_its_facts(report: doctor.InstallationReport):
    for state, weight in zip(report.weights, MANIFEST.values(), strict=True):
        assert (state.name, state.size, state.sha256) == (weight.name, weight.size, weight.sha256)
        assert (state.origin, state.licence) == (weight.origin, weight.licence)


def test_runtimes_and_ffmpeg_are_reported(report: doctor.InstallationReport):
    assert report.packages["onnxruntime"]
    assert report.packages["ai-edge-litert"]
    assert "libavcodec" in report.ffmpeg
    assert report.encoders["libx264"]
    assert {"exemplar", "passthrough"} <= set(report.engines)


def test_the_text_names_each_weight_and_its_origin(report: doctor.InstallationReport):
    text = "\n".join(report.lines())
    for weight in MANIFEST.values():
        assert f"{weight.name}: ok" in text
        assert weight.origin in text
    assert text.endswith("ready: everything required is installed")


def test_missing_and_corrupt_weights_are_distinguished(tmp_path: Path):
    shutil.copy(FILES / MANIFEST["face_detector"].file, tmp_path)
    (tmp_path / MANIFEST["silero_vad"].file).write_bytes(b"wrong")
    report = inspect_installation(WeightStore(tmp_path))
    states = {weight.name: weight.state for weight in report.weights}
    assert states["face_detector"] == "ok"
    assert states["silero_vad"] == "corrupt"
    assert states["face_landmarks"] == "missing"
    assert not report.healthy
    assert len(report.problems) == len(MANIFEST) - 1
    assert list(report.lines())[-1] == "not ready: see above"


def test_each_missing_component_is_a_problem_with_a_fix(report: doctor.InstallationReport):
    incomplete = replace(report, packages={"av": None}, encoders={"libx264": False}, engines=())
    assert [text.split(":")[0] for text in incomplete.problems] == [
        "the package av is missing",
        "FFmpeg has no encoder libx264",
        "no engine is registered",
    ]
    assert any("MISSING" in line for line in incomplete.lines())


def test_a_broken_engine_plug_in_is_a_problem_and_not_a_crash(monkeypatch: pytest.MonkeyPatch):
    def fail() -> None:
        raise EngineError("engine 'bad' cannot be loaded")

    monkeypatch.setattr(doctor, "list_engines", fail)
    report = inspect_installation()
    assert report.engines == ()
    assert "engine 'bad' cannot be loaded" in report.problems[0]


def test_a_missing_package_has_no_version():
    assert doctor._version("no-such-package-anywhere") is None
    assert not doctor._has_encoder("no_such_encoder")
