from __future__ import annotations

import queue
import signal
import socket
from collections.abc import Callable

import pytest

from lipwright.errors import InvalidOptions, LipwrightError
from lipwright.server.serve import Ended, Happenings, Ready, Signalled, _attend, listen, url_of
from lipwright.settings import Settings


class Parts:
    """An API and a supervisor that note what they are told, and end as they are told to."""

    def __init__(self, happenings: Happenings, *, draining: bool = False) -> None:
        self.told: list[str] = []
        self._happenings, self._draining = happenings, draining
        self._over: queue.SimpleQueue[None] = queue.SimpleQueue()

    def close(self) -> None:
        self.told.append("close")
        self._happenings.put(Ended("api"))

    def drain(self) -> None:
        self.told.append("drain")
        if not self._draining:
            self._over.put(None)

    def stop(self) -> None:
        self.told.append("stop")
        self._over.put(None)

    def join(self) -> None:
        self._over.get(timeout=60)


@pytest.fixture
def happenings() -> Happenings:
    return queue.SimpleQueue()


@pytest.fixture
def attend(happenings: Happenings) -> Callable[[Parts], None]:
    def attend(parts: Parts) -> None:
        ready = lambda: parts.told.append("ready")  # noqa: E731
        _attend(parts, parts, happenings, ready)  # type: ignore[arg-type]

    return attend


def test_the_first_signal_closes_and_drains(happenings: Happenings, attend: Callable[..., None]):
    parts = Parts(happenings)
    happenings.put(Ready())
    happenings.put(Signalled(signal.SIGTERM))
    attend(parts)
    assert parts.told == ["ready", "close", "drain"]


def test_the_second_signal_stops(happenings: Happenings, attend: Callable[..., None]):
    parts = Parts(happenings, draining=True)
    happenings.put(Signalled(signal.SIGINT))
    happenings.put(Signalled(signal.SIGTERM))
    attend(parts)
    assert parts.told == ["close", "drain", "stop"]


def test_an_api_that_ends_by_itself_is_an_error(
    happenings: Happenings, attend: Callable[..., None]
):
    happenings.put(Ended("api", OSError("no more files")))
    with pytest.raises(LipwrightError, match="no more files"):
        attend(Parts(happenings))


def test_a_place_to_listen_is_taken_once():
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(InvalidOptions, match=f"port {port}"), listen("127.0.0.1", port):
            pass
    with socket.socket() as free:
        free.bind(("127.0.0.1", port))


def test_a_host_that_is_none_is_named():
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
def test_the_service_says_where_it_is(settings: Settings, url: str):
    assert url_of(settings) == url
