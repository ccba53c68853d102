"""The render process, started by :mod:`lipwright.worker.renderer`.

One order a line on stdin, answers a line each on stdout. Models stay loaded from job to job. The
process ends at once when its stdin does; after an error that nobody foresaw it ends as well, and
the next job gets a fresh one.
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

from lipwright.errors import EncodeFailed, InvalidOptions, LipwrightError
from lipwright.options import SpeakerPick, SyncOptions
from lipwright.progress import Progress
from lipwright.runtime.device import Device
from lipwright.worker.parent_watch import watch_parent
from lipwright.worker.renderer import Order

if TYPE_CHECKING:
    from lipwright.pipeline.pipeline import Pipeline, SyncResult

JPEG_QUALITY = 90  # of 100
POSTER_SIDE = 4096  # pixels of the longer side, at most
UNFORESEEN = 70  # exit status after an error that nobody foresaw

Answer = Callable[[Mapping[str, Any]], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Render orders until stdin ends; return the exit status."""
    parser = argparse.ArgumentParser(prog="lipwright.worker.render_process", description=__doc__)
    parser.add_argument("--threads", type=int, default=0, help="of a job; 0: one per core")
    parser.add_argument("--cores", default="", help="cores to stay on, as 0,1; none: all")
    parser.add_argument("--device", default=Device.CPU, choices=[*Device], help="of a job")
    given = parser.parse_args(arguments)
    _stay_on({int(core) for core in given.cores.split(",") if core})
    answer = _own_stdout()
    orders: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    watch_parent(orders.put, lambda: os._exit(0))
    bench = Bench(threads=given.threads, device=given.device)
    while True:
        order = Order(**json.loads(orders.get()))
        try:
            answer({"done": bench.carry_out(order, answer)})
        except LipwrightError as error:
            answer({"error": {"code": error.code, "message": str(error)}})
        except Exception as error:
            traceback.print_exc()  # for the log; the client gets one clear line
            failure = {"code": LipwrightError.code, "message": _unforeseen(error)}
            answer({"error": failure, "ending": True})
            return UNFORESEEN


class Bench:
    """The pipelines of this process, one per engine, each loaded once."""

    def __init__(self, *, threads: int = 0, device: str = Device.CPU) -> None:
        self._threads, self._device = threads, device
        self._pipelines: dict[str, Pipeline] = {}

    def carry_out(self, order: Order, answer: Answer) -> dict[str, Any]:
        """Render one order and return the facts of the result.

        Raises:
            LipwrightError: it cannot be rendered.
        """
        options = options_of(at_time(order.options, Path(order.video)))
        result = self._pipeline(order.engine).sync(
            order.video,
            order.audio,
            order.out,
            options=options,
            on_progress=lambda progress: answer({"progress": _plain(progress)}),
        )
        write_poster(result, Path(order.poster))
        return facts_of(result)

    def _pipeline(self, engine: str) -> Pipeline:
        from lipwright.pipeline.pipeline import Pipeline

        if engine not in self._pipelines:
            self._pipelines[engine] = Pipeline(
                engine=engine, threads=self._threads or None, device=self._device
            )
        return self._pipelines[engine]


def at_time(wish: Mapping[str, Any], video: Path) -> Mapping[str, Any]:
    """Return a wish whose speaker is pointed at by time, where it was by frame.

    Raises:
        MediaUnreadable: the video cannot be read, so nobody knows when a frame is shown.
    """
    from lipwright.media.probe import probe, require_video

    if "speaker_frame" not in wish:
        return wish
    rest = {name: value for name, value in wish.items() if name != "speaker_frame"}
    x, y, frame = wish["speaker_frame"]
    rate = float(require_video(probe(video)).rate)
    return {**rest, "speaker": [x, y, max(0.0, frame - 0.5) / rate]}  # the first frame after that


def options_of(wish: Mapping[str, Any]) -> SyncOptions:
    """Return the options that an order writes as JSON.

    Raises:
        InvalidOptions: one is unknown or does not fit.
    """
    given = dict(wish)
    try:
        return SyncOptions(speaker=_pick(given.pop("speaker", None)), **given)
    except InvalidOptions:
        raise
    except (TypeError, ValueError) as cause:
        raise InvalidOptions(f"the options of the job do not fit: {cause}") from cause


def _pick(speaker: Sequence[float] | None) -> SpeakerPick | None:
    if speaker is None:
        return None
    x, y, *seconds = speaker
    return SpeakerPick(x=x, y=y, seconds=seconds[0] if seconds else 0.0)


def facts_of(result: SyncResult) -> dict[str, Any]:
    """Return what the ledger keeps of a result, as JSON."""
    return {
        "frames": result.frames,
        "rate": f"{result.rate.numerator}/{result.rate.denominator}",
        "seconds": float(result.duration),
        "mode": result.mode.value,
        "face_frames": result.face_frames,
        "warnings": list(result.warnings),
        "style": result.style,
        "timings": dict(result.timings),
        "engine": result.engine,
        "weights": dict(result.weights),
    }


def write_poster(result: SyncResult, path: Path) -> None:
    """Write the first frame with a painted mouth, or the first of all, as JPEG.

    Raises:
        EncodeFailed: it cannot be written.
    """
    import cv2

    from lipwright.media.decode.video import read_video
    from lipwright.media.probe import probe

    first = result.first_face or 0
    frame = next(islice(read_video(probe(result.path)), first, None))
    rgb, _ = frame.picture.small_rgb(POSTER_SIDE)
    good, data = cv2.imencode(".jpg", rgb[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not good:
        raise EncodeFailed(f"no poster could be made of a {rgb.shape[1]}x{rgb.shape[0]} frame")
    try:
        path.write_bytes(data.tobytes())
    except OSError as cause:
        raise EncodeFailed(f"the poster could not be written: {cause.strerror}") from cause


def _plain(progress: Progress) -> dict[str, Any]:
    return dataclasses.asdict(progress)


def _unforeseen(error: Exception) -> str:
    return f"unexpected {type(error).__name__} while rendering; the service's log says more"


def _stay_on(cores: set[int]) -> None:
    """Keep every thread of this process, and of the libraries in it, on some cores.

    Decoder, encoder, OpenCV and the networks each start as many threads as they see cores.
    """
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


def _own_stdout() -> Answer:
    """Keep stdout for answers alone: what a library prints goes to the log instead."""
    channel = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)

    def answer(message: Mapping[str, Any]) -> None:
        channel.write(json.dumps(message).encode() + b"\n")

    return answer


if __name__ == "__main__":
    sys.exit(main())
