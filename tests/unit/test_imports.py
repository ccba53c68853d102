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


def heavy_imports(code: str) -> list[str]:
    """Return the heavy packages that a program loads."""
    program = f"{code}\nimport sys\nprint(*(m for m in {HEAVY!r} if m in sys.modules))"
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return process.stdout.split()


def test_importing_lipwright_loads_no_heavy_package():
    assert heavy_imports("import lipwright") == []


def test_importing_the_command_line_loads_no_heavy_package():
    assert heavy_imports("import lipwright.cli") == []


def test_a_local_job_needs_no_package_of_the_service():
    heavy = heavy_imports("import lipwright.pipeline.pipeline")
    assert not {"pydantic", "pydantic_settings", "fastapi", "sqlalchemy", "dbos"} & set(heavy)


def test_options_and_errors_load_no_heavy_package():
    assert heavy_imports("from lipwright import LipwrightError, SyncOptions, CancelToken") == []


def test_the_client_loads_no_server_package():
    heavy = heavy_imports("from lipwright import Client, AsyncClient")
    assert set(heavy) <= {"httpx", "rich"}  # httpx itself loads rich where it is installed


def test_listing_engines_loads_no_inference_runtime():
    heavy = heavy_imports("import lipwright; lipwright.list_engines()")
    assert not {"ai_edge_litert", "onnxruntime", "torch", "av"} & set(heavy)
