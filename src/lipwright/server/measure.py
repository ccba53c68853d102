"""Measuring the length of a media file in a separate process.

A file that crashes or stalls FFmpeg then affects only its own request.
``python -m lipwright.server.measure KIND PATH`` reads one file and prints one line of JSON. It ends
at its limits of memory and time, and when its parent process ends.
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

COMMAND = (sys.executable, "-P", "-m", "lipwright.server.measure")  # -P: nothing from this folder
MEMORY_BYTES = 4 << 30  # address space; several times a large frame and its references
SETTINGS_PREFIX = "LIPWRIGHT_"  # of environment variables with settings
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
MAX_OUTPUT = 65_536  # bytes of the reader's output that are parsed

StreamKind = Literal["video", "audio"]


@dataclass(frozen=True, kw_only=True)
class MediaLength:
    """The length of a video or audio stream."""

    duration: Fraction | None  #: seconds; None: a still picture
    rate: Fraction | None = None  #: frames per second of a video


def measure(
    path: Path, kind: StreamKind, *, seconds: float, command: Sequence[str] = COMMAND
) -> MediaLength:
    """Return the length of the video or audio stream of a file.

    Args:
        path: the file; error messages do not contain it, as the caller has never seen it.
        kind: which stream.
        seconds: longest time to read the file.
        command: of the reader process; for tests.

    Raises:
        InputError: the file cannot be read within the limits.
    """
    output = _run_reader([*command, kind, str(path)], seconds)
    match output:
        case {"duration": str(duration), "rate": rate}:
            return MediaLength(
                duration=Fraction(duration) if duration else None,
                rate=Fraction(rate) if rate else None,
            )
        case {"error": {"code": str(code), "message": str(message)}}:
            raise BY_CODE.get(code, InputError)(message.replace(str(path), "the file"))
    raise MediaUnreadable("the file cannot be measured: re-encode it or use another file")


def _run_reader(command: Sequence[str], seconds: float) -> Any:
    """Run the reader process and return its parsed output, None if it is not JSON."""
    read_end, write_end = os.pipe()  # stdin of the reader, which ends when this process does
    try:
        reader = subprocess.Popen(
            command,
            stdin=read_end,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # decoders write a lot about damaged files
            env=_reader_environment(),
            start_new_session=True,
        )
        os.close(read_end)
        with reader:
            return _read_output(reader, seconds)
    finally:
        os.close(write_end)


def _reader_environment() -> dict[str, str]:
    """Return the environment without settings, which may contain passwords."""
    kept = {k: value for k, value in os.environ.items() if not k.startswith(SETTINGS_PREFIX)}
    return {**kept, **dict.fromkeys(THREAD_VARIABLES, "1")}


def _read_output(reader: subprocess.Popen[bytes], seconds: float) -> Any:
    try:
        output, _ = reader.communicate(timeout=seconds)
    except subprocess.TimeoutExpired as cause:
        raise LimitExceeded(
            f"reading the file took longer than {seconds:g} s: use a smaller one"
        ) from cause
    finally:
        reader.kill()  # no effect once it has ended
    if reader.returncode < 0:
        raise MediaUnreadable(
            f"the file crashed its reader (signal {-reader.returncode}): re-encode it or use "
            "another"
        )
    try:
        return json.loads(output[:MAX_OUTPUT])
    except ValueError:
        return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure one file, print the result as JSON and return the exit status."""
    kind, path = sys.argv[1:] if arguments is None else arguments
    _limit_resources()
    watch_parent(lambda _line: None, lambda: os.kill(os.getpid(), signal.SIGKILL))
    try:
        print(json.dumps(_measure_stream(Path(path), kind)))
    except InputError as error:
        print(json.dumps({"error": {"code": error.code, "message": str(error)}}))
    except MemoryError:
        message = "reading the file needs too much memory: use a smaller one"
        print(json.dumps({"error": {"code": LimitExceeded.code, "message": message}}))
    return 0


def _measure_stream(path: Path, kind: str) -> dict[str, str]:
    from lipwright.media.probe import probe, require_audio, require_video

    if kind == "audio":
        return {"duration": str(require_audio(probe(path)).duration), "rate": ""}
    video = require_video(probe(path))
    return {"duration": "" if video.still else str(video.duration), "rate": str(video.rate)}


def _limit_resources() -> None:
    """Limit the memory of this process, and forbid it to write files and core dumps."""
    try:
        import resource
    except ImportError:  # missing on some systems; the time limit still applies
        return
    for limit, value in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(limit)
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)
        resource.setrlimit(limit, (value, value))


if __name__ == "__main__":
    sys.exit(main())
