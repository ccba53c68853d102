"""Downloads from servers that lie, stall, redirect and flood; a failed one leaves no file."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from hostile import MEDIA, Handler, HostileServer, RawConnection, redirect_to, respond_with
from lipwright.errors import (
    Cancelled,
    InvalidOptions,
    LimitExceeded,
    LipwrightError,
    MediaUnreadable,
    PublishFailed,
    SourceUnreachable,
)
from lipwright.net.address import AllowList
from lipwright.net.fetch import FetchRules, check_url, fetch
from lipwright.net.guard import GuardedClient
from lipwright.progress import CancelToken

RULES = FetchRules(
    allow_list=AllowList.parse(["127.0.0.1", "media.lan"]),
    max_bytes=10_000,
    connect_seconds=2.0,
    idle_seconds=5.0,
    total_seconds=20.0,
    max_redirects=5,
    retry_seconds=0.01,
    max_retry_after=0.05,
)
SOON = 10.0  # seconds: far more than any limit under test, far less than the server would take


@pytest.fixture
def server() -> Iterator[HostileServer]:
    with HostileServer() as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1/")  # using the proxy would fail


def assert_refused(
    url: str, folder: Path, kind: type[LipwrightError], message: str, rules: FetchRules = RULES
) -> None:
    """Assert that the download fails soon with this error and leaves no file."""
    began = time.monotonic()
    with pytest.raises(kind, match=message):
        fetch(url, folder, rules)
    assert time.monotonic() - began < SOON
    assert list(folder.iterdir()) == []


# ----------------------------------------------------------------------------------- success
def test_a_file_is_downloaded_byte_for_byte(server, folder):
    url = server.on("/clip.mp4", lambda connection: connection.respond(MEDIA))
    steps: list[tuple[int, int | None]] = []
    path = fetch(url, folder, RULES, on_bytes=lambda done, total: steps.append((done, total)))
    assert path.read_bytes() == MEDIA
    assert path.parent == folder
    assert path.stat().st_mode & 0o077 == 0
    assert steps[-1] == (len(MEDIA), len(MEDIA))
    headers = server.requests[0].headers
    assert headers["accept-encoding"] == "identity"
    assert headers["host"] == f"127.0.0.1:{server.port}"


@pytest.mark.parametrize("name", ["../../evil.mp4", "%2e%2e%2fevil", "a" * 300, "con", ".."])
def test_the_file_name_is_not_taken_from_the_url(server, folder, name):
    url = server.on(f"/{name}", lambda connection: connection.respond(MEDIA))
    assert fetch(url, folder, RULES).parent == folder
    assert len(list(folder.parent.rglob("*"))) == 2


def test_chunked_transfer_is_decoded(server, folder):
    def handler(connection: RawConnection) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for at in range(0, len(MEDIA), 100):
            piece = MEDIA[at : at + 100]
            connection.send(f"{len(piece):x};x=y\r\n".encode() + piece + b"\r\n")
        connection.send(b"0\r\n\r\n")

    assert fetch(server.on("/", handler), folder, RULES).read_bytes() == MEDIA


def test_a_body_without_a_length_ends_with_the_connection(server, folder):
    url = server.on("/", lambda connection: connection.send(b"HTTP/1.1 200 OK\r\n\r\n" + MEDIA))
    assert fetch(url, folder, RULES).read_bytes() == MEDIA


def test_data_beyond_the_content_length_is_ignored(server, folder):
    url = server.on("/", lambda connection: connection.respond(MEDIA + b"more", length=len(MEDIA)))
    assert fetch(url, folder, RULES).read_bytes() == MEDIA


# ------------------------------------------------------------------------------ lies and floods
def endless(connection: RawConnection) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
    while connection.send(MEDIA):
        pass


def endless_chunks(connection: RawConnection) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while connection.send(b"400\r\n" + MEDIA[:1024] + b"\r\n"):
        pass


def endless_header(connection: RawConnection) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\nX: ")
    while connection.send(b"a" * 4096):
        pass


def endless_trailers(connection: RawConnection) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n\0\0\0\1\r\n0\r\n")
    while connection.send(b"X: " + b"a" * 4096):
        pass


def gzip_bomb(connection: RawConnection) -> None:
    connection.respond(gzip.compress(MEDIA[:16] + bytes(50_000_000)), "Content-Encoding: gzip")


def truncated(connection: RawConnection) -> None:
    connection.respond(MEDIA, length=len(MEDIA) + 1)


def raw_bytes(data: bytes) -> Handler:
    return lambda connection: connection.send(data)


PLAYLIST = b"#EXTM3U\n#EXTINF:1,\nhttp://169.254.169.254/latest/meta-data/\n"
ATTACKS: list[tuple[str, Handler, type[LipwrightError], str]] = [
    ("an endless body", endless, LimitExceeded, "max_fetch_bytes"),
    ("endless chunks", endless_chunks, LimitExceeded, "max_fetch_bytes"),
    ("an endless header", endless_header, SourceUnreachable, "broken"),
    ("endless trailers", endless_trailers, SourceUnreachable, "broken"),
    ("a huge promise", respond_with(MEDIA, length=10**15), LimitExceeded, "larger than"),
    ("a promise beyond numbers", respond_with(MEDIA, length=10**40), SourceUnreachable, "broken"),
    ("a negative length", respond_with(MEDIA, length=-1), SourceUnreachable, "broken"),
    ("two lengths", respond_with(MEDIA, "Content-Length: 3"), SourceUnreachable, "broken"),
    ("one byte too many", respond_with(MEDIA * 2), LimitExceeded, "10000 bytes"),
    ("a truncated body", truncated, SourceUnreachable, "after 3 attempts"),
    ("a gzip bomb", gzip_bomb, SourceUnreachable, "compressed"),
    ("brotli", respond_with(MEDIA, "Content-Encoding: br"), SourceUnreachable, "compressed"),
    ("doubly compressed", respond_with(MEDIA, "Content-Encoding: gzip, gzip"), SourceUnreachable,
     "compressed"),
    ("a gzip file", respond_with(gzip.compress(MEDIA)), MediaUnreadable, "gzip archive"),
    ("compressed in transfer",
     raw_bytes(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n" + gzip.compress(MEDIA)),
     SourceUnreachable, "broken"),
    ("no HTTP", raw_bytes(b"220 smtp.lan ESMTP\r\n"), SourceUnreachable, "broken"),
    ("nothing at all", raw_bytes(b""), SourceUnreachable, "broken"),
    ("a switch of protocols",
     raw_bytes(b"HTTP/1.1 101 Switch\r\nUpgrade: x\r\n\r\n" + MEDIA), SourceUnreachable, "broken"),
    ("no content", raw_bytes(b"HTTP/1.1 204 No Content\r\n\r\n"), SourceUnreachable, "204"),
    ("a part", respond_with(MEDIA, status="206 Partial Content"), SourceUnreachable, "206"),
    ("an empty file", respond_with(b""), MediaUnreadable, "empty"),
    ("a web page", respond_with(b"<!DOCTYPE html><p>Sign in", "Content-Type: video/mp4"),
     MediaUnreadable, "web page"),
    ("a playlist", respond_with(PLAYLIST, "Content-Type: video/mp4"), MediaUnreadable, "playlist"),
    ("a concat script", respond_with(b"ffconcat version 1.0\nfile 'x'\n"), MediaUnreadable, "list"),
    ("a session description", respond_with(b"v=0\r\no=- 0 0 IN IP4 10.0.0.1\r\n"), MediaUnreadable,
     "SDP"),
    ("an error in JSON", respond_with(b'{"error": "not here"}'), MediaUnreadable, "JSON"),
    ("no permission", respond_with(b"", status="403 Forbidden"), SourceUnreachable, "403"),
    ("no such file", respond_with(b"", status="404 Not Found"), SourceUnreachable, "404"),
    ("a strange status", raw_bytes(b"HTTP/1.1 999 Odd\r\n\r\n"), SourceUnreachable, "999|broken"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("handler", "kind", "message"), [a[1:] for a in ATTACKS], ids=[a[0] for a in ATTACKS]
)
def test_a_hostile_response_is_refused_and_leaves_no_file(server, folder, handler, kind, message):
    assert_refused(server.on("/clip.mp4", handler), folder, kind, message)


def test_an_endless_body_closes_the_connection_at_the_limit(server, folder):
    sent: list[bool] = []

    def handler(connection: RawConnection) -> None:
        endless(connection)
        sent.append(True)

    assert_refused(server.on("/", handler), folder, LimitExceeded, "max_fetch_bytes")
    deadline = time.monotonic() + SOON
    while not sent and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sent  # the server saw the connection close


# --------------------------------------------------------------------------------- slow servers
SLOW = replace(RULES, idle_seconds=0.3, total_seconds=1.0, attempts=2)


def slow_head(closed: threading.Event) -> Handler:
    def handler(connection: RawConnection) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\n")
        connection.trickle(b"X", closed)

    return handler


def slow_lines(closed: threading.Event) -> Handler:
    def handler(connection: RawConnection) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\n")
        connection.trickle(b"X: y\r\n", closed)

    return handler


def slow_body(closed: threading.Event) -> Handler:
    def handler(connection: RawConnection) -> None:
        connection.respond(MEDIA[:100], length=9_000)
        connection.trickle(b"\0", closed)

    return handler


def endless_continue(closed: threading.Event) -> Handler:
    return lambda connection: connection.trickle(b"HTTP/1.1 100 Continue\r\n\r\n", closed)


@pytest.mark.parametrize("make", [slow_head, slow_lines, slow_body, endless_continue])
def test_a_server_that_sends_byte_by_byte_runs_into_the_deadline(server, folder, make):
    assert_refused(
        server.on("/", make(server.closed)), folder, SourceUnreachable, "longer than", SLOW
    )


def silent(connection: RawConnection) -> None:
    connection.stall()


def silent_in_body(connection: RawConnection) -> None:
    connection.respond(MEDIA[:100], length=9_000)
    connection.stall()


@pytest.mark.parametrize("handler", [silent, silent_in_body])
def test_a_silent_server_runs_into_the_idle_timeout(server, folder, handler):
    rules = replace(SLOW, total_seconds=20.0)
    assert_refused(server.on("/", handler), folder, SourceUnreachable, "sent nothing", rules)
    assert server.request_count("/") == 2


def test_a_cancelled_download_ends_soon(server, folder):
    cancel = CancelToken()

    def handler(connection: RawConnection) -> None:
        connection.respond(MEDIA[:2000], length=9_000)
        cancel.cancel()
        connection.stall()

    url = server.on("/", handler)
    began = time.monotonic()
    with pytest.raises(Cancelled):
        fetch(url, folder, replace(RULES, idle_seconds=60.0, total_seconds=60.0), cancel=cancel)
    assert time.monotonic() - began < SOON
    assert list(folder.iterdir()) == []


# ------------------------------------------------------------------------------------ redirects
@pytest.mark.parametrize(
    "status", ["301 Moved", "302 Found", "303 Other", "307 Temporary", "308 Permanent"]
)
@pytest.mark.parametrize("location", ["/clip.mp4", "clip.mp4", "//127.0.0.1:{port}/clip.mp4"])
def test_redirects_are_followed(server, folder, status, location):
    server.on("/clip.mp4", lambda connection: connection.respond(MEDIA))
    url = server.on("/old", redirect_to(location.format(port=server.port), status))
    assert fetch(url, folder, RULES).read_bytes() == MEDIA


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("https://127.0.0.2/", "loopback"),
        ("https://10.0.0.1/", "private"),
        ("https://169.254.169.254/latest/meta-data/", "link-local"),
        ("https://[::1]/", "loopback"),
        ("https://[::ffff:169.254.169.254]/", "link-local"),
        ("https://2130706433/", "four decimal numbers"),
        ("https://0x7f.1/", "four decimal numbers"),
        ("https://0177.0.0.1/", "four decimal numbers"),
        ("//127.1/", "four decimal numbers"),
        ("https://localhost/", "loopback"),
        ("http://8.8.8.8/", "https"),
        ("file:///etc/passwd", "file: URL"),
        ("ftp://example.org/", "ftp: URL"),
        ("gopher://127.0.0.1:6379/_x", "gopher: URL"),
        ("data:video/mp4;base64,AAAA", "data: URL"),
        ("https://127.0.0.1@10.0.0.1/", "user name"),
        ("https://a b/", "space"),
        ("\\\\10.0.0.1\\x", "backslash"),
        ("", "empty"),
        ("https://example.org:99999/", "port"),
        ("https://[::1", "."),
        ("https://\xff/", "."),
    ],
)
def test_a_redirect_is_checked_like_the_first_url(server, folder, location, message):
    assert_refused(server.on("/", redirect_to(location)), folder, SourceUnreachable, message)
    assert len(server.requests) == 1


def test_a_redirect_without_a_location_is_refused(server, folder):
    url = server.on("/", lambda connection: connection.respond(b"", status="302 Found"))
    assert_refused(url, folder, SourceUnreachable, "cannot be used")


def test_a_redirect_loop_ends(server, folder):
    assert_refused(
        server.on("/", redirect_to("/")), folder, SourceUnreachable, "more than 5 redirects"
    )
    assert server.request_count("/") == 6


def test_redirects_are_followed_up_to_the_limit(server, folder):
    for n in range(6):
        server.on(f"/{n}", redirect_to(f"/{n + 1}"))
    server.on("/6", lambda connection: connection.respond(MEDIA))
    assert fetch(server.url("/1"), folder, RULES).read_bytes() == MEDIA
    (path,) = folder.iterdir()
    path.unlink()
    assert_refused(server.url("/0"), folder, SourceUnreachable, "redirects")


# --------------------------------------------------------------------------------------- retries
@pytest.mark.parametrize("status", ["500 Oops", "502 Bad", "503 Busy", "429 Slow", "408 Late"])
def test_transient_statuses_are_retried(server, folder, status):
    def handler(connection: RawConnection) -> None:
        connection.respond(b"", status=status) if connection.attempt < 3 else connection.respond(
            MEDIA
        )

    assert fetch(server.on("/", handler), folder, RULES).read_bytes() == MEDIA
    assert server.request_count("/") == 3


def test_a_broken_download_is_retried(server, folder):
    def handler(connection: RawConnection) -> None:
        truncated(connection) if connection.attempt == 1 else connection.respond(MEDIA)

    assert fetch(server.on("/", handler), folder, RULES).read_bytes() == MEDIA


@pytest.mark.parametrize("status", ["400 Bad", "401 Login", "403 No", "404 Gone", "410 Gone"])
def test_permanent_statuses_are_not_retried(server, folder, status):
    assert_refused(
        server.on("/", respond_with(b"", status=status)), folder, SourceUnreachable, status[:3]
    )
    assert server.request_count("/") == 1


def test_the_number_of_attempts_is_limited(server, folder):
    url = server.on("/", respond_with(b"", status="503 Busy"))
    assert_refused(url, folder, SourceUnreachable, "503; after 3 attempts")
    assert server.request_count("/") == 3


@pytest.mark.parametrize(
    "value",
    ["3600", format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)],
    ids=["seconds", "date"],
)
def test_a_retry_after_beyond_the_limit_ends_the_download(server, folder, value):
    url = server.on("/", respond_with(b"", f"Retry-After: {value}", status="429 Slow"))
    assert_refused(url, folder, SourceUnreachable, "429")
    assert server.request_count("/") == 1


@pytest.mark.parametrize("value", ["0", "-1", "soon", "9" * 400, "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_a_malformed_retry_after_is_ignored(server, folder, value):
    url = server.on("/", respond_with(b"", f"Retry-After: {value}", status="503 Busy"))
    assert_refused(url, folder, SourceUnreachable, "503")


def test_a_refused_connection_is_retried_and_reported(server, folder):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert_refused(
        f"http://127.0.0.1:{port}/", folder, SourceUnreachable, "no connection.*3 attempts"
    )


# --------------------------------------------------------------------------------------- others
def test_a_url_is_checked_before_any_network_access(folder):
    def never(*_: object) -> Sequence[str]:
        raise AssertionError("network access")

    client = GuardedClient(resolve=never)
    for url in ("https://127.0.0.1/", "file:///etc/passwd", "http://example.org/", "https://0/"):
        with pytest.raises((InvalidOptions, SourceUnreachable)):
            fetch(url, folder, FetchRules(), client=client)
        with pytest.raises((InvalidOptions, SourceUnreachable)):
            check_url(url, FetchRules())
    check_url("https://example.org/clip.mp4?signature=x", FetchRules())


def test_an_error_does_not_repeat_the_query(server, folder):
    url = server.on("/clip.mp4", respond_with(b"", status="403 Forbidden")) + "?X-Signature=hunter2"
    with pytest.raises(SourceUnreachable) as caught:
        fetch(url, folder, RULES)
    assert server.requests[0].target.endswith("?X-Signature=hunter2")
    assert "hunter2" not in str(caught.value)
    assert "clip.mp4" in str(caught.value)


def test_a_missing_folder_is_a_retryable_storage_error(server, tmp_path):
    url = server.on("/", lambda connection: connection.respond(MEDIA))
    with pytest.raises(PublishFailed) as caught:
        fetch(url, tmp_path / "gone", RULES)
    assert caught.value.retryable
