"""A scripted fake of the service, and both clients behind one interface."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from lipwright.client import AsyncClient, Client, JobPage, JobResult, JobStatus, UploadedFile

URL = "https://dub.example.org"
KEY = "lw_secret"
ID = "6f1c0d5e-8a53-4d0c-9a3e-0d2f6a1b7c42"

Make = Callable[[], httpx.Response]  #: creates a new response for each request
Reply = Make | Exception


def reply(status: int, **contents: Any) -> Make:
    """A response with the arguments of httpx.Response."""
    return lambda: httpx.Response(status, **contents)


def answer(status: int = 200, /, **fields: Any) -> Make:
    """A JSON response."""
    return reply(status, json=fields)


def refusal(status: int, code: str, message: str = "no", **headers: str) -> Make:
    """An error response of the service."""
    body = {"error_code": status * 1000, "error_message": message, "detail": [{"type": code}]}
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return reply(status, json=body, headers=names)


def stream(*statuses: dict[str, Any], then: Exception | None = None) -> Make:
    """A stream of events; breaks with *then*."""

    def chunks() -> Iterator[bytes]:
        yield b"retry: 2000\n\n: still here\n\n"
        for status_fields in statuses:
            text = (
                f"id: 1\nevent: state\ndata: {json.dumps({'request_id': ID, **status_fields})}\n\n"
            )
            yield text.encode()[:20]
            yield text.encode()[20:]
        if then is not None:
            raise then

    headers = {"Content-Type": "text/event-stream; charset=utf-8"}
    return reply(200, headers=headers, stream=_Stream(chunks))


class _Stream(httpx.SyncByteStream, httpx.AsyncByteStream):
    def __init__(self, chunks: Callable[[], Iterator[bytes]]) -> None:
        self._pieces = chunks

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._pieces():
            yield chunk


@dataclass
class Script:
    """Answers each request with the next reply for its method and path; the last one repeats."""

    replies: dict[str, list[Reply]] = field(default_factory=dict)
    seen: list[httpx.Request] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def on(self, call: str, *replies: Reply) -> Script:
        """Set the replies for a call such as ``GET /v1/requests``."""
        self.replies[call] = list(replies)
        return self

    def calls(self) -> list[str]:
        """The requests received, in order."""
        return [f"{r.method} {r.url.raw_path.decode()}" for r in self.seen]

    def _reply(self, request: httpx.Request, body: bytes) -> httpx.Response:
        self.seen.append(request)
        self.bodies.append(body)
        replies = self.replies[f"{request.method} {request.url.path}"]
        next_reply = replies.pop(0) if len(replies) > 1 else replies[0]
        if isinstance(next_reply, Exception):
            raise next_reply
        return next_reply()

    def blocking(self) -> httpx.MockTransport:
        """A transport for Client."""
        return httpx.MockTransport(lambda request: self._reply(request, request.read()))

    def asynchronous(self) -> httpx.MockTransport:
        """A transport for AsyncClient."""

        async def handle(request: httpx.Request) -> httpx.Response:
            return self._reply(request, await request.aread())

        return httpx.MockTransport(handle)


class BlockingAdapter:
    """The blocking client."""

    def __init__(self, script: Script) -> None:
        self._client = Client(URL, KEY, transport=script.blocking())

    def submit(self, *sources: str | Path, **arguments: Any) -> str:
        return self._client.submit(*sources, **arguments).id  # type: ignore[arg-type]

    def status(self) -> JobStatus:
        return self._client.job(ID).status()

    def events(self) -> list[JobStatus]:
        return list(self._client.job(ID).events())

    def result(self, timeout_s: float | None = None) -> JobResult:
        return self._client.job(ID).result(timeout_s)

    def cancel(self) -> bool:
        return self._client.job(ID).cancel()

    def erase(self) -> None:
        self._client.job(ID).erase()

    def jobs(self, **arguments: Any) -> JobPage:
        return self._client.jobs(**arguments)

    def upload(self, path: Path, **arguments: Any) -> UploadedFile:
        return self._client.upload(path, **arguments)

    def download(self, result: JobResult, path: Path, **arguments: Any) -> Path:
        return self._client.download(result, path, **arguments)

    def close(self) -> None:
        self._client.close()


class AsyncAdapter:
    """The asyncio client; each call runs to its end."""

    def __init__(self, script: Script) -> None:
        self._runner = asyncio.Runner()
        self._client = AsyncClient(URL, KEY, transport=script.asynchronous())

    def submit(self, *sources: str | Path, **arguments: Any) -> str:
        handle = self._runner.run(self._client.submit(*sources, **arguments))  # type: ignore[arg-type]
        return handle.id

    def status(self) -> JobStatus:
        return self._runner.run(self._client.job(ID).status())

    def events(self) -> list[JobStatus]:
        async def collect() -> list[JobStatus]:
            return [status async for status in self._client.job(ID).events()]

        return self._runner.run(collect())

    def result(self, timeout_s: float | None = None) -> JobResult:
        return self._runner.run(self._client.job(ID).result(timeout_s))

    def cancel(self) -> bool:
        return self._runner.run(self._client.job(ID).cancel())

    def erase(self) -> None:
        self._runner.run(self._client.job(ID).erase())

    def jobs(self, **arguments: Any) -> JobPage:
        return self._runner.run(self._client.jobs(**arguments))

    def upload(self, path: Path, **arguments: Any) -> UploadedFile:
        return self._runner.run(self._client.upload(path, **arguments))

    def download(self, result: JobResult, path: Path, **arguments: Any) -> Path:
        return self._runner.run(self._client.download(result, path, **arguments))

    def close(self) -> None:
        self._runner.run(self._client.close())
        self._runner.close()


ClientAdapter = BlockingAdapter | AsyncAdapter
ADAPTERS: dict[str, Callable[[Script], ClientAdapter]] = {
    "blocking": BlockingAdapter,
    "asyncio": AsyncAdapter,
}
