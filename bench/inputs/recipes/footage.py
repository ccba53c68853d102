"""The pictures and the voice that all recipes use, and how they are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.media.decode.audio import read_audio
from lipwright.media.decode.video import read_video
from lipwright.media.probe import probe
from lipwright.sample import make_sample, speech_asset

Rgb = NDArray[np.uint8]
Floats = NDArray[np.float32]
VOICE_RATE = 16_000
SECONDS = 1.2  # of most clips
BIT_RATE = {"b": "96000"}  # of a sound; WMA has no default
SIDE = 192  # pixels of a picture with a face


class Footage:
    """Frames of a talking face, frames of a moving pattern, and a voice."""

    def __init__(self, folder: Path) -> None:
        """Keep files that several cases use in a folder."""
        self._folder = folder

    @cached_property
    def face(self) -> list[Rgb]:
        """Two seconds of a talking face, (SIDE, SIDE, 3), at 25 frames per second."""
        path = self._folder / "face.mp4"
        make_sample(path, seconds=2.0, size=(SIDE, SIDE), rate=Fraction(25))
        return [frame.picture.rgb() for frame in read_video(probe(path))]

    @cached_property
    def voice(self) -> Floats:
        """Two seconds of speech, (n,) at VOICE_RATE."""
        return read_audio(speech_asset("en"), rate=VOICE_RATE)[: 2 * VOICE_RATE]


def pattern(count: int, size: tuple[int, int] = (96, 64)) -> list[Rgb]:
    """Return frames of a moving pattern without a face, each (h, w, 3)."""
    width, height = size
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    frames = []
    for k in range(count):
        channels = (
            128 + 60 * np.sin((x + 3 * k) / 9.0),
            128 + 60 * np.cos((y + 2 * k) / 11.0),
            60 + 40 * np.sin((x + y + k) / 17.0),
        )
        frames.append(np.stack(channels, -1).astype(np.uint8))
    return frames


@dataclass(frozen=True, kw_only=True)
class VideoSpec:
    """How frames are written."""

    codec: str = "libx264"
    pix_fmt: str = "yuv420p"
    rate: Fraction = Fraction(25)
    options: tuple[tuple[str, str], ...] = ()
    audio: str | None = "aac"  #: codec of a sound; None: none
    sound: Floats | None = None  #: (n,) at VOICE_RATE; None: a voice-like noise
    rotation: int | None = None  #: display rotation, degrees
    sample_aspect: Fraction | None = None
    times: Sequence[int] | None = None  #: of the frames, in units of 1/1000 s; None: even
    start: Fraction = Fraction(0)  #: of the picture, seconds
    field_order: str = ""  #: ``tt`` or ``bb``
    metadata: tuple[tuple[str, str], ...] = ()
    format: str | None = None


def write_video(path: Path, frames: Sequence[Rgb], spec: VideoSpec | None = None) -> Path:
    """Write frames (h, w, 3 or 4), and a sound as long as they are."""
    spec = spec or VideoSpec()
    with av.open(str(path), "w", format=spec.format) as container:
        container.metadata.update(dict(spec.metadata))
        options = dict(spec.options)
        if spec.codec == "libx265":
            options["x265-params"] = "log-level=none"
        stream: Any = container.add_stream(spec.codec, rate=spec.rate, options=options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = spec.pix_fmt
        if spec.sample_aspect is not None:
            stream.codec_context.sample_aspect_ratio = spec.sample_aspect
        if spec.rotation is not None:
            stream.set_display_rotation(spec.rotation)
        base = Fraction(1, 1000) if spec.times is not None else 1 / spec.rate
        stream.codec_context.time_base = base
        sound: Any = None
        if spec.audio is not None:
            rate = _rate_of(spec.audio)
            sound = container.add_stream(spec.audio, rate=rate, layout="mono", options=BIT_RATE)
        for k, rgb in enumerate(frames):
            kind = "rgba" if rgb.shape[2] == 4 else "rgb24"
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format=kind)
            frame = frame.reformat(format=spec.pix_fmt)
            frame.time_base = base
            first = round(spec.start / base)
            frame.pts = first + (k if spec.times is None else int(spec.times[k]))
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            seconds = len(frames) / float(spec.rate)
            samples = babble(seconds) if spec.sound is None else spec.sound
            encode_sound(container, sound, samples)
    return path


def _rate_of(codec: str) -> int:
    return (
        48_000 if codec in ("libopus", "mp2", "ac3") else 44_100 if codec == "wmav2" else VOICE_RATE
    )


def babble(seconds: float) -> Floats:
    """Return a voice-like noise (n,) at VOICE_RATE."""
    count = max(1, round(seconds * VOICE_RATE))
    noise = np.random.default_rng(5).normal(0, 0.1, count)
    smooth = np.convolve(noise, np.ones(5) / 5, "same")
    gate = 0.6 + 0.4 * np.sin(np.arange(count) * 2 * np.pi * 4 / VOICE_RATE)
    return (smooth * gate).astype(np.float32)


def encode_sound(
    container: Any, stream: Any, samples: Floats, rate: int = VOICE_RATE, start: float = 0.0
) -> None:
    """Encode mono (n,) samples of *rate* hertz to a stream, from a time on."""
    context = stream.codec_context
    wanted = context.sample_rate
    size = context.frame_size or 1024
    if wanted != rate:
        resampler = av.AudioResampler("flt", "mono", wanted)
        frame = av.AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
        frame.sample_rate = rate
        parts = [
            out.to_ndarray()[0] for given in (frame, None) for out in resampler.resample(given)
        ]
        samples = np.concatenate(parts)
    for at in range(0, len(samples), size):
        part = np.ascontiguousarray(samples[None, at : at + size])
        frame = av.AudioFrame.from_ndarray(part, format="flt", layout="mono")
        frame.sample_rate, frame.time_base = wanted, Fraction(1, wanted)
        frame.pts = round(start * wanted) + at
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def upright(rgb: Rgb, quarter: int) -> Rgb:
    """Return a picture turned by quarters clockwise."""
    return np.ascontiguousarray(np.rot90(rgb, -quarter))


def enlarge(rgb: Rgb, side: int) -> Rgb:
    """Return a square picture in another size."""
    return np.asarray(cv2.resize(rgb, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
