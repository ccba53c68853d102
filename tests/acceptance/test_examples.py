"""The examples and the tutorial are executed."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lipwright.media.probe import probe
from lipwright.testing import check_engine
from live_service import environment, live_service

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
REFERENCE = (ROOT / "docs/reference/python.md").read_text(encoding="utf-8")
TUTORIAL = (ROOT / "docs/tutorial/README.md").read_text(encoding="utf-8")
NOT_RUN = ("pip install", "lipwright serve", "export ")  # the environment of the test replaces them


def example(name: str) -> dict[str, Any]:
    """Return the names that an example defines."""
    return runpy.run_path(str(ROOT / "examples" / f"{name}.py"))


def main_of(name: str) -> Callable[..., Any]:
    main: Callable[..., Any] = example(name)["main"]
    return main


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_compiles_and_is_listed(path: Path):
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 40
    compile(source, str(path), "exec")
    assert f"({path.name})" in (ROOT / "examples/README.md").read_text(encoding="utf-8")


def test_dub_a_clip(talk: Path, speech: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    main_of("dub_a_clip")(str(talk), str(speech), str(tmp_path / "out.mp4"))
    assert "15 frames, 0.60 s" in capsys.readouterr().out


def test_dub_a_clip_prints_the_code_of_an_error(speech: Path, tmp_path: Path):
    with pytest.raises(SystemExit, match="source_unreachable: "):
        main_of("dub_a_clip")("missing.mp4", str(speech), str(tmp_path / "out.mp4"))


def test_many_jobs_goes_on_after_a_failed_job(talk: Path, speech: Path, tmp_path: Path):
    second = shutil.copy(speech, tmp_path / "second.wav")
    dubs = main_of("many_jobs")(str(talk), str(speech), "missing.wav", second)
    assert dubs == [tmp_path / "speech-dub.mp4", tmp_path / "second-dub.mp4"]
    assert all(probe(dub).video for dub in dubs)


def test_progress_and_cancel(
    talk: Path, speech: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    main, out = main_of("progress_and_cancel"), tmp_path / "out.mp4"
    assert not main(str(talk), str(speech), str(out), "0")
    assert not out.exists()
    assert main(str(talk), str(speech), str(out), "60")
    assert "100% paint: 15 of 15 frames" in capsys.readouterr().err


def test_the_engine_plug_in_meets_the_contract():
    check_engine(example("engine_plugin")["SPEC"])


def tutorial_commands() -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```", TUTORIAL, re.DOTALL | re.MULTILINE)
    return [block for block in blocks if not any(words in block for words in NOT_RUN)]


@pytest.fixture
def demo_folder(talk: Path, speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small stand-in for the folder that ``lipwright demo`` makes, in the current folder."""
    folder = tmp_path / "lipwright-demo"
    folder.mkdir()
    shutil.copy(talk, folder / "source.mp4")
    shutil.copy(speech, folder / "speech.flac")
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.mark.usefixtures("demo_folder")
def test_the_python_of_the_tutorial_runs(tmp_path: Path):
    (code,) = re.findall(r"^```python\n(.*?)^```", TUTORIAL, re.DOTALL | re.MULTILINE)
    exec(compile(code, "docs/tutorial/README.md", "exec"), {})
    assert {path.name for path in tmp_path.glob("*.mp4")} >= {"cut_off.mp4", "loop.mp4"}


@pytest.mark.usefixtures("talk", "speech")
def test_the_stages_of_the_reference_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    code = re.search(r"^```python\n([^`]*stages\.track[^`]*)^```", REFERENCE, re.MULTILINE)
    assert code is not None
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(code[1].replace("range(25)", "range(5)"), "python.md", "exec"), names)
    assert len(names["first_second"]) == 5
    assert (tmp_path / "job.plan").is_file()


@pytest.mark.usefixtures("demo_folder")
@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_the_commands_of_the_tutorial_and_the_service_example_run(tmp_path: Path):
    commands = [
        *tutorial_commands(),
        f"python {ROOT}/examples/use_a_service.py lipwright-demo/source.mp4"
        " lipwright-demo/speech.flac from-example.mp4",
    ]
    assert sum("lipwright sync" in block for block in commands) == 2
    assert any("lipwright submit" in block for block in commands)
    with live_service(tmp_path / "data") as service:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "\n".join(commands)],
            cwd=tmp_path,
            env=environment(**service.environment),
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("dubbed", "longer", "from-service", "from-example"):
        assert probe(tmp_path / f"{name}.mp4").video is not None
    assert "succeeded" in done.stdout
