"""How a job of a service, an upload or a download looks to a person."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lipwright.cli.console import LINES_PER_STAGE, clock_text

if TYPE_CHECKING:
    from lipwright.client import JobStatus

MB = 1_000_000  # bytes


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What is shown at one moment."""

    label: str  #: one word
    text: str
    fraction: float  #: 0 to 1, how far the bar is
    step: int  #: plain lines are printed when the label or this changes


OnSight = Callable[[Sight], None]


def sight_of(status: JobStatus) -> Sight:
    """Return what is shown of a job."""
    if status.position is not None:
        text = f"{status.position} before it" if status.position else "next"
        return Sight(label=status.state, text=text, fraction=0.0, step=status.position)
    if not status.stage or status.state.final:
        fraction = 1.0 if status.state.final else status.fraction
        return Sight(label=status.state, text="", fraction=fraction, step=0)
    tenth = status.done * LINES_PER_STAGE // status.total if status.total else 0
    return Sight(label=status.stage, text=_pace_text(status), fraction=status.fraction, step=tenth)


def _pace_text(status: JobStatus) -> str:
    parts = [
        f"{status.done}/{status.total or '?'} frames" if status.done or status.total else "",
        f"{status.fps:.0f} fps" if status.fps else "",
        f"{status.fraction:.0%} of all",
        f"{clock_text(status.seconds_left)} left" if status.seconds_left is not None else "",
    ]
    return ", ".join(part for part in parts if part)


def sight_of_bytes(label: str, done: int, total: int) -> Sight:
    """Return what is shown of bytes on their way; *total* 0: not known."""
    whole = f"/{total / MB:.1f}" if total else ""
    fraction = done / total if total else 0.0
    step = int(fraction * LINES_PER_STAGE) if total else done // (10 * MB)
    return Sight(label=label, text=f"{done / MB:.1f}{whole} MB", fraction=fraction, step=step)


class Lines:
    """Print a plain line when something worth one has changed: for logs and pipes."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._last: tuple[str, int] | None = None

    def __call__(self, sight: Sight) -> None:
        """Show a moment."""
        if (sight.label, sight.step) == self._last:
            return
        self._last = (sight.label, sight.step)
        self._write(f"{sight.label}: {sight.text}" if sight.text else sight.label)


@contextmanager
def _bar() -> Iterator[OnSight]:
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
        yield lambda sight: bar.update(
            task, completed=sight.fraction, description=sight.label, text=sight.text
        )


def show_sights(*, quiet: bool) -> AbstractContextManager[OnSight]:
    """Show them on stderr: a bar on a terminal, else plain lines; nothing when *quiet*."""
    if quiet:
        return nullcontext(lambda _sight: None)
    if sys.stderr.isatty():
        return _bar()
    return nullcontext(Lines(lambda line: print(line, file=sys.stderr, flush=True)))
