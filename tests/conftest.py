"""What every tier shares."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

# The same examples on every machine and in every run; machines under load are slow, not wrong.
settings.register_profile("lipwright", derandomize=True, deadline=None, max_examples=40)
settings.load_profile("lipwright")

# Shells start what runs in the background with Ctrl-C ignored, and every process below inherits it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty home: no test reads or writes the real one."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HOME", "USERPROFILE"):
            patch.setenv(name, str(folder))
        for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
            patch.delenv(name, raising=False)
        yield folder


@pytest.fixture
def rng() -> np.random.Generator:
    """The same random numbers in every test and run."""
    return np.random.default_rng(0)
