"""Pass B in parts, each painted and encoded by a process of its own, joined without encoding again.

A process gets its part of a job through its stdin and writes its segment to an unnamed file; what
is large (landmarks, pictures of the face) lies in unnamed files that it shares. On its stdout it
tells of every frame, so that it ends when nobody listens any more, kill -9 included. The frames are
those that one process would paint: every process studies the face anew, and follows the path of
exemplars from the first frame on.
"""

from __future__ import annotations

import io
import os
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

from lipwright.errors import EncodeFailed, LipwrightError
from lipwright.media.decode.decoder import DecodeOptions
from lipwright.media.encode.video import EncodeSpec
from lipwright.pipeline.paint import RenderPlan
from lipwright.runtime.disk_array import TempFile, storage_full
from lipwright.runtime.threads import single_threaded_blas

FRAME, STUDY, FAILED, DONE = b".", b"s", b"!", b"="  # what a process tells
LOOK_AGAIN = 0.1  # seconds between looks at how far they are


@dataclass(frozen=True, kw_only=True)
class SegmentTask:
    """What one process does."""

    brief: RenderPlan
    engine: str
    look: EncodeSpec
    start: int  #: first output frame
    stop: int  #: the one after the last
    out: int  #: number of the open file for its segment
    decoding: DecodeOptions  #: its threads and device are those of all else, too


class RenderPool(AbstractContextManager["RenderPool"]):
    """The processes at work on a job; a context manager that leaves none behind."""

    def __init__(
        self,
        brief: RenderPlan,
        engine: str,
        look: EncodeSpec,
        cuts: Sequence[int],
        *,
        decoding: DecodeOptions,
    ) -> None:
        """Start a process for each part between two cuts.

        Raises:
            EncodeFailed: there is no room for temporary files.
        """
        #: what the parts are written to, in order
        self.segments: list[BinaryIO] = []
        self._members: list[_RenderProcess] = []
        try:
            for start, stop in pairwise(cuts):
                self.segments.append(_unnamed())
                part = SegmentTask(
                    brief=brief,
                    engine=engine,
                    look=look,
                    start=start,
                    stop=stop,
                    out=self.segments[-1].fileno(),
                    decoding=decoding,
                )
                self._members.append(_RenderProcess(part))
        except BaseException:
            self._end()
            raise

    def painted(self) -> Iterator[int]:
        """Yield how many frames are painted, every now and then, until all are.

        Raises:
            LipwrightError: what a process raised.
            EncodeFailed: one ended without a word.
        """
        while True:
            working = [member for member in self._members if member.working()]
            yield sum(member.frames for member in self._members)
            if not working:
                return
            time.sleep(LOOK_AGAIN)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End all processes and close the segments."""
        self._end()

    def _end(self) -> None:
        for member in self._members:
            member.end()
        for segment in self.segments:
            segment.close()


class _RenderProcess:
    """One process."""

    def __init__(self, part: SegmentTask) -> None:
        sent, files = _packed(part)
        self.frames = 0
        self._said = b""
        # A session of its own: Ctrl-C in a terminal reaches the one who started it, who ends it.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "lipwright.pipeline.parallel"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(part.out, *files),
            start_new_session=True,
        )
        self._ear = Thread(target=self._listen, args=(sent,), name="segment", daemon=True)
        self._ear.start()

    def working(self) -> bool:
        """Return whether it is at work still.

        Raises:
            LipwrightError: what it raised.
            EncodeFailed: it ended without a word.
        """
        if self._ear.is_alive():
            return True
        if self._said[:1] == FAILED:
            error = pickle.loads(self._said[1:])
            assert isinstance(error, BaseException)
            raise error
        if self._said[:1] != DONE:
            raise EncodeFailed(
                f"a process that painted a part ended with {self._process.wait()}: is there memory "
                "for so many? Ask for fewer processes"
            )
        return False

    def end(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()
        self._ear.join()

    def _listen(self, sent: bytes) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._process.stdin as stdin, self._process.stdout as stdout:
            try:
                stdin.write(sent)
                stdin.close()
            except BrokenPipeError:
                return  # it ended at once
            while (said := stdout.read(1)) in (FRAME, STUDY):
                self.frames += said == FRAME
            self._said = said + stdout.read()


class _Packer(pickle.Pickler):
    """Packs what holds unnamed files, which the other process gets by their numbers."""

    def __init__(self, out: io.BytesIO) -> None:
        super().__init__(out)
        self.files: list[int] = []

    def persistent_id(self, obj: Any) -> int | None:
        """Return the number of the file of a scratch; nothing for all else."""
        if not isinstance(obj, TempFile):
            return None
        self.files.append(obj.number)
        return obj.number


class _Unpacker(pickle.Unpickler):
    def persistent_load(self, number: int) -> TempFile:
        """Return the scratch whose file is open under a number."""
        return TempFile(number)


def _packed(part: SegmentTask) -> tuple[bytes, list[int]]:
    """Return a part as bytes, and the numbers of the open files that belong to it."""
    out = io.BytesIO()
    packer = _Packer(out)
    packer.dump(part)
    return out.getvalue(), packer.files


def _unnamed() -> BinaryIO:
    try:
        return tempfile.TemporaryFile(prefix="lipwright-")
    except OSError as error:
        raise storage_full("segments", error) from error


@single_threaded_blas()
def render_segment(part: SegmentTask, tell: BinaryIO) -> None:
    """Paint a part and write its segment, telling of every frame."""
    import cv2

    from lipwright.engines.registry import find_engine
    from lipwright.media.encode.video import write_segment
    from lipwright.media.upscale import enlarge
    from lipwright.pipeline.paint import render_frames, study_speaker
    from lipwright.runtime.pipelining import QUEUE_SIZE

    def say(word: bytes) -> None:
        tell.write(word)
        tell.flush()

    threads = part.decoding.threads
    cv2.setNumThreads(max(1, threads // 2))
    engine = find_engine(part.engine).open(part.decoding.device)
    speaker = study_speaker(part.brief, engine, part.decoding, lambda *_: say(STUDY))
    pictures = render_frames(
        *(part.brief, engine, speaker, part.brief.script(), range(part.start, part.stop)),
        decoding=part.decoding,
        room=QUEUE_SIZE if threads > 1 else 0,
    )
    like = part.look.like
    large = (enlarge(picture, like.width, like.height) for picture in pictures)
    with os.fdopen(part.out, "w+b") as out:
        for _ in write_segment(out, part.look, large, threads):
            say(FRAME)


def main() -> None:
    """Do the part that comes in through stdin."""
    tell = sys.stdout.buffer
    part = _Unpacker(sys.stdin.buffer).load()
    assert isinstance(part, SegmentTask)
    try:
        render_segment(part, tell)
        said = DONE
    except BrokenPipeError:
        return  # nobody listens any more
    except LipwrightError as error:
        said = FAILED + pickle.dumps(error)
    tell.write(said)
    tell.flush()


if __name__ == "__main__":
    from lipwright.pipeline.parallel import (
        main as start,  # as this module, so that parts are its parts
    )

    start()
