"""Carries out one job at a time: claim, fetch, render, publish, finish.

All of it is one step of the queue. When the process dies in the middle, the whole step runs again,
under a new claim; whatever the older claim still tries to write is refused by the ledger.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, Self, TypeVar

from lipwright.errors import (
    Cancelled,
    InvalidOptions,
    JobNotFound,
    JobTimedOut,
    LipwrightError,
    PublishFailed,
    QueueUnavailable,
    SourceUnreachable,
    WorkerDied,
)
from lipwright.jobs.model import Failure, Job, Ledger, Stage, Uploads
from lipwright.progress import CancelToken, OnProgress
from lipwright.storage.base import Storage
from lipwright.worker.heartbeat import RENDER, Meter, Pulse, Reason
from lipwright.worker.renderer import Order

if TYPE_CHECKING:
    from lipwright.settings import Settings

#: Of the work, what the render child makes SyncOptions of.
OPTIONS = frozenset(
    {"mode", "speaker", "speaker_frame", "allow_no_face", "intensity", "restore", "size", "crf"}
)
SOURCES = {"video": "the video", "audio": "the audio"}  # how messages call them
IGNORED = frozenset({"seed"})  # nothing here is random
LONGEST_PAUSE = 3600.0  # seconds before a retry
PATIENCE = (0.1, 5.0)  # seconds between tries of the ledger: the first pause, the longest

Result = TypeVar("Result")
#: Fetches a URL into a new file in a folder.
Fetch = Callable[[str, Path, CancelToken], Path]

_log = logging.getLogger(__name__)


class Renders(Protocol):
    """What renders an order; see `lipwright.worker.renderer.Renderer`."""

    def warm(self) -> None:
        """Get ready for the next order."""

    def render(
        self, order: Order, *, on_progress: OnProgress | None, cancel: CancelToken | None
    ) -> dict[str, Any]:
        """Carry out an order and return the facts of the result."""
        ...

    def kill(self) -> None:
        """End what is being rendered at once."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How long a job may take, and what happens when it does not work."""

    max_attempts: int = 3  #: after the first
    retry_seconds: float = 10.0  #: doubles with each attempt
    timeout_seconds: float = 7200.0
    heartbeat_seconds: float = 1.0
    max_pixels: int = 4096 * 2304
    max_seconds: float = 3600.0

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the policy of a deployment."""
        return cls(
            max_attempts=settings.max_attempts,
            retry_seconds=settings.retry_seconds,
            timeout_seconds=settings.job_timeout_seconds,
            heartbeat_seconds=settings.heartbeat_seconds,
            max_pixels=settings.max_pixels,
            max_seconds=settings.max_seconds,
        )

    def pause_after(self, error: LipwrightError, attempt: int) -> float | None:
        """Return how many seconds to wait before another attempt, None for no other.

        Args:
            error: what ended this one.
            attempt: its number, from 1.
        """
        passing = error.retryable or isinstance(error, WorkerDied)
        if not passing or attempt > self.max_attempts:
            return None
        return float(min(self.retry_seconds * 2 ** (attempt - 1), LONGEST_PAUSE))


class Worker:
    """Carries out jobs in one slot."""

    def __init__(
        self,
        *,
        name: str,
        ledger: Ledger,
        uploads: Uploads,
        storage: Storage,
        renderer: Renders,
        fetch: Fetch,
        policy: Policy,
        folder: Path,
    ) -> None:
        """Prepare to work.

        Args:
            name: who claims.
            ledger: where jobs are.
            uploads: what ``file:ID`` means.
            storage: where uploads are and results go.
            renderer: renders.
            fetch: gets URLs.
            policy: limits.
            folder: for files while a job runs; on the storage's file system results are moved.
        """
        self._name, self._ledger, self._uploads = name, ledger, uploads
        self._storage, self._renderer, self._fetch = storage, renderer, fetch
        self._policy, self._folder = policy, folder
        self._stopping = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._pulse: Pulse | None = None

    def stop(self) -> None:
        """End the running job at once; it goes back to the queue."""
        self._stopping.set()
        if pulse := self._pulse:
            pulse.end(Reason.STOPPED)

    def wait_idle(self, seconds: float | None = None) -> bool:
        """Wait until no job runs; return whether that is so."""
        return self._idle.wait(seconds)

    def carry_out(self, job_id: str) -> None:
        """Do one job, whatever becomes of it; nothing when it is not there to be done."""
        self._idle.clear()
        try:
            job = self._patiently(lambda: self._ledger.claim(job_id, self._name))
            if job is None:
                _log.info("job not there to be done", extra={"request_id": job_id})
            elif job.attempts > self._policy.max_attempts + 1:
                died = WorkerDied(f"its worker died {job.attempts - 1} times; the log says more")
                self._finish(job, None, _failure(died))
            else:
                self._attempt(job)
        finally:
            self._idle.set()

    def _attempt(self, job: Job) -> None:
        _note(job, "started", attempt=job.attempts)
        pulse = Pulse(
            lambda stage: self._ledger.beat(job.id, job.epoch, stage),
            every=self._policy.heartbeat_seconds,
            timeout=self._policy.timeout_seconds,
            on_end=self._renderer.kill,
        )
        try:
            with self._running(pulse), self._workspace(job) as folder:
                output = self._produce(job, folder, pulse)
        except LipwrightError as error:
            self._end_badly(job, pulse.reason, error)
        except Exception as error:
            _log.exception("job broke", extra={"request_id": job.id})
            self._finish(job, None, _failure(_unforeseen(error)))
        else:
            self._finish(job, output, None)
        if not self._stopping.is_set():
            self._renderer.warm()

    @contextmanager
    def _running(self, pulse: Pulse) -> Iterator[None]:
        """Beat, and let `stop` reach the job."""
        with pulse:
            self._pulse = pulse
            try:
                if self._stopping.is_set():
                    pulse.end(Reason.STOPPED)
                yield
            finally:
                self._pulse = None

    @contextmanager
    def _workspace(self, job: Job) -> Iterator[Path]:
        folder = self._folder / f"{job.id}.{job.epoch}"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as cause:
            raise PublishFailed(f"there is no room to work: {cause.strerror}") from cause
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    # -- one attempt ------------------------------------------------------------------------------
    def _produce(self, job: Job, folder: Path, pulse: Pulse) -> dict[str, Any]:
        """Fetch, render and publish; return what the ledger keeps of it."""
        pulse.show(Stage(stage="fetch"))
        began = time.monotonic()
        sources = self._sources(job, folder, pulse)
        fetched = time.monotonic()
        facts = self._render(job, folder, sources, pulse)
        pulse.show(Stage(stage="publish", fraction=RENDER[1]))
        # The last look before the outside world changes: an older claim must not publish.
        self._patiently(pulse.confirm)
        rendered = time.monotonic()
        names = self._publish(job, folder)
        spent = {"fetch": fetched - began, "publish": time.monotonic() - rendered}
        timings = {**facts["timings"], **{stage: round(s, 3) for stage, s in spent.items()}}
        return {**facts, **names, "timings": timings}

    def _sources(self, job: Job, folder: Path, pulse: Pulse) -> dict[str, Path]:
        found = {}
        for name in SOURCES:
            found[name] = self._source(job, name, folder, pulse.token)
            pulse.check()
        return found

    def _source(self, job: Job, name: str, folder: Path, cancel: CancelToken) -> Path:
        url = str(job.ticket.work[name])
        if not url.startswith("file:"):
            return self._fetch(url, folder, cancel)
        upload = self._uploads.get(url.removeprefix("file:"), job.ticket.key_id)
        try:
            return self._storage.local(f"uploads/{upload.id}", folder)
        except FileNotFoundError as cause:
            raise SourceUnreachable(
                f"{SOURCES[name]}: the uploaded file is gone; upload it again"
            ) from cause

    def _render(
        self, job: Job, folder: Path, sources: Mapping[str, Path], pulse: Pulse
    ) -> dict[str, Any]:
        order = Order(
            video=str(sources["video"]),
            audio=str(sources["audio"]),
            out=str(folder / "dub.mp4"),
            poster=str(folder / "poster.jpg"),
            engine=job.ticket.engine,
            options=self._options(job.ticket.work),
        )
        meter = Meter()
        try:
            return self._renderer.render(
                order,
                on_progress=lambda progress: pulse.show(meter.stage(progress)),
                cancel=pulse.token,
            )
        except LipwrightError as error:
            told = told_without(str(error), {str(sources[name]): SOURCES[name] for name in SOURCES})
            raise type(error)(told_without(told, {order.out: "the result"})) from error

    def _options(self, work: Mapping[str, Any]) -> dict[str, Any]:
        unknown = sorted(set(work) - OPTIONS - IGNORED - set(SOURCES))
        if unknown:
            raise InvalidOptions(f"the job asks for {', '.join(unknown)}: this worker cannot do it")
        wished = {name: work[name] for name in OPTIONS if work.get(name) is not None}
        limits = {"max_pixels": self._policy.max_pixels, "max_seconds": self._policy.max_seconds}
        return {**wished, **limits}

    def _publish(self, job: Job, folder: Path) -> dict[str, str]:
        names = {"video": f"jobs/{job.id}/video.mp4", "image": f"jobs/{job.id}/image.jpg"}
        self._storage.put(names["image"], folder / "poster.jpg", content_type="image/jpeg")
        self._storage.put(names["video"], folder / "dub.mp4", content_type="video/mp4")
        return names

    # -- how it ends ------------------------------------------------------------------------------
    def _end_badly(self, job: Job, reason: Reason | None, error: LipwrightError) -> None:
        match reason:
            case Reason.LOST:
                _note(job, "lost to another worker")
            case Reason.STOPPED:
                self._spare(job)
            case Reason.TIMED_OUT:
                limit = self._policy.timeout_seconds
                late = JobTimedOut(f"it took longer than {limit:g} seconds; shorten the input")
                self._finish(job, None, _failure(late))
            case None:
                self._give_up_or_retry(job, error)

    def _give_up_or_retry(self, job: Job, error: LipwrightError) -> None:
        pause = self._policy.pause_after(error, job.attempts)
        if pause is None:
            self._finish(job, None, _failure(error))
        else:
            self._retry(job, _failure(error), pause)

    def _finish(self, job: Job, output: dict[str, Any] | None, failure: Failure | None) -> None:
        ours = self._patiently(
            lambda: self._ledger.finish(job.id, job.epoch, output=output, failure=failure)
        )
        _note(job, "ended" if ours else "lost", code=failure.code if failure else None)
        if not ours and output is not None and self._gone(job.id):
            self._storage.delete(f"jobs/{job.id}/")

    def _retry(self, job: Job, failure: Failure, pause: float) -> None:
        self._patiently(lambda: self._ledger.retry(job.id, job.epoch, failure, pause))
        _note(job, "goes back to the queue", code=failure.code, pause=pause)

    def _spare(self, job: Job) -> None:
        """Give a job back: that this worker ends is no fault of the job."""
        stopped = Failure(code=Cancelled.code, message="the worker was stopped")
        self._patiently(lambda: self._ledger.retry(job.id, job.epoch, stopped, 0, spared=True))
        _note(job, "given back")

    def _gone(self, job_id: str) -> bool:
        try:
            self._patiently(lambda: self._ledger.get(job_id))
        except JobNotFound:
            return True
        return False

    def _patiently(self, act: Callable[[], Result]) -> Result:
        """Do something in the ledger, again and again while it is locked or away.

        Raises:
            QueueUnavailable: it is, and this worker is to end.
        """
        pause, longest = PATIENCE
        while True:
            try:
                return act()
            except QueueUnavailable as error:
                if self._stopping.is_set():
                    raise
                _log.warning("the ledger is away: %s", error)
                self._stopping.wait(pause)
                pause = min(2 * pause, longest)


def told_without(message: str, names: Mapping[str, str]) -> str:
    """Return a message with the paths in it replaced by what the caller knows them as."""
    for path in sorted(names, key=len, reverse=True):  # one may begin like another
        name = names[path]
        message = message.replace(path, name).replace(Path(path).name, name)
    return message


def _failure(error: LipwrightError) -> Failure:
    return Failure(code=error.code, message=str(error))


def _unforeseen(error: Exception) -> LipwrightError:
    return LipwrightError(f"unexpected {type(error).__name__}; the service's log says more")


def _note(job: Job, what: str, **facts: Any) -> None:
    extra = {
        "request_id": job.id,
        **{name: fact for name, fact in facts.items() if fact is not None},
    }
    _log.info("job %s", what, extra=extra)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Work in a slot until told to end, then end the process."""
    from lipwright.worker.main import leave, run

    parser = argparse.ArgumentParser(prog="lipwright.worker.run", description=__doc__)
    parser.add_argument("--slot", type=int, required=True, help="number of the slot, from 0")
    parser.add_argument(
        "--held",
        action="store_true",
        help="the first line of stdin holds the settings, as JSON; end when stdin does",
    )
    given = parser.parse_args(arguments)
    leave(run(given.slot, held=given.held))


if __name__ == "__main__":
    main()
