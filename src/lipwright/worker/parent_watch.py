"""The pipe that ties a process to the one that started it."""

from __future__ import annotations

import threading
from collections.abc import Callable


def watch_parent(take: Callable[[bytes], None], end: Callable[[], None]) -> threading.Thread:
    """Give each line of stdin to *take*, and call *end* when whoever holds the pipe is gone.

    The operating system closes the pipe however its holder ends, kill -9 included. That is surer
    than a parent-death signal, which is tied to the thread that started this process.
    """

    def listen() -> None:
        with open(0, "rb", closefd=False) as stdin:
            for line in stdin:
                take(line)
        end()

    thread = threading.Thread(target=listen, name="lifeline", daemon=True)
    thread.start()
    return thread
