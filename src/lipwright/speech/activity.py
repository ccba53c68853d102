"""Detect speech: Silero VAD at 50 Hz.

The network reads frames of 32 ms, each with the 4 ms before it, and carries an LSTM's state. Its
31.25 values a second are interpolated linearly at the centres of the 50 Hz states.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from lipwright.speech.encoder import HOP, split_samples
from lipwright.weights.store import WeightStore, onnx_session

FRAME = 512  # samples that the network reads at once, 32 ms
CONTEXT = 64  # samples before them that it reads again
STATE_SHAPE = (1, 1, 128)  # shape of each of the LSTM's two states
BLOCK = 1000  # frames in one call of the network, 32 s

Samples = NDArray[np.float32]


def speech_activity(
    samples: Samples | Iterable[Samples], store: WeightStore | None = None
) -> NDArray[np.float32]:
    """Return the probability of speech at 50 Hz, aligned with the states of `SpeechEncoder`.

    Args:
        samples: mono sound, float32 (n,), 16 kHz, -1 to 1; or the same in chunks of any length,
            of which only 32 s are in memory.
        store: where the network is; None: the files of the package.

    Returns:
        float32 (ceil(n / 320),), 0 to 1; value ``i`` is at ``(i + 0.5) / 50`` s. Breath, music and
        noise count as no speech.

    Raises:
        WeightsMissing: the network is not installed.
        WeightsCorrupt: the network is not the published one.
    """
    chunks = split_samples(samples, BLOCK * FRAME) if isinstance(samples, np.ndarray) else samples
    session = onnx_session((store or WeightStore()).path("silero_vad"))
    hidden = cell = np.zeros(STATE_SHAPE, np.float32)
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
    """Yield at most `BLOCK` whole frames, the last one padded, and the number of real samples."""
    buffer = np.zeros(0, np.float32)
    for chunk in chunks:
        buffer = np.concatenate([buffer, np.asarray(chunk, np.float32)])
        while len(buffer) > BLOCK * FRAME:
            yield buffer[: BLOCK * FRAME], BLOCK * FRAME
            buffer = buffer[BLOCK * FRAME :]
    if len(buffer):
        yield np.pad(buffer, (0, -len(buffer) % FRAME)), len(buffer)


def _at_states(probabilities: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """Interpolate values at 31.25 Hz at the centres of the 50 Hz states of ``length`` samples."""
    states = np.arange(-(-length // HOP)) * HOP + HOP / 2
    frames = np.arange(len(probabilities)) * FRAME + FRAME / 2
    if not len(frames):
        return np.zeros(0, np.float32)
    return np.asarray(np.interp(states, frames, probabilities), dtype=np.float32)
