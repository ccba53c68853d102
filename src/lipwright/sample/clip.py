"""Write a synthetic talking clip and its ground truth."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from importlib.resources import files
from pathlib import Path

import numpy as np

from lipwright.errors import InvalidOptions
from lipwright.face import canonical
from lipwright.media.decode.audio import read_audio
from lipwright.media.encode.mux import VideoWriter
from lipwright.media.picture import Picture
from lipwright.media.probe import VideoInfo, probe, require_audio
from lipwright.media.timeline import plan_timeline
from lipwright.options import SyncMode
from lipwright.progress import CancelToken, OnProgress, Progress
from lipwright.runtime.atomic_file import atomic_file
from lipwright.sample.curves import SAMPLE_RATE, head_motion, mouth_curves, mouth_displacements
from lipwright.sample.portrait import AnimatedPortrait
from lipwright.types import Floats, Rgb

MIN_SIDE, MAX_SIDE = 64, 4096  # pixels of the sample's width and height
MIN_RATE, MAX_RATE = 1, 240  # frames per second
MAX_SECONDS = 3600
GRAIN = 1.2  # standard deviation in 8-bit units, of a good camera in daylight


@dataclass(frozen=True, kw_only=True)
class SampleTruth:
    """The ground truth of a synthetic clip."""

    path: Path  #: the clip
    truth_path: Path  #: the .npz file with the arrays below
    rate: Fraction  #: frames per second
    opening: Floats  #: (T,) distance of the inner lips, inter-ocular distances
    width: Floats  #: (T,) distance of the mouth corners, inter-ocular distances
    landmarks: Floats  #: (T, 478, 3) pixels

    @property
    def frames(self) -> int:
        """Number of frames T."""
        return len(self.opening)

    def summary(self) -> dict[str, object]:
        """Return the clip and its curves as plain values."""
        return {
            "path": str(self.path),
            "truth_path": str(self.truth_path),
            "frames": self.frames,
            "rate": f"{self.rate.numerator}/{self.rate.denominator}",
            "opening": [round(float(value), 4) for value in self.opening],
            "width": [round(float(value), 4) for value in self.width],
        }


def make_sample(
    out: str | Path,
    *,
    seconds: float | None = None,
    size: tuple[int, int] = (1280, 720),
    rate: Fraction = Fraction(25),
    seed: int = 0,
    audio: str | Path | None = None,
    on_progress: OnProgress | None = None,
    cancel: CancelToken | None = None,
) -> SampleTruth:
    """Write a talking clip with known mouth curves, and its ground truth beside it.

    Args:
        out: the video to write; the truth goes to ``<name>.truth.npz`` in the same folder.
        seconds: length; None: the length of the audio. After the audio there is silence.
        size: width and height in pixels, 64 to 4096.
        rate: frames per second, 1 to 240.
        seed: of head motion and grain.
        audio: speech to follow; None: the English recording that comes with Lipwright.
        on_progress: called after each frame.
        cancel: stops before the next frame and leaves no file behind.

    Raises:
        InvalidOptions: size, rate or length is out of range.
        SourceUnreachable, MediaUnreadable: the audio cannot be used.
        OutputUnwritable, EncodeFailed: the clip cannot be written.
        Cancelled: *cancel* was set.
    """
    _check_options(seconds, size, rate)
    out = Path(out)
    speech = probe(audio or speech_asset("en"))
    audio_length = require_audio(speech).duration
    length = audio_length if seconds is None else Fraction(seconds).limit_denominator(1000)
    mode = SyncMode.SILENCE if length > audio_length else SyncMode.CUT_OFF
    timeline = plan_timeline(mode, video=length, audio=audio_length, rate=rate)
    times = (np.arange(timeline.frames, dtype=np.float64) + 0.5) / float(rate)
    portrait = AnimatedPortrait(size=size)
    opening, width = mouth_curves(read_audio(speech, rate=SAMPLE_RATE), times)
    moves = mouth_displacements(portrait.mouth, opening, width)
    sways = head_motion(times, portrait.unit, portrait.centre, seed)
    frames = list(zip(moves, sways, strict=True))
    grain = np.random.default_rng(seed)
    like = _video_info(size, rate, length)
    with VideoWriter(out, like=like, timeline=timeline, audio=speech) as writer:
        for index, (move, sway) in enumerate(frames):
            if cancel is not None:
                cancel.raise_if_cancelled()
            writer.write(Picture.from_rgb(_add_grain(portrait.draw(move, sway), grain)))
            if on_progress is not None:
                on_progress(_progress(index + 1, len(frames)))
    landmarks = np.stack([portrait.landmarks(move, sway) for move, sway in frames])
    return _write_truth(out, rate, landmarks)


def speech_asset(language: str) -> Path:
    """Return the path of the recording in *language* that comes with Lipwright."""
    return Path(str(files("lipwright") / "assets" / f"speech_{language}.flac"))


def _check_options(seconds: float | None, size: tuple[int, int], rate: Fraction) -> None:
    if not all(MIN_SIDE <= side <= MAX_SIDE for side in size):
        raise InvalidOptions(
            f"size {size[0]}x{size[1]} is out of range: use {MIN_SIDE} to {MAX_SIDE} pixels a side"
        )
    if not MIN_RATE <= rate <= MAX_RATE:
        raise InvalidOptions(
            f"rate {rate} is out of range: use {MIN_RATE} to {MAX_RATE} frames per second"
        )
    if seconds is not None and not 0 < seconds <= MAX_SECONDS:
        raise InvalidOptions(
            f"{seconds} seconds is out of range: use more than 0, at most {MAX_SECONDS}"
        )


def _progress(done: int, total: int) -> Progress:
    return Progress(stage="sample", done=done, total=total, fraction=done / total)


def _add_grain(rgb: Rgb, random: np.random.Generator) -> Rgb:
    """Add a camera's noise to a frame (h, w, 3), the same in all channels."""
    noise = random.standard_normal(rgb.shape[:2], np.float32)[..., None]
    return np.clip(rgb + GRAIN * noise + 0.5, 0, 255).astype(np.uint8)


def _video_info(size: tuple[int, int], rate: Fraction, duration: Fraction) -> VideoInfo:
    """Return the format of the clip: 8-bit H.264 in limited range BT.709."""
    return VideoInfo(
        width=size[0],
        height=size[1],
        rate=rate,
        variable_rate=False,
        duration=duration,
        frames=None,
        rotation=0,
        sample_aspect=Fraction(1),
        codec="h264",
        pix_fmt="yuv420p",
        bit_depth=8,
        color_range=1,  # limited
        color_primaries=1,  # BT.709, as the two below
        color_trc=1,
        colorspace=1,
    )


def _write_truth(out: Path, rate: Fraction, landmarks: Floats) -> SampleTruth:
    mouths = canonical.mouth_shapes(landmarks)
    truth = SampleTruth(
        path=out,
        truth_path=out.with_suffix(".truth.npz"),
        rate=rate,
        opening=canonical.mouth_opening(mouths),
        width=canonical.mouth_width(mouths),
        landmarks=landmarks,
    )
    with atomic_file(truth.truth_path) as file:
        np.savez_compressed(
            file,
            rate=np.array([rate.numerator, rate.denominator]),
            opening=truth.opening,
            width=truth.width,
            landmarks=truth.landmarks,
        )
    return truth
