"""The API in this process, with each kind of ledger."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from api_parts import OPENERS, Api, open_api


@pytest.fixture(params=sorted(OPENERS))
def api(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Api]:
    """The service, on each kind of ledger."""
    with open_api(request.param, tmp_path / "data") as api:
        yield api
