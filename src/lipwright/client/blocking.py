"""The blocking client: ``Client`` and its ``JobHandle``."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, closing
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


class Client:
    """Submits jobs to a Lipwright service; a context manager.

    ```python
    with lipwright.Client("https://dub.example.org", api_key=key) as client:
        job = client.submit("talk.mp4", "speech.wav")
        for status in job.events():
            print(status.state, status.position, status.stage, status.fraction)
        client.download(job.result(), "dubbed.mp4")
    ```

    Args:
        url: of the service; None: ``LIPWRIGHT_URL``, or this machine.
        api_key: None: ``LIPWRIGHT_API_KEY``.
        transport: of httpx; for tests.

    Raises:
        InvalidOptions: the URL or the key is invalid.
        AccessDenied: there is no key.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._service = resolve_service(url, api_key)
        self._runner = _FlowRunner(
            self._service, httpx.Client(transport=transport, **HTTPX_OPTIONS)
        )

    def __repr__(self) -> str:
        return f"Client({self._service.url!r})"

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; may be called twice."""
        self._runner.close()

    def submit(
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
    ) -> JobHandle:
        """Submit a job and return at once.

        Args:
            video: a path, which is uploaded, or a URL (``https:``, ``data:``), which is passed on.
            audio: the same.
            options: of the job; the service sets its own limits on size and length.
            model_id: ``lipwright/<engine>``, or the default.
            seed: for engines that draw random numbers.
            webhook_url: called when the job has ended.
            idempotency_key: a repeated call with the same key and arguments returns the same job;
                None: a random key. A file uploaded twice counts as two different files: upload it
                once with :meth:`upload` and pass its URL.
            on_bytes: called with bytes sent and total bytes of each uploaded file.

        Raises:
            InputError: a file cannot be read, or the service refuses the request.
            AccessDenied: the key is wrong.
            TooManyRequests: a limit of the service is reached.
            ServiceUnavailable: the service cannot be reached.
        """
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
        return self.job(self._runner.run(flows.submit(self._service, arguments)))

    def job(self, job_id: str) -> JobHandle:
        """Return the handle of a job that was submitted before."""
        self._service.job_url(job_id)  # refuses an invalid id
        return JobHandle(id=job_id, client=self)

    def upload(self, path: str | Path, *, on_bytes: OnBytes | None = None) -> UploadedFile:
        """Upload a file to use it for more than one job."""
        return self._runner.run(flows.upload(self._service, Path(path), on_bytes))

    def jobs(
        self, *, limit: int = 20, cursor: str | None = None, state: JobState | None = None
    ) -> JobPage:
        """Return a page of the jobs of this key, newest first, filtered by *state*."""
        return self._runner.run(flows.page(self._service, limit=limit, cursor=cursor, state=state))

    def download(
        self, result: JobResult, path: str | Path, *, on_bytes: OnBytes | None = None
    ) -> Path:
        """Save the video of a job; an existing file is replaced when the download is complete.

        Raises:
            LipwrightError: the job did not succeed.
            OutputUnwritable: the file cannot be written.
            ServiceUnavailable: the connection broke, or the URL has expired.
        """
        path, flow = Path(path), flows.download(self._service, flows.video_of(result))
        done = 0
        with atomic_file(path) as file, closing(self._runner.iterate(flow)) as chunks:
            for chunk, total in chunks:
                file.write(chunk)
                done += len(chunk)
                if on_bytes is not None:
                    on_bytes(done, total or 0)
        return path


@dataclass(frozen=True, kw_only=True)
class JobHandle:
    """A job at the service."""

    id: str
    client: Client = field(repr=False)

    def status(self) -> JobStatus:
        """Return its present status."""
        return self._run(flows.execute(calls.status(self.client._service, self.id)))

    def events(self) -> Iterator[JobStatus]:
        """Yield each new status until the job has ended."""
        return self.client._runner.iterate(flows.follow(self.client._service, self.id))

    def result(self, timeout_s: float | None = None) -> JobResult:
        """Wait until the job has ended and return its result.

        Args:
            timeout_s: seconds to wait; the job continues after a timeout.

        Raises:
            LipwrightError: the job failed; the same class as of a local job.
            Cancelled: the job was cancelled.
            JobNotFinished: it has not ended in time.
        """
        ended = self._run(flows.wait(self.client._service, self.id, timeout_s))
        return ended.raise_for_state()

    def cancel(self) -> bool:
        """Cancel it if it is queued and return whether it is cancelled."""
        return self._run(flows.execute(calls.cancel(self.client._service, self.id)))

    def erase(self) -> None:
        """Erase it and its files.

        Raises:
            JobNotFinished: it is running.
        """
        self._run(flows.execute(calls.erase(self.client._service, self.id)))

    def _run(self, flow: Flow[T]) -> T:
        return self.client._runner.run(flow)


class _FlowRunner:
    """Runs flows and performs their effects with httpx."""

    def __init__(self, service: ServiceAddress, http: httpx.Client) -> None:
        self._service, self._http = service, http

    def close(self) -> None:
        self._http.close()

    def run(self, flow: Flow[T]) -> T:
        """Run a flow to its end and return its result."""
        values = self.iterate(flow)
        while True:
            try:
                next(values)
            except StopIteration as end:
                value: T = end.value
                return value

    def iterate(self, flow: Flow[T]) -> Generator[Any, None, T]:
        """Run a flow and yield the values that it emits."""
        with ExitStack() as stack, closing(flow):
            perform = _EffectRunner(self._service, self._http, stack)
            reply: Any = None
            failure: LipwrightError | None = None
            while True:
                try:
                    effect = flow.throw(failure) if failure else flow.send(reply)
                except StopIteration as end:
                    value: T = end.value
                    return value
                reply = failure = None
                if isinstance(effect, EmitValue):
                    yield effect.value
                    continue
                try:
                    reply = perform(effect)
                except LipwrightError as error:
                    failure = error


class _EffectRunner:
    """Performs one effect at a time and keeps the open response."""

    def __init__(self, service: ServiceAddress, http: httpx.Client, stack: ExitStack) -> None:
        self._service, self._http, self._stack = service, http, stack
        self._chunks: Iterator[bytes] = iter(())

    def __call__(self, effect: Effect) -> Any:
        with translate_errors(self._service):
            match effect:
                case SendRequest(request=request):
                    return self._send(request)
                case OpenStream(request=request):
                    return self._open(request)
                case ReadChunk():
                    return next(self._chunks, None)
                case Sleep(seconds=seconds):
                    return time.sleep(seconds)
                case GetTime():
                    return time.monotonic()
        raise TypeError(f"unknown effect: {effect!r}")

    def _send(self, request: ApiRequest) -> ApiResponse:
        body = bytearray()
        with self._http.stream(
            request.method, request.url, **_httpx_arguments(request)
        ) as response:
            for chunk in response.iter_bytes():
                body += chunk
                check_response_size(len(body))
        return to_response(response, bytes(body))

    def _open(self, request: ApiRequest) -> ApiResponse:
        self._stack.close()  # one stream at a time
        response = self._stack.enter_context(
            self._http.stream(request.method, request.url, **_httpx_arguments(request))
        )
        self._chunks = response.iter_bytes()
        return to_response(response)


def _httpx_arguments(request: ApiRequest) -> Mapping[str, Any]:
    if isinstance(request.body, FileBody):
        headers = {**request.headers, "Content-Length": str(request.body.length)}
        return {"headers": headers, "content": request.body.chunks()}
    return {"headers": dict(request.headers), "content": request.body}
