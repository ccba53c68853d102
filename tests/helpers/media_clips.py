"""Synthetic clips made with FFmpeg's libraries, each with one peculiarity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

MARK = 8  # pixels of one square of the picture's number
BITS = 8


@dataclass(frozen=True, kw_only=True)
class Clip:
    """What a clip is like; frame i shows the number i."""

    frames: int = 12
    size: tuple[int, int] = (96, 64)
    rate: Fraction = Fraction(25)
    codec: str = "libx264"
    pix_fmt: str = "yuv420p"
    times: Sequence[Fraction] | None = None  #: seconds; None: evenly at the rate
    clock: int | None = None  #: ticks per second; None: the rate's
    options: dict[str, str] = field(default_factory=dict)
    context: dict[str, object] = field(default_factory=dict)  #: of the encoder
    rotation: int = 0  #: clockwise degrees to display
    sound: np.ndarray | None = None  #: (n,) float32
    sound_rate: int = 16000
    sound_codec: str | None = None
    sound_start: int = 0  #: samples
    muxer: dict[str, str] = field(default_factory=dict)


def write_clip(path: Path, clip: Clip) -> Path:
    """Write *clip* to *path*."""
    clock = Fraction(clip.clock) if clip.clock else clip.rate
    times = clip.times or [k / clip.rate for k in range(clip.frames)]
    with av.open(str(path), "w", container_options=clip.muxer) as container:
        stream = container.add_stream(clip.codec, rate=clip.rate, options=clip.options)
        stream.width, stream.height = clip.size
        stream.pix_fmt = clip.pix_fmt
        stream.codec_context.time_base = 1 / clock
        for name, value in clip.context.items():
            setattr(stream.codec_context, name, value)
        if clip.rotation:
            stream.set_display_rotation(-clip.rotation)
        voice = _voice(container, clip) if clip.sound is not None else None
        for index, time in enumerate(times):
            frame = numbered_frame(index, clip)
            frame.pts, frame.time_base = round(time * clock), 1 / clock
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if voice is not None:
            _sing(container, voice, clip)
    return path


def write_sound(path: Path, samples: np.ndarray, rate: int, codec: str, channels: int = 1) -> Path:
    """Write (n,) samples, the same on all channels."""
    with av.open(str(path), "w") as container:
        clip = Clip(sound=samples, sound_rate=rate, sound_codec=codec)
        _sing(container, _voice(container, clip, channels), clip, channels)
    return path


def _voice(container, clip: Clip, channels: int = 1):
    codec = clip.sound_codec or container.default_audio_codec
    stream = container.add_stream(codec, rate=clip.sound_rate)
    stream.codec_context.layout = "mono" if channels == 1 else "stereo"
    stream.codec_context.time_base = Fraction(1, clip.sound_rate)
    return stream


def _sing(container, stream, clip: Clip, channels: int = 1) -> None:
    samples = np.tile(clip.sound.astype(np.float32), (channels, 1))
    layout = "mono" if channels == 1 else "stereo"
    for begin in range(0, samples.shape[1], 1024):
        block = np.ascontiguousarray(samples[:, begin : begin + 1024])
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
        frame.sample_rate, frame.pts = clip.sound_rate, clip.sound_start + begin
        frame.time_base = Fraction(1, clip.sound_rate)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def numbered_frame(index: int, clip: Clip) -> av.VideoFrame:
    """A grey frame with its number in black and white squares in the top left corner."""
    width, height = clip.size
    canvas = np.full((height, width, 3), 96, np.uint8)
    canvas[:, width // 2 :] = (150, 110, 90)
    for bit in range(BITS):
        y, x = divmod(bit, 4)
        square = canvas[y * MARK : (y + 1) * MARK, x * MARK : (x + 1) * MARK]
        square[:] = 235 if index >> bit & 1 else 20
    frame = av.VideoFrame.from_ndarray(canvas, format="rgb24")
    return frame if clip.pix_fmt == "rgb24" else frame.reformat(format=clip.pix_fmt)


def number_of(rgb: np.ndarray) -> int:
    """Read the number of a (h, w, 3) picture that `numbered_frame` made."""
    levels = rgb.astype(float).mean(2) / (255 if rgb.dtype == np.uint8 else 1023)
    return sum(
        1 << bit
        for bit in range(BITS)
        if levels[bit // 4 * MARK + MARK // 2, bit % 4 * MARK + MARK // 2] > 0.5
    )


def noise(seconds: float, rate: int, seed: int = 0) -> np.ndarray:
    """Speech-like noise: (n,) float32 in -0.8..0.8, 80 Hz to 5 kHz."""
    count = round(seconds * rate)
    spectrum = np.fft.rfft(np.random.default_rng(seed).normal(size=count))
    pitch = np.fft.rfftfreq(count, 1 / rate)
    spectrum[(pitch < 80) | (pitch > min(5000, 0.35 * rate))] = 0
    sound = np.fft.irfft(spectrum, count)
    swell = 0.3 + 0.7 * np.sin(np.pi * 1.7 * np.arange(count) / rate) ** 2
    return (0.8 * swell * sound / np.abs(sound).max()).astype(np.float32)


def lag(heard: np.ndarray, said: np.ndarray) -> float:
    """Samples by which *heard* comes later than *said*, to a fraction (cross-correlation)."""
    count = 1 << (2 * max(len(heard), len(said)) - 1).bit_length()
    product = np.fft.rfft(heard, count) * np.conj(np.fft.rfft(said, count))
    match = np.fft.irfft(product, count)
    peak = int(np.argmax(match))
    before, at, after = match[peak - 1], match[peak], match[(peak + 1) % count]
    offset = (before - after) / (2 * (before - 2 * at + after))
    return float((peak if peak < count // 2 else peak - count) + offset)
