"""Make the weight ``speech_centre``: the mean speech state at each position of a window.

    python scripts/make_speech_centre.py FOLDER

FOLDER holds recordings of speech, half an hour or more. Content and language matter little, because
the result is only an average. Afterwards run ``python scripts/update_manifest.py speech_centre``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import av
import numpy as np

from lipwright.speech.encoder import HOP, STATE_SIZE, TAIL_SAMPLES, WINDOW, fill_sinks, raw_states
from lipwright.speech.mel import SAMPLE_RATE
from lipwright.weights.store import FILES, WeightStore, onnx_session

SUFFIXES = {".mp4", ".wav", ".flac", ".mp3", ".m4a"}


def decode(path: Path) -> np.ndarray:
    """Return one recording as float32 (n,), mono, 16 kHz; empty if it has no sound."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
    parts = [np.zeros(0, np.float32)]
    with av.open(str(path)) as container:
        if container.streams.audio:
            for frame in container.decode(audio=0):
                parts += [piece.to_ndarray()[0] for piece in resampler.resample(frame)]
    return np.concatenate(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of recordings")
    files = sorted(p for p in parser.parse_args().folder.rglob("*") if p.suffix in SUFFIXES)
    np.random.default_rng(0).shuffle(files)  # type: ignore[arg-type]
    sound = np.concatenate([decode(path) for path in files])
    session = onnx_session(WeightStore().path("whisper_base_encoder"))
    total, count = np.zeros((WINDOW, STATE_SIZE)), 0
    length = WINDOW * HOP + TAIL_SAMPLES  # the tail keeps the edge of the sound out of the average
    for start in range(0, len(sound) - length, WINDOW * HOP // 2):
        states = raw_states(session, sound[start : start + length])
        total += fill_sinks(states[:WINDOW])
        count += 1
    np.save(FILES / "speech_centre.npy", (total / count).astype(np.float16))
    print(
        f"{count} windows of {len(files)} recordings, {len(sound) / SAMPLE_RATE / 60:.0f} minutes"
    )


if __name__ == "__main__":
    main()
