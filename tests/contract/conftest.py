"""Fixtures of the contract tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledgers import IMPLEMENTATIONS, LedgerHarness


@pytest.fixture(params=IMPLEMENTATIONS)
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LedgerHarness]:
    """Each implementation of the ledger and its parts."""
    with IMPLEMENTATIONS[request.param](tmp_path) as opened:
        yield opened
