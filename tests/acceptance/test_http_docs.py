"""The commands of docs/reference/http.md are executed as written."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from lipwright.media.probe import probe
from live_service import environment, live_service

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reference/http.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands() -> list[str]:
    """Return the shell blocks of the page, and the curl command of the README."""
    (first,) = [block for block in blocks(README) if "curl" in block]
    return [*blocks(PAGE), first]


def blocks(text: str) -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@pytest.mark.skipif(
    not all(map(shutil.which, ("bash", "curl", "jq"))), reason="bash, curl or jq is not installed"
)
def test_every_command_runs_as_written(talk: Path, speech: Path, tmp_path: Path):
    with live_service(tmp_path / "data") as service:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "\n".join(commands())],
            cwd=tmp_path,
            env=environment(**service.environment),
            capture_output=True,
            text=True,
            timeout=120,
        )
        document = httpx.get(f"{service.url}/openapi.json").json()
    assert done.returncode == 0, done.stdout + done.stderr
    assert probe(tmp_path / "dubbed.mp4").video is not None
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["status"] == "succeeded"
    assert "event: state" in done.stdout
    assert '"request_id"' in done.stdout.splitlines()[-1]  # the response to the README's command
    assert "lipwright_jobs_waiting" in (tmp_path / "metrics.txt").read_text()
    assert [path for path in document["paths"] if not is_documented(path)] == []


def is_documented(path: str) -> bool:
    """Return whether the page names a path, with parameters of any name."""
    if path.startswith("/v1/outputs/"):  # its URLs are signed: clients never build them
        return True
    pattern = re.sub(r"\\{.*?\\}", r"(\\{\\w+\\}|\\$ID|sync/sync/lipsync/v2/pro)", re.escape(path))
    return re.search(pattern + r"[`?\" ,]", PAGE) is not None
