"""The render process, a child started by :mod:`lipwright.worker.renderer`.

It reads one `RenderTask` per line from stdin and writes JSON messages to stdout. Models stay loaded
between jobs. The process exits at once when its stdin ends. After an unexpected error it exits as
well, and the next job gets a fresh process.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import queue
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lipwright.errors import EncodeFailed, LipwrightError, StorageFull, is_disk_full
from lipwright.runtime.device import Device
from lipwright.worker.parent_watch import watch_parent
from lipwright.worker.render_task import RenderTask

if TYPE_CHECKING:
    from lipwright.pipeline.pipeline import Pipeline
    from lipwright.pipeline.result import SyncResult

JPEG_QUALITY = 90  # of 100
POSTER_SIDE = 4096  # pixels of the longer side, at most
UNEXPECTED_ERROR = 70  # exit status

Reply = Callable[[Mapping[str, Any]], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Render tasks until stdin ends; return the exit status."""
    parser = argparse.ArgumentParser(prog="lipwright.worker.render_process", description=__doc__)
    parser.add_argument("--threads", type=int, default=0, help="threads per job; 0: one per core")
    parser.add_argument("--cores", default="", help="cores to use, such as 0,1; empty: all")
    parser.add_argument(
        "--device", default=Device.CPU, choices=[*Device], help="device of the networks"
    )
    args = parser.parse_args(arguments)
    _pin_to_cores({int(core) for core in args.cores.split(",") if core})
    reply = _claim_stdout()
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    watch_parent(lines.put, lambda: os._exit(0))
    runner = TaskRunner(threads=args.threads, device=args.device)
    while True:
        task = RenderTask.from_json(json.loads(lines.get()))
        try:
            reply({"result": runner.run(task, reply)})
        except LipwrightError as error:
            reply({"error": {"code": error.code, "message": str(error)}})
        except Exception as error:
            traceback.print_exc()  # for the log; the caller gets one line
            failure = {"code": LipwrightError.code, "message": _unexpected_message(error)}
            reply({"error": failure, "exiting": True})
            return UNEXPECTED_ERROR


class TaskRunner:
    """Runs render tasks with one pipeline per engine, each loaded once."""

    def __init__(self, *, threads: int = 0, device: str = Device.CPU) -> None:
        self._threads, self._device = threads, device
        self._pipelines: dict[str, Pipeline] = {}

    def run(self, task: RenderTask, reply: Reply) -> dict[str, Any]:
        """Render one task and return the summary of the result.

        Raises:
            LipwrightError: it cannot be rendered.
        """
        result = self._pipeline(task.engine).sync(
            task.video,
            task.audio,
            task.output,
            options=task.options,
            on_progress=lambda progress: reply({"progress": dataclasses.asdict(progress)}),
        )
        write_poster(result, Path(task.poster))
        return result_summary(result)

    def _pipeline(self, engine: str) -> Pipeline:
        from lipwright.pipeline.pipeline import Pipeline

        if engine not in self._pipelines:
            self._pipelines[engine] = Pipeline(
                engine=engine, threads=self._threads or None, device=self._device
            )
        return self._pipelines[engine]


def result_summary(result: SyncResult) -> dict[str, Any]:
    """Return the facts of a result that the ledger stores, as JSON."""
    return {
        "frames": result.frames,
        "rate": f"{result.rate.numerator}/{result.rate.denominator}",
        "seconds": float(result.duration),
        "mode": result.mode.value,
        "face_frames": result.face_frames,
        "unpainted": [dataclasses.asdict(part) for part in result.unpainted],
        "warnings": list(result.warnings),
        "style": result.style,
        "timings": dict(result.timings),
        "engine": result.engine,
        "weights": dict(result.weights),
    }


def write_poster(result: SyncResult, path: Path) -> None:
    """Write the first frame with a painted mouth, or the first frame, as JPEG.

    Raises:
        EncodeFailed: it cannot be encoded or written.
        StorageFull: the disk is full.
    """
    import cv2

    from lipwright.media.decode.video import read_video
    from lipwright.media.probe import probe

    first = result.first_face or 0
    frame = next(islice(read_video(probe(result.path)), first, None))
    rgb, _ = frame.picture.small_rgb(POSTER_SIDE)
    encoded, data = cv2.imencode(".jpg", rgb[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not encoded:
        raise EncodeFailed(f"cannot encode a {rgb.shape[1]}x{rgb.shape[0]} frame as a poster")
    try:
        path.write_bytes(data.tobytes())
    except OSError as cause:
        kind = StorageFull if is_disk_full(cause) else EncodeFailed
        raise kind(f"cannot write the poster: {cause.strerror}") from cause


def _unexpected_message(error: Exception) -> str:
    return f"unexpected {type(error).__name__} while rendering; see the log of the service"


def _pin_to_cores(cores: set[int]) -> None:
    """Restrict all threads of this process to some cores.

    Decoder, encoder, OpenCV and the networks each start as many threads as they see cores.
    """
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


def _claim_stdout() -> Reply:
    """Reserve stdout for messages: what libraries print goes to stderr instead."""
    channel = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)

    def reply(message: Mapping[str, Any]) -> None:
        channel.write(json.dumps(message).encode() + b"\n")

    return reply


if __name__ == "__main__":
    sys.exit(main())
