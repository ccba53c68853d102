"""Processor time of each stage of the main job."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.speed.transcode import decode, transcode
from lipwright.engines import exemplar
from lipwright.face.track import Tracker
from lipwright.media.frame_conversion import PictureToFrame
from lipwright.media.picture import Picture
from lipwright.pipeline import stages
from lipwright.pipeline.pipeline import Pipeline

#: Class or module, its function, and the stage that the function's time counts for.
TIMED_FUNCTIONS: tuple[tuple[Any, Callable[..., Any], str], ...] = (
    (Tracker, Tracker.feed, "track"),
    (stages, stages.hear_speech, "encode speech"),
    (stages, stages.animate, "animate"),
    (exemplar, exemplar.find_path, "select exemplars"),
    (exemplar, exemplar.paint_mouth, "warp and composite"),
    (Picture, Picture.rgb, "convert to RGB (within track too)"),
    (Picture, Picture.paste, "paste"),
    (PictureToFrame, PictureToFrame.convert, "copy to the encoder"),
)


def measure_stages(clip: Path, speech: Path) -> dict[str, float]:
    """Run the main job in this process and time its stages.

    Args:
        clip: to dub; the results lie next to it.
        speech: new voice.

    Returns:
        Processor milliseconds per frame by stage, of all threads.
    """
    seconds: dict[str, float] = {}
    with _timed_functions(seconds):
        began = time.process_time()
        with Pipeline() as pipeline:
            frames = pipeline.sync(clip, speech, clip.with_name("dubbed.mp4")).frames
        seconds["all"] = time.process_time() - began
    began = time.process_time()
    decode(clip)
    seconds["decode, one pass"] = time.process_time() - began
    began = time.process_time()
    transcode(clip, clip.with_name("transcoded.mp4"))
    seconds["plain decode and encode"] = time.process_time() - began
    return {stage: 1000 * value / frames for stage, value in seconds.items()}


@contextmanager
def _timed_functions(seconds: dict[str, float]) -> Iterator[None]:
    """Add the thread time of each function to *seconds* by stage, until the block ends."""

    def timed(function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            began = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                seconds[stage] = seconds.get(stage, 0.0) + time.thread_time() - began

        return run

    for owner, function, stage in TIMED_FUNCTIONS:
        setattr(owner, function.__name__, timed(function, stage))
    try:
        yield
    finally:
        for owner, function, _ in TIMED_FUNCTIONS:
            setattr(owner, function.__name__, function)
