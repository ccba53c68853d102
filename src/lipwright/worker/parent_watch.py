"""Ties a process to its parent by a pipe: it notices when the parent is gone."""

from __future__ import annotations

import threading
from collections.abc import Callable


def watch_parent(on_line: Callable[[bytes], None], on_exit: Callable[[], None]) -> threading.Thread:
    """Read stdin in a thread: call *on_line* for each line, and *on_exit* at its end.

    The operating system closes the pipe however the parent ends, kill -9 included. That is more
    reliable than a parent-death signal, which is tied to the thread that started this process.
    """

    def listen() -> None:
        with open(0, "rb", closefd=False) as stdin:
            for line in stdin:
                on_line(line)
        on_exit()

    thread = threading.Thread(target=listen, name="parent-watch", daemon=True)
    thread.start()
    return thread
