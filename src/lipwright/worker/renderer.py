"""Renders in a child process, which can be killed and keeps its models loaded.

The child (``python -m lipwright.worker.render_process``) reads one `RenderTask` per line from stdin
and replies with JSON lines: ``{"progress": …}`` repeatedly, then ``{"result": …}`` or
``{"error": …}``. It exits when its stdin ends, so it never outlives its worker.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

from lipwright.errors import BY_CODE, LipwrightError, WorkerDied
from lipwright.progress import CancelToken, OnProgress, Progress
from lipwright.runtime.device import Device
from lipwright.worker.render_task import RenderTask

COMMAND = (
    sys.executable,
    "-P",
    "-m",
    "lipwright.worker.render_process",
)  # -P: nothing from this folder
GRACE_SECONDS = 5.0  # for the child to exit after its stdin was closed

_log = logging.getLogger(__name__)


def threads_per_slot(threads: int, slots: int, cores: int) -> int:
    """Return the number of threads of a slot; with *threads* 0 the cores are shared evenly."""
    return threads or max(1, cores // slots)


def slot_cores(slot: int, threads: int, available: Sequence[int]) -> list[int]:
    """Return the cores of a slot: *threads* neighbouring ones, wrapping around at the end."""
    first = slot * threads
    cores = [available[(first + k) % len(available)] for k in range(threads)]
    return sorted(set(cores))


def error_from_code(code: str, message: str) -> LipwrightError:
    """Return the error with a code and a message that the child reported."""
    return BY_CODE.get(code, LipwrightError)(message)


class Renderer:
    """Keeps one child process alive and sends it one task at a time."""

    def __init__(
        self,
        *,
        threads: int,
        cores: Sequence[int] = (),
        device: str = Device.CPU,
        command: Sequence[str] = COMMAND,
    ) -> None:
        limits = f"--threads={threads}", f"--cores={','.join(map(str, cores))}"
        self._command = (*command, *limits, f"--device={device}")
        self._threads = threads
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The process id of the child, None if it is not running."""
        with self._lock:
            child = self._child
        return child.pid if child is not None and child.poll() is None else None

    def warm_up(self) -> None:
        """Start a child if none runs, so that the next task need not wait for its imports."""
        self._running_child()

    def render(
        self,
        task: RenderTask,
        *,
        on_progress: OnProgress | None = None,
        cancel: CancelToken | None = None,
    ) -> dict[str, Any]:
        """Render a task and return the summary of the result.

        Args:
            task: what to render.
            on_progress: called for each progress message.
            cancel: cancelled *before* `kill` is called, so that no new child is started.

        Raises:
            Cancelled: *cancel* was cancelled before the task was sent.
            WorkerDied: the child died.
            LipwrightError: the child reported this error.
        """
        child = self._running_child()
        if cancel is not None:
            cancel.raise_if_cancelled()
        try:
            _send(child, task)
            for message in _messages(child):
                match message:
                    case {"progress": dict(values)} if on_progress is not None:
                        on_progress(Progress(**values))
                    case {"result": dict(summary)}:
                        return summary
                    case {"error": {"code": str(code), "message": str(text)}, **rest}:
                        if rest.get("exiting"):
                            self.close()  # it accepts no other task
                        raise error_from_code(code, text)
        except BrokenPipeError:
            _log.debug("the render process %d accepts no tasks any more", child.pid)
        raise WorkerDied(f"the render process {_wait_for_exit(child)} during the job")

    def kill(self) -> None:
        """Kill the child at once; may be called from any thread."""
        with self._lock:
            child = self._child
        if child is not None:
            child.kill()

    def close(self) -> None:
        """End the child; kill it if it does not exit by itself. Calling it twice is allowed."""
        with self._lock:
            child, self._child = self._child, None
        if child is not None:
            _close(child)

    def _running_child(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._child is not None and self._child.poll() is None:
                return self._child
            if self._child is not None:
                _close(self._child)
            self._child = _start(self._command, self._threads)
            return self._child


def _start(command: Sequence[str], threads: int) -> subprocess.Popen[bytes]:
    # In its own session: Ctrl-C in a terminal then reaches only the supervisor, which decides.
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **_thread_limits(threads)},
        start_new_session=True,
    )
    _log.info("render process %d started", child.pid, extra={"action": "child_started"})
    return child


def _thread_limits(threads: int) -> dict[str, str]:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return dict.fromkeys(names, str(threads))


def _send(child: subprocess.Popen[bytes], task: RenderTask) -> None:
    assert child.stdin is not None
    child.stdin.write(json.dumps(task.to_json()).encode() + b"\n")
    child.stdin.flush()


def _messages(child: subprocess.Popen[bytes]) -> Iterator[Mapping[str, Any]]:
    """Yield the messages of the child until it ends; an incomplete last line is dropped."""
    assert child.stdout is not None
    for line in child.stdout:
        if line.endswith(b"\n"):
            yield json.loads(line)


def _wait_for_exit(child: subprocess.Popen[bytes]) -> str:
    """Wait for a child that closed its stdout, kill it if need be, and describe how it ended."""
    try:
        code = child.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        code = child.wait()
    return f"was killed by signal {-code}" if code < 0 else f"exited with status {code}"


def _close(child: subprocess.Popen[bytes]) -> None:
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.close()
    except BrokenPipeError:
        _log.debug("the render process %d had already ended", child.pid)
    _wait_for_exit(child)
    child.stdout.close()
