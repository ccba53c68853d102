"""Compare the export of Whisper's encoder with CTranslate2, and our log-mel with faster-whisper's.

Usage: ``python scripts/verify_whisper_export.py FOLDER SOUND``. FOLDER holds CTranslate2's
Whisper-base (``model.bin`` and its JSON files; scripts/fetch_weights.py names the packages). SOUND
is any recording of speech. Needs ``ctranslate2==4.8.5 faster-whisper==1.2.1 onnx`` and the project.

CTranslate2 returns only the output of the last layer. The code that exports four layers therefore
exports all six and the final norm here. Measured on 30 s of speech: log-mel within 1.2e-7, states
within 7.3e-4 (mean 1.5e-6, standard deviation of the states 1.46).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import ctranslate2
import numpy as np
import onnxruntime
from faster_whisper.feature_extractor import FeatureExtractor

import export_whisper_encoder as whisper
from lipwright.speech.audio import load_audio
from lipwright.speech.mel import SAMPLE_RATE, log_mel

TOLERANCE = 2e-3
MAX_FRAMES = 3000  # of 10 ms: Whisper's 30 s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="with CTranslate2's Whisper-base")
    parser.add_argument("sound", type=Path, help="recording of speech")
    arguments = parser.parse_args()
    sound = load_audio(arguments.sound)[: MAX_FRAMES * SAMPLE_RATE // 100]
    mel = log_mel(sound)
    mel_error = np.abs(mel - FeatureExtractor()(sound, padding=0)).max()
    mel = np.ascontiguousarray(mel[None, :, : mel.shape[1] // 2 * 2])
    reference = ctranslate2.models.Whisper(str(arguments.folder), compute_type="float32")
    expected = np.array(reference.encode(ctranslate2.StorageView.from_array(mel)))
    weights = whisper.read_ctranslate2((arguments.folder / "model.bin").read_bytes())
    graph = whisper.build(weights, layers=(6,), final_norm=True).SerializeToString()
    (states,) = onnxruntime.InferenceSession(graph).run(None, {"mel": mel})
    error = np.abs(states - expected)
    print(
        f"log-mel within {mel_error:.1e}; states within {error.max():.1e}, mean {error.mean():.1e}"
    )
    if mel_error > TOLERANCE or error.max() > TOLERANCE:
        raise SystemExit("the export does not agree with CTranslate2")


if __name__ == "__main__":
    main()
