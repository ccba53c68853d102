"""The device of a job: the CPU, or an NVIDIA GPU beside it."""

from __future__ import annotations

from contextlib import redirect_stdout
from enum import StrEnum
from functools import cache
from io import StringIO

from lipwright.errors import DeviceUnavailable, InvalidOptions
from lipwright.runtime.onnx import import_onnxruntime

PROVIDER = "CUDAExecutionProvider"  # ONNX Runtime's name


class Device(StrEnum):
    """What a job uses beside the CPU."""

    CPU = "cpu"  #: nothing
    CUDA = "cuda"  #: an NVIDIA GPU; without one the job fails
    AUTO = "auto"  #: an NVIDIA GPU if there is one


def select_device(requested: str | None = None) -> Device:
    """Return the device to use: the requested one, or the CPU.

    Raises:
        InvalidOptions: *requested* is no known device.
        DeviceUnavailable: CUDA was requested and ONNX Runtime is not built for it.
    """
    try:
        device = Device(requested or Device.CPU)
    except ValueError:
        known = ", ".join(Device)
        raise InvalidOptions(f"cannot use device = {requested!r}: use one of {known}") from None
    if device is Device.CUDA and not has_cuda():
        raise DeviceUnavailable(
            "the installed ONNX Runtime has no CUDA support: install onnxruntime-gpu in place of "
            "onnxruntime, or use the device cpu"
        )
    return device


@cache
def has_cuda() -> bool:
    """Return whether ONNX Runtime is built for CUDA; a missing GPU shows up when it is used."""
    onnxruntime = import_onnxruntime()
    if PROVIDER not in onnxruntime.get_available_providers():
        return False
    with redirect_stdout(StringIO()):  # it prints missing libraries, and logs them on use
        onnxruntime.preload_dlls()  # from NVIDIA's packages, if CUDA was installed by pip
    return True
