"""The client that waits: ``Client`` and its ``JobHandle``."""

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


class Client:
    """Hands jobs to a Lipwright service; a context manager.

    ```python
    with lipwright.Client("https://dub.example.org", api_key=key) as client:
        job = client.submit("talk.mp4", "speech.wav")
        for status in job.events():
            print(status.state, status.position, status.stage, status.fraction)
        client.download(job.result(), "dubbed.mp4")
    ```

    Args:
        url: where the service is; None: ``LIPWRIGHT_URL``, or this machine.
        api_key: None: ``LIPWRIGHT_API_KEY``.
        transport: how httpx sends; for tests.

    Raises:
        InvalidOptions: the URL or the key cannot be used.
        AccessDenied: there is no key.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._service = service_of(url, api_key)
        self._driver = _Driver(self._service, httpx.Client(transport=transport, **HTTPX))

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
        """Close the connections; calling it twice is fine."""
        self._driver.close()

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
        """Hand in a job and return at once.

        Args:
            video: a path, which is uploaded, or a URL (``https:``, ``data:``), which is passed on.
            audio: the same.
            options: what to do; its limits on size and length are the service's own to set.
            model_id: ``lipwright/<engine>``, or the default.
            seed: for engines that draw random numbers.
            webhook_url: is called when the job has ended.
            idempotency_key: handing in the same again with the same one gives the same job; made
                when None. A file that is uploaded again is not the same: upload it once before.
            on_bytes: called with bytes sent and bytes in all of each file that is uploaded.

        Raises:
            InputError: a file cannot be read, or the service refuses what was asked for.
            AccessDenied: the key is wrong.
            TooManyRequests: too many jobs wait.
            ServiceUnavailable: the service cannot be reached.
        """
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
        return self.job(self._driver.run(flows.submit(self._service, wish)))

    def job(self, job_id: str) -> JobHandle:
        """Return the handle of a job that was handed in before."""
        self._service.job(job_id)  # complain about a wrong id at once
        return JobHandle(id=job_id, client=self)

    def upload(self, path: str | Path, *, on_bytes: OnBytes | None = None) -> UploadedFile:
        """Put a file into the service, for more than one job."""
        return self._driver.run(flows.upload(self._service, Path(path), on_bytes))

    def jobs(
        self, *, limit: int = 20, cursor: str | None = None, state: JobState | None = None
    ) -> JobPage:
        """List the jobs of this key, newest first; only those in *state* if it is given."""
        return self._driver.run(flows.page(self._service, limit=limit, cursor=cursor, state=state))

    def download(
        self, result: JobResult, path: str | Path, *, on_bytes: OnBytes | None = None
    ) -> Path:
        """Save the video of a job; an older file at *path* is replaced when the new one is whole.

        Raises:
            LipwrightError: the job did not succeed.
            OutputUnwritable: it cannot be written there.
            ServiceUnavailable: the connection broke, or the URL has expired.
        """
        path, flow = Path(path), flows.download(self._service, flows.video_of(result))
        done = 0
        with whole_file(path) as file, closing(self._driver.emitted(flow)) as pieces:
            for piece, total in pieces:
                file.write(piece)
                done += len(piece)
                if on_bytes is not None:
                    on_bytes(done, total or 0)
        return path


@dataclass(frozen=True, kw_only=True)
class JobHandle:
    """A job at the service."""

    id: str
    client: Client = field(repr=False)

    def status(self) -> JobStatus:
        """Return where it is now."""
        return self._run(flows.ask(calls.status(self.client._service, self.id)))

    def events(self) -> Iterator[JobStatus]:
        """Yield each new status until the job has ended."""
        return self.client._driver.emitted(flows.follow(self.client._service, self.id))

    def result(self, timeout_s: float | None = None) -> JobResult:
        """Wait until the job has ended and return its result.

        Args:
            timeout_s: give up after so many seconds; the job goes on.

        Raises:
            LipwrightError: the job failed; the class says why, as it would have here.
            Cancelled: the job was cancelled.
            JobNotFinished: it has not ended in time.
        """
        ended = self._run(flows.wait(self.client._service, self.id, timeout_s))
        return ended.raise_for_state()

    def cancel(self) -> bool:
        """Cancel it if it still waits; return whether it is cancelled now."""
        return self._run(flows.ask(calls.cancel(self.client._service, self.id)))

    def erase(self) -> None:
        """Forget it and its files.

        Raises:
            JobNotFinished: it is running.
        """
        self._run(flows.ask(calls.erase(self.client._service, self.id)))

    def _run(self, flow: Flow[T]) -> T:
        return self.client._driver.run(flow)


class _Driver:
    """Carries out the effects of a flow with httpx."""

    def __init__(self, service: Service, http: httpx.Client) -> None:
        self._service, self._http = service, http

    def close(self) -> None:
        self._http.close()

    def run(self, flow: Flow[T]) -> T:
        """Carry a flow out to its end and return what it returns."""
        emitted = self.emitted(flow)
        while True:
            try:
                next(emitted)
            except StopIteration as end:
                value: T = end.value
                return value

    def emitted(self, flow: Flow[T]) -> Generator[Any, None, T]:
        """Carry a flow out; yield what it emits."""
        with ExitStack() as stack, closing(flow):
            step = _Step(self._service, self._http, stack)
            reply: Any = None
            failure: LipwrightError | None = None
            while True:
                try:
                    effect = flow.throw(failure) if failure else flow.send(reply)
                except StopIteration as end:
                    value: T = end.value
                    return value
                reply = failure = None
                if isinstance(effect, Emit):
                    yield effect.value
                    continue
                try:
                    reply = step(effect)
                except LipwrightError as error:
                    failure = error


class _Step:
    """Carries out one effect after the other; keeps the response that is being read."""

    def __init__(self, service: Service, http: httpx.Client, stack: ExitStack) -> None:
        self._service, self._http, self._stack = service, http, stack
        self._pieces: Iterator[bytes] = iter(())

    def __call__(self, effect: Effect) -> Any:
        with told_as_ours(self._service):
            match effect:
                case Send(request=request):
                    return self._send(request)
                case Open(request=request):
                    return self._open(request)
                case Read():
                    return next(self._pieces, None)
                case Sleep(seconds=seconds):
                    return time.sleep(seconds)
                case Now():
                    return time.monotonic()
        raise TypeError(f"no effect: {effect!r}")

    def _send(self, request: Request) -> Answer:
        body = bytearray()
        with self._http.stream(request.method, request.url, **_sent(request)) as response:
            for piece in response.iter_bytes():
                body += piece
                check_size(len(body))
        return answer_of(response, bytes(body))

    def _open(self, request: Request) -> Answer:
        self._stack.close()  # one stream at a time
        response = self._stack.enter_context(
            self._http.stream(request.method, request.url, **_sent(request))
        )
        self._pieces = response.iter_bytes()
        return answer_of(response)


def _sent(request: Request) -> Mapping[str, Any]:
    if isinstance(request.body, FileBody):
        headers = {**request.headers, "Content-Length": str(request.body.length)}
        return {"headers": headers, "content": request.body.pieces()}
    return {"headers": dict(request.headers), "content": request.body}
