"""The limit on the memory of all request bodies together."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from test_live_abuse import answer, head

from api_parts import BODY, CONTRACT, Api, open_api
from lipwright.server.http.body import SMALL_BODY_BYTES
from live_api import Live, open_live, until

LIMIT = 4 * SMALL_BODY_BYTES
NUMBERS = {"max_json_bytes": LIMIT, "max_json_bytes_at_once": LIMIT}
MEDIA = b"\0\0\0\x18ftypmp42"


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with open_api("memory", tmp_path, **NUMBERS) as api:
        yield api


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    with open_live("memory", tmp_path, **NUMBERS) as live:
        yield live


def large_body(size: int = LIMIT) -> bytes:
    uri = "data:video/mp4;base64," + base64.b64encode(MEDIA + bytes(size // 2)).decode()
    return json.dumps({**BODY, "video_url": uri}).encode()


def memory_limiter(api: Api):
    return api.app.state.deployment.body_memory


def shorten_wait(live: Live) -> None:
    memory_limiter(live.api)._wait_seconds = 0.05


def begin_body(live: Live, size: int = LIMIT) -> socket.socket:
    """Return a connection on which a large body was begun."""
    connection = live.connect()
    length = f"Content-Length: {size}"
    connection.sendall(head(live, CONTRACT, "application/json", length) + b'{"video_url": "')
    return connection


def test_many_large_bodies_at_once_wait_for_memory_and_all_succeed(live: Live):
    seen: list[int] = []
    limiter = memory_limiter(live.api)
    acquire = limiter._acquire

    async def watched(size: int) -> None:
        await acquire(size)
        seen.append(limiter.free)

    limiter._acquire = watched

    async def send() -> list[int]:
        headers = {"Authorization": f"Bearer {live.api.secret}", "Content-Type": "application/json"}
        async with httpx.AsyncClient(timeout=60, headers=headers) as client:
            calls = [client.post(f"{live.url}{CONTRACT}", content=large_body()) for _ in range(10)]
            return [data.status_code for data in await asyncio.gather(*calls)]

    assert asyncio.run(send()) == [200] * 10
    assert len(seen) == 10
    assert min(seen) >= 0
    assert limiter.free == limiter.total


def test_a_large_body_without_memory_gets_429_with_retry_after(live: Live):
    shorten_wait(live)
    with begin_body(live) as holder:
        until(lambda: memory_limiter(live.api).free == 0)
        with begin_body(live, SMALL_BODY_BYTES + 1) as late:
            status, data = answer(late)
        assert (status, data["detail"][0]["type"]) == (429, "too_many_requests")
        refused = live.api("POST", CONTRACT, content=large_body())
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        holder.close()
        until(lambda: memory_limiter(live.api).free == LIMIT)
    assert live.api("POST", CONTRACT, content=large_body()).status_code == 200


def test_a_small_body_needs_no_reservation(live: Live):
    with begin_body(live):
        until(lambda: memory_limiter(live.api).free == 0)
        assert live.api("POST", CONTRACT, json=BODY).status_code == 200


def test_a_large_body_of_unknown_length_counts_as_the_limit(live: Live):
    shorten_wait(live)
    with live.connect() as connection:
        chunked = head(live, CONTRACT, "application/json", "Transfer-Encoding: chunked")
        piece = b"x" * SMALL_BODY_BYTES
        connection.sendall(chunked + b"%x\r\n%s\r\n" % (len(piece), piece))
        assert live.api("POST", CONTRACT, content=large_body()).status_code == 200
        connection.sendall(b"1\r\nx\r\n")
        until(lambda: memory_limiter(live.api).free == 0)
        assert live.api("POST", CONTRACT, content=large_body()).status_code == 429


def test_a_slow_large_body_times_out(tmp_path: Path):
    settings = {**NUMBERS, "json_seconds": 0.3, "body_idle_seconds": 60.0}
    with open_live("memory", tmp_path, **settings) as live, begin_body(live) as slow:
        done = threading.Event()

        def trickle() -> None:
            while not done.wait(0.02):
                slow.sendall(b"x")

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            status, data = answer(slow)
        finally:
            done.set()
            thread.join()
        assert status == 408
        assert "did not arrive within 0.3 s" in data["error_message"]
        until(lambda: memory_limiter(live.api).free == LIMIT)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"video_url": [' + b",".join([b"[]"] * 30_000) + b"]}",
        b'{"video_url": "\\ud83d\\ude00' + b"x" * (LIMIT // 3) + b'"}',
        b'{"video_url": "\xf0\x9f\x98\x80' + b"x" * (LIMIT // 3) + b'"}',
    ],
)
def test_a_body_that_takes_too_much_memory_is_refused_before_parsing(api: Api, raw):
    assert SMALL_BODY_BYTES < len(raw) < LIMIT
    data = api("POST", CONTRACT, content=raw)
    assert data.status_code == 413
    assert "too much memory" in data.json()["error_message"]
    assert memory_limiter(api).free == LIMIT


@pytest.mark.parametrize("raw", [b"{", b"[]", b'{"unknown": 1}'])
def test_a_refused_large_body_releases_its_memory(api: Api, raw):
    answered = api("POST", CONTRACT, content=raw + b" " * (2 * SMALL_BODY_BYTES))
    assert answered.status_code == 422
    assert memory_limiter(api).free == LIMIT


def test_an_object_with_too_many_keys_is_refused_with_one_error(api: Api):
    raw = json.dumps({str(n): n for n in range(1001)}).encode()
    data = api("POST", CONTRACT, content=raw)
    assert (data.status_code, len(data.json()["detail"])) == (422, 1)
    assert "more than 1000 keys" in data.json()["error_message"]
