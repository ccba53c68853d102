"""Reading media in a process of its own: a file that crashes or stalls FFmpeg costs that file only.

``python -m lipwright.server.measure NEED PATH`` reads one file and answers with one line of JSON.
It ends at its limits of memory and time, and when the process that started it does.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from lipwright.errors import BY_CODE, InputError, LimitExceeded, MediaUnreadable
from lipwright.worker.parent_watch import watch_parent

COMMAND = (sys.executable, "-m", "lipwright.server.measure")
MEMORY_BYTES = 4 << 30  # of addresses; a large frame and its references fit many times
PREFIX = "LIPWRIGHT_"  # of variables with settings
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
MAX_ANSWER = 65_536  # bytes

Need = Literal["video", "audio"]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What a length is counted from."""

    duration: Fraction | None  #: seconds; None of a still picture, which has no length
    rate: Fraction | None = None  #: frames per second, of pictures


def measure(path: Path, need: Need, *, seconds: float, command: Sequence[str] = COMMAND) -> Measure:
    """Return how long the pictures or the sound of a file are.

    Args:
        path: the file; no error names it, for the caller never saw it.
        need: which of the two.
        seconds: longest time to read it.
        command: what is started, for tests.

    Raises:
        InputError: the file cannot be read, or not within the limits.
    """
    answer = _ask([*command, need, str(path)], seconds)
    match answer:
        case {"duration": str(duration), "rate": rate}:
            return Measure(
                duration=Fraction(duration) if duration else None,
                rate=Fraction(rate) if rate else None,
            )
        case {"error": {"code": str(code), "message": str(message)}}:
            raise BY_CODE.get(code, InputError)(message.replace(str(path), "the file"))
    raise MediaUnreadable("the file cannot be measured: re-encode it or use another file")


def _ask(command: Sequence[str], seconds: float) -> Any:
    """Run the reader and return its answer, None when that is no answer."""
    reading, writing = os.pipe()  # its stdin: it ends when this process does
    try:
        child = subprocess.Popen(
            command,
            stdin=reading,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # a decoder says a lot about a hostile file
            env=_environment(),
            start_new_session=True,
        )
        os.close(reading)
        with child:
            return _answer(child, seconds)
    finally:
        os.close(writing)


def _environment() -> dict[str, str]:
    """Return ours without what a hostile file has no business with: settings may hold passwords."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return {**ours, **dict.fromkeys(ONE_THREAD, "1")}


def _answer(child: subprocess.Popen[bytes], seconds: float) -> Any:
    try:
        told, _ = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired as cause:
        raise LimitExceeded(
            f"reading the file took longer than {seconds:g} s: use a smaller one"
        ) from cause
    finally:
        child.kill()  # nothing happens to one that has ended
    if child.returncode < 0:
        raise MediaUnreadable(
            f"the file crashed its reader (signal {-child.returncode}): re-encode it or use another"
        )
    try:
        return json.loads(told[:MAX_ANSWER])
    except ValueError:
        return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Read one file and answer; return the exit status."""
    need, path = sys.argv[1:] if arguments is None else arguments
    _bound()
    watch_parent(lambda _line: None, lambda: os.kill(os.getpid(), signal.SIGKILL))
    try:
        print(json.dumps(_read(Path(path), need)))
    except InputError as error:
        print(json.dumps({"error": {"code": error.code, "message": str(error)}}))
    except MemoryError:
        message = "reading the file needs too much memory: use a smaller one"
        print(json.dumps({"error": {"code": LimitExceeded.code, "message": message}}))
    return 0


def _read(path: Path, need: str) -> dict[str, str]:
    from lipwright.media.probe import probe, require_audio, require_video

    if need == "audio":
        return {"duration": str(require_audio(probe(path)).duration), "rate": ""}
    video = require_video(probe(path))
    return {"duration": "" if video.still else str(video.duration), "rate": str(video.rate)}


def _bound() -> None:
    """Take no more memory than a file may need, write no file, leave no image of the memory."""
    try:
        import resource
    except ImportError:  # not there on every system; the time limit holds all the same
        return
    for what, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        if hard != resource.RLIM_INFINITY:
            most = min(most, hard)
        resource.setrlimit(what, (most, most))


if __name__ == "__main__":
    sys.exit(main())
