"""Where speech is: Silero VAD at 50 Hz.

The network hears 32 ms at a time, each with the 4 ms before it, and carries an LSTM's state. Its
31.25 values a second are read at the centres of the 50 Hz states, linearly between frame centres.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from lipwright.speech.encoder import HOP, pieces
from lipwright.weights.store import WeightStore, onnx_session

FRAME = 512  # samples that the network hears at once, 32 ms
CONTEXT = 64  # samples before them that it hears again
MEMORY = (1, 1, 128)  # shape of each of the LSTM's two states
BLOCK = 1000  # frames put through the network in one call, 32 s

Samples = NDArray[np.float32]


def speech_activity(
    samples: Samples | Iterable[Samples], store: WeightStore | None = None
) -> NDArray[np.float32]:
    """Return the probability of speech at 50 Hz, aligned with the states of `SpeechEncoder`.

    Args:
        samples: mono sound, float32 (n,), 16 kHz, -1 to 1; or the same in pieces of any length,
            of which only 32 s are held.
        store: where the network is.

    Returns:
        float32 (ceil(n / 320),), 0 to 1; value ``i`` is at ``(i + 0.5) / 50`` s. Breath, music and
        noise count as no speech.

    Raises:
        WeightsMissing: if the network is not installed.
        WeightsCorrupt: if it is not the published one.
    """
    chunks = pieces(samples, BLOCK * FRAME) if isinstance(samples, np.ndarray) else samples
    session = onnx_session((store or WeightStore()).path("silero_vad"))
    hidden = cell = np.zeros(MEMORY, np.float32)
    context, parts, length = np.zeros(CONTEXT, np.float32), [np.zeros(0, np.float32)], 0
    for block, count in _blocks(chunks):
        frames = block.reshape(-1, FRAME)
        before = np.concatenate([context[None], frames[:-1, -CONTEXT:]])
        inputs = {"input": np.concatenate([before, frames], 1), "h": hidden, "c": cell}
        probabilities, hidden, cell = session.run(None, inputs)
        context, length = frames[-1, -CONTEXT:], length + count
        parts.append(probabilities)
    return _at_states(np.concatenate(parts), length)


def _blocks(chunks: Iterable[Samples]) -> Iterator[tuple[Samples, int]]:
    """Yield whole frames, at most `BLOCK`, padded at the end, with the count of true samples."""
    held = np.zeros(0, np.float32)
    for chunk in chunks:
        held = np.concatenate([held, np.asarray(chunk, np.float32)])
        while len(held) > BLOCK * FRAME:
            yield held[: BLOCK * FRAME], BLOCK * FRAME
            held = held[BLOCK * FRAME :]
    if len(held):
        yield np.pad(held, (0, -len(held) % FRAME)), len(held)


def _at_states(probabilities: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """Read values at 31.25 Hz at the centres of the 50 Hz states of ``length`` samples."""
    states = np.arange(-(-length // HOP)) * HOP + HOP / 2
    frames = np.arange(len(probabilities)) * FRAME + FRAME / 2
    if not len(frames):
        return np.zeros(0, np.float32)
    return np.asarray(np.interp(states, frames, probabilities), dtype=np.float32)
