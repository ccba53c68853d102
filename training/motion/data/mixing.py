"""Stage ``mix``: encode each training clip among other clips of its speaker, as continuous speech.

The anchors' clips last about a second. Encoded alone, each is the beginning of a recording followed
by silence, unlike the speech that the network sees in use. So the clips of a speaker are joined in
random order to recordings of up to one window of the encoder, and the states of each clip are cut
out again. This happens several times, each time in another order, partly with augmented sound.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lipwright.media.decode.audio import read_audio
from lipwright.speech.encoder import HOP, WINDOW, SpeechEncoder
from training.motion.data import augment
from training.motion.data.features import BABBLE_VOICES, cache_name, find_clips, write_arrays

PASSES = 5  # times that each clip is encoded
PLAIN_PASSES = 2  # of them, with unchanged sound

Samples = NDArray[np.float32]
States = NDArray[np.float16]
EncodedClips = dict[str, tuple[States, float]]  #: by clip: its states and its playback speed


def encode_all_in_context(data: Path, cache: Path, speakers: Mapping[str, str]) -> None:
    """Encode clips in context and write one file per clip, like `features.extract_variants`.

    Args:
        data: the folder with ``train``.
        cache: folder for the results; about 1.5 GB for 48 minutes.
        speakers: speaker of each clip, by name of the clip.
    """
    cache.mkdir(parents=True, exist_ok=True)
    encoder, sounds = SpeechEncoder(), read_sounds(data, speakers)
    passes = []
    for index in range(PASSES):
        passes.append(
            encode_in_context(
                sounds, speakers, encoder, seed=index + 1, varied=index >= PLAIN_PASSES
            )
        )
        print(f"mix: {index + 1} of {PASSES} passes")
    for name in sounds:
        found: dict[str, NDArray[np.generic]] = {
            f"states{index}": heard[name][0] for index, heard in enumerate(passes)
        }
        speeds = np.array([heard[name][1] for heard in passes])
        write_arrays(cache / f"{name}.npz", {**found, "speeds": speeds})


def encode_in_context(
    sounds: Mapping[str, Samples],
    speakers: Mapping[str, str],
    encoder: SpeechEncoder,
    *,
    seed: int,
    varied: bool,
) -> EncodedClips:
    """Encode all sounds once, each among others of its speaker.

    Args:
        sounds: mono, float32 (n,), 16 kHz, by name of the clip.
        speakers: speaker of each clip.
        encoder: speech encoder.
        seed: of the order and of the augmentation.
        varied: whether to augment the sounds.
    """
    random = np.random.default_rng(seed)
    played, speeds = prepare_sounds(sounds, random, varied=varied)
    found: EncodedClips = {}
    for group in group_by_speaker(played, speakers, random):
        states = encoder.encode(np.concatenate([pad_to_state(played[name]) for name in group]))
        start = 0
        for name in group:
            stop = start + -(-len(played[name]) // HOP)
            found[name] = states[start:stop].astype(np.float16), speeds[name]
            start = stop
    return found


def read_sounds(data: Path, names: Iterable[str]) -> dict[str, Samples]:
    """Return the sounds of clips, mono, float32 (n,), 16 kHz, by name, in order."""
    paths = {cache_name(path, data): path for path in find_clips(data)}
    return {n: read_audio(paths[n], rate=16000, align_to_video=True) for n in sorted(names)}


def prepare_sounds(
    sounds: Mapping[str, Samples], random: np.random.Generator, *, varied: bool
) -> tuple[Mapping[str, Samples], dict[str, float]]:
    """Return all sounds and their playback speeds: unchanged, or augmented.

    Some augmented sounds have other sounds as background.
    """
    if not varied:
        return sounds, dict.fromkeys(sounds, 1.0)
    names, played, speeds = list(sounds), dict[str, Samples](), dict[str, float]()
    for name in names:
        babble = [sounds[names[i]] for i in random.integers(0, len(names), BABBLE_VOICES)]
        played[name], speeds[name] = augment.augment_sound(sounds[name], babble, random)
    return played, speeds


def group_by_speaker(
    sounds: Mapping[str, Samples], speakers: Mapping[str, str], random: np.random.Generator
) -> Iterator[Sequence[str]]:
    """Yield groups of clips of one speaker, in random order, as many as one window holds.

    A clip longer than a window is a group of its own.
    """
    by_speaker: dict[str, list[str]] = {}
    for name in sounds:
        by_speaker.setdefault(speakers[name], []).append(name)
    for clips in by_speaker.values():
        group: list[str] = []
        filled = 0
        for name in [clips[i] for i in random.permutation(len(clips))]:
            length = len(pad_to_state(sounds[name]))
            if group and filled + length > WINDOW * HOP:
                yield group
                group, filled = [], 0
            group.append(name)
            filled += length
        yield group


def pad_to_state(sound: Samples) -> Samples:
    """Pad a sound with silence to the end of its last state."""
    return np.pad(sound, (0, -len(sound) % HOP))
