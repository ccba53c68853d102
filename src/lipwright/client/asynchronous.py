"""The client that lets others run meanwhile: ``AsyncClient`` and its ``AsyncJobHandle``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing, closing
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import httpx

from lipwright.client import calls, flows
from lipwright.client.address import Service
from lipwright.client.calls import DEFAULT_MODEL, Answer, Request
from lipwright.client.flows import Effect, Emit, Flow, Now, Open, Read, Send, Sleep, Wish
from lipwright.client.save import whole_file
from lipwright.client.transport import HTTPX, answer_of, check_size, service_of, told_as_ours
from lipwright.client.upload import FileBody, OnBytes
from lipwright.client.values import JobPage, JobResult, JobState, JobStatus, UploadedFile
from lipwright.errors import LipwrightError
from lipwright.options import SyncOptions

T = TypeVar("T")


class AsyncClient:
    """:class:`Client` for asyncio: the same methods, to be awaited; an async context manager."""

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._service = service_of(url, api_key)
        self._driver = _Driver(self._service, httpx.AsyncClient(transport=transport, **HTTPX))

    def __repr__(self) -> str:
        return f"AsyncClient({self._service.url!r})"

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; calling it twice is fine."""
        await self._driver.close()

    async def submit(
        self,
        video: str | Path,
        audio: str | Path,
        *,
        options: SyncOptions | None = None,
        model_id: str = DEFAULT_MODEL,
        seed: int | None = None,
        webhook_url: str | None = None,
        idempotency_key: str | None = None,
        on_bytes: OnBytes | None = None,
    ) -> AsyncJobHandle:
        """Hand in a job and return at once; see :meth:`Client.submit`."""
        wish = Wish(
            video=video,
            audio=audio,
            options=options or SyncOptions(),
            model_id=model_id,
            seed=seed,
            webhook_url=webhook_url,
            idempotency_key=idempotency_key,
            on_bytes=on_bytes,
        )
        return self.job(await self._driver.run(flows.submit(self._service, wish)))

    def job(self, job_id: str) -> AsyncJobHandle:
        """Return the handle of a job that was handed in before."""
        self._service.job(job_id)  # complain about a wrong id at once
        return AsyncJobHandle(id=job_id, client=self)

    async def upload(self, path: str | Path, *, on_bytes: OnBytes | None = None) -> UploadedFile:
        """Put a file into the service, for more than one job."""
        return await self._driver.run(flows.upload(self._service, Path(path), on_bytes))

    async def jobs(
        self, *, limit: int = 20, cursor: str | None = None, state: JobState | None = None
    ) -> JobPage:
        """List the jobs of this key, newest first; only those in *state* if it is given."""
        return await self._driver.run(
            flows.page(self._service, limit=limit, cursor=cursor, state=state)
        )

    async def download(
        self, result: JobResult, path: str | Path, *, on_bytes: OnBytes | None = None
    ) -> Path:
        """Save the video of a job; see :meth:`Client.download`."""
        path, flow = Path(path), flows.download(self._service, flows.video_of(result))
        done = 0
        with whole_file(path) as file:
            async with aclosing(self._driver.emitted(flow)) as pieces:
                async for piece, total in pieces:
                    await asyncio.to_thread(file.write, piece)
                    done += len(piece)
                    if on_bytes is not None:
                        on_bytes(done, total or 0)
        return path


@dataclass(frozen=True, kw_only=True)
class AsyncJobHandle:
    """A job at the service; see :class:`JobHandle`."""

    id: str
    client: AsyncClient = field(repr=False)

    async def status(self) -> JobStatus:
        """Return where it is now."""
        return await self._run(flows.ask(calls.status(self.client._service, self.id)))

    def events(self) -> AsyncIterator[JobStatus]:
        """Yield each new status until the job has ended."""
        return self.client._driver.emitted(flows.follow(self.client._service, self.id))

    async def result(self, timeout_s: float | None = None) -> JobResult:
        """Wait until the job has ended and return its result; see :meth:`JobHandle.result`."""
        ended = await self._run(flows.wait(self.client._service, self.id, timeout_s))
        return ended.raise_for_state()

    async def cancel(self) -> bool:
        """Cancel it if it still waits; return whether it is cancelled now."""
        return await self._run(flows.ask(calls.cancel(self.client._service, self.id)))

    async def erase(self) -> None:
        """Forget it and its files."""
        await self._run(flows.ask(calls.erase(self.client._service, self.id)))

    async def _run(self, flow: Flow[T]) -> T:
        return await self.client._driver.run(flow)


class _Driver:
    """Carries out the effects of a flow with httpx."""

    def __init__(self, service: Service, http: httpx.AsyncClient) -> None:
        self._service, self._http = service, http

    async def close(self) -> None:
        await self._http.aclose()

    async def run(self, flow: Flow[T]) -> T:
        """Carry a flow out to its end and return what it returns."""
        ends: list[T] = []
        async for _ in self.emitted(flow, ends):
            pass
        return ends[0]

    async def emitted(
        self, flow: Flow[T], ends: list[T] | None = None
    ) -> AsyncGenerator[Any, None]:
        """Carry a flow out; yield what it emits, append what it returns to *ends*."""
        async with AsyncExitStack() as stack:
            stack.enter_context(closing(flow))
            step = _Step(
                self._service, self._http, await stack.enter_async_context(AsyncExitStack())
            )
            reply: Any = None
            failure: LipwrightError | None = None
            while True:
                try:
                    effect = flow.throw(failure) if failure else flow.send(reply)
                except StopIteration as end:
                    if ends is not None:
                        ends.append(end.value)
                    return
                reply = failure = None
                if isinstance(effect, Emit):
                    yield effect.value
                    continue
                try:
                    reply = await step(effect)
                except LipwrightError as error:
                    failure = error


class _Step:
    """Carries out one effect after the other; keeps the response that is being read."""

    def __init__(self, service: Service, http: httpx.AsyncClient, stack: AsyncExitStack) -> None:
        self._service, self._http, self._stack = service, http, stack
        self._pieces: AsyncIterator[bytes] | None = None

    async def __call__(self, effect: Effect) -> Any:
        with told_as_ours(self._service):
            match effect:
                case Send(request=request):
                    return await self._send(request)
                case Open(request=request):
                    return await self._open(request)
                case Read():
                    return await anext(self._pieces, None) if self._pieces else None
                case Sleep(seconds=seconds):
                    return await asyncio.sleep(seconds)
                case Now():
                    return time.monotonic()
        raise TypeError(f"no effect: {effect!r}")

    async def _send(self, request: Request) -> Answer:
        body = bytearray()
        async with self._http.stream(request.method, request.url, **_sent(request)) as response:
            async for piece in response.aiter_bytes():
                body += piece
                check_size(len(body))
        return answer_of(response, bytes(body))

    async def _open(self, request: Request) -> Answer:
        await self._stack.aclose()  # one stream at a time
        response = await self._stack.enter_async_context(
            self._http.stream(request.method, request.url, **_sent(request))
        )
        self._pieces = response.aiter_bytes()
        return answer_of(response)


def _sent(request: Request) -> Mapping[str, Any]:
    if isinstance(request.body, FileBody):
        headers = {**request.headers, "Content-Length": str(request.body.length)}
        return {"headers": headers, "content": _off_the_loop(request.body)}
    return {"headers": dict(request.headers), "content": request.body}


async def _off_the_loop(body: FileBody) -> AsyncIterator[bytes]:
    """Yield the pieces of a file, read in a thread."""
    with closing(body.pieces()) as pieces:
        while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            yield piece
