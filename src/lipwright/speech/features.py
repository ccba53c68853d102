"""Extract the features of a recording that the motion model needs, and keep them on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from lipwright.runtime.disk_array import Array, DiskArray, chunks
from lipwright.speech.activity import Samples, speech_activity
from lipwright.speech.encoder import STATE_SIZE, SpeechEncoder
from lipwright.weights.store import WeightStore

CHUNK_STATES = 500  # states read at a time


@dataclass(frozen=True, kw_only=True)
class SpeechFeatures:
    """Features of a recording: S states at 50 Hz."""

    states: Array  #: (S, 1024) float16, see :class:`SpeechEncoder`
    activity: Samples  #: (S,) float32, probability of speech, 0 to 1
    damaged: int = 0  #: packets of the recording that could not be decoded


def iter_states(states: Array) -> Iterator[Samples]:
    """Yield states (S, 1024) in chunks, as float32."""
    for _, part in chunks(states, CHUNK_STATES):
        yield part.astype(np.float32)


def encode_speech(sound: Iterable[Samples], encoder: SpeechEncoder) -> DiskArray:
    """Return the speech states (S, 1024) of a recording, on disk, as float16.

    Args:
        sound: mono, in chunks of any length, float32 (n,), 16 kHz.
        encoder: computes the states.
    """
    # float16 takes 100 KB a second and is the precision of the training data.
    states = DiskArray((STATE_SIZE,), np.float16)
    for part in encoder.stream(sound):
        states.extend(part)
    return states


def extract_speech_features(
    sound: Callable[[], Iterable[Samples]], encoder: SpeechEncoder, store: WeightStore
) -> SpeechFeatures:
    """Return the features of a recording, computed in constant memory.

    Args:
        sound: returns the sound, mono, in chunks of any length, float32 (n,), 16 kHz; called twice.
        encoder: computes the states.
        store: where the voice activity network is.
    """
    return SpeechFeatures(
        states=encode_speech(sound(), encoder), activity=speech_activity(sound(), store)
    )
