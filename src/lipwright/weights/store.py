"""Locate model files, verify them, and open them."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from lipwright.errors import DeviceUnavailable, WeightsCorrupt, WeightsMissing
from lipwright.runtime.device import PROVIDER, Device, has_cuda
from lipwright.runtime.onnx import import_onnxruntime
from lipwright.weights.manifest import MANIFEST, Weight

CPU_PROVIDER = "CPUExecutionProvider"

#: Folder of the files that come with the package.
FILES = Path(__file__).parent / "files"


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as 64 lower-case hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class WeightStore:
    """The model files of one folder, each verified against the manifest before use.

    The store records every weight that it hands out. Pass one store to everything that loads
    weights, so that :meth:`used` is complete.
    """

    def __init__(self, folder: Path | str | None = None) -> None:
        """Use the files in ``folder``, or those that come with the package."""
        self.folder = FILES if folder is None else Path(folder)
        self._used: dict[str, str] = {}

    def path(self, name: str) -> Path:
        """Return the path of the weight ``name``, after verifying its content once per process.

        Raises:
            WeightsMissing: the manifest does not list the name, or the file is missing.
            WeightsCorrupt: size or SHA-256 differ from the manifest.
        """
        if name not in MANIFEST:
            raise WeightsMissing(f"no weight is called {name!r}; there are: {', '.join(MANIFEST)}")
        path = self.folder / MANIFEST[name].file
        _verify(path, MANIFEST[name])
        self._used[name] = MANIFEST[name].sha256
        return path

    def used(self) -> dict[str, str]:
        """Return the SHA-256 of every weight handed out so far, by name."""
        return dict(self._used)


@cache  # exceptions are not cached, so a repaired file works
def _verify(path: Path, weight: Weight) -> None:
    try:
        size = path.stat().st_size
        intact = size == weight.size and sha256(path) == weight.sha256
    except OSError as error:
        raise WeightsMissing(
            f"{path}: the weight {weight.name!r} cannot be read ({error.strerror}); "
            "reinstall lipwright, `lipwright doctor` lists all weights"
        ) from error
    if not intact:
        raise WeightsCorrupt(
            f"{path}: the weight {weight.name!r} ({size} bytes) is not the published file "
            f"({weight.size} bytes, SHA-256 {weight.sha256[:12]}…); reinstall lipwright"
        )


def onnx_session(
    path: Path, threads: int = 1, *, arena: bool = True, device: Device = Device.CPU
) -> Any:
    """Open an ONNX model; its CPU threads sleep while idle.

    Args:
        path: of the model.
        threads: number of CPU threads.
        arena: whether the session keeps the memory of its largest run for later ones.
        device: where the model runs. AUTO falls back to the CPU.

    Returns:
        An ``onnxruntime.InferenceSession``.

    Raises:
        WeightsCorrupt: ONNX Runtime cannot load the file.
        DeviceUnavailable: *device* names a device that cannot be used.
    """
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only
    options.enable_cpu_mem_arena = arena
    # Spinning threads would take cores from decoding and encoding, which run at the same time.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")

    def open_with(*providers: str) -> Any:
        return onnxruntime.InferenceSession(path, options, providers=providers)

    if device is not Device.CPU and has_cuda():
        # If a library or the GPU is missing, ONNX Runtime raises or silently uses the CPU.
        with suppress(Exception):
            session = open_with(PROVIDER, CPU_PROVIDER)
            if PROVIDER in session.get_providers():
                return session
    if device is Device.CUDA:
        raise DeviceUnavailable(
            f"ONNX Runtime {onnxruntime.__version__} finds no usable GPU for {path.name}: "
            "it needs NVIDIA's driver, CUDA and cuDNN; omit the device to use the CPU"
        )
    try:
        return open_with(CPU_PROVIDER)
    except Exception as error:  # onnxruntime's own classes have no public common root
        raise WeightsCorrupt(
            f"{path}: ONNX Runtime {onnxruntime.__version__} cannot load it; "
            "reinstall lipwright, or update onnxruntime"
        ) from error
