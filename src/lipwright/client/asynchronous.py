"""The asyncio client: ``AsyncClient`` and its ``AsyncJobHandle``."""

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
from lipwright.client.address import ServiceAddress
from lipwright.client.calls import DEFAULT_MODEL, ApiRequest, ApiResponse
from lipwright.client.flows import (
    Effect,
    EmitValue,
    Flow,
    GetTime,
    OpenStream,
    ReadChunk,
    SendRequest,
    Sleep,
    SubmitArguments,
)
from lipwright.client.transport import (
    HTTPX_OPTIONS,
    check_response_size,
    resolve_service,
    to_response,
    translate_errors,
)
from lipwright.client.upload import FileBody, OnBytes
from lipwright.client.values import JobPage, JobResult, JobState, JobStatus, UploadedFile
from lipwright.errors import LipwrightError
from lipwright.options import SyncOptions
from lipwright.runtime.atomic_file import atomic_file

T = TypeVar("T")


class AsyncClient:
    """:class:`Client` for asyncio, with the same methods; an async context manager."""

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._service = resolve_service(url, api_key)
        self._runner = _AsyncFlowRunner(
            self._service, httpx.AsyncClient(transport=transport, **HTTPX_OPTIONS)
        )

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
        """Close the connections; may be called twice."""
        await self._runner.close()

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
        """Submit a job and return at once; see :meth:`Client.submit`."""
        arguments = SubmitArguments(
            video=video,
            audio=audio,
            options=options or SyncOptions(),
            model_id=model_id,
            seed=seed,
            webhook_url=webhook_url,
            idempotency_key=idempotency_key,
            on_bytes=on_bytes,
        )
        return self.job(await self._runner.run(flows.submit(self._service, arguments)))

    def job(self, job_id: str) -> AsyncJobHandle:
        """Return the handle of a job that was submitted before."""
        self._service.job_url(job_id)  # refuses an invalid id
        return AsyncJobHandle(id=job_id, client=self)

    async def upload(self, path: str | Path, *, on_bytes: OnBytes | None = None) -> UploadedFile:
        """Upload a file to use it for more than one job."""
        return await self._runner.run(flows.upload(self._service, Path(path), on_bytes))

    async def jobs(
        self, *, limit: int = 20, cursor: str | None = None, state: JobState | None = None
    ) -> JobPage:
        """Return a page of the jobs of this key, newest first, filtered by *state*."""
        return await self._runner.run(
            flows.page(self._service, limit=limit, cursor=cursor, state=state)
        )

    async def download(
        self, result: JobResult, path: str | Path, *, on_bytes: OnBytes | None = None
    ) -> Path:
        """Save the video of a job; see :meth:`Client.download`."""
        path, flow = Path(path), flows.download(self._service, flows.video_of(result))
        done = 0
        with atomic_file(path) as file:
            async with aclosing(self._runner.iterate(flow)) as chunks:
                async for chunk, total in chunks:
                    await asyncio.to_thread(file.write, chunk)
                    done += len(chunk)
                    if on_bytes is not None:
                        on_bytes(done, total or 0)
        return path


@dataclass(frozen=True, kw_only=True)
class AsyncJobHandle:
    """A job at the service; see :class:`JobHandle`."""

    id: str
    client: AsyncClient = field(repr=False)

    async def status(self) -> JobStatus:
        """Return its present status."""
        return await self._run(flows.execute(calls.status(self.client._service, self.id)))

    def events(self) -> AsyncIterator[JobStatus]:
        """Yield each new status until the job has ended."""
        return self.client._runner.iterate(flows.follow(self.client._service, self.id))

    async def result(self, timeout_s: float | None = None) -> JobResult:
        """Wait until the job has ended and return its result; see :meth:`JobHandle.result`."""
        ended = await self._run(flows.wait(self.client._service, self.id, timeout_s))
        return ended.raise_for_state()

    async def cancel(self) -> bool:
        """Cancel it if it is queued and return whether it is cancelled."""
        return await self._run(flows.execute(calls.cancel(self.client._service, self.id)))

    async def erase(self) -> None:
        """Erase it and its files."""
        await self._run(flows.execute(calls.erase(self.client._service, self.id)))

    async def _run(self, flow: Flow[T]) -> T:
        return await self.client._runner.run(flow)


class _AsyncFlowRunner:
    """Runs flows and performs their effects with httpx."""

    def __init__(self, service: ServiceAddress, http: httpx.AsyncClient) -> None:
        self._service, self._http = service, http

    async def close(self) -> None:
        await self._http.aclose()

    async def run(self, flow: Flow[T]) -> T:
        """Run a flow to its end and return its result."""
        results: list[T] = []
        async for _ in self.iterate(flow, results):
            pass
        return results[0]

    async def iterate(
        self, flow: Flow[T], results: list[T] | None = None
    ) -> AsyncGenerator[Any, None]:
        """Run a flow, yield the values that it emits and append its result to *results*."""
        async with AsyncExitStack() as stack:
            stack.enter_context(closing(flow))
            perform = _AsyncEffectRunner(
                self._service, self._http, await stack.enter_async_context(AsyncExitStack())
            )
            reply: Any = None
            failure: LipwrightError | None = None
            while True:
                try:
                    effect = flow.throw(failure) if failure else flow.send(reply)
                except StopIteration as end:
                    if results is not None:
                        results.append(end.value)
                    return
                reply = failure = None
                if isinstance(effect, EmitValue):
                    yield effect.value
                    continue
                try:
                    reply = await perform(effect)
                except LipwrightError as error:
                    failure = error


class _AsyncEffectRunner:
    """Performs one effect at a time and keeps the open response."""

    def __init__(
        self, service: ServiceAddress, http: httpx.AsyncClient, stack: AsyncExitStack
    ) -> None:
        self._service, self._http, self._stack = service, http, stack
        self._chunks: AsyncIterator[bytes] | None = None

    async def __call__(self, effect: Effect) -> Any:
        with translate_errors(self._service):
            match effect:
                case SendRequest(request=request):
                    return await self._send(request)
                case OpenStream(request=request):
                    return await self._open(request)
                case ReadChunk():
                    return await anext(self._chunks, None) if self._chunks else None
                case Sleep(seconds=seconds):
                    return await asyncio.sleep(seconds)
                case GetTime():
                    return time.monotonic()
        raise TypeError(f"unknown effect: {effect!r}")

    async def _send(self, request: ApiRequest) -> ApiResponse:
        body = bytearray()
        async with self._http.stream(
            request.method, request.url, **_httpx_arguments(request)
        ) as response:
            async for chunk in response.aiter_bytes():
                body += chunk
                check_response_size(len(body))
        return to_response(response, bytes(body))

    async def _open(self, request: ApiRequest) -> ApiResponse:
        await self._stack.aclose()  # one stream at a time
        response = await self._stack.enter_async_context(
            self._http.stream(request.method, request.url, **_httpx_arguments(request))
        )
        self._chunks = response.aiter_bytes()
        return to_response(response)


def _httpx_arguments(request: ApiRequest) -> Mapping[str, Any]:
    if isinstance(request.body, FileBody):
        headers = {**request.headers, "Content-Length": str(request.body.length)}
        return {"headers": headers, "content": _read_in_thread(request.body)}
    return {"headers": dict(request.headers), "content": request.body}


async def _read_in_thread(body: FileBody) -> AsyncIterator[bytes]:
    """Yield the chunks of a file, read in a thread."""
    with closing(body.chunks()) as chunks:
        while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
            yield chunk
