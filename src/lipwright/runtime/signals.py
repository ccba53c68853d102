"""Hears signals at once, however many come together and whichever thread they reach."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager


@contextmanager
def handle_signals(numbers: Iterable[int], tell: Callable[[int], None]) -> Iterator[None]:
    """Call *tell* with the number of each signal that comes, from a thread of its own.

    Python runs handlers in the main thread only; while that waits for a lock, a signal that the
    system hands to another thread is not noticed until the main thread wakes for another reason.
    Of two signals sent together that happened to every third pair. So the number is taken from a
    pipe that the interpreter writes to at once. Only for the main thread.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = {number: signal.signal(number, _nothing) for number in numbers}
    wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def listen() -> None:
        with open(reader, "rb", buffering=0) as pipe:
            while told := pipe.read(1):
                if told[0] in before:
                    tell(told[0])

    thread = threading.Thread(target=listen, name="signals", daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        os.close(writer)
        thread.join()


def _nothing(_number: int, _frame: object) -> None:
    """Keep the system from ending the process; the pipe tells."""
