"""DNS answers, addresses and certificates: connections go to checked addresses only."""

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

from hostile import MEDIA, HostileServer, redirect_to, respond_with
from lipwright.errors import SourceUnreachable
from lipwright.net.address import AllowList
from lipwright.net.fetch import FetchRules, fetch
from lipwright.net.guard import GuardedClient

RULES = FetchRules(
    allow_list=AllowList.parse(["media.lan"]),
    idle_seconds=5.0,
    total_seconds=20.0,
    retry_seconds=0.01,
)
SOON = 10.0  # seconds: far more than any limit under test, far less than the server would take


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


class FakeDns:
    """A DNS server with changing answers, and a network that records the connections."""

    def __init__(self, server: HostileServer, answers: Sequence[Sequence[str]]) -> None:
        self._server, self._answers = server, iter(answers)
        self.connected: list[str] = []

    def resolve(self, host: str, port: int) -> Sequence[str]:
        return next(self._answers)

    def connect(self, address: str, port: int, timeout: float) -> socket.socket:
        self.connected.append(address)
        return socket.create_connection(("127.0.0.1", self._server.port), timeout)


def client_for(dns: FakeDns, tls_context: Callable[[], ssl.SSLContext]) -> GuardedClient:
    return GuardedClient(
        allow_list=RULES.allow_list,
        resolve=dns.resolve,
        connect=dns.connect,
        tls_context=tls_context,
    )


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def trusting(authority: trustme.CA) -> Callable[[], ssl.SSLContext]:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return lambda: context


@pytest.fixture
def secure(authority: trustme.CA) -> Iterator[HostileServer]:
    """A server with a certificate for example.org, whatever that name resolves to."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("example.org").configure_cert(context)
    with HostileServer(tls=context) as server:
        server.on("/clip.mp4", lambda connection: connection.respond(MEDIA))
        yield server


PUBLIC = "93.184.215.14"


def test_the_connection_goes_to_the_address_that_was_checked(secure, folder, authority):
    dns = FakeDns(secure, [[PUBLIC], ["127.0.0.1"], ["10.0.0.1"]])
    client = client_for(dns, trusting(authority))
    path = fetch("https://example.org/clip.mp4", folder, RULES, client=client)
    assert path.read_bytes() == MEDIA
    assert dns.connected == [PUBLIC]
    assert secure.requests[0].headers["host"] == "example.org"


def test_a_dns_answer_that_changes_before_a_redirect_is_checked_again(secure, folder, authority):
    secure.on("/old", redirect_to("/clip.mp4"))
    dns = FakeDns(secure, [[PUBLIC], ["127.0.0.1"]])
    with pytest.raises(SourceUnreachable, match="none that is public"):
        fetch("https://example.org/old", folder, RULES, client=client_for(dns, trusting(authority)))
    assert dns.connected == [PUBLIC]
    assert list(folder.iterdir()) == []


def test_a_dns_answer_that_changes_before_a_retry_is_checked_again(secure, folder, authority):
    secure.on("/busy", respond_with(b"", status="503 Busy"))
    dns = FakeDns(secure, [[PUBLIC], ["169.254.169.254"]])
    with pytest.raises(SourceUnreachable, match="none that is public"):
        fetch(
            "https://example.org/busy", folder, RULES, client=client_for(dns, trusting(authority))
        )
    assert dns.connected == [PUBLIC]


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
        [PUBLIC, "127.0.0.1"],  # one bad address is enough
        ["::ffff:10.0.0.1", PUBLIC],
        [],
    ],
)
def test_a_name_with_an_address_that_is_not_public_is_not_connected_to(
    secure, folder, authority, addresses
):
    dns = FakeDns(secure, [addresses])
    with pytest.raises(SourceUnreachable, match="none that is public"):
        fetch("https://example.org/", folder, RULES, client=client_for(dns, trusting(authority)))
    assert dns.connected == []


def test_private_and_unknown_names_get_the_same_error(secure, folder, authority):
    """Otherwise callers could probe which dns exist in the operator's network."""

    def unknown(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    messages = []
    for resolve in (unknown, lambda host, port: ["10.0.0.1"]):
        with pytest.raises(SourceUnreachable) as error:
            fetch("https://db.corp/", folder, RULES, client=GuardedClient(resolve=resolve))
        messages.append(str(error.value))
    assert messages[0] == messages[1]


def test_a_listed_name_may_resolve_to_a_private_address(folder):
    with HostileServer() as server:
        server.on("/clip.mp4", respond_with(MEDIA))
        dns = FakeDns(server, [["10.0.0.1"]])
        client = client_for(dns, ssl.create_default_context)
        assert (
            fetch("http://media.lan/clip.mp4", folder, RULES, client=client).read_bytes() == MEDIA
        )
    assert dns.connected == ["10.0.0.1"]


def test_the_next_address_is_tried_when_one_does_not_answer(secure, folder, authority):
    dns = FakeDns(secure, [["93.184.215.1", PUBLIC]])

    def connect(address: str, port: int, timeout: float) -> socket.socket:
        connection = dns.connect(address, port, timeout)
        if address != PUBLIC:
            connection.close()
            raise TimeoutError
        return connection

    client = replace(client_for(dns, trusting(authority)), connect=connect)
    assert fetch("https://example.org/clip.mp4", folder, RULES, client=client).exists()
    assert dns.connected == ["93.184.215.1", PUBLIC]


def test_a_dns_server_that_does_not_answer_runs_into_the_timeout(folder):
    hanging = threading.Event()

    def resolve(host: str, port: int) -> Sequence[str]:
        hanging.wait(60)
        return []

    rules = replace(RULES, attempts=1)
    client = GuardedClient(resolve=resolve, connect_seconds=0.2)
    began = time.monotonic()
    with pytest.raises(SourceUnreachable, match=r"resolving example\.org timed out"):
        fetch("https://example.org/", folder, rules, client=client)
    assert time.monotonic() - began < SOON
    hanging.set()


def test_a_temporary_dns_failure_is_retried(secure, folder, authority):
    attempts = count()

    def resolve(host: str, port: int) -> Sequence[str]:
        if next(attempts) < 2:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [PUBLIC]

    client = replace(client_for(FakeDns(secure, []), trusting(authority)), resolve=resolve)
    assert fetch("https://example.org/clip.mp4", folder, RULES, client=client).exists()


# ------------------------------------------------------------------------------------------ TLS
def test_a_certificate_for_another_name_is_refused(secure, folder, authority):
    dns = FakeDns(secure, [[PUBLIC]])
    with pytest.raises(SourceUnreachable, match=r"certificate of example\.net"):
        fetch("https://example.net/", folder, RULES, client=client_for(dns, trusting(authority)))
    assert secure.requests == []


def test_a_certificate_of_an_unknown_authority_is_refused(secure, folder):
    dns = FakeDns(secure, [[PUBLIC]])
    with pytest.raises(SourceUnreachable, match="certificate"):
        fetch(
            "https://example.org/",
            folder,
            RULES,
            client=client_for(dns, GuardedClient().tls_context),
        )
    assert secure.requests == []


def test_a_server_that_never_finishes_the_handshake_runs_into_the_timeout(folder, authority):
    listener = socket.create_server(("127.0.0.1", 0))
    with listener:
        client = GuardedClient(
            connect_seconds=0.3,
            resolve=lambda host, port: [PUBLIC],
            connect=lambda address, port, s: socket.create_connection(listener.getsockname(), s),
            tls_context=trusting(authority),
        )
        began = time.monotonic()
        with pytest.raises(SourceUnreachable, match="no TLS"):
            fetch("https://example.org/", folder, replace(RULES, attempts=1), client=client)
        assert time.monotonic() - began < SOON
