"""What there is to hear in a speech, heard once and kept on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from lipwright.runtime.disk_array import Array, DiskArray, chunks
from lipwright.speech.activity import Samples, speech_activity
from lipwright.speech.encoder import WIDTH, SpeechEncoder
from lipwright.weights.store import WeightStore

PIECE = 500  # states read at a time


@dataclass(frozen=True, kw_only=True)
class Voice:
    """A speech as it is heard, S states of 50 Hz."""

    states: Array  #: (S, 1024) float16 of the encoder
    activity: Samples  #: (S,) probability of speech


def in_pieces(states: Array) -> Iterator[Samples]:
    """Yield states (S, 1024) piece by piece, float32."""
    for _, part in chunks(states, PIECE):
        yield part.astype(np.float32)


def hear(sound: Iterable[Samples], encoder: SpeechEncoder) -> DiskArray:
    """Return the speech states (S, 1024) of a sound, on disk, as float16.

    Args:
        sound: in pieces of any length, float32 (n,), 16 kHz.
        encoder: that hears it.
    """
    states = DiskArray(
        (WIDTH,), np.float16
    )  # 100 KB a second, as exact as the networks learnt from
    for part in encoder.stream(sound):
        states.extend(part)
    return states


def listen(
    sound: Callable[[], Iterable[Samples]], encoder: SpeechEncoder, store: WeightStore
) -> Voice:
    """Hear a speech, in constant memory.

    Args:
        sound: gives the sound in pieces of any length, float32 (n,), 16 kHz; called twice.
        encoder: that hears it.
        store: where the network is that tells speech from noise.
    """
    return Voice(states=hear(sound(), encoder), activity=speech_activity(sound(), store))
