"""Where a job computes: on the CPU, or on a GPU too."""

from __future__ import annotations

import os
from contextlib import redirect_stdout
from enum import StrEnum
from functools import cache
from io import StringIO

from lipwright.errors import DeviceUnavailable, InvalidOptions

VARIABLE = "LIPWRIGHT_DEVICE"
PROVIDER = "CUDAExecutionProvider"  # ONNX Runtime's name of what computes on one


class Device(StrEnum):
    """What may be used beside the CPU."""

    CPU = "cpu"  #: nothing
    CUDA = "cuda"  #: a GPU by NVIDIA; without it there is no job
    AUTO = "auto"  #: the same where it is there


def select_device(asked: str | None = None) -> Device:
    """Return the device to use: as asked, as the environment says, or the CPU.

    Raises:
        InvalidOptions: it is none that is known.
        DeviceUnavailable: it was asked for by name, and ONNX Runtime knows no such device here.
    """
    text = asked or os.environ.get(VARIABLE) or Device.CPU
    try:
        device = Device(text)
    except ValueError:
        source = "device" if asked else VARIABLE
        known = ", ".join(Device)
        raise InvalidOptions(f"cannot use {source} = {text!r}: give one of {known}") from None
    if device is Device.CUDA and not has_cuda():
        raise DeviceUnavailable(
            "ONNX Runtime as it is installed here cannot use CUDA: install onnxruntime-gpu in the "
            "place of onnxruntime, or leave the device out to compute on the CPU"
        )
    return device


@cache
def has_cuda() -> bool:
    """Return whether ONNX Runtime was built for CUDA; whether a GPU is there, it tells later."""
    import onnxruntime

    if PROVIDER not in onnxruntime.get_available_providers():
        return False
    with redirect_stdout(StringIO()):  # it prints what it misses, and logs it when that is needed
        onnxruntime.preload_dlls()  # of NVIDIA's packages, where CUDA came with pip
    return True
