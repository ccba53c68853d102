"""The process of one segment, started by :class:`lipwright.pipeline.parallel.RenderPool`."""

from __future__ import annotations

import os
import pickle
import sys
from typing import BinaryIO

import cv2

from lipwright.engines.registry import find_engine
from lipwright.errors import LipwrightError
from lipwright.media.encode.video import write_segment
from lipwright.media.upscale import upscale
from lipwright.pipeline.paint import render_frames, study_speakers
from lipwright.pipeline.parallel import DONE, FAILED, FRAME, STUDY, SegmentTask, TaskUnpickler
from lipwright.runtime.pipelining import QUEUE_SIZE
from lipwright.runtime.threads import single_threaded_blas


@single_threaded_blas()
def render_segment(task: SegmentTask, messages: BinaryIO) -> None:
    """Paint and encode a segment; write a message per frame."""

    def send(message: bytes) -> None:
        messages.write(message)
        messages.flush()

    plan, options = task.plan, task.decode_options
    cv2.setNumThreads(max(1, options.threads // 2))
    engine = find_engine(plan.engine).open(options.device)
    pictures = render_frames(
        plan,
        engine,
        study_speakers(plan, engine, options, lambda _done, _total: send(STUDY)),
        plan.driving_sequences(),
        range(task.start, task.stop),
        decode_options=options,
        queue_size=QUEUE_SIZE if options.threads > 1 else 0,
    )
    like = task.spec.like
    large = (upscale(picture, like.width, like.height) for picture in pictures)
    with os.fdopen(task.out, "w+b") as out:
        for _ in write_segment(out, task.spec, large, options.threads):
            send(FRAME)


def main() -> None:
    """Render the segment whose task arrives on stdin."""
    messages = sys.stdout.buffer
    task = TaskUnpickler(sys.stdin.buffer).load()
    assert isinstance(task, SegmentTask)
    try:
        render_segment(task, messages)
        last = DONE
    except BrokenPipeError:
        return  # the parent is gone
    except LipwrightError as error:
        last = FAILED + pickle.dumps(error)
    messages.write(last)
    messages.flush()


if __name__ == "__main__":
    main()
