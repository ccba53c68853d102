from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.model  # each test starts a process

HEAVY = (
    "ai_edge_litert",
    "av",
    "cv2",
    "dbos",
    "fastapi",
    "httpx",
    "numpy",
    "onnxruntime",
    "pydantic",
    "rich",
    "sqlalchemy",
    "starlette",
    "torch",
)


def loaded_by(code: str) -> list[str]:
    program = f"{code}\nimport sys\nprint(*(m for m in {HEAVY!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_importing_lipwright_is_light():
    assert loaded_by("import lipwright") == []


def test_the_command_line_waits_with_heavy_imports():
    assert loaded_by("import lipwright.cli") == []


def test_options_and_errors_are_light():
    assert loaded_by("from lipwright import LipwrightError, SyncOptions, CancelToken") == []


def test_the_client_needs_no_server():
    heavy = loaded_by("from lipwright import Client, AsyncClient")
    assert set(heavy) <= {"httpx", "rich"}  # httpx itself loads rich where it is installed


def test_listing_engines_loads_no_runtime():
    heavy = loaded_by("import lipwright; lipwright.list_engines()")
    assert not {"ai_edge_litert", "onnxruntime", "torch", "av"} & set(heavy)
