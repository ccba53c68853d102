"""How much of all callers' bodies is held at once."""

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
from lipwright.server.http.body import SMALL_BYTES
from live_api import Live, open_live, until

LIMIT = 4 * SMALL_BYTES
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


def long_body(size: int = LIMIT) -> bytes:
    uri = "data:video/mp4;base64," + base64.b64encode(MEDIA + bytes(size // 2)).decode()
    return json.dumps({**BODY, "video_url": uri}).encode()


def bodies_of(api: Api):
    return api.app.state.deployment.bodies


def impatient(live: Live) -> None:
    bodies_of(live.api)._patience = 0.05


def begin(live: Live, size: int = LIMIT) -> socket.socket:
    """Return a connection over which a long body was begun."""
    connection = live.connect()
    said = f"Content-Length: {size}"
    connection.sendall(head(live, CONTRACT, "application/json", said) + b'{"video_url": "')
    return connection


def test_many_long_bodies_at_once_take_turns_and_all_succeed(live: Live):
    seen: list[int] = []
    bodies = bodies_of(live.api)
    take_in = bodies._take

    async def watched(size: int) -> None:
        await take_in(size)
        seen.append(bodies.free)

    bodies._take = watched

    async def send() -> list[int]:
        headers = {"Authorization": f"Bearer {live.api.secret}", "Content-Type": "application/json"}
        async with httpx.AsyncClient(timeout=60, headers=headers) as client:
            calls = [client.post(f"{live.url}{CONTRACT}", content=long_body()) for _ in range(10)]
            return [told.status_code for told in await asyncio.gather(*calls)]

    assert asyncio.run(send()) == [200] * 10
    assert len(seen) == 10
    assert min(seen) >= 0
    assert bodies.free == bodies.total


def test_a_long_body_that_finds_no_room_is_told_when_to_come_back(live: Live):
    impatient(live)
    with begin(live) as holder:
        until(lambda: bodies_of(live.api).free == 0)
        with begin(live, SMALL_BYTES + 1) as late:
            status, told = answer(late)
        assert (status, told["detail"][0]["type"]) == (429, "too_many_requests")
        refused = live.api("POST", CONTRACT, content=long_body())
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        holder.close()
        until(lambda: bodies_of(live.api).free == LIMIT)
    assert live.api("POST", CONTRACT, content=long_body()).status_code == 200


def test_a_plain_request_needs_no_room(live: Live):
    with begin(live):
        until(lambda: bodies_of(live.api).free == 0)
        assert live.api("POST", CONTRACT, json=BODY).status_code == 200


def test_a_body_of_unknown_length_is_counted_at_the_limit_once_it_is_long(live: Live):
    impatient(live)
    with live.connect() as connection:
        chunked = head(live, CONTRACT, "application/json", "Transfer-Encoding: chunked")
        piece = b"x" * SMALL_BYTES
        connection.sendall(chunked + b"%x\r\n%s\r\n" % (len(piece), piece))
        assert live.api("POST", CONTRACT, content=long_body()).status_code == 200
        connection.sendall(b"1\r\nx\r\n")
        until(lambda: bodies_of(live.api).free == 0)
        assert live.api("POST", CONTRACT, content=long_body()).status_code == 429


def test_a_long_body_that_only_trickles_is_given_up(tmp_path: Path):
    settings = {**NUMBERS, "json_seconds": 0.3, "body_idle_seconds": 60.0}
    with open_live("memory", tmp_path, **settings) as live, begin(live) as slow:
        done = threading.Event()

        def trickle() -> None:
            while not done.wait(0.02):
                slow.sendall(b"x")

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            status, told = answer(slow)
        finally:
            done.set()
            thread.join()
        assert status == 408
        assert "did not come within 0.3 s" in told["error_message"]
        until(lambda: bodies_of(live.api).free == LIMIT)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"video_url": [' + b",".join([b"[]"] * 30_000) + b"]}",
        b'{"video_url": "\\ud83d\\ude00' + b"x" * (LIMIT // 3) + b'"}',
        b'{"video_url": "\xf0\x9f\x98\x80' + b"x" * (LIMIT // 3) + b'"}',
    ],
)
def test_a_body_that_would_swell_when_it_is_parsed_is_refused_before(api: Api, raw):
    assert SMALL_BYTES < len(raw) < LIMIT
    told = api("POST", CONTRACT, content=raw)
    assert told.status_code == 413
    assert "too much memory" in told.json()["error_message"]
    assert bodies_of(api).free == LIMIT


@pytest.mark.parametrize("raw", [b"{", b"[]", b'{"unknown": 1}'])
def test_a_long_body_that_is_refused_gives_its_room_back(api: Api, raw):
    answered = api("POST", CONTRACT, content=raw + b" " * (2 * SMALL_BYTES))
    assert answered.status_code == 422
    assert bodies_of(api).free == LIMIT


def test_an_object_of_too_many_keys_is_refused_in_short(api: Api):
    raw = json.dumps({str(n): n for n in range(1001)}).encode()
    told = api("POST", CONTRACT, content=raw)
    assert (told.status_code, len(told.json()["detail"])) == (422, 1)
    assert "more than 1000 keys" in told.json()["error_message"]
