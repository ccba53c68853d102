"""Environment variables of the Python API and the command line."""

from __future__ import annotations

import pytest

from lipwright import environment
from lipwright.errors import InvalidOptions


@pytest.mark.parametrize(("text", "value"), [(None, None), ("", None), ("1", 1), ("12", 12)])
def test_threads_are_read_from_the_environment(monkeypatch, text, value):
    monkeypatch.delenv(environment.THREADS, raising=False)
    if text is not None:
        monkeypatch.setenv(environment.THREADS, text)
    assert environment.threads() == value


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5"])
def test_an_invalid_number_of_threads_names_the_variable(monkeypatch, text):
    monkeypatch.setenv(environment.THREADS, text)
    with pytest.raises(InvalidOptions, match=environment.THREADS):
        environment.threads()


@pytest.mark.parametrize(("text", "value"), [(None, None), ("", None), ("auto", "auto")])
def test_the_device_is_read_from_the_environment(monkeypatch, text, value):
    monkeypatch.delenv(environment.DEVICE, raising=False)
    if text is not None:
        monkeypatch.setenv(environment.DEVICE, text)
    assert environment.device() == value


def test_an_unknown_device_names_the_variable(monkeypatch):
    monkeypatch.setenv(environment.DEVICE, "tpu")
    with pytest.raises(InvalidOptions, match=r"LIPWRIGHT_DEVICE = 'tpu'"):
        environment.device()
