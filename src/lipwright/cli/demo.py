"""The demo: make a talking clip and dub it, offline."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lipwright.cli.contact_sheet import crop_square, make_sheet, write_png
from lipwright.errors import OutputUnwritable
from lipwright.media.decode.audio import read_audio
from lipwright.media.decode.video import read_video
from lipwright.media.probe import probe
from lipwright.pipeline.pipeline import sync
from lipwright.pipeline.result import SyncResult
from lipwright.progress import CancelToken, OnProgress, Progress
from lipwright.sample import make_sample, speech_asset
from lipwright.sample.curves import mouth_curves
from lipwright.types import Floats

SIZE = (1280, 720)
RATE = Fraction(25)
SECONDS = 5.0  # of the source; the dub is as long as its speech
FOREIGN = "es"  # language of the new speech
COLUMNS, STRIDE = 8, 2  # frames in a row of the contact sheet, and the step between them
CELL = 160  # pixels of a cell
SHARE_OF_SAMPLE = 0.3  # of the run time of the demo


@dataclass(frozen=True, kw_only=True)
class Demo:
    """The files that the demo wrote."""

    folder: Path
    source: Path
    speech: Path
    dubbed: Path
    before_after: Path
    result: SyncResult

    def contents(self) -> Iterator[tuple[Path, str]]:
        """Yield each file with a description."""
        yield self.source, "a synthetic talking clip with English sound"
        yield self.speech, "a recording in another language"
        yield self.dubbed, "the same clip, dubbed with that recording"
        yield self.before_after, "frames of both at the same times, to compare the mouths"


def run_demo(
    folder: str | Path = "lipwright-demo",
    *,
    on_progress: OnProgress | None = None,
    cancel: CancelToken | None = None,
) -> Demo:
    """Make a talking clip, dub it, and lay frames of both side by side.

    Args:
        folder: for the files; created if missing.
        on_progress: called every few frames.
        cancel: cancels the demo at the next frame.

    Raises:
        OutputUnwritable: the folder cannot be created or written.
        LipwrightError: see :func:`lipwright.sync`.
    """
    folder = Path(folder)
    source, dubbed, picture = (
        folder / name for name in ("source.mp4", "dubbed.mp4", "before_after.png")
    )
    speech = _copy_speech(folder)
    truth = make_sample(
        source,
        seconds=SECONDS,
        size=SIZE,
        rate=RATE,
        on_progress=_scale_progress(on_progress, 0.0, SHARE_OF_SAMPLE),
        cancel=cancel,
    )
    result = sync(
        source,
        speech,
        dubbed,
        on_progress=_scale_progress(on_progress, SHARE_OF_SAMPLE, 1.0),
        cancel=cancel,
    )
    first = most_active_frame(read_audio(speech), len(truth.landmarks))
    write_png(picture, comparison_sheet(source, dubbed, truth.landmarks, first))
    return Demo(
        folder=folder,
        source=source,
        speech=speech,
        dubbed=dubbed,
        before_after=picture,
        result=result,
    )


def most_active_frame(samples: Floats, frames: int) -> int:
    """Return the first frame of the span of the speech in which a mouth moves most.

    Args:
        samples: the new speech, (n,) mono at 16 kHz.
        frames: of the source.
    """
    opening, _ = mouth_curves(samples, (np.arange(frames, dtype=np.float64) + 0.5) / float(RATE))
    span = COLUMNS * STRIDE
    activity = [np.std(opening[i : i + span]) for i in range(max(frames - span, 0) + 1)]
    return int(np.argmax(activity))


def comparison_sheet(before: Path, after: Path, landmarks: Floats, first: int) -> NDArray[np.uint8]:
    """Return a contact sheet of the face in two videos at the same times.

    Args:
        before: the source.
        after: the result; frame k shows the same time as frame k of the source.
        landmarks: (T, 478, 3) pixels of the source.
        first: first frame on the sheet.

    Returns:
        Contact sheet (height, width, 3) uint8 RGB: one row per video.
    """
    indices = range(first, min(first + COLUMNS * STRIDE, len(landmarks)), STRIDE)
    rows = [_crop_faces(path, indices, landmarks) for path in (before, after)]
    return make_sheet(rows, labels=("before", "after"))


def _crop_faces(path: Path, indices: range, landmarks: Floats) -> list[NDArray[np.uint8]]:
    cells = []
    for frame in read_video(probe(path)):
        if frame.index >= indices.stop:
            break
        if frame.index in indices:
            points = landmarks[frame.index, :, :2]
            low, high = points.min(0), points.max(0)
            centre = (low + high) / 2
            rgb = np.asarray(frame.picture.rgb(), np.uint8)
            middle = (float(centre[0]), float(centre[1]))
            cells.append(crop_square(rgb, middle, 1.1 * float((high - low).max()), CELL))
    return cells


def _copy_speech(folder: Path) -> Path:
    original = speech_asset(FOREIGN)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copyfile(original, folder / f"speech{original.suffix}"))
    except OSError as cause:
        raise OutputUnwritable(
            f"{folder}: cannot write the demo there ({cause.strerror}); name another folder: "
            "lipwright demo FOLDER"
        ) from cause


def _scale_progress(on_progress: OnProgress | None, start: float, stop: float) -> OnProgress | None:
    """Return a callback that maps the progress of a part to the range *start* to *stop*."""
    if on_progress is None:
        return None

    def report(progress: Progress) -> None:
        fraction = start + (stop - start) * progress.fraction
        on_progress(
            Progress(
                stage=progress.stage, done=progress.done, total=progress.total, fraction=fraction
            )
        )

    return report
