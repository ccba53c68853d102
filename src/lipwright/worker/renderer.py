"""Renders in a process of its own, which can be killed, and which keeps its models warm.

The child (``python -m lipwright.worker.render_process``) reads one order a line and answers with
lines, all JSON: ``{"progress": …}`` many times, then ``{"done": …}`` or ``{"error": …}``. It ends
when its stdin does, so it never outlives its worker.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from lipwright.errors import BY_CODE, LipwrightError, WorkerDied
from lipwright.progress import CancelToken, OnProgress, Progress
from lipwright.runtime.device import Device

COMMAND = (sys.executable, "-m", "lipwright.worker.render_process")
GRACE_SECONDS = 5.0  # for a child to end by itself when its stdin was closed

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Order:
    """What the child is to render: files that are there, and files to make."""

    video: str
    audio: str
    out: str  #: the dub, an ``.mp4``
    poster: str  #: a picture of it, a ``.jpg``
    engine: str
    options: Mapping[str, Any] = field(default_factory=dict)  #: of SyncOptions, as JSON


def threads_for(wanted: int, slots: int, cores: int) -> int:
    """Return how many threads a slot gets; *wanted* 0 shares the cores evenly."""
    return wanted or max(1, cores // slots)


def cores_for(slot: int, threads: int, available: Sequence[int]) -> list[int]:
    """Return the cores of a slot: neighbours, from the first on, wrapping around."""
    first = slot * threads
    taken = [available[(first + k) % len(available)] for k in range(threads)]
    return sorted(set(taken))


def error_of(code: str, message: str) -> LipwrightError:
    """Return the error that a code and a message came from."""
    return BY_CODE.get(code, LipwrightError)(message)


class Renderer:
    """Keeps one child alive and gives it one order at a time; killed from any thread."""

    def __init__(
        self,
        *,
        threads: int,
        cores: Sequence[int] = (),
        device: str = Device.CPU,
        command: Sequence[str] = COMMAND,
    ) -> None:
        bounds = f"--threads={threads}", f"--cores={','.join(map(str, cores))}"
        self._command = (*command, *bounds, f"--device={device}")
        self._threads = threads
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The process id of the living child."""
        with self._lock:
            child = self._child
        return child.pid if child is not None and child.poll() is None else None

    def warm(self) -> None:
        """See that a child lives, so that the next order need not wait for its imports."""
        self._living()

    def render(
        self,
        order: Order,
        *,
        on_progress: OnProgress | None = None,
        cancel: CancelToken | None = None,
    ) -> dict[str, Any]:
        """Carry out an order and return the facts of the result.

        Args:
            order: what to render.
            on_progress: called for each progress line.
            cancel: set *before* `kill` is called, so that no child is started afterwards.

        Raises:
            Cancelled: *cancel* was set before the order was given.
            WorkerDied: the child died.
            LipwrightError: what the child reports.
        """
        child = self._living()
        if cancel is not None:
            cancel.raise_if_cancelled()
        try:
            _send(child, order)
            for answer in _answers(child):
                match answer:
                    case {"progress": dict(facts)} if on_progress is not None:
                        on_progress(Progress(**facts))
                    case {"done": dict(facts)}:
                        return facts
                    case {"error": {"code": str(code), "message": str(message)}, **more}:
                        if more.get("ending"):
                            self.close()  # it takes no other order
                        raise error_of(code, message)
        except BrokenPipeError:
            _log.debug("the render process %d takes no orders any more", child.pid)
        raise WorkerDied(f"the render process {_end(child)} in the middle of the job")

    def kill(self) -> None:
        """End the child at once, whatever it does."""
        with self._lock:
            child = self._child
        if child is not None:
            child.kill()

    def close(self) -> None:
        """End the child: by itself, or killed when it does not; calling it twice is fine."""
        with self._lock:
            child, self._child = self._child, None
        if child is not None:
            _close(child)

    def _living(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._child is not None and self._child.poll() is None:
                return self._child
            if self._child is not None:
                _close(self._child)
            self._child = _start(self._command, self._threads)
            return self._child


def _start(command: Sequence[str], threads: int) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C in a terminal reaches the supervisor only, which then decides.
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **_bounds(threads)},
        start_new_session=True,
    )
    _log.info("render process %d started", child.pid, extra={"action": "child_started"})
    return child


def _bounds(threads: int) -> dict[str, str]:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return dict.fromkeys(names, str(threads))


def _send(child: subprocess.Popen[bytes], order: Order) -> None:
    assert child.stdin is not None
    child.stdin.write(json.dumps(asdict(order)).encode() + b"\n")
    child.stdin.flush()


def _answers(child: subprocess.Popen[bytes]) -> Iterator[Mapping[str, Any]]:
    """Yield whole lines until the child ends; a line it died in the middle of is no answer."""
    assert child.stdout is not None
    for line in child.stdout:
        if line.endswith(b"\n"):
            yield json.loads(line)


def _end(child: subprocess.Popen[bytes]) -> str:
    """Say how a child that closes its stdout ends."""
    try:
        code = child.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        code = child.wait()
    return f"was ended by signal {-code}" if code < 0 else f"ended with status {code}"


def _close(child: subprocess.Popen[bytes]) -> None:
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.close()
    except BrokenPipeError:
        _log.debug("the render process %d had ended before", child.pid)
    _end(child)
    child.stdout.close()
