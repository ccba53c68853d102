"""Paint and encode segments of the output, each in a process of its own.

A process receives its task through stdin and writes its segment to an unnamed file. Large data
(landmarks, cached views) lies in unnamed files that all processes share. On stdout it writes a byte
per frame, so it ends when the parent dies, kill -9 included. The segments are joined without
encoding again. Their frames equal those of a single process: each process studies the face anew and
plans the path of exemplars from the first frame on.
"""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise
from threading import Thread
from types import TracebackType
from typing import Any, BinaryIO

from lipwright.errors import EncodeFailed
from lipwright.media.decode.decoder import DecodeOptions
from lipwright.media.encode.video import EncodeSpec
from lipwright.pipeline.plan import RenderPlan
from lipwright.runtime.disk_array import TempFile, temp_file_error

FRAME, STUDY, FAILED, DONE = b".", b"s", b"!", b"="  # messages of a process
POLL_SECONDS = 0.1  # between two looks at the progress of the processes


@dataclass(frozen=True, kw_only=True)
class SegmentTask:
    """The task of one process."""

    plan: RenderPlan
    spec: EncodeSpec
    start: int  #: first output frame
    stop: int  #: the one after the last
    out: int  #: descriptor of the open file of the segment
    decode_options: DecodeOptions  #: threads and device, also of the engine and the encoder


class RenderPool(AbstractContextManager["RenderPool"]):
    """The processes of a job; a context manager that kills those still running at its end."""

    def __init__(
        self,
        plan: RenderPlan,
        spec: EncodeSpec,
        boundaries: Sequence[int],
        *,
        decode_options: DecodeOptions,
    ) -> None:
        """Start a process for each segment between two boundaries.

        Args:
            plan: the whole output.
            spec: how it is encoded.
            boundaries: output frames, rising from 0 to their number.
            decode_options: threads and device of each process.

        Raises:
            OutputError: a temporary file cannot be created.
        """
        self.segments: list[BinaryIO] = []  #: files of the segments, in order
        self._processes: list[_SegmentProcess] = []
        try:
            for start, stop in pairwise(boundaries):
                self.segments.append(_unnamed_file())
                task = SegmentTask(
                    plan=plan,
                    spec=spec,
                    start=start,
                    stop=stop,
                    out=self.segments[-1].fileno(),
                    decode_options=decode_options,
                )
                self._processes.append(_SegmentProcess(task))
        except BaseException:
            self._close()
            raise

    def progress(self) -> Iterator[int]:
        """Yield the number of painted frames now and then, until all are painted.

        Raises:
            LipwrightError: the error of a process.
            EncodeFailed: a process crashed.
        """
        while True:
            running = [process for process in self._processes if process.is_running()]
            yield sum(process.frames for process in self._processes)
            if not running:
                return
            time.sleep(POLL_SECONDS)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Kill the processes and close the segments."""
        self._close()

    def _close(self) -> None:
        for process in self._processes:
            process.kill()
        for segment in self.segments:
            segment.close()


class _SegmentProcess:
    """A process that renders one segment."""

    def __init__(self, task: SegmentTask) -> None:
        data, files = pack_task(task)
        self.frames = 0
        self._last = b""
        # In a session of its own: Ctrl-C in a terminal reaches the parent only, which kills it.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "lipwright.pipeline.segment_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(task.out, *files),
            start_new_session=True,
        )
        self._reader = Thread(target=self._read, args=(data,), name="segment", daemon=True)
        self._reader.start()

    def is_running(self) -> bool:
        """Return whether the process is still rendering.

        Raises:
            LipwrightError: the error of the process.
            EncodeFailed: it crashed.
        """
        if self._reader.is_alive():
            return True
        if self._last[:1] == FAILED:
            error = pickle.loads(self._last[1:])
            assert isinstance(error, BaseException)
            raise error
        if self._last[:1] != DONE:
            raise EncodeFailed(
                f"a render process ended with status {self._process.wait()}, perhaps for lack of "
                "memory: use fewer processes"
            )
        return False

    def kill(self) -> None:
        """Kill the process and wait for its end."""
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def _read(self, data: bytes) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._process.stdin as stdin, self._process.stdout as stdout:
            try:
                stdin.write(data)
                stdin.close()
            except BrokenPipeError:
                return  # it ended at once
            while (message := stdout.read(1)) in (FRAME, STUDY):
                self.frames += message == FRAME
            self._last = message + stdout.read()


class _Packer(pickle.Pickler):
    """Pickles temporary files as their descriptors, which the process inherits."""

    def __init__(self, out: io.BytesIO) -> None:
        super().__init__(out)
        self.files: list[int] = []

    def persistent_id(self, obj: Any) -> int | None:
        """Return the descriptor of a temporary file; None for other objects."""
        if not isinstance(obj, TempFile):
            return None
        self.files.append(obj.descriptor)
        return obj.descriptor


class TaskUnpickler(pickle.Unpickler):
    """Reads what :func:`pack_task` wrote, in a process that inherited the descriptors."""

    def persistent_load(self, descriptor: int) -> TempFile:
        """Return the temporary file of an inherited descriptor."""
        return TempFile(descriptor)


def pack_task(task: SegmentTask) -> tuple[bytes, list[int]]:
    """Return a task as bytes, and the descriptors that the process must inherit."""
    out = io.BytesIO()
    packer = _Packer(out)
    packer.dump(task)
    return out.getvalue(), packer.files


def _unnamed_file() -> BinaryIO:
    try:
        return tempfile.TemporaryFile(prefix="lipwright-")
    except OSError as error:
        raise temp_file_error("segments", error) from error
