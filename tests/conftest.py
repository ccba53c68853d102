"""Fixtures and settings of all test tiers."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

TESTS = Path(__file__).parent
TIERS = ("unit", "contract", "integration", "acceptance")

# The same examples on every machine and in every run; no deadlines, for machines under load.
settings.register_profile("lipwright", derandomize=True, deadline=None, max_examples=40)
settings.register_profile("quick", settings.get_profile("lipwright"), max_examples=5)
settings.load_profile("lipwright")

# Shells start background jobs with SIGINT ignored, and every process started below inherits it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# Garbage collection would take a third of the time in which pytest collects the tests.
gc.disable()


def pytest_collection_finish() -> None:
    """Collect garbage again, except among the objects of the tests themselves."""
    gc.freeze()
    gc.enable()


def pytest_configure(config: pytest.Config) -> None:
    """Draw fewer examples in ``-m unit``, the quick run of a developer."""
    if config.getoption("-m") == "unit":
        settings.load_profile("quick")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Skip the imports of the other tiers if ``-m`` selects one tier."""
    selected = config.getoption("-m")
    tier = collection_path.relative_to(TESTS).parts[:1] if TESTS in collection_path.parents else ()
    if selected in TIERS and tier and tier[0] in TIERS and tier[0] != selected:
        return True
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its tier: its folder, or ``model`` for a slow unit test."""
    for item in items:
        tier = item.path.relative_to(TESTS).parts[0]
        if tier in TIERS and not (tier == "unit" and item.get_closest_marker("model")):
            item.add_marker(tier)


@pytest.fixture(autouse=True, scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty home, so that no test reads or writes the real one."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HOME", "USERPROFILE"):
            patch.setenv(name, str(folder))
        for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
            patch.delenv(name, raising=False)
        yield folder


@pytest.fixture
def rng() -> np.random.Generator:
    """A random generator with a fixed seed."""
    return np.random.default_rng(0)
