"""Device selection, and the errors for a device that cannot be used."""

from __future__ import annotations

import numpy as np
import pytest

from lipwright.engines.base import EngineSpec
from lipwright.engines.passthrough import Passthrough
from lipwright.errors import DeviceUnavailable, InvalidOptions
from lipwright.runtime import device
from lipwright.runtime.device import Device, select_device
from lipwright.speech.encoder import SpeechEncoder
from lipwright.weights import store
from lipwright.weights.store import WeightStore, onnx_session

SMALL = "occlusion"  # a network that opens at once


@pytest.fixture
def built_for_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that onnxruntime-gpu is installed."""
    for module in (device, store):
        monkeypatch.setattr(module, "has_cuda", lambda: True)


def test_the_default_device_is_the_cpu():
    assert select_device() is Device.CPU
    assert select_device("auto") is Device.AUTO


def test_unknown_device_is_refused():
    with pytest.raises(InvalidOptions, match=r"device = 'gpu'.*cpu, cuda, auto"):
        select_device("gpu")


def test_cuda_without_onnxruntime_gpu_is_refused_and_auto_falls_back(monkeypatch):
    monkeypatch.setattr(device, "has_cuda", lambda: False)
    with pytest.raises(DeviceUnavailable, match="onnxruntime-gpu"):
        select_device("cuda")
    assert select_device("auto") is Device.AUTO


@pytest.mark.skipif(device.has_cuda(), reason="this machine may have a GPU")
@pytest.mark.usefixtures("built_for_cuda")
def test_missing_gpu_is_an_error_for_cuda_and_the_cpu_is_used_for_auto():
    path = WeightStore().path(SMALL)
    assert onnx_session(path, device=Device.AUTO).get_providers() == ["CPUExecutionProvider"]
    with pytest.raises(DeviceUnavailable, match=r"no usable GPU.*driver"):
        onnx_session(path, device=Device.CUDA)


@pytest.mark.parametrize(
    ("devices", "requested", "opened"),
    [
        (("cpu",), "cuda", "cpu"),
        (("cpu",), "auto", "cpu"),
        (("cpu", "cuda"), "cuda", "cuda"),
        (("cpu", "cuda"), "auto", "auto"),
        (("cpu", "cuda"), "cpu", "cpu"),
    ],
)
def test_engine_is_opened_on_a_device_it_supports(devices, requested, opened):
    devices_opened: list[Device] = []

    def load(device: Device, store: WeightStore) -> Passthrough:
        devices_opened.append(device)
        return Passthrough()

    spec = EngineSpec(name="probe", summary="a probe", licence="MIT", load=load, devices=devices)
    spec.open(Device(requested))
    assert devices_opened == [Device(opened)]


@pytest.mark.model
@pytest.mark.skipif(not device.has_cuda(), reason="needs ONNX Runtime with CUDA")
def test_speech_states_of_gpu_and_cpu_agree():
    sound = np.random.default_rng(0).normal(0, 0.1, 48000).astype(np.float32)
    cpu, gpu = (SpeechEncoder(device=d).encode(sound) for d in (Device.CPU, Device.CUDA))
    assert np.abs(cpu - gpu).max() < 0.05
