"""The main job on a fresh machine, offline: a talking clip is made and given a foreign voice."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lipwright.errors import OutputUnwritable
from lipwright.media.contact_sheet import sheet, square, write_png
from lipwright.media.decode.video import read_audio, read_video
from lipwright.media.probe import probe
from lipwright.pipeline.pipeline import SyncResult, sync
from lipwright.progress import CancelToken, OnProgress, Progress
from lipwright.sample import make_sample, speech_asset, speech_curves
from lipwright.types import Floats

SIZE = (1280, 720)
RATE = Fraction(25)
SECONDS = 5.0  # of the source; the dub is as long as its speech
FOREIGN = "es"  # language of the new speech
COLUMNS, STRIDE = 8, 2  # frames in a row of the contact sheet, and the step between them
CELL = 160  # pixels of one picture there
SHARE_OF_SAMPLE = 0.3  # of the whole demo's time


@dataclass(frozen=True, kw_only=True)
class Demo:
    """What the demo made."""

    folder: Path
    source: Path
    speech: Path
    dubbed: Path
    before_after: Path
    result: SyncResult

    def contents(self) -> Iterator[tuple[Path, str]]:
        """Yield each file with what it shows."""
        yield self.source, "a synthetic talking clip with English sound"
        yield self.speech, "a recording in another language"
        yield self.dubbed, "the same clip speaking that recording: play it"
        yield self.before_after, "frames of both at the same moments: compare the mouths"


def run_demo(
    folder: str | Path = "lipwright-demo",
    *,
    on_progress: OnProgress | None = None,
    cancel: CancelToken | None = None,
) -> Demo:
    """Make a talking clip, dub it, and lay frames of both side by side.

    Args:
        folder: where everything goes; made when it does not exist.
        on_progress: called as the work goes on.
        cancel: ends the work at the next frame.

    Raises:
        OutputUnwritable: the folder cannot be made or written.
        LipwrightError: whatever a job can raise.
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
        on_progress=_part(on_progress, 0.0, SHARE_OF_SAMPLE),
        cancel=cancel,
    )
    result = sync(
        source,
        speech,
        dubbed,
        on_progress=_part(on_progress, SHARE_OF_SAMPLE, 1.0),
        cancel=cancel,
    )
    first = liveliest(read_audio(speech), len(truth.landmarks))
    write_png(picture, before_after(source, dubbed, truth.landmarks, first))
    return Demo(
        folder=folder,
        source=source,
        speech=speech,
        dubbed=dubbed,
        before_after=picture,
        result=result,
    )


def liveliest(samples: Floats, frames: int) -> int:
    """Return the first frame of the stretch of speech in which a mouth moves most.

    Args:
        samples: the new speech, (n,) mono at 16 kHz.
        frames: of the source.
    """
    opening, _ = speech_curves(samples, (np.arange(frames, dtype=np.float64) + 0.5) / float(RATE))
    span = COLUMNS * STRIDE
    moves = [np.std(opening[i : i + span]) for i in range(max(frames - span, 0) + 1)]
    return int(np.argmax(moves))


def before_after(before: Path, after: Path, landmarks: Floats, first: int) -> NDArray[np.uint8]:
    """Return a sheet of the face in two videos at the same moments.

    Args:
        before: the source.
        after: the result; frame k of both shows the same moment.
        landmarks: (T, 478, 3) pixels of the source.
        first: frame to begin with.

    Returns:
        The sheet (height, width, 3) uint8 RGB: a row of each.
    """
    wanted = range(first, min(first + COLUMNS * STRIDE, len(landmarks)), STRIDE)
    rows = [_faces(path, wanted, landmarks) for path in (before, after)]
    return sheet(rows, labels=("before", "after"))


def _faces(path: Path, wanted: range, landmarks: Floats) -> list[NDArray[np.uint8]]:
    cells = []
    for frame in read_video(probe(path)):
        if frame.index >= wanted.stop:
            break
        if frame.index in wanted:
            points = landmarks[frame.index, :, :2]
            low, high = points.min(0), points.max(0)
            centre = (low + high) / 2
            rgb = np.asarray(frame.picture.rgb(), np.uint8)
            at = (float(centre[0]), float(centre[1]))
            cells.append(square(rgb, at, 1.1 * float((high - low).max()), CELL))
    return cells


def _copy_speech(folder: Path) -> Path:
    original = speech_asset(FOREIGN)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copyfile(original, folder / f"speech{original.suffix}"))
    except OSError as cause:
        raise OutputUnwritable(
            f"{folder}: cannot write the demo there ({cause.strerror}); name a folder of your own: "
            "lipwright demo FOLDER"
        ) from cause


def _part(on_progress: OnProgress | None, start: float, stop: float) -> OnProgress | None:
    """Return a listener that shows a part of the work as a part of the whole."""
    if on_progress is None:
        return None

    def listen(progress: Progress) -> None:
        fraction = start + (stop - start) * progress.fraction
        on_progress(
            Progress(
                stage=progress.stage, done=progress.done, total=progress.total, fraction=fraction
            )
        )

    return listen
