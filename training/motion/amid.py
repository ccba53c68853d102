"""Stage ``amid``: hear every clip to learn from amid others of its speaker, as running speech.

The anchors' clips last about a second. Heard alone, each is the beginning of a recording, followed
by silence; the speech that the network will move a mouth to is neither. So the clips of a speaker
are joined in random order to recordings of up to one window of the encoder, and each clip's states
are cut out again: several times over, in other company, some of them varied (see `augment`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lipwright.media.decode.video import read_audio
from lipwright.speech.encoder import HOP, WINDOW, SpeechEncoder
from training.motion import augment
from training.motion.features import MURMUR, find, name_of, write

PASSES = 5  # times that every clip is heard
PLAIN = 2  # of them with the sound as it is

Samples = NDArray[np.float32]
States = NDArray[np.float16]
Heard = dict[str, tuple[States, float]]  # by clip: its states, and how much faster it is played


def collect(data: Path, cache: Path, speakers: Mapping[str, str]) -> None:
    """Hear the clips of *speakers* (by name of the clip), one file per clip, like `features.vary`.

    Args:
        data: the folder with ``train``.
        cache: where the results go; about 1.5 GB for 48 minutes.
        speakers: who speaks in which clip.
    """
    cache.mkdir(parents=True, exist_ok=True)
    encoder, sounds = SpeechEncoder(), read_sounds(data, speakers)
    passes = []
    for index in range(PASSES):
        passes.append(hear(sounds, speakers, encoder, seed=index + 1, varied=index >= PLAIN))
        print(f"amid: {index + 1} of {PASSES} passes")
    for name in sounds:
        found: dict[str, NDArray[np.generic]] = {
            f"states{index}": heard[name][0] for index, heard in enumerate(passes)
        }
        speeds = np.array([heard[name][1] for heard in passes])
        write(cache / f"{name}.npz", {**found, "speeds": speeds})


def hear(
    sounds: Mapping[str, Samples],
    speakers: Mapping[str, str],
    encoder: SpeechEncoder,
    *,
    seed: int,
    varied: bool,
) -> Heard:
    """Hear all sounds once, amid others of their speaker.

    Args:
        sounds: mono, float32 (n,), 16 kHz, by name of the clip.
        speakers: who speaks in which clip.
        encoder: hears.
        seed: of the company and the variants.
        varied: whether each sound is varied.
    """
    random = np.random.default_rng(seed)
    played, speeds = play(sounds, random, varied=varied)
    found: Heard = {}
    for group in groups(played, speakers, random):
        states = encoder.encode(np.concatenate([whole(played[name]) for name in group]))
        start = 0
        for name in group:
            stop = start + -(-len(played[name]) // HOP)
            found[name] = states[start:stop].astype(np.float16), speeds[name]
            start = stop
    return found


def read_sounds(data: Path, names: Iterable[str]) -> dict[str, Samples]:
    """Return the sounds of clips, mono, float32 (n,), 16 kHz, by name, in order."""
    paths = {name_of(path, data): path for path in find(data)}
    return {n: read_audio(paths[n], rate=16000, from_picture=True) for n in sorted(names)}


def play(
    sounds: Mapping[str, Samples], random: np.random.Generator, *, varied: bool
) -> tuple[Mapping[str, Samples], dict[str, float]]:
    """Return all sounds and how much faster each is: as they are, or varied.

    Of the varied ones some have others behind them.
    """
    if not varied:
        return sounds, dict.fromkeys(sounds, 1.0)
    names, played, speeds = list(sounds), dict[str, Samples](), dict[str, float]()
    for name in names:
        murmur = [sounds[names[i]] for i in random.integers(0, len(names), MURMUR)]
        played[name], speeds[name] = augment.vary(sounds[name], murmur, random)
    return played, speeds


def groups(
    sounds: Mapping[str, Samples], speakers: Mapping[str, str], random: np.random.Generator
) -> Iterator[Sequence[str]]:
    """Yield the clips of each speaker in random order, as many as one window holds.

    A clip longer than a window is alone.
    """
    by_speaker: dict[str, list[str]] = {}
    for name in sounds:
        by_speaker.setdefault(speakers[name], []).append(name)
    for clips in by_speaker.values():
        group: list[str] = []
        filled = 0
        for name in [clips[i] for i in random.permutation(len(clips))]:
            length = len(whole(sounds[name]))
            if group and filled + length > WINDOW * HOP:
                yield group
                group, filled = [], 0
            group.append(name)
            filled += length
        yield group


def whole(sound: Samples) -> Samples:
    """Return a sound followed by silence up to the end of its last state."""
    return np.pad(sound, (0, -len(sound) % HOP))
