"""Find model files, check them, open them."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from lipwright.errors import DeviceUnavailable, WeightsCorrupt, WeightsMissing
from lipwright.runtime.device import PROVIDER, Device, has_cuda
from lipwright.weights.manifest import MANIFEST, Weight

CPU_PROVIDER = "CPUExecutionProvider"

#: Where the vendored files lie.
FILES = Path(__file__).parent / "files"


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as 64 lower-case hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class WeightStore:
    """The model files of one folder, each checked against the manifest before use."""

    def __init__(self, folder: Path | str | None = None) -> None:
        """Look in ``folder``, or in the files that came with the package."""
        self.folder = FILES if folder is None else Path(folder)
        self._used: dict[str, str] = {}

    def path(self, name: str) -> Path:
        """Return where the weight ``name`` lies, after checking its bytes once per process.

        Raises:
            WeightsMissing: if the manifest does not list it or the file is not there.
            WeightsCorrupt: if size or SHA-256 differ from the manifest.
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


@cache  # failures are not kept, so a repaired file is found again
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
    """Open an ONNX model with ``threads`` threads on the CPU that sleep while idle.

    Args:
        path: of the model.
        threads: that it computes with.
        arena: whether it keeps the memory of its largest run for later ones.
        device: what may compute instead.

    Returns:
        An ``onnxruntime.InferenceSession``.

    Raises:
        WeightsCorrupt: if ONNX Runtime cannot load the file.
        DeviceUnavailable: if the device was asked for by name and cannot be used.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only
    options.enable_cpu_mem_arena = arena
    # Spinning threads would take the cores from decoding and encoding, which run beside.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")

    def opened(*providers: str) -> Any:
        return onnxruntime.InferenceSession(path, options, providers=providers)

    if device is not Device.CPU and has_cuda():
        # Where a library or the GPU is missing, ONNX Runtime raises or quietly takes the CPU.
        with suppress(Exception):
            session = opened(PROVIDER, CPU_PROVIDER)
            if PROVIDER in session.get_providers():
                return session
    if device is Device.CUDA:
        raise DeviceUnavailable(
            f"ONNX Runtime {onnxruntime.__version__} finds no GPU that it can use for {path.name}: "
            "it needs NVIDIA's driver, CUDA and cuDNN; leave the device out to compute on the CPU"
        )
    try:
        return opened(CPU_PROVIDER)
    except Exception as error:  # onnxruntime's own classes have no public common root
        raise WeightsCorrupt(
            f"{path}: ONNX Runtime {onnxruntime.__version__} cannot load it; "
            "reinstall lipwright, or update onnxruntime"
        ) from error
