"""Encode speech as states at 50 Hz: layers 2 and 4 of Whisper-base's encoder.

State ``i`` covers the samples ``[320 i, 320 i + 320)``; its centre is at ``(i + 0.5) / 50`` s.

Sound of any length is encoded in windows of 10 s, 8.5 s apart. Where two windows overlap, the first
and the last half second are dropped (a state needs context on both sides) and the middle is
cross-faded. Sound of up to 10 s is one window. The windows are counted from the first sample, so a
stream gives the same states as the whole recording, with one window in memory.

The raw states carry two things that are not speech. Both are removed:

- *Position.* Whisper adds position encodings. In layer 2 the same sound 3 s later in the window
  differs by 0.55 of a standard deviation; after subtracting the mean state of each position
  (the weight ``speech_centre``), by 0.21.
- *Sinks.* About 2 % of layer 4's states are attention sinks of 8 times the usual size without
  local content (Darcet et al., "Vision Transformers Need Registers", 2024; Sun et al., "Massive
  Activations in Large Language Models", 2024). They are replaced by their neighbours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lipwright.runtime.device import Device
from lipwright.speech.mel import SAMPLE_RATE, log_mel
from lipwright.types import Ints
from lipwright.weights.store import WeightStore, onnx_session

STATE_RATE = 50  # states per second
HOP = SAMPLE_RATE // STATE_RATE  # samples per state
LAYER_SIZE = 512  # values per layer
STATE_SIZE = 2 * LAYER_SIZE  # layer 2 | layer 4

WINDOW = 500  # states encoded at once, 10 s; Whisper allows 1500, at three times the cost
STRIDE = 425  # states from one window to the next
MARGIN = 25  # states dropped at an inner end of a window: context matters for about 0.5 s
FADE = WINDOW - STRIDE - 2 * MARGIN  # states cross-faded between two windows

#: Silence appended to the sound, samples: Whisper was always trained with silence at the end.
TAIL_SAMPLES = SAMPLE_RATE

SINK_CHANNEL = LAYER_SIZE + 388  # holds -200 to -530 in a sink, -6 to 1 elsewhere
SINK_LEVEL = 15.0

Samples = NDArray[np.float32]
States = NDArray[np.float32]


class SpeechEncoder:
    """Whisper-base's encoder up to layer 4, loaded."""

    def __init__(
        self,
        store: WeightStore | None = None,
        *,
        threads: int = 1,
        device: Device = Device.CPU,
    ) -> None:
        """Load the network.

        Args:
            store: where the weights are; None: the files of the package.
            threads: of the network on the CPU.
            device: where the network runs.

        Raises:
            WeightsMissing: a file is not installed.
            WeightsCorrupt: a file is not the published one.
            DeviceUnavailable: *device* names a device that cannot be used.
        """
        store = store or WeightStore()
        self._centre: States = np.load(store.path("speech_centre")).astype(np.float32)
        self._session = onnx_session(
            store.path("whisper_base_encoder"),
            threads,
            arena=False,  # attention takes 80 MB, which a job needs only in this stage
            device=device,
        )

    def encode(self, samples: Samples) -> States:
        """Return the states of a whole recording.

        Args:
            samples: mono sound, float32 (n,), 16 kHz, -1 to 1.

        Returns:
            float32 (ceil(n / 320), 1024): layer 2 in the first half, layer 4 in the second, each
            less the mean over speech; within about ±10, safe in float16.
        """
        states, filled = np.empty((-(-len(samples) // HOP), STATE_SIZE), np.float32), 0
        for part in self.stream(split_samples(samples, WINDOW * HOP)):
            states[filled : filled + len(part)] = part
            filled += len(part)
        return states

    def stream(self, chunks: Iterable[Samples]) -> Iterator[States]:
        """Yield the same states as `encode` in chunks, with one window in memory.

        Args:
            chunks: mono sound in chunks of any length, float32 (n,), 16 kHz.
        """
        return crossfade_windows(
            (self._encode_window(window, last), last) for window, last in split_windows(chunks)
        )

    def _encode_window(self, window: Samples, last: bool) -> States:
        """Return all states of one window; silence follows the last one."""
        count = -(-len(window) // HOP)
        states = raw_states(self._session, np.pad(window, (0, TAIL_SAMPLES)) if last else window)[
            :count
        ]
        centred: States = fill_sinks(states) - self._centre[:count]
        return centred


def raw_states(session: Any, window: Samples) -> States:
    """Return the network's output for one window of at most 30 s, with position and sinks."""
    mel = log_mel(window)
    mel = mel[:, : mel.shape[1] // 2 * 2]
    (states,) = session.run(None, {"mel": mel[None]})
    return np.array(states[0], dtype=np.float32)


def fill_sinks(states: States) -> States:
    """Replace the layer-4 half of attention sinks by interpolation of the nearest other states."""
    bad, before, after, weight = find_sinks(states)
    if not len(bad):
        return states
    filled = states.copy()
    filled[bad, LAYER_SIZE:] = (1 - weight) * states[before, LAYER_SIZE:] + weight * states[
        after, LAYER_SIZE:
    ]
    return filled


def find_sinks(states: States) -> tuple[Ints, Ints, Ints, States]:
    """Return which of raw states (n, 1024) are sinks, and what to interpolate them from.

    Returns:
        Indices of the sinks (m,), of the nearest other states before and after each, and the weight
        of the latter (m, 1). All are empty if every state is a sink.
    """
    sink = np.abs(states[:, SINK_CHANNEL]) > SINK_LEVEL
    good, bad = np.flatnonzero(~sink), np.flatnonzero(sink)
    bad = bad if len(good) else bad[:0]
    right = np.searchsorted(good, bad)
    before = good[np.maximum(right - 1, 0)] if len(bad) else bad
    after = good[np.minimum(right, len(good) - 1)] if len(bad) else bad
    span = np.maximum(after - before, 1)
    weight = np.clip((bad - before) / span, 0.0, 1.0)[:, None].astype(np.float32)
    return bad, before, after, weight


def crossfade_windows(parts: Iterable[tuple[States, bool]]) -> Iterator[States]:
    """Yield the states of a recording from those of its windows, cross-faded where they overlap.

    Args:
        parts: for each window its states (n, 1024), which are modified, and whether it is the last.
    """
    fading: States | None = None
    for states, last in parts:
        if fading is not None:
            states = states[MARGIN:]
            states[:FADE] = _crossfade(fading, states[:FADE])
        if not last:
            fading = states[len(states) - MARGIN - FADE : len(states) - MARGIN].copy()
            states = states[: len(states) - MARGIN - FADE]
        yield states


def _crossfade(old: States, new: States) -> States:
    """Blend linearly from ``old`` to ``new``, both (n, 1024)."""
    weight = ((np.arange(len(old), dtype=np.float32) + 0.5) / len(old))[:, None]
    return old + weight * (new - old)


def split_samples(samples: Samples, length: int) -> Iterator[Samples]:
    """Yield views of at most ``length`` samples, in order."""
    for start in range(0, len(samples), length):
        yield samples[start : start + length]


def split_windows(chunks: Iterable[Samples]) -> Iterator[tuple[Samples, bool]]:
    """Split a stream into overlapping windows: yield the samples and whether they are the last."""
    buffer = np.zeros(0, np.float32)
    for chunk in chunks:
        buffer = np.concatenate([buffer, np.asarray(chunk, np.float32)])
        # One sample beyond the window proves that it is not the last.
        while len(buffer) > WINDOW * HOP:
            yield buffer[: WINDOW * HOP], False
            buffer = buffer[STRIDE * HOP :]
    if len(buffer):
        yield buffer, True
