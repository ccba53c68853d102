"""Decode audio to float32 samples: gaps filled, resampled, in constant memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from lipwright.errors import MediaUnreadable
from lipwright.media.decode.channel_mix import (
    MAX_LOSS,
    ChannelLevels,
    MonoMixer,
    is_unordered,
    plain_mix,
)
from lipwright.media.inspect.container import open_input, translate_errors
from lipwright.media.inspect.packet_scan import MAX_GAP, MIN_GAP
from lipwright.media.probe import AudioInfo, MediaInfo, probe, require_audio
from lipwright.types import Floats

Samples = Floats  #: (n,) or (channels, n), -1 to 1
OnDamage = Callable[[], object]
LFE_CHANNELS = {"LFE", "LFE2"}  # FFmpeg's names of low-frequency channels


def read_audio(
    source: MediaInfo | str | Path,
    *,
    rate: int = 16000,
    align_to_video: bool = False,
    max_seconds: float = math.inf,
) -> Samples:
    """Return the audio of *source* as (n,) float32 mono.

    Args:
        source: A file, or what `probe` returned for it.
        rate: Sample rate of the result, hertz.
        align_to_video: Start at the time of the first video frame, by prepending silence or
            dropping samples, instead of at the first real sample.
        max_seconds: Longest duration to read.

    Raises:
        SourceUnreachable: The file does not exist or cannot be opened.
        MediaUnreadable: The file cannot be decoded, or has no audio.
    """
    info = source if isinstance(source, MediaInfo) else probe(source)
    lead = 0
    if align_to_video and info.video is not None:
        lead = round((require_audio(info).start - info.video.start) * rate)
    chunks, remaining = [np.zeros(0, np.float32)], max_seconds * rate - lead
    for chunk in iter_audio(info, rate=rate):
        chunks.append(chunk)
        remaining -= len(chunk)
        if remaining <= 0:
            break
    samples = np.concatenate(chunks)
    samples = np.pad(samples, (lead, 0)) if lead > 0 else samples[-lead:]
    return samples if math.isinf(max_seconds) else samples[: round(max_seconds * rate)]


def iter_audio(
    source: MediaInfo | str | Path, *, rate: int = 16000, on_damage: OnDamage | None = None
) -> Iterator[Samples]:
    """Yield the audio of *source* in chunks of (n,) float32 mono at *rate* hertz.

    Where the channels cancel in their mix, the loudest is taken; see
    :mod:`lipwright.media.decode.channel_mix`.

    Args:
        source: A file, or what `probe` returned for it.
        rate: Sample rate of the result, hertz.
        on_damage: Called for each packet that cannot be decoded; it becomes silence.

    Raises:
        SourceUnreachable: The file does not exist or cannot be opened.
        MediaUnreadable: The file cannot be decoded, or has no audio.
    """
    info = source if isinstance(source, MediaInfo) else probe(source)
    return _up_to_duration(info, rate, _iter_mono(info, rate, on_damage))


def iter_channels(info: MediaInfo, *, rate: int, layout: str) -> Generator[Samples]:
    """Yield the audio of *info* in chunks of (channels, n) float32 at *rate* hertz.

    Encoder delay and padding are dropped; gaps in the timestamps, and a lead, become silence.

    Args:
        info: The probed file.
        rate: Sample rate of the result, hertz.
        layout: FFmpeg's name of the channel layout, such as ``mono`` or ``5.1``.

    Raises:
        SourceUnreachable: The file no longer exists.
        MediaUnreadable: The file has no audio, or none of it can be decoded.
    """
    return _up_to_duration(info, rate, _iter_layout(info, rate, layout))


def _up_to_duration(info: MediaInfo, rate: int, chunks: Iterator[Samples]) -> Generator[Samples]:
    """Yield chunks (n,) or (channels, n) up to the duration of the audio."""
    audio = require_audio(info)
    total = remaining = round(audio.duration * rate) - round(audio.lead * rate)
    for chunk in chunks:
        if remaining == total and audio.lead:
            yield np.zeros((*chunk.shape[:-1], round(audio.lead * rate)), np.float32)
        yield chunk[..., :remaining]
        remaining -= chunk.shape[-1]
        if remaining <= 0:
            return
    if remaining == total:
        raise MediaUnreadable(
            f"{info.path} has an audio stream, but nothing in it can be decoded: it may be damaged "
            "or protected; use another recording"
        )


def _iter_mono(info: MediaInfo, rate: int, on_damage: OnDamage | None) -> Iterator[Samples]:
    """Yield chunks (n,): the mix of the channels, or the loudest where it cancels."""
    audio = require_audio(info)
    if audio.channels == 1:
        for (mono,) in _resample(info, Resampler(rate, "mono"), on_damage=on_damage):
            yield mono[0]
        return
    mixer, plain = MonoMixer(rate), audio.channels > 2 and is_unordered(audio.layout)
    resamplers = Resampler(rate, None), Resampler(rate, "mono")
    for kept, mix in _resample(info, *resamplers, on_damage=on_damage):
        yield from mixer.feed(kept.mean(0) if plain else mix[0], kept)
    yield from mixer.finish()


def _iter_layout(info: MediaInfo, rate: int, layout: str) -> Iterator[Samples]:
    """Yield chunks (channels, n) in a layout; channels that it would lose are mixed plainly."""
    audio = require_audio(info)
    if audio.channels > 2:
        levels = ChannelLevels.measure(
            _resample(info, Resampler(rate, None), Resampler(rate, layout)), audio.channels
        )
        if is_unordered(audio.layout) or levels.mix_loses or _only_lfe(audio, levels):
            places = _voice_places(layout)
            for (kept,) in _resample(info, Resampler(rate, None)):
                yield plain_mix(kept, levels) * places
            return
    for (chunk,) in _resample(info, Resampler(rate, layout)):
        yield chunk


def _only_lfe(audio: AudioInfo, levels: ChannelLevels) -> bool:
    """Whether the low-frequency channel, which codecs cut at about 100 Hz, holds the sound."""
    names = [channel.name for channel in av.AudioLayout(audio.layout).channels]
    is_lfe = np.array([name in LFE_CHANNELS for name in names])
    others = float(levels.powers[~is_lfe].max(initial=0.0))
    return bool(is_lfe.any()) and others < MAX_LOSS * float(levels.powers[is_lfe].max(initial=0.0))


def _voice_places(layout: str) -> Samples:
    """Return the gain (channels, 1) of one voice in each channel: in the centre, or in all."""
    names = [channel.name for channel in av.AudioLayout(layout).channels]
    places = [float(name == "FC" or "FC" not in names) for name in names]
    return np.array(places, np.float32)[:, None]


def _resample(
    info: MediaInfo, *resamplers: Resampler, on_damage: OnDamage | None = None
) -> Iterator[tuple[Samples, ...]]:
    """Yield all decoded samples, with silence in the gaps: a chunk (channels, n) by resampler."""
    audio = require_audio(info)
    gaps = _GapDetector()
    with open_input(info.path) as container, translate_errors(info.path):
        stream = container.streams[audio.stream]
        assert isinstance(stream, av.AudioStream)
        stream.codec_context.thread_type = "AUTO"
        for frame in _decode(container, stream, on_damage):
            gap = gaps.gap_before(frame)
            if gap:
                yield tuple(resampler.silence(gap) for resampler in resamplers)
            yield tuple(resampler.feed(frame) for resampler in resamplers)
        yield tuple(resampler.feed(None) for resampler in resamplers)


class _GapDetector:
    """Finds gaps by comparing the sample count with the timestamps."""

    def __init__(self) -> None:
        self._next: Fraction | None = None  # expected time of the next sample on the file's clock

    def gap_before(self, frame: av.AudioFrame) -> Fraction:
        """Return the seconds of audio that are missing before *frame*."""
        length = Fraction(frame.samples, frame.sample_rate)
        if frame.pts is None or frame.time_base is None:
            self._next = None if self._next is None else self._next + length
            return Fraction(0)
        start = frame.pts * frame.time_base
        late = Fraction(0) if self._next is None else start - self._next
        if abs(late) < MIN_GAP and self._next is not None:
            self._next += length  # timestamps are rounded, the count is exact
            return Fraction(0)
        self._next = start + length
        return late if MIN_GAP <= late <= MAX_GAP else Fraction(0)


class Resampler:
    """Converts decoded frames to float32 of one rate and layout; the input may change."""

    def __init__(self, rate: int, layout: str | None) -> None:
        """Convert to a rate in hertz and a layout; None keeps the layout of the input."""
        self._rate = rate
        self._layout = None if layout is None else av.AudioLayout(layout)
        self._channels = 1 if self._layout is None else self._layout.nb_channels
        self._resampler: av.AudioResampler | None = None
        self._format: tuple[str, str, int] | None = None  # sample format, layout, rate of the input

    def feed(self, frame: av.AudioFrame | None) -> Samples:
        """Return the output (channels, n) for *frame*; None flushes the end."""
        format_ = (
            None if frame is None else (frame.format.name, frame.layout.name, frame.sample_rate)
        )
        chunks: list[Samples] = []
        if self._resampler is not None and format_ != self._format:
            chunks += self._resample(None)
            self._resampler = None
        if frame is not None:
            if self._resampler is None:
                self._format = format_
                self._resampler = av.AudioResampler("flt", self._layout, self._rate)
            frame.pts = None  # the resampler must not insert samples by timestamp
            chunks += self._resample(frame)
        # After a change of the input the end of the old one has other channels: it is dropped.
        chunks = [chunk for chunk in chunks if len(chunk) == len(chunks[-1])]
        if not chunks:
            return np.zeros((self._channels, 0), np.float32)
        self._channels = len(chunks[-1])
        return np.concatenate(chunks, axis=1)

    def silence(self, seconds: Fraction) -> Samples:
        """Return (channels, n) zeros."""
        return np.zeros((self._channels, round(seconds * self._rate)), np.float32)

    def _resample(self, frame: av.AudioFrame | None) -> Iterator[Samples]:
        assert self._resampler is not None
        for out in self._resampler.resample(frame):
            # Packed samples: PyAV reads past the end of exactly eight planes.
            samples = out.to_ndarray().reshape(-1, out.layout.nb_channels).T
            if samples.size:
                yield np.ascontiguousarray(samples, np.float32)


def _decode(
    container: av.container.InputContainer, stream: av.AudioStream, on_damage: OnDamage | None
) -> Iterator[av.AudioFrame]:
    """Yield the frames of *stream*; skip damaged packets, which leave a gap."""
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            if on_damage is not None:
                on_damage()
            continue
        yield from frames
