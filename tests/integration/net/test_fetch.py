"""Fetching from servers that lie, stall, redirect and flood; nothing is ever left behind."""

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

from hostile import MEDIA, HostileServer, Script, Wire, body, redirect
from lipwright.errors import (
    Cancelled,
    InvalidOptions,
    LimitExceeded,
    LipwrightError,
    MediaUnreadable,
    PublishFailed,
    SourceUnreachable,
)
from lipwright.net.address import Allowed
from lipwright.net.connect import Guard
from lipwright.net.fetch import FetchRules, check_url, fetch
from lipwright.progress import CancelToken

RULES = FetchRules(
    allowed=Allowed.parse(["127.0.0.1", "media.lan"]),
    max_bytes=10_000,
    connect_seconds=2.0,
    idle_seconds=5.0,
    total_seconds=20.0,
    max_redirects=5,
    retry_seconds=0.01,
    max_retry_after=0.05,
)
SOON = 10.0  # seconds: far more than any limit under test, far less than waiting for the server


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
        monkeypatch.setenv(name, "http://127.0.0.1:1/")  # whoever used it would fail


def refused(
    url: str, folder: Path, kind: type[LipwrightError], says: str, rules: FetchRules = RULES
) -> None:
    """The URL is refused with this error, soon, and no file is left."""
    began = time.monotonic()
    with pytest.raises(kind, match=says):
        fetch(url, folder, rules)
    assert time.monotonic() - began < SOON
    assert list(folder.iterdir()) == []


# ------------------------------------------------------------------------------- what goes well
def test_a_file_is_fetched_to_the_byte(server, folder):
    url = server.on("/clip.mp4", lambda wire: wire.answer(MEDIA))
    steps: list[tuple[int, int | None]] = []
    path = fetch(url, folder, RULES, on_bytes=lambda done, total: steps.append((done, total)))
    assert path.read_bytes() == MEDIA
    assert path.parent == folder
    assert path.stat().st_mode & 0o077 == 0
    assert steps[-1] == (len(MEDIA), len(MEDIA))
    heads = server.calls[0].headers
    assert heads["accept-encoding"] == "identity"
    assert heads["host"] == f"127.0.0.1:{server.port}"


@pytest.mark.parametrize("name", ["../../evil.mp4", "%2e%2e%2fevil", "a" * 300, "con", ".."])
def test_the_name_in_the_url_names_no_file(server, folder, name):
    url = server.on(f"/{name}", lambda wire: wire.answer(MEDIA))
    assert fetch(url, folder, RULES).parent == folder
    assert len(list(folder.parent.rglob("*"))) == 2


def test_chunks_are_joined(server, folder):
    def script(wire: Wire) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for at in range(0, len(MEDIA), 100):
            piece = MEDIA[at : at + 100]
            wire.send(f"{len(piece):x};x=y\r\n".encode() + piece + b"\r\n")
        wire.send(b"0\r\n\r\n")

    assert fetch(server.on("/", script), folder, RULES).read_bytes() == MEDIA


def test_a_body_without_a_length_ends_with_the_connection(server, folder):
    url = server.on("/", lambda wire: wire.send(b"HTTP/1.1 200 OK\r\n\r\n" + MEDIA))
    assert fetch(url, folder, RULES).read_bytes() == MEDIA


def test_what_is_sent_beyond_the_promised_length_is_not_taken(server, folder):
    url = server.on("/", lambda wire: wire.answer(MEDIA + b"more", length=len(MEDIA)))
    assert fetch(url, folder, RULES).read_bytes() == MEDIA


# ------------------------------------------------------------------------------ lies and floods
def endless(wire: Wire) -> None:
    wire.send(b"HTTP/1.1 200 OK\r\n\r\n")
    while wire.send(MEDIA):
        pass


def endless_chunks(wire: Wire) -> None:
    wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while wire.send(b"400\r\n" + MEDIA[:1024] + b"\r\n"):
        pass


def endless_header(wire: Wire) -> None:
    wire.send(b"HTTP/1.1 200 OK\r\nX: ")
    while wire.send(b"a" * 4096):
        pass


def endless_trailers(wire: Wire) -> None:
    wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n\0\0\0\1\r\n0\r\n")
    while wire.send(b"X: " + b"a" * 4096):
        pass


def gzip_bomb(wire: Wire) -> None:
    wire.answer(gzip.compress(MEDIA[:16] + bytes(50_000_000)), "Content-Encoding: gzip")


def truncated(wire: Wire) -> None:
    wire.answer(MEDIA, length=len(MEDIA) + 1)


def raw(data: bytes) -> Script:
    return lambda wire: wire.send(data)


PLAYLIST = b"#EXTM3U\n#EXTINF:1,\nhttp://169.254.169.254/latest/meta-data/\n"
ATTACKS: list[tuple[str, Script, type[LipwrightError], str]] = [
    ("an endless body", endless, LimitExceeded, "max_fetch_bytes"),
    ("endless chunks", endless_chunks, LimitExceeded, "max_fetch_bytes"),
    ("an endless header", endless_header, SourceUnreachable, "broken"),
    ("endless trailers", endless_trailers, SourceUnreachable, "broken"),
    ("a huge promise", body(MEDIA, length=10**15), LimitExceeded, "larger than"),
    ("a promise beyond numbers", body(MEDIA, length=10**40), SourceUnreachable, "broken"),
    ("a negative length", body(MEDIA, length=-1), SourceUnreachable, "broken"),
    ("two lengths", body(MEDIA, "Content-Length: 3"), SourceUnreachable, "broken"),
    ("one byte too many", body(MEDIA * 2), LimitExceeded, "10000 bytes"),
    ("a truncated body", truncated, SourceUnreachable, "after 3 attempts"),
    ("a gzip bomb", gzip_bomb, SourceUnreachable, "compressed"),
    ("brotli", body(MEDIA, "Content-Encoding: br"), SourceUnreachable, "compressed"),
    ("doubly compressed", body(MEDIA, "Content-Encoding: gzip, gzip"), SourceUnreachable, "compr"),
    ("a gzip file", body(gzip.compress(MEDIA)), MediaUnreadable, "gzip archive"),
    ("compressed in transfer",
     raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n" + gzip.compress(MEDIA)),
     SourceUnreachable, "broken"),
    ("no HTTP", raw(b"220 smtp.lan ESMTP\r\n"), SourceUnreachable, "broken"),
    ("nothing at all", raw(b""), SourceUnreachable, "broken"),
    ("a switch of protocols",
     raw(b"HTTP/1.1 101 Switch\r\nUpgrade: x\r\n\r\n" + MEDIA), SourceUnreachable, "broken"),
    ("no content", raw(b"HTTP/1.1 204 No Content\r\n\r\n"), SourceUnreachable, "204"),
    ("a part", body(MEDIA, status="206 Partial Content"), SourceUnreachable, "206"),
    ("an empty file", body(b""), MediaUnreadable, "empty"),
    ("a web page", body(b"<!DOCTYPE html><p>Sign in", "Content-Type: video/mp4"), MediaUnreadable,
     "web page"),
    ("a playlist", body(PLAYLIST, "Content-Type: video/mp4"), MediaUnreadable, "playlist"),
    ("a concat script", body(b"ffconcat version 1.0\nfile 'x'\n"), MediaUnreadable, "list"),
    ("a session description", body(b"v=0\r\no=- 0 0 IN IP4 10.0.0.1\r\n"), MediaUnreadable, "SDP"),
    ("an error in JSON", body(b'{"error": "not here"}'), MediaUnreadable, "JSON"),
    ("no permission", body(b"", status="403 Forbidden"), SourceUnreachable, "403"),
    ("no such file", body(b"", status="404 Not Found"), SourceUnreachable, "404"),
    ("a strange status", raw(b"HTTP/1.1 999 Odd\r\n\r\n"), SourceUnreachable, "999|broken"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("script", "kind", "says"), [a[1:] for a in ATTACKS], ids=[a[0] for a in ATTACKS]
)
def test_a_hostile_answer_is_one_clear_error_and_leaves_nothing(server, folder, script, kind, says):
    refused(server.on("/clip.mp4", script), folder, kind, says)


def test_an_endless_body_is_cut_off_without_being_read_to_any_end(server, folder):
    sent: list[bool] = []

    def script(wire: Wire) -> None:
        endless(wire)
        sent.append(True)

    refused(server.on("/", script), folder, LimitExceeded, "max_fetch_bytes")
    deadline = time.monotonic() + SOON
    while not sent and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sent  # the server saw the connection close


# --------------------------------------------------------------------------------- slow servers
SLOW = replace(RULES, idle_seconds=0.3, total_seconds=1.0, attempts=2)


def slow_head(closed: threading.Event) -> Script:
    def script(wire: Wire) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\n")
        wire.trickle(b"X", closed)

    return script


def slow_lines(closed: threading.Event) -> Script:
    def script(wire: Wire) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\n")
        wire.trickle(b"X: y\r\n", closed)

    return script


def slow_body(closed: threading.Event) -> Script:
    def script(wire: Wire) -> None:
        wire.answer(MEDIA[:100], length=9_000)
        wire.trickle(b"\0", closed)

    return script


def for_ever_continue(closed: threading.Event) -> Script:
    return lambda wire: wire.trickle(b"HTTP/1.1 100 Continue\r\n\r\n", closed)


@pytest.mark.parametrize("make", [slow_head, slow_lines, slow_body, for_ever_continue])
def test_a_server_that_sends_byte_by_byte_meets_the_deadline(server, folder, make):
    refused(server.on("/", make(server.closed)), folder, SourceUnreachable, "longer than", SLOW)


def silent(wire: Wire) -> None:
    wire.hold()


def silent_in_the_body(wire: Wire) -> None:
    wire.answer(MEDIA[:100], length=9_000)
    wire.hold()


@pytest.mark.parametrize("script", [silent, silent_in_the_body])
def test_a_server_that_falls_silent_meets_the_idle_limit(server, folder, script):
    rules = replace(SLOW, total_seconds=20.0)
    refused(server.on("/", script), folder, SourceUnreachable, "sent nothing", rules)
    assert server.asked("/") == 2


def test_a_fetch_ends_soon_when_it_is_cancelled(server, folder):
    cancel = CancelToken()

    def script(wire: Wire) -> None:
        wire.answer(MEDIA[:2000], length=9_000)
        cancel.cancel()
        wire.hold()

    url = server.on("/", script)
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
    server.on("/clip.mp4", lambda wire: wire.answer(MEDIA))
    url = server.on("/old", redirect(location.format(port=server.port), status))
    assert fetch(url, folder, RULES).read_bytes() == MEDIA


@pytest.mark.parametrize(
    ("location", "says"),
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
def test_a_redirect_is_checked_like_the_first_url(server, folder, location, says):
    refused(server.on("/", redirect(location)), folder, SourceUnreachable, says)
    assert len(server.calls) == 1


def test_a_redirect_without_a_location_leads_nowhere(server, folder):
    url = server.on("/", lambda wire: wire.answer(b"", status="302 Found"))
    refused(url, folder, SourceUnreachable, "cannot be used")


def test_a_redirect_loop_ends(server, folder):
    refused(server.on("/", redirect("/")), folder, SourceUnreachable, "more than 5 redirects")
    assert server.asked("/") == 6


def test_as_many_redirects_as_allowed_are_followed_and_no_more(server, folder):
    for n in range(6):
        server.on(f"/{n}", redirect(f"/{n + 1}"))
    server.on("/6", lambda wire: wire.answer(MEDIA))
    assert fetch(server.url("/1"), folder, RULES).read_bytes() == MEDIA
    (path,) = folder.iterdir()
    path.unlink()
    refused(server.url("/0"), folder, SourceUnreachable, "redirects")


# --------------------------------------------------------------------------------- trying again
@pytest.mark.parametrize("status", ["500 Oops", "502 Bad", "503 Busy", "429 Slow", "408 Late"])
def test_what_may_pass_is_tried_again(server, folder, status):
    def script(wire: Wire) -> None:
        wire.answer(b"", status=status) if wire.attempt < 3 else wire.answer(MEDIA)

    assert fetch(server.on("/", script), folder, RULES).read_bytes() == MEDIA
    assert server.asked("/") == 3


def test_a_broken_download_is_started_again(server, folder):
    def script(wire: Wire) -> None:
        truncated(wire) if wire.attempt == 1 else wire.answer(MEDIA)

    assert fetch(server.on("/", script), folder, RULES).read_bytes() == MEDIA


@pytest.mark.parametrize("status", ["400 Bad", "401 Login", "403 No", "404 Gone", "410 Gone"])
def test_what_will_not_pass_is_not_tried_again(server, folder, status):
    refused(server.on("/", body(b"", status=status)), folder, SourceUnreachable, status[:3])
    assert server.asked("/") == 1


def test_attempts_are_counted(server, folder):
    url = server.on("/", body(b"", status="503 Busy"))
    refused(url, folder, SourceUnreachable, "503; after 3 attempts")
    assert server.asked("/") == 3


@pytest.mark.parametrize(
    "value", ["3600", format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)]
)
def test_a_server_that_asks_for_too_long_a_pause_is_not_waited_for(server, folder, value):
    url = server.on("/", body(b"", f"Retry-After: {value}", status="429 Slow"))
    refused(url, folder, SourceUnreachable, "429")
    assert server.asked("/") == 1


@pytest.mark.parametrize("value", ["0", "-1", "soon", "9" * 400, "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_an_odd_retry_after_does_no_harm(server, folder, value):
    url = server.on("/", body(b"", f"Retry-After: {value}", status="503 Busy"))
    refused(url, folder, SourceUnreachable, "503")


def test_nobody_listening_is_tried_again_and_told(server, folder):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    refused(f"http://127.0.0.1:{port}/", folder, SourceUnreachable, "no connection.*3 attempts")


# --------------------------------------------------------------------------------------- others
def test_a_url_is_checked_before_the_network_is_asked(folder):
    def never(*_: object) -> Sequence[str]:
        raise AssertionError("the network was asked")

    guard = Guard(resolve=never)
    for url in ("https://127.0.0.1/", "file:///etc/passwd", "http://example.org/", "https://0/"):
        with pytest.raises((InvalidOptions, SourceUnreachable)):
            fetch(url, folder, FetchRules(), guard=guard)
        with pytest.raises((InvalidOptions, SourceUnreachable)):
            check_url(url, FetchRules())
    check_url("https://example.org/clip.mp4?signature=x", FetchRules())


def test_a_message_does_not_repeat_the_query(server, folder):
    url = server.on("/clip.mp4", body(b"", status="403 Forbidden")) + "?X-Signature=hunter2"
    with pytest.raises(SourceUnreachable) as told:
        fetch(url, folder, RULES)
    assert server.calls[0].target.endswith("?X-Signature=hunter2")
    assert "hunter2" not in str(told.value)
    assert "clip.mp4" in str(told.value)


def test_a_folder_that_is_not_there_is_our_failure_and_may_pass(server, tmp_path):
    url = server.on("/", lambda wire: wire.answer(MEDIA))
    with pytest.raises(PublishFailed) as told:
        fetch(url, tmp_path / "gone", RULES)
    assert told.value.retryable
