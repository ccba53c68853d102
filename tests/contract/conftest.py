"""What the contract suites share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledgers import IMPLEMENTATIONS, Bench


@pytest.fixture(params=IMPLEMENTATIONS)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """Each implementation of the ledger and its parts."""
    with IMPLEMENTATIONS[request.param](tmp_path) as opened:
        yield opened
