"""Show the progress of a remote job, an upload or a download."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lipwright.cli.console import LINES_PER_STAGE, format_duration

if TYPE_CHECKING:
    from lipwright.client import JobStatus

BYTES_PER_MB = 1_000_000  # bytes


@dataclass(frozen=True, kw_only=True)
class ProgressView:
    """What is shown at one time."""

    label: str  #: a single word
    text: str
    fraction: float  #: 0 to 1, filled part of the bar
    step: int  #: a plain line is printed when the label or the step changes


OnView = Callable[[ProgressView], None]


def view_of_job(status: JobStatus) -> ProgressView:
    """Return what is shown of a job."""
    if status.position is not None:
        text = f"{status.position} ahead of it" if status.position else "next"
        return ProgressView(label=status.state, text=text, fraction=0.0, step=status.position)
    if not status.stage or status.state.final:
        fraction = 1.0 if status.state.final else status.fraction
        return ProgressView(label=status.state, text="", fraction=fraction, step=0)
    tenth = status.done * LINES_PER_STAGE // status.total if status.total else 0
    text = _progress_text(status)
    return ProgressView(label=status.stage, text=text, fraction=status.fraction, step=tenth)


def _progress_text(status: JobStatus) -> str:
    parts = [
        f"{status.done}/{status.total or '?'} frames" if status.done or status.total else "",
        f"{status.fps:.0f} fps" if status.fps else "",
        f"{status.fraction:.0%} of the job",
        f"{format_duration(status.seconds_left)} left" if status.seconds_left is not None else "",
    ]
    return ", ".join(part for part in parts if part)


def view_of_bytes(label: str, done: int, total: int) -> ProgressView:
    """Return what is shown of a transfer; *total* 0: not known."""
    whole = f"/{total / BYTES_PER_MB:.1f}" if total else ""
    fraction = done / total if total else 0.0
    step = int(fraction * LINES_PER_STAGE) if total else done // (10 * BYTES_PER_MB)
    text = f"{done / BYTES_PER_MB:.1f}{whole} MB"
    return ProgressView(label=label, text=text, fraction=fraction, step=step)


class LinePrinter:
    """Prints a plain line per step, for logs and pipes."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._last: tuple[str, int] | None = None

    def __call__(self, view: ProgressView) -> None:
        """Print a line if the label or the step has changed."""
        if (view.label, view.step) == self._last:
            return
        self._last = (view.label, view.step)
        self._write(f"{view.label}: {view.text}" if view.text else view.label)


@contextmanager
def _bar() -> Iterator[OnView]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    columns = (
        TextColumn("{task.description:<11}"),
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        TextColumn("{task.fields[text]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True, expand=True) as bar:
        task = bar.add_task("", total=1.0, text="")
        yield lambda view: bar.update(
            task, completed=view.fraction, description=view.label, text=view.text
        )


def show_job_progress(*, quiet: bool) -> AbstractContextManager[OnView]:
    """Show progress on stderr: a bar on a terminal, else plain lines; nothing if *quiet*."""
    if quiet:
        return nullcontext(lambda _view: None)
    if sys.stderr.isatty():
        return _bar()
    return nullcontext(LinePrinter(lambda line: print(line, file=sys.stderr, flush=True)))
