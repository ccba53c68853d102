"""Malformed, stalled, broken and endless bodies over real connections; event streams."""

from __future__ import annotations

import asyncio
import json
import select
import socket
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from lipwright.jobs.model import JobProgress
from live_api import WAIT_SECONDS, Live, open_live, until

LIMIT = 100_000
CALLS = [
    ("/v1/files", "application/octet-stream"),
    ("/v1/files", "multipart/form-data; boundary=x"),
    ("/v1/models/sync/sync/lipsync/v2/pro", "application/json"),
    ("/v2/generate", "application/json"),
]
FORM = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    with open_live("memory", tmp_path, max_upload_bytes=LIMIT, max_json_bytes=LIMIT) as live:
        yield live


def head(live: Live, path: str, kind: str, *headers: str) -> bytes:
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Authorization: Bearer {live.api.secret}",
        f"Content-Type: {kind}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def answer(connection: socket.socket) -> tuple[int, dict]:
    """Read one response; status 0: the connection was closed without one."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65_536)
        if not piece:
            return 0, {}
        received += piece
    top, _, rest = received.partition(b"\r\n\r\n")
    lengths = [line for line in top.lower().split(b"\r\n") if line.startswith(b"content-length")]
    if not lengths:  # a response of the HTTP server itself
        return int(top.split()[1]), {}
    while len(rest) < int(lengths[0].split(b":")[1]):
        rest += connection.recv(65_536)
    return int(top.split()[1]), json.loads(rest)


def stored_files(live: Live) -> list[Path]:
    folder = live.api.services.settings.data_dir
    return [p for name in ("incoming", "files") for p in (folder / name).rglob("*") if p.is_file()]


@pytest.mark.parametrize(("path", "kind"), CALLS)
def test_a_length_over_the_limit_is_refused_before_a_byte_is_sent(live: Live, path, kind):
    with live.connect() as connection:
        connection.sendall(head(live, path, kind, f"Content-Length: {10**15}"))
        status, data = answer(connection)
    assert status == 413
    assert data["detail"][0]["type"] == "limit_exceeded"
    assert stored_files(live) == []


@pytest.mark.parametrize(("path", "kind"), CALLS)
def test_an_endless_body_is_refused_at_the_limit(live: Live, path, kind):
    with live.connect() as connection:
        connection.sendall(head(live, path, kind, "Transfer-Encoding: chunked"))
        piece = (FORM if "multipart" in kind else b'{"video_url": "') + b"x" * 8192
        sent = 0
        while sent < 100 * LIMIT and not select.select([connection], [], [], 0.001)[0]:
            connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
            sent += len(piece)
            piece = b"x" * 8192
        status, _ = answer(connection)
    assert status == 413
    assert sent < 100 * LIMIT
    until(lambda: stored_files(live) == [])


@pytest.mark.parametrize(("path", "kind"), CALLS)
def test_a_body_that_breaks_off_leaves_nothing(live: Live, path, kind):
    with live.connect() as connection:
        connection.sendall(head(live, path, kind, "Content-Length: 50000") + FORM + b"x" * 20_000)
    until(lambda: live.api.plain("GET", "/metrics").text.count('status="499"') > 0)
    assert stored_files(live) == []
    assert live.api("GET", "/v1/requests").json()["requests"] == []


@pytest.mark.parametrize(("path", "kind"), CALLS)
def test_a_stalled_body_times_out(tmp_path: Path, path, kind):
    with open_live("memory", tmp_path, body_idle_seconds=0.2) as live, live.connect() as connection:
        connection.sendall(head(live, path, kind, "Content-Length: 50000") + FORM)
        status, data = answer(connection)
    assert status == 408
    assert "send it again" in data["error_message"]
    assert stored_files(live) == []


def test_a_body_shorter_than_its_length_is_not_stored(live: Live):
    with live.connect() as connection:
        connection.sendall(head(live, "/v1/files", "video/mp4", "Content-Length: 10") + b"12345")
        connection.shutdown(socket.SHUT_WR)
        assert answer(connection)[0] in (0, 400)
    assert stored_files(live) == []


def test_bytes_after_the_declared_length_are_not_stored(live: Live):
    with live.connect() as connection:
        connection.sendall(head(live, "/v1/files", "video/mp4", "Content-Length: 5") + b"12345678")
        status, data = answer(connection)
    assert (status, data["size"]) == (201, 5)


@pytest.mark.parametrize(
    "headers",
    [
        ("Content-Length: 5", "Content-Length: 6"),
        ("Content-Length: -1",),
        ("Content-Length: 5x",),
        ("Content-Length: 5", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: gzip, chunked",),
    ],
)
def test_contradictory_lengths_store_nothing_wrong(live: Live, headers):
    with live.connect() as connection:
        connection.sendall(
            head(live, "/v1/files", "video/mp4", *headers) + b"5\r\nabcde\r\n0\r\n\r\n"
        )
        status, data = answer(connection)
    assert status in (0, 201, 400, 501)
    if status == 201:  # by RFC 9112 chunks go before a length
        assert data["size"] == 5
    assert live.api.plain("GET", "/healthz").status_code == 200


def test_a_large_upload_is_streamed_to_disk_and_not_held_in_memory(tmp_path: Path):
    size = 200 * 2**20

    def pieces() -> Iterator[bytes]:
        for _ in range(size // 2**20):
            yield bytes(2**20)

    with open_live("memory", tmp_path) as live:
        headers = {"Authorization": f"Bearer {live.api.secret}"}
        tracemalloc.start()
        try:
            data = httpx.post(f"{live.url}/v1/files", content=pieces(), headers=headers, timeout=60)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert data.json()["size"] == size
    assert peak < 30 * 2**20


# -- events ---------------------------------------------------------------------------------------


def test_events_follow_a_request_to_its_end(live: Live):
    job = live.api.submit()
    headers = {"Authorization": f"Bearer {live.api.secret}"}
    url = f"{live.url}/v1/requests/{job}/events"
    seen: list[dict] = []
    with httpx.stream("GET", url, headers=headers, timeout=WAIT_SECONDS) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.headers["cache-control"] == "no-store"
        for line in stream.iter_lines():
            if not line.startswith("data: "):
                continue
            seen.append(json.loads(line.removeprefix("data: ")))
            if len(seen) == 1:
                running = live.api.run(
                    job, progress=JobProgress(stage="paint", done=5, total=10, fraction=0.7)
                )
            elif seen[-1]["stage"] == "paint":
                output = {"video": f"jobs/{job}/video.mp4"}
                live.api.services.ledger.finish(job, running.epoch, output=output, failure=None)
    assert (seen[0]["status"], seen[0]["queue_position"]) == ("in_queue", 0)
    assert (seen[-2]["status"], seen[-2]["done"], seen[-2]["fraction"]) == ("in_progress", 5, 0.7)
    assert (seen[-1]["status"], seen[-1]["fraction"]) == ("succeeded", 1.0)


def test_a_closing_service_ends_open_streams(live: Live):
    job = live.api.submit()
    headers = {"Authorization": f"Bearer {live.api.secret}"}
    url = f"{live.url}/v1/requests/{job}/events"
    with httpx.stream("GET", url, headers=headers, timeout=WAIT_SECONDS) as stream:
        lines = stream.iter_lines()
        assert next(line for line in lines if line.startswith("data: "))
        live.api.app.state.deployment.closing.set()
        assert [line for line in lines if line.startswith("data: ")] == []


def test_the_number_of_streams_of_a_key_is_limited(tmp_path: Path):
    with open_live("memory", tmp_path, streams_per_key=1) as live:
        url = f"{live.url}/v1/requests/{live.api.submit()}/events"
        headers = {"Authorization": f"Bearer {live.api.secret}"}
        with httpx.stream("GET", url, headers=headers, timeout=WAIT_SECONDS) as stream:
            lines = stream.iter_lines()  # the stream closes when this is garbage-collected
            assert next(line for line in lines if line.startswith("data: "))
            refused = httpx.get(url, headers=headers)
            assert refused.status_code == 429
            assert int(refused.headers["retry-after"]) >= 1
        until(lambda: not live.api.app.state.deployment.open_streams.total())
        with httpx.stream("GET", url, headers=headers, timeout=WAIT_SECONDS) as stream:
            assert stream.status_code == 200


@pytest.mark.parametrize("limit", ["streams_per_key", "max_streams"])
def test_a_burst_of_streams_does_not_exceed_the_limit(tmp_path: Path, limit):
    async def follow(client: httpx.AsyncClient, url: str, seen: list[int]) -> None:
        async with client.stream("GET", url) as stream:
            seen.append(stream.status_code)
            if stream.status_code == 200:
                async for _ in stream.aiter_lines():
                    pass

    async def burst(live: Live) -> list[int]:
        url = f"{live.url}/v1/requests/{live.api.submit()}/events"
        headers = {"Authorization": f"Bearer {live.api.secret}"}
        seen: list[int] = []
        async with httpx.AsyncClient(headers=headers, timeout=WAIT_SECONDS) as client:
            calls = [asyncio.create_task(follow(client, url, seen)) for _ in range(12)]
            async with asyncio.timeout(WAIT_SECONDS):
                while len(seen) < len(calls):
                    await asyncio.sleep(0.01)
            live.api.app.state.deployment.closing.set()
            await asyncio.gather(*calls)
        return seen

    with open_live("memory", tmp_path, **{limit: 3}) as live:
        assert sorted(asyncio.run(burst(live))) == [200] * 3 + [429] * 9
        until(lambda: not live.api.app.state.deployment.open_streams.total())


def test_a_disconnected_stream_is_not_counted_as_open(live: Live):
    job = live.api.submit()
    headers = {"Authorization": f"Bearer {live.api.secret}"}

    def others() -> bool:
        return "lipwright_http_open 2.0" in live.api.plain("GET", "/metrics").text

    with httpx.stream("GET", f"{live.url}/v1/requests/{job}/events", headers=headers):
        until(others)
    until(lambda: not others())
