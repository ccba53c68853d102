"""Speech states to the motion of a mouth, by a small temporal convolution.

Every output depends on the states at most ``reach`` away, and at the ends of the speech the end
state is repeated. So sound of any length is worked through in blocks, in constant memory, and the
blocks join without a seam: they give what the whole would give.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from lipwright.motion import resampling as curve
from lipwright.motion.basis import Basis
from lipwright.types import Doubles, Floats
from lipwright.weights.store import WeightStore, onnx_session

BLOCK = 250  # states worked through at once: the filter unfolds them 30 times


class MotionModel:
    """The trained network, warm, and the mouth motions it speaks in."""

    def __init__(self, store: WeightStore | None = None, *, threads: int = 1) -> None:
        """Open the network.

        Raises:
            WeightsMissing: if the file is not installed.
            WeightsCorrupt: if it is not the published one.
        """
        self._session: Any = onnx_session((store or WeightStore()).path("motion"), threads)
        facts = self._session.get_modelmeta().custom_metadata_map
        self.basis = Basis.from_text(facts["basis"])
        self._reach = int(facts["reach"])

    def articulate(self, states: Floats | Iterable[Floats]) -> Floats:
        """Return how the mouth moves to speech.

        Args:
            states: speech states (S, 1024) at 50 Hz, or the same in pieces of any length.

        Returns:
            Coefficients of :attr:`basis`, float32 (S, K) at 50 Hz, 0 being the mean of speech.
        """
        pieces = [states] if isinstance(states, np.ndarray) else states
        parts = [self._run(block) for block in blocks(pieces, self._reach)]
        return np.concatenate(parts) if parts else np.zeros((0, self.basis.size), np.float32)

    def predict(self, states: Floats | Iterable[Floats], times: Doubles) -> Floats:
        """Return mouth displacements from the mean of speech.

        Args:
            states: as for :meth:`articulate`; at least one.
            times: seconds, float64 (n,), at any rate and in any order.

        Returns:
            float32 (n, 61, 3) in canonical units.
        """
        return self.basis.shapes(curve.read(self.articulate(states), times))

    def _run(self, block: Floats) -> Floats:
        (out,) = self._session.run(["coefficients"], {"states": block[None]})
        found: Floats = out[0]
        return found


def blocks(pieces: Iterable[Floats], reach: int, size: int = BLOCK) -> Iterator[Floats]:
    """Cut states into blocks that overlap by what the network needs on each side.

    Args:
        pieces: states (s, C) in order, pieces of any length.
        reach: states needed before the first and after the last output of a block.
        size: outputs of one block, at most.

    Yields:
        float32 (n + 2 reach, C), where the n, at most *size*, add up to the number of states.
    """
    held: Floats | None = None
    for piece in pieces:
        if not len(piece):
            continue
        piece = np.asarray(piece, np.float32)
        held = _repeat(piece[:1], reach) if held is None else held
        held = np.concatenate([held, piece])
        while len(held) > size + 2 * reach:
            yield held[: size + 2 * reach]
            held = held[size:]
    if held is not None:
        held = np.concatenate([held, _repeat(held[-1:], reach)])
        while len(held) > 2 * reach:
            yield held[: size + 2 * reach]
            held = held[size:]


def _repeat(row: Floats, count: int) -> Floats:
    return np.repeat(row, count, axis=0)
