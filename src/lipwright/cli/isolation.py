"""Run commands that decode files in a child process, whose crash becomes an error.

FFmpeg, OpenCV and the tensor runtimes are native code: a file that makes one of them crash ends the
process without a word. The child is the same command; it inherits the terminal, the standard
streams and the exit code. It ends when this process does, kill -9 included.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from lipwright.errors import Crashed

COMMANDS = frozenset({"sync", "probe", "demo", "sample"})  # that decode files
CHILD = "LIPWRIGHT_PARENT_PIPE"  # names the pipe from the parent, in the environment of the child
SWITCH = "LIPWRIGHT_ISOLATE"  # 0 runs commands in this process, for a debugger
FORWARDED = ("SIGINT", "SIGTERM", "SIGHUP")
OUTPUT_OPTIONS = ("-o", "--output")
CAUSES = {
    "SIGKILL": "it was killed, perhaps for lack of memory: free memory, or use smaller inputs",
    "SIGXCPU": "it took too much processor time",
}
CRASH = (
    "a native library failed on one of the inputs: re-encode them with another program, and please "
    "report the file"
)


def is_isolated(arguments: Sequence[str]) -> bool:
    """Return whether a command runs in a child process."""
    if os.name != "posix" or CHILD in os.environ or os.environ.get(SWITCH) == "0":
        return False
    return next((word for word in arguments if not word.startswith("-")), "") in COMMANDS


def run_isolated(arguments: Sequence[str], command: Sequence[str] = ()) -> int:
    """Run a command in a child process and return its exit code.

    Args:
        arguments: after ``lipwright``.
        command: of the child, without them; empty: this Python and package.

    Raises:
        Crashed: the child was ended by a signal that nobody sent to this process.
    """
    reader, writer = os.pipe()
    received: list[int] = []
    words = [*(command or (sys.executable, "-m", "lipwright")), *arguments]
    try:
        # In a process group of its own: Ctrl-C in a terminal reaches this process; it sends it on.
        child = subprocess.Popen(
            words, pass_fds=(reader,), env={**os.environ, CHILD: str(reader)}, process_group=0
        )
        with _forwarded_signals(child, received):
            status = child.wait()
    finally:
        os.close(reader)
        os.close(writer)
    if status >= 0:
        return status
    if -status in received:
        return 128 - status
    _remove_partial_output(arguments)
    name = signal.Signals(-status).name
    raise Crashed(f"the command crashed ({name}): {CAUSES.get(name, CRASH)}")


def watch_parent() -> None:
    """In a child process: end as if stopped when the parent is gone."""
    descriptor = os.environ.get(CHILD)
    if descriptor is None:
        return

    def listen() -> None:
        with contextlib.suppress(OSError), open(int(descriptor), "rb", buffering=0) as pipe:
            pipe.read()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=listen, name="parent-watch", daemon=True).start()


@contextlib.contextmanager
def _forwarded_signals(child: subprocess.Popen[bytes], received: list[int]) -> Iterator[None]:
    """Send signals on to the child."""

    def forward(number: int, _frame: object) -> None:
        received.append(number)
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(number)

    numbers = [signal.Signals[name] for name in FORWARDED]
    before = {
        number: signal.signal(number, forward)
        for number in numbers
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def _remove_partial_output(arguments: Sequence[str]) -> None:
    """Remove what a crashed command has written of its output."""
    from lipwright.media.encode.mux import partial_outputs

    for option, value in pairwise(arguments):
        if option in OUTPUT_OPTIONS:
            for path in partial_outputs(Path(value)):
                with contextlib.suppress(OSError):
                    path.unlink()
