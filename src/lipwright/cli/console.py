"""Show the progress of a local job, and stop it on signals."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from types import FrameType

from lipwright.errors import Cancelled
from lipwright.progress import CancelToken, OnProgress, Progress

LINES_PER_STAGE = 10


@dataclass(frozen=True, kw_only=True)
class Speed:
    """The speed of a job."""

    fps: float  #: frames per second of the current stage; 0: not known yet
    seconds_left: float | None  #: for the whole job; None: not known yet


class SpeedMeter:
    """Derives the speed of a job from its progress.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._job_start = clock()
        self._stage = ""
        self._stage_start = self._job_start
        self._stage_done = 0

    def __call__(self, progress: Progress) -> Speed:
        """Return the current speed."""
        now = self._clock()
        if progress.stage != self._stage:
            self._stage, self._stage_start, self._stage_done = progress.stage, now, progress.done
        frames, seconds = progress.done - self._stage_done, now - self._stage_start
        spent, share = now - self._job_start, min(progress.fraction, 1.0)
        return Speed(
            fps=frames / seconds if seconds > 0 else 0.0,
            seconds_left=spent * (1 - share) / share if share > 0 and spent > 0 else None,
        )


def format_duration(seconds: float | None) -> str:
    """Return a duration as ``m:ss`` or ``h:mm:ss``; ``-:--`` if it is not known."""
    if seconds is None:
        return "-:--"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _frames_text(progress: Progress) -> str:
    return f"{progress.done}/{progress.total or '?'} frames"


class LineReporter:
    """Prints plain lines, at most ten per stage, for logs and pipes."""

    def __init__(self, write: Callable[[str], None], meter: SpeedMeter | None = None) -> None:
        self._write = write
        self._meter = meter or SpeedMeter()
        self._last = ("", -1)

    def __call__(self, progress: Progress) -> None:
        """Print a line if a tenth of the stage has passed since the last one."""
        speed = self._meter(progress)
        tenth = progress.done * LINES_PER_STAGE // progress.total if progress.total else 0
        step = (progress.stage, tenth)
        if step == self._last:
            return
        self._last = step
        self._write(
            f"{progress.stage}: {_frames_text(progress)}, {speed.fps:.0f} fps, "
            f"{progress.fraction:.0%} of the job, {format_duration(speed.seconds_left)} left"
        )


@contextmanager
def _bar() -> Iterator[OnProgress]:
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description:<6}"),
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        TextColumn("{task.fields[speed]}"),
    )
    meter = SpeedMeter()
    with Bar(*columns, console=Console(stderr=True), transient=True, expand=True) as bar:
        task = bar.add_task("start", total=1.0, speed="")

        def show(progress: Progress) -> None:
            speed = meter(progress)
            left = format_duration(speed.seconds_left)
            text = f"{_frames_text(progress)} {speed.fps:4.0f} fps {left} left"
            bar.update(task, completed=progress.fraction, description=progress.stage, speed=text)

        yield show


def show_progress(*, quiet: bool) -> AbstractContextManager[OnProgress | None]:
    """Return a context that shows progress on stderr: a bar on a terminal, plain lines elsewhere.

    Args:
        quiet: show nothing.
    """
    if quiet:
        return nullcontext()
    if sys.stderr.isatty():
        return _bar()
    return nullcontext(LineReporter(lambda line: print(line, file=sys.stderr, flush=True)))


class Stopped(Exception):
    """A signal ended the command.

    Args:
        number: of the signal.
        consequence: for the job, in the message.
    """

    def __init__(self, number: int, consequence: str = "no partial output remains") -> None:
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        super().__init__(f"stopped by {name}; {consequence}")
        self.exit_code = 128 + number  # what shells report for a process ended by this signal


@contextmanager
def cancel_on_signal() -> Iterator[CancelToken]:
    """Yield a token that the first SIGINT, SIGTERM or SIGHUP cancels; the second one interrupts.

    A job that is asked to end does so at its next frame and removes what it was writing.

    Raises:
        Stopped: a signal ended the job.
    """
    token = CancelToken()
    received: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        token.cancel()
        if len(received) > 1:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in _stop_signals()}
    try:
        yield token
    except (Cancelled, KeyboardInterrupt) as cause:
        if not received:
            raise
        raise Stopped(received[0]) from cause
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


@contextmanager
def stop_on_signal(consequence: str) -> Iterator[None]:
    """Let the first SIGINT, SIGTERM or SIGHUP end the block at once, wherever it waits.

    Args:
        consequence: for the job, in the message.

    Raises:
        Stopped: a signal came.
    """

    def stop(number: int, _frame: FrameType | None) -> None:
        raise Stopped(number, consequence)

    before = {number: signal.signal(number, stop) for number in _stop_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


def _stop_signals() -> list[signal.Signals]:
    """List the signals to take over: none off the main thread, none that are ignored (nohup)."""
    if threading.current_thread() is not threading.main_thread():
        return []
    names = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
    numbers = [signal.Signals[name] for name in names if hasattr(signal, name)]
    return [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
