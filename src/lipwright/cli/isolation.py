"""Run commands that decode files in a child process, whose crash becomes an error.

FFmpeg, OpenCV and the tensor runtimes are native code: a file that makes one of them crash ends the
process without a word. The child is the same command; it inherits the terminal, the standard
streams and the exit code. It ends when this process does, kill -9 included.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from types import FrameType

from lipwright import environment
from lipwright.cli.console import Stopped
from lipwright.errors import Crashed

COMMANDS = frozenset({"sync", "probe", "demo", "sample"})  # that decode files
CHILD = environment.PARENT_PIPE
SWITCH = "LIPWRIGHT_ISOLATE"  # 0 runs commands in this process, for a debugger
FORWARDED = ("SIGINT", "SIGTERM", "SIGHUP")
OUTPUT = re.compile(r"(?:-q*o|--output=?)(.*)")  # -o FILE, -oFILE, -qo FILE, --output=FILE
CAUSES = {
    "SIGKILL": "it was killed, perhaps for lack of memory: free memory, or use smaller inputs",
    "SIGXCPU": "it took too much processor time",
}
CRASH = (
    "a native library failed on {}: re-encode it with another program, and please report the file"
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
        Stopped: a signal that was sent to this process ended the child.
        Crashed: another signal did.
    """
    reader, writer = os.pipe()
    words = [*(command or _own_command()), *arguments]
    signals = _Signals()
    try:
        with signals.taken_over():
            # In a process group of its own: Ctrl-C in a terminal reaches this process only.
            with _signals_blocked():
                child = subprocess.Popen(
                    words,
                    pass_fds=(reader,),
                    env={**os.environ, CHILD: str(reader)},
                    process_group=0,
                )
            signals.forward_to(child)
            status = child.wait()
    finally:
        os.close(reader)
        os.close(writer)
    if status >= 0:
        return status
    _remove_leftovers(arguments, child.pid)
    if -status in signals.received:
        raise Stopped(-status)
    name = signal.Signals(-status).name
    inputs = " or ".join(word for word in arguments if Path(word).is_file()) or "one of the inputs"
    raise Crashed(f"the command crashed ({name}): {CAUSES.get(name, CRASH.format(inputs))}")


def watch_parent() -> None:
    """In a child process: end as if stopped when the parent is gone."""
    descriptor = os.environ.pop(CHILD, None)  # not for the children of this process
    if descriptor is None:
        return

    def listen() -> None:
        with contextlib.suppress(OSError), open(int(descriptor), "rb", buffering=0) as pipe:
            pipe.read()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=listen, name="parent-watch", daemon=True).start()


def _own_command() -> list[str]:
    """Return the command of this program without its arguments.

    Only ``python -m`` imports from the current folder, where a user may keep files of any name.
    """
    started_by_m = Path(sys.argv[0]).name == "__main__.py"
    return [sys.executable, *([] if started_by_m else ["-P"]), "-m", "lipwright"]


class _Signals:
    """Sends signals on to a child, also those that come before it has started."""

    def __init__(self) -> None:
        self.received: list[int] = []  #: numbers
        self._child: subprocess.Popen[bytes] | None = None

    def forward_to(self, child: subprocess.Popen[bytes]) -> None:
        """Send the signals received so far, and all later ones, to *child*."""
        self._child = child
        for number in self.received:
            self._send(number)

    @contextlib.contextmanager
    def taken_over(self) -> Iterator[None]:
        """Handle the signals of this process during the block."""
        handlers: dict[int, Callable[[int, FrameType | None], None]] = {
            **{signal.Signals[name]: self._forward for name in FORWARDED},
            signal.SIGTSTP: self._suspend,
        }
        before = {
            number: signal.signal(number, handler)
            for number, handler in handlers.items()
            if signal.getsignal(number) is not signal.SIG_IGN
        }
        try:
            yield
        finally:
            for number, previous in before.items():
                signal.signal(number, previous if previous is not None else signal.SIG_DFL)

    def _forward(self, number: int, _frame: FrameType | None) -> None:
        self.received.append(number)
        self._send(number)

    def _suspend(self, _number: int, _frame: FrameType | None) -> None:
        """Stop the child and this process; both go on when the shell continues this one."""
        self._send(signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)
        self._send(signal.SIGCONT)

    def _send(self, number: int) -> None:
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                self._child.send_signal(number)


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
    """Block signals during the block, and in the child that it starts.

    The child unblocks SIGINT when it can end without a traceback. The others would stop it, as a
    background process that uses the terminal.
    """
    numbers = {signal.SIGINT, signal.SIGTTOU, signal.SIGTTIN}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _remove_leftovers(arguments: Sequence[str], pid: int) -> None:
    """Remove what a crashed command has written of its output, and the inputs that it saved."""
    from lipwright.media.encode.mux import partial_outputs
    from lipwright.pipeline.inputs import remove_saved_inputs

    remove_saved_inputs(pid)
    for option, value in pairwise([*arguments, ""]):
        if match := OUTPUT.fullmatch(option):
            for path in partial_outputs(Path(match[1] or value)):
                with contextlib.suppress(OSError):
                    path.unlink()
