from __future__ import annotations

import numpy as np
import pytest

from lipwright.motion.model import MotionModel


@pytest.fixture(scope="session")
def model() -> MotionModel:
    return MotionModel()


@pytest.fixture(scope="session")
def states() -> np.ndarray:
    """Speech-like states (900, 1024): smooth noise."""
    noise = np.random.default_rng(0).standard_normal((920, 1024)).astype(np.float32)
    return np.stack([noise[i : i + 8].mean(0) for i in range(900)])
