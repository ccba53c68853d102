"""Write synthetic test clips with numbered frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

SQUARE = 8  # pixels of one square, which shows one bit of the frame number
BITS = 8


@dataclass(frozen=True, kw_only=True)
class ClipSpec:
    """Properties of a clip; frame i shows the number i."""

    frames: int = 12
    size: tuple[int, int] = (96, 64)
    rate: Fraction = Fraction(25)
    codec: str = "libx264"
    pix_fmt: str = "yuv420p"
    times: Sequence[Fraction] | None = None  #: seconds; None: evenly spaced at the rate
    clock: int | None = None  #: ticks per second; None: the frame rate
    options: dict[str, str] = field(default_factory=dict)
    context: dict[str, object] = field(default_factory=dict)  #: attributes of the codec context
    rotation: int = 0  #: clockwise degrees to display
    sound: np.ndarray | None = None  #: (n,) float32
    sound_rate: int = 16000
    sound_codec: str | None = None
    sound_start: int = 0  #: samples
    muxer: dict[str, str] = field(default_factory=dict)


def write_clip(path: Path, clip: ClipSpec) -> Path:
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
        audio_stream = _add_audio_stream(container, clip) if clip.sound is not None else None
        for index, time in enumerate(times):
            frame = numbered_frame(index, clip)
            frame.pts, frame.time_base = round(time * clock), 1 / clock
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if audio_stream is not None:
            _encode_audio(container, audio_stream, clip)
    return path


def write_sound(path: Path, samples: np.ndarray, rate: int, codec: str, channels: int = 1) -> Path:
    """Write (n,) samples to all channels of an audio file."""
    with av.open(str(path), "w") as container:
        clip = ClipSpec(sound=samples, sound_rate=rate, sound_codec=codec)
        _encode_audio(container, _add_audio_stream(container, clip, channels), clip, channels)
    return path


def _add_audio_stream(container, clip: ClipSpec, channels: int = 1):
    codec = clip.sound_codec or container.default_audio_codec
    stream = container.add_stream(codec, rate=clip.sound_rate)
    stream.codec_context.layout = "mono" if channels == 1 else "stereo"
    stream.codec_context.time_base = Fraction(1, clip.sound_rate)
    return stream


def _encode_audio(container, stream, clip: ClipSpec, channels: int = 1) -> None:
    samples = np.tile(clip.sound.astype(np.float32), (channels, 1))
    layout = "mono" if channels == 1 else "stereo"
    for begin in range(0, samples.shape[1], 1024):
        block = np.ascontiguousarray(samples[:, begin : begin + 1024])
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
        frame.sample_rate, frame.pts = clip.sound_rate, clip.sound_start + begin
        frame.time_base = Fraction(1, clip.sound_rate)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def numbered_frame(index: int, clip: ClipSpec) -> av.VideoFrame:
    """Return a grey frame with its number as black and white squares in the top left corner."""
    width, height = clip.size
    canvas = np.full((height, width, 3), 96, np.uint8)
    canvas[:, width // 2 :] = (150, 110, 90)
    for bit in range(BITS):
        y, x = divmod(bit, 4)
        square = canvas[y * SQUARE : (y + 1) * SQUARE, x * SQUARE : (x + 1) * SQUARE]
        square[:] = 235 if index >> bit & 1 else 20
    frame = av.VideoFrame.from_ndarray(canvas, format="rgb24")
    return frame if clip.pix_fmt == "rgb24" else frame.reformat(format=clip.pix_fmt)


def number_of(rgb: np.ndarray) -> int:
    """Read the number of an (h, w, 3) image from `numbered_frame`."""
    levels = rgb.astype(float).mean(2) / (255 if rgb.dtype == np.uint8 else 1023)
    return sum(
        1 << bit
        for bit in range(BITS)
        if levels[bit // 4 * SQUARE + SQUARE // 2, bit % 4 * SQUARE + SQUARE // 2] > 0.5
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


def lag(delayed: np.ndarray, reference: np.ndarray) -> float:
    """Return the delay of *delayed* against *reference* in samples (cross-correlation)."""
    count = 1 << (2 * max(len(delayed), len(reference)) - 1).bit_length()
    product = np.fft.rfft(delayed, count) * np.conj(np.fft.rfft(reference, count))
    match = np.fft.irfft(product, count)
    peak = int(np.argmax(match))
    before, at, after = match[peak - 1], match[peak], match[(peak + 1) % count]
    offset = (before - after) / (2 * (before - 2 * at + after))
    return float((peak if peak < count // 2 else peak - count) + offset)
