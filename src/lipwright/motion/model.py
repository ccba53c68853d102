"""The network that predicts mouth motion from speech states, a small temporal convolution.

Each output depends on the states at most ``reach`` away; beyond the ends of the speech the end
state is repeated. So speech of any length is processed in overlapping blocks, in constant memory,
with the same result as the whole at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from lipwright.motion.basis import Basis
from lipwright.motion.resampling import resample
from lipwright.types import Doubles, Floats
from lipwright.weights.store import WeightStore, onnx_session

BLOCK = 250  # states processed at once: the filter unfolds them 30 times


class MotionModel:
    """The trained network and the basis of its output; keeps the ONNX session open."""

    def __init__(self, store: WeightStore | None = None, *, threads: int = 1) -> None:
        """Load the network.

        Raises:
            WeightsMissing: the weight file is not installed.
            WeightsCorrupt: the weight file is not the published one.
        """
        self._session: Any = onnx_session((store or WeightStore()).path("motion"), threads)
        metadata = self._session.get_modelmeta().custom_metadata_map
        self.basis = Basis.from_text(metadata["basis"])
        self._reach = int(metadata["reach"])

    def predict_coefficients(self, states: Floats | Iterable[Floats]) -> Floats:
        """Predict the motion of a typical mouth.

        Args:
            states: speech states (S, 1024) at 50 Hz, or the same in pieces of any length.

        Returns:
            Coefficients of :attr:`basis`, float32 (S, K) at 50 Hz; 0 is the mean of speech.
        """
        pieces = [states] if isinstance(states, np.ndarray) else states
        parts = [self._run(block) for block in overlapping_blocks(pieces, self._reach)]
        return np.concatenate(parts) if parts else np.zeros((0, self.basis.size), np.float32)

    def predict_displacements(self, states: Floats | Iterable[Floats], times: Doubles) -> Floats:
        """Predict mouth displacements from the mean of speech.

        Args:
            states: as for :meth:`predict_coefficients`; at least one state.
            times: seconds, float64 (n,), at any rate and in any order.

        Returns:
            float32 (n, 61, 3) in canonical units.
        """
        return self.basis.shapes(resample(self.predict_coefficients(states), times))

    def _run(self, block: Floats) -> Floats:
        (out,) = self._session.run(["coefficients"], {"states": block[None]})
        coefficients: Floats = out[0]
        return coefficients


def overlapping_blocks(pieces: Iterable[Floats], reach: int, size: int = BLOCK) -> Iterator[Floats]:
    """Split states into blocks that overlap by the context the network needs on each side.

    Args:
        pieces: states (s, C) in order, in pieces of any length.
        reach: states needed before the first and after the last output of a block.
        size: outputs of one block, at most.

    Yields:
        float32 (n + 2 reach, C) with n at most *size*; the n add up to the number of states.
    """
    pending: Floats | None = None
    for piece in pieces:
        if not len(piece):
            continue
        piece = np.asarray(piece, np.float32)
        pending = _repeat(piece[:1], reach) if pending is None else pending
        pending = np.concatenate([pending, piece])
        while len(pending) > size + 2 * reach:
            yield pending[: size + 2 * reach]
            pending = pending[size:]
    if pending is not None:
        pending = np.concatenate([pending, _repeat(pending[-1:], reach)])
        while len(pending) > 2 * reach:
            yield pending[: size + 2 * reach]
            pending = pending[size:]


def _repeat(row: Floats, count: int) -> Floats:
    return np.repeat(row, count, axis=0)
