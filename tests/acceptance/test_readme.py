"""The README is executed, links resolve, and generated pages are current."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from outcome import Run

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")

# The three commands that must work on a fresh machine exactly as written.
FRESH = (
    "python -m pip install . && lipwright demo",
    "lipwright sync talk.mp4 speech.wav -o dubbed.mp4",
    'python -m pip install ".[dev]" && python -m pytest',
)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def shell_lines() -> list[str]:
    return [line for block in blocks("sh") for line in block.splitlines()]


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 120


@pytest.mark.parametrize("command", FRESH)
def test_the_readme_has_the_commands_for_a_fresh_machine(command: str):
    assert command in shell_lines()


def test_the_python_of_the_readme_runs(
    talk: Path, speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("python")
    exec(compile(code, "README.md", "exec"), {})
    assert (tmp_path / "dubbed.mp4").is_file()


def test_the_sync_commands_of_the_readme_run(
    run: Run, talk: Path, speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    commands = [line for line in shell_lines() if line.startswith("lipwright sync")]
    assert len(commands) == 3
    portrait = ROOT / "src/lipwright/assets/portrait.png"
    (tmp_path / "portrait.jpg").write_bytes(portrait.read_bytes())
    for command in commands:
        outcome = run(*shlex.split(command)[1:])
        assert outcome.status == 0, outcome.err


def test_ci_runs_the_test_command_of_the_readme():
    assert FRESH[2] in (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert os.access(ROOT / ".ci/run", os.X_OK)


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "examples/README.md",
        *(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")),
    ],
)
def test_relative_links_resolve(page: str):
    text = (ROOT / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]+)", text)
    local = [link for link in links if "://" not in link]
    missing = [link for link in local if not (ROOT / page).parent.joinpath(link).exists()]
    assert not missing


@pytest.mark.parametrize("name", ["cli", "settings"])
def test_a_generated_page_is_current(name: str):
    script = ROOT / f"scripts/generate_{name}_docs.py"
    done = subprocess.run(
        [sys.executable, str(script), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stderr}run: python {script.relative_to(ROOT)}"


def test_the_command_is_installed():
    assert shutil.which("lipwright", path=str(Path(sys.executable).parent)) is not None
