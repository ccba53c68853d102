"""Which device computes, and what is said where the one asked for is not there."""

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
    """As where onnxruntime-gpu is installed."""
    for module in (device, store):
        monkeypatch.setattr(module, "has_cuda", lambda: True)


def test_the_default_device_is_the_cpu():
    assert select_device() is Device.CPU
    assert select_device("auto") is Device.AUTO


def test_an_unknown_device_is_an_error():
    with pytest.raises(InvalidOptions, match=r"device = 'gpu'.*cpu, cuda, auto"):
        select_device("gpu")


def test_cuda_without_a_runtime_for_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(device, "has_cuda", lambda: False)
    with pytest.raises(DeviceUnavailable, match="onnxruntime-gpu"):
        select_device("cuda")
    assert select_device("auto") is Device.AUTO


@pytest.mark.skipif(device.has_cuda(), reason="there may be a GPU here")
@pytest.mark.usefixtures("built_for_cuda")
def test_a_runtime_that_finds_no_gpu_is_an_error_only_if_asked_for_by_name():
    path = WeightStore().path(SMALL)
    assert onnx_session(path, device=Device.AUTO).get_providers() == ["CPUExecutionProvider"]
    with pytest.raises(DeviceUnavailable, match=r"no usable GPU.*driver"):
        onnx_session(path, device=Device.CUDA)


@pytest.mark.parametrize(
    ("devices", "asked", "given"),
    [
        (("cpu",), "cuda", "cpu"),
        (("cpu",), "auto", "cpu"),
        (("cpu", "cuda"), "cuda", "cuda"),
        (("cpu", "cuda"), "auto", "auto"),
        (("cpu", "cuda"), "cpu", "cpu"),
    ],
)
def test_an_engine_is_opened_for_what_it_can_use(devices, asked, given):
    got: list[Device] = []

    def load(device: Device, store: WeightStore) -> Passthrough:
        got.append(device)
        return Passthrough()

    spec = EngineSpec(name="tried", summary="tried", licence="MIT", load=load, devices=devices)
    spec.open(Device(asked))
    assert got == [Device(given)]


@pytest.mark.model
@pytest.mark.skipif(not device.has_cuda(), reason="ONNX Runtime here cannot use CUDA")
def test_a_gpu_hears_what_the_cpu_hears():
    sound = np.random.default_rng(0).normal(0, 0.1, 48000).astype(np.float32)
    here, there = (SpeechEncoder(device=d).encode(sound) for d in (Device.CPU, Device.CUDA))
    assert np.abs(here - there).max() < 0.05
