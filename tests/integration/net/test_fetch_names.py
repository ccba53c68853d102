"""Names, addresses and certificates: the connection goes where the check looked, or nowhere."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
import trustme

from hostile import MEDIA, HostileServer, body, redirect
from lipwright.errors import SourceUnreachable
from lipwright.net.address import Allowed
from lipwright.net.connect import Guard
from lipwright.net.fetch import FetchRules, fetch

RULES = FetchRules(
    allowed=Allowed.parse(["media.lan"]), idle_seconds=5.0, total_seconds=20.0, retry_seconds=0.01
)
SOON = 10.0  # seconds: far more than any limit under test, far less than waiting for the server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


class Names:
    """A name server that changes its answers, and a network that notes who is connected to."""

    def __init__(self, server: HostileServer, answers: Sequence[Sequence[str]]) -> None:
        self._server, self._answers = server, iter(answers)
        self.connected: list[str] = []

    def resolve(self, host: str, port: int) -> Sequence[str]:
        return next(self._answers)

    def dial(self, address: str, port: int, seconds: float) -> socket.socket:
        self.connected.append(address)
        return socket.create_connection(("127.0.0.1", self._server.port), seconds)


def guard_of(names: Names, tls: Callable[[], ssl.SSLContext]) -> Guard:
    return Guard(allowed=RULES.allowed, resolve=names.resolve, dial=names.dial, tls=tls)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def trusting(authority: trustme.CA) -> Callable[[], ssl.SSLContext]:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return lambda: context


@pytest.fixture
def secure(authority: trustme.CA) -> Iterator[HostileServer]:
    """A server with a certificate for example.org, wherever that name leads."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("example.org").configure_cert(context)
    with HostileServer(tls=context) as server:
        server.on("/clip.mp4", lambda wire: wire.answer(MEDIA))
        yield server


PUBLIC = "93.184.215.14"


def test_the_connection_goes_to_the_address_that_was_checked(secure, folder, authority):
    names = Names(secure, [[PUBLIC], ["127.0.0.1"], ["10.0.0.1"]])
    guard = guard_of(names, trusting(authority))
    path = fetch("https://example.org/clip.mp4", folder, RULES, guard=guard)
    assert path.read_bytes() == MEDIA
    assert names.connected == [PUBLIC]
    assert secure.calls[0].headers["host"] == "example.org"


def test_an_answer_that_changes_before_the_redirect_is_checked_again(secure, folder, authority):
    secure.on("/old", redirect("/clip.mp4"))
    names = Names(secure, [[PUBLIC], ["127.0.0.1"]])
    with pytest.raises(SourceUnreachable, match="none that is public"):
        fetch("https://example.org/old", folder, RULES, guard=guard_of(names, trusting(authority)))
    assert names.connected == [PUBLIC]
    assert list(folder.iterdir()) == []


def test_an_answer_that_changes_before_another_attempt_is_checked_again(secure, folder, authority):
    secure.on("/busy", body(b"", status="503 Busy"))
    names = Names(secure, [[PUBLIC], ["169.254.169.254"]])
    with pytest.raises(SourceUnreachable, match="none that is public"):
        fetch("https://example.org/busy", folder, RULES, guard=guard_of(names, trusting(authority)))
    assert names.connected == [PUBLIC]


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["10.0.0.1"],
        ["169.254.169.254"],
        ["::1"],
        ["::ffff:127.0.0.1"],
        ["64:ff9b::7f00:1"],
        ["2002:7f00:1::"],
        ["fe80::1%eth0"],
        ["fd00:ec2::254"],
        [PUBLIC, "127.0.0.1"],  # one bad address spoils all
        ["::ffff:10.0.0.1", PUBLIC],
        [],
    ],
)
def test_a_name_with_an_address_that_is_not_public_is_not_connected_to(
    secure, folder, authority, addresses
):
    names = Names(secure, [addresses])
    with pytest.raises(SourceUnreachable, match="none that is public"):
        fetch("https://example.org/", folder, RULES, guard=guard_of(names, trusting(authority)))
    assert names.connected == []


def test_private_and_unknown_names_are_told_alike(secure, folder, authority):
    """Or a stranger could ask which names exist in the operator's network."""

    def unknown(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    told = []
    for resolve in (unknown, lambda host, port: ["10.0.0.1"]):
        with pytest.raises(SourceUnreachable) as error:
            fetch("https://db.corp/", folder, RULES, guard=Guard(resolve=resolve))
        told.append(str(error.value))
    assert told[0] == told[1]


def test_an_allowed_name_may_lead_to_a_private_address(folder):
    with HostileServer() as server:
        server.on("/clip.mp4", body(MEDIA))
        names = Names(server, [["10.0.0.1"]])
        guard = guard_of(names, ssl.create_default_context)
        assert fetch("http://media.lan/clip.mp4", folder, RULES, guard=guard).read_bytes() == MEDIA
    assert names.connected == ["10.0.0.1"]


def test_the_next_address_is_tried_when_one_does_not_answer(secure, folder, authority):
    names = Names(secure, [["93.184.215.1", PUBLIC]])

    def dial(address: str, port: int, seconds: float) -> socket.socket:
        connection = names.dial(address, port, seconds)
        if address != PUBLIC:
            connection.close()
            raise TimeoutError
        return connection

    guard = replace(guard_of(names, trusting(authority)), dial=dial)
    assert fetch("https://example.org/clip.mp4", folder, RULES, guard=guard).exists()
    assert names.connected == ["93.184.215.1", PUBLIC]


def test_a_name_server_that_does_not_answer_meets_the_limit(folder):
    hanging = threading.Event()

    def resolve(host: str, port: int) -> Sequence[str]:
        hanging.wait(60)
        return []

    rules = replace(RULES, attempts=1)
    guard = Guard(resolve=resolve, connect_seconds=0.2)
    began = time.monotonic()
    with pytest.raises(SourceUnreachable, match="looked up in time"):
        fetch("https://example.org/", folder, rules, guard=guard)
    assert time.monotonic() - began < SOON
    hanging.set()


def test_a_name_server_that_is_busy_is_asked_again(secure, folder, authority):
    attempts = count()

    def resolve(host: str, port: int) -> Sequence[str]:
        if next(attempts) < 2:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [PUBLIC]

    guard = replace(guard_of(Names(secure, []), trusting(authority)), resolve=resolve)
    assert fetch("https://example.org/clip.mp4", folder, RULES, guard=guard).exists()


# ------------------------------------------------------------------------------------------ TLS
def test_a_certificate_for_another_name_is_refused(secure, folder, authority):
    names = Names(secure, [[PUBLIC]])
    with pytest.raises(SourceUnreachable, match=r"certificate of example\.net"):
        fetch("https://example.net/", folder, RULES, guard=guard_of(names, trusting(authority)))
    assert secure.calls == []


def test_a_certificate_of_an_unknown_authority_is_refused(secure, folder):
    names = Names(secure, [[PUBLIC]])
    with pytest.raises(SourceUnreachable, match="certificate"):
        fetch("https://example.org/", folder, RULES, guard=guard_of(names, Guard().tls))
    assert secure.calls == []


def test_a_server_that_never_finishes_the_handshake_meets_the_limit(folder, authority):
    listener = socket.create_server(("127.0.0.1", 0))
    with listener:
        guard = Guard(
            connect_seconds=0.3,
            resolve=lambda host, port: [PUBLIC],
            dial=lambda address, port, s: socket.create_connection(listener.getsockname(), s),
            tls=trusting(authority),
        )
        began = time.monotonic()
        with pytest.raises(SourceUnreachable, match="no TLS"):
            fetch("https://example.org/", folder, replace(RULES, attempts=1), guard=guard)
        assert time.monotonic() - began < SOON
