from __future__ import annotations

import queue
import signal
import socket
from collections.abc import Callable

import pytest

from lipwright.errors import InvalidOptions, LipwrightError
from lipwright.server.serve import (
    ApiStarted,
    EventQueue,
    PartEnded,
    SignalReceived,
    _handle_events,
    listen,
    service_url,
)
from lipwright.settings import Settings


class FakeParts:
    """An API and a supervisor that record their calls."""

    def __init__(self, events: EventQueue, *, draining: bool = False) -> None:
        self.calls: list[str] = []
        self._events, self._draining = events, draining
        self._stopped: queue.SimpleQueue[None] = queue.SimpleQueue()

    def close(self) -> None:
        self.calls.append("close")
        self._events.put(PartEnded("api"))

    def drain(self) -> None:
        self.calls.append("drain")
        if not self._draining:
            self._stopped.put(None)

    def stop(self) -> None:
        self.calls.append("stop")
        self._stopped.put(None)

    def join(self) -> None:
        self._stopped.get(timeout=60)


@pytest.fixture
def events() -> EventQueue:
    return queue.SimpleQueue()


@pytest.fixture
def handle_events(events: EventQueue) -> Callable[[FakeParts], None]:
    def handle_events(parts: FakeParts) -> None:
        ready = lambda: parts.calls.append("ready")  # noqa: E731
        _handle_events(parts, parts, events, ready)  # type: ignore[arg-type]

    return handle_events


def test_the_first_signal_closes_and_drains(events: EventQueue, handle_events: Callable[..., None]):
    parts = FakeParts(events)
    events.put(ApiStarted())
    events.put(SignalReceived(signal.SIGTERM))
    handle_events(parts)
    assert parts.calls == ["ready", "close", "drain"]


def test_the_second_signal_stops(events: EventQueue, handle_events: Callable[..., None]):
    parts = FakeParts(events, draining=True)
    events.put(SignalReceived(signal.SIGINT))
    events.put(SignalReceived(signal.SIGTERM))
    handle_events(parts)
    assert parts.calls == ["close", "drain", "stop"]


def test_an_unexpected_end_of_the_api_is_an_error(
    events: EventQueue, handle_events: Callable[..., None]
):
    events.put(PartEnded("api", OSError("no more files")))
    with pytest.raises(LipwrightError, match="no more files"):
        handle_events(FakeParts(events))


def test_a_port_can_be_used_once():
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(InvalidOptions, match=f"port {port}"), listen("127.0.0.1", port):
            pass
    with socket.socket() as free:
        free.bind(("127.0.0.1", port))


def test_an_unknown_host_is_named():
    with (
        pytest.raises(InvalidOptions, match=r"no\.such\.host\.invalid"),
        listen("no.such.host.invalid", 0),
    ):
        pass


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        (Settings(), "http://127.0.0.1:8800"),
        (Settings(host="::1", port=80), "http://[::1]:80"),
        (Settings(public_url="https://dub.example.org/"), "https://dub.example.org"),
    ],
)
def test_the_url_of_the_service(settings: Settings, url: str):
    assert service_url(settings) == url
