"""Runs one job at a time: claim, fetch, render, publish, finish.

All of it is one step of the queue. If the process dies, the whole step runs again under a new
claim, and the ledger refuses updates from the older claim.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from lipwright.errors import (
    Cancelled,
    JobNotFound,
    JobTimedOut,
    LipwrightError,
    QueueUnavailable,
    SourceUnreachable,
    WorkerDied,
)
from lipwright.jobs.ledger.base import Ledger, Uploads
from lipwright.jobs.ledger.rules import UPLOAD_SCHEME
from lipwright.jobs.model import Failure, Job, JobProgress
from lipwright.jobs.payload import JobPayload
from lipwright.jobs.sweeper import job_prefix, upload_blob_name
from lipwright.options import MAX_PIXELS, MAX_SECONDS, SyncOptions
from lipwright.progress import CancelToken, OnProgress
from lipwright.storage.base import Storage
from lipwright.storage.errors import storage_error
from lipwright.worker.heartbeat import RENDER_RANGE, AbortReason, Heartbeat, ProgressMeter
from lipwright.worker.render_task import RenderTask

if TYPE_CHECKING:
    from lipwright.settings import Settings

SOURCES = {"video": "the video", "audio": "the audio"}  # their names in error messages
MAX_RETRY_SECONDS = 3600.0  # delay before another attempt at a job
LEDGER_RETRY_SECONDS = (0.1, 5.0)  # first and longest delay between calls of the ledger

Result = TypeVar("Result")
#: Downloads a URL to a new file in a folder.
Fetch = Callable[[str, Path, CancelToken], Path]

_log = logging.getLogger(__name__)


class RendersTasks(Protocol):
    """Renders tasks; see `lipwright.worker.renderer.Renderer`."""

    def warm_up(self) -> None:
        """Prepare for the next task."""

    def render(
        self, task: RenderTask, *, on_progress: OnProgress | None, cancel: CancelToken | None
    ) -> dict[str, Any]:
        """Render a task and return the summary of the result."""
        ...

    def kill(self) -> None:
        """Abort the current task at once."""


@dataclass(frozen=True, kw_only=True)
class JobPolicy:
    """Time limits, retries and input limits of jobs."""

    max_attempts: int = 3  #: retries after the first attempt
    retry_seconds: float = 10.0  #: doubles with each attempt
    timeout_seconds: float = 7200.0
    heartbeat_seconds: float = 1.0
    max_pixels: int = MAX_PIXELS
    max_seconds: float = MAX_SECONDS

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return the policy of a deployment."""
        return cls(
            max_attempts=settings.max_attempts,
            retry_seconds=settings.retry_seconds,
            timeout_seconds=settings.job_timeout_seconds,
            heartbeat_seconds=settings.heartbeat_seconds,
            max_pixels=settings.max_pixels,
            max_seconds=settings.max_seconds,
        )

    def retry_delay(self, error: LipwrightError, attempt: int) -> float | None:
        """Return the delay in seconds before another attempt, None for no further attempt.

        Args:
            error: what ended this attempt.
            attempt: number of this attempt, from 1.
        """
        retryable = error.retryable or isinstance(error, WorkerDied)
        if not retryable or attempt > self.max_attempts:
            return None
        return float(min(self.retry_seconds * 2 ** (attempt - 1), MAX_RETRY_SECONDS))


class JobRunner:
    """Runs the jobs of one slot, one at a time."""

    def __init__(
        self,
        *,
        name: str,
        ledger: Ledger,
        uploads: Uploads,
        storage: Storage,
        renderer: RendersTasks,
        fetch: Fetch,
        policy: JobPolicy,
        workspace: Path,
    ) -> None:
        """Create a runner.

        Args:
            name: the worker name in claims.
            ledger: the jobs.
            uploads: resolves ``file:ID`` sources.
            storage: holds the uploads and receives the results.
            renderer: renders the tasks.
            fetch: downloads URLs.
            policy: limits and retries.
            workspace: folder for files of the running job. On the file system of the storage,
                results are moved instead of copied.
        """
        self._name, self._ledger, self._uploads = name, ledger, uploads
        self._storage, self._renderer, self._fetch = storage, renderer, fetch
        self._policy, self._workspace = policy, workspace
        self._stopping = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._heartbeat: Heartbeat | None = None

    def stop(self) -> None:
        """Abort the running job; it goes back to the queue."""
        self._stopping.set()
        if heartbeat := self._heartbeat:
            heartbeat.abort(AbortReason.STOPPED)

    def wait_idle(self, seconds: float | None = None) -> bool:
        """Wait until no job runs; return False if one still runs after *seconds*."""
        return self._idle.wait(seconds)

    def run_job(self, job_id: str) -> None:
        """Run one job to its end or retry; do nothing if it cannot be claimed."""
        self._idle.clear()
        try:
            job = self._with_ledger(lambda: self._ledger.claim(job_id, self._name))
            if job is None:
                _log.info("job cannot be claimed", extra={"job_id": job_id})
            elif job.attempts > self._policy.max_attempts + 1:
                error = WorkerDied(
                    f"its worker died {job.attempts - 1} times; see the log of the service"
                )
                self._finish(job, None, _failure(error))
            else:
                self._attempt(job)
        finally:
            self._idle.set()

    def _attempt(self, job: Job) -> None:
        _log_job(job, "started", attempt=job.attempts)
        heartbeat = Heartbeat(
            lambda progress: self._ledger.heartbeat(job.id, job.epoch, progress),
            interval=self._policy.heartbeat_seconds,
            timeout=self._policy.timeout_seconds,
            on_abort=self._renderer.kill,
        )
        try:
            with self._beating(heartbeat), self._job_folder(job) as folder:
                output = self._produce(job, folder, heartbeat)
        except LipwrightError as error:
            self._handle_error(job, heartbeat.reason, error)
        except Exception as error:
            _log.exception("unexpected error in a job", extra={"job_id": job.id})
            self._finish(job, None, _failure(_unexpected_error(error)))
        else:
            self._finish(job, output, None)
        if not self._stopping.is_set():
            self._renderer.warm_up()

    @contextmanager
    def _beating(self, heartbeat: Heartbeat) -> Iterator[None]:
        """Send heartbeats, and let `stop` abort the job."""
        with heartbeat:
            self._heartbeat = heartbeat
            try:
                if self._stopping.is_set():
                    heartbeat.abort(AbortReason.STOPPED)
                yield
            finally:
                self._heartbeat = None

    @contextmanager
    def _job_folder(self, job: Job) -> Iterator[Path]:
        folder = self._workspace / f"{job.id}.{job.epoch}"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as cause:
            raise storage_error(cause, "cannot create a folder for the job") from cause
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    # -- one attempt ------------------------------------------------------------------------------
    def _produce(self, job: Job, folder: Path, heartbeat: Heartbeat) -> dict[str, Any]:
        """Fetch, render and publish; return the output to store in the ledger."""
        heartbeat.set_progress(JobProgress(stage="fetch"))
        start = time.monotonic()
        payload = JobPayload.from_json(job.spec.payload)
        sources = self._sources(payload, job, folder, heartbeat)
        fetched = time.monotonic()
        summary = self._render(payload, job, folder, sources, heartbeat)
        heartbeat.set_progress(JobProgress(stage="publish", fraction=RENDER_RANGE[1]))
        # Checked before anything is published: an older claim must not publish.
        self._with_ledger(heartbeat.confirm_claim)
        rendered = time.monotonic()
        names = self._publish(job, folder)
        seconds = {"fetch": fetched - start, "publish": time.monotonic() - rendered}
        timings = {**summary["timings"], **{stage: round(s, 3) for stage, s in seconds.items()}}
        return {**summary, **names, "timings": timings}

    def _sources(
        self, payload: JobPayload, job: Job, folder: Path, heartbeat: Heartbeat
    ) -> dict[str, Path]:
        paths = {}
        for name, url in (("video", payload.video), ("audio", payload.audio)):
            paths[name] = self._source(job, name, url, folder, heartbeat.cancel_token)
            heartbeat.raise_if_aborted()
        return paths

    def _source(self, job: Job, name: str, url: str, folder: Path, cancel: CancelToken) -> Path:
        if not url.startswith(UPLOAD_SCHEME):
            return self._fetch(url, folder, cancel)
        upload = self._uploads.get(url.removeprefix(UPLOAD_SCHEME), job.spec.key_id)
        try:
            return self._storage.local_path(upload_blob_name(upload.id), folder)
        except FileNotFoundError as cause:
            raise SourceUnreachable(
                f"{SOURCES[name]}: the uploaded file was deleted; upload it again"
            ) from cause

    def _render(
        self,
        payload: JobPayload,
        job: Job,
        folder: Path,
        sources: Mapping[str, Path],
        heartbeat: Heartbeat,
    ) -> dict[str, Any]:
        task = RenderTask(
            video=str(sources["video"]),
            audio=str(sources["audio"]),
            output=str(folder / "dub.mp4"),
            poster=str(folder / "poster.jpg"),
            engine=job.spec.engine,
            options=self._options(payload),
        )
        names = {str(sources[name]): SOURCES[name] for name in SOURCES}
        names[task.output] = "the result"
        meter = ProgressMeter()
        try:
            summary = self._renderer.render(
                task,
                on_progress=lambda progress: heartbeat.set_progress(meter.job_progress(progress)),
                cancel=heartbeat.cancel_token,
            )
        except LipwrightError as error:
            raise type(error)(replace_paths(str(error), names)) from error
        warnings = [replace_paths(text, names) for text in summary.get("warnings", ())]
        return {**summary, "warnings": warnings}

    def _options(self, payload: JobPayload) -> SyncOptions:
        return replace(
            payload.options,
            max_pixels=self._policy.max_pixels,
            max_seconds=self._policy.max_seconds,
        )

    def _publish(self, job: Job, folder: Path) -> dict[str, str]:
        prefix = job_prefix(job.id)
        names = {"video": f"{prefix}video.mp4", "image": f"{prefix}image.jpg"}
        self._storage.put(names["image"], folder / "poster.jpg", content_type="image/jpeg")
        self._storage.put(names["video"], folder / "dub.mp4", content_type="video/mp4")
        return names

    # -- end of a job -----------------------------------------------------------------------------
    def _handle_error(self, job: Job, reason: AbortReason | None, error: LipwrightError) -> None:
        match reason:
            case AbortReason.LOST:
                _log_job(job, "was claimed by another worker")
            case AbortReason.STOPPED:
                self._give_back(job)
            case AbortReason.TIMED_OUT:
                limit = self._policy.timeout_seconds
                timeout = JobTimedOut(f"it took longer than {limit:g} seconds; shorten the input")
                self._finish(job, None, _failure(timeout))
            case None:
                self._retry_or_fail(job, error)

    def _retry_or_fail(self, job: Job, error: LipwrightError) -> None:
        delay = self._policy.retry_delay(error, job.attempts)
        if delay is None:
            self._finish(job, None, _failure(error))
        else:
            self._retry(job, _failure(error), delay)

    def _finish(self, job: Job, output: dict[str, Any] | None, failure: Failure | None) -> None:
        accepted = self._with_ledger(
            lambda: self._ledger.finish(job.id, job.epoch, output=output, failure=failure)
        )
        event = "ended" if accepted else "was claimed by another worker"
        _log_job(job, event, code=failure.code if failure else None)
        if not accepted and output is not None and self._is_erased(job.id):
            self._storage.delete(job_prefix(job.id))

    def _retry(self, job: Job, failure: Failure, delay: float) -> None:
        self._with_ledger(lambda: self._ledger.retry(job.id, job.epoch, failure, delay))
        _log_job(job, "is retried", code=failure.code, delay=delay)

    def _give_back(self, job: Job) -> None:
        """Put a job back without counting the attempt, because this worker is stopping."""
        stopped = Failure(code=Cancelled.code, message="the worker was stopped")
        self._with_ledger(lambda: self._ledger.retry(job.id, job.epoch, stopped, 0, uncounted=True))
        _log_job(job, "was given back")

    def _is_erased(self, job_id: str) -> bool:
        try:
            self._with_ledger(lambda: self._ledger.get(job_id))
        except JobNotFound:
            return True
        return False

    def _with_ledger(self, call: Callable[[], Result]) -> Result:
        """Call the ledger; retry while its database is locked or unreachable.

        Raises:
            QueueUnavailable: it is unavailable, and this worker is stopping.
        """
        delay, longest = LEDGER_RETRY_SECONDS
        while True:
            try:
                return call()
            except QueueUnavailable as error:
                if self._stopping.is_set():
                    raise
                _log.warning("the ledger is unavailable: %s", error)
                self._stopping.wait(delay)
                delay = min(2 * delay, longest)


def replace_paths(message: str, names: Mapping[str, str]) -> str:
    """Replace the paths in a message by the given names, so that no path reaches the caller."""
    for path in sorted(
        names, key=len, reverse=True
    ):  # longest first: one may be a prefix of another
        name = names[path]
        message = message.replace(path, name).replace(Path(path).name, name)
    return message


def _failure(error: LipwrightError) -> Failure:
    return Failure(code=error.code, message=str(error))


def _unexpected_error(error: Exception) -> LipwrightError:
    return LipwrightError(f"unexpected {type(error).__name__}; see the log of the service")


def _log_job(job: Job, event: str, **fields: Any) -> None:
    given = {name: value for name, value in fields.items() if value is not None}
    _log.info("job %s", event, extra={"job_id": job.id, **given})
