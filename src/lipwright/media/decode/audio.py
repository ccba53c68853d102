"""Decode audio to float32 samples: gaps filled, resampled, in constant memory."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from lipwright.errors import MediaUnreadable
from lipwright.media.container import open_input, translate_errors
from lipwright.media.packet_scan import MAX_GAP, MIN_GAP
from lipwright.media.probe import MediaInfo, probe, require_audio
from lipwright.types import Floats

Samples = Floats  #: (n,) or (channels, n), -1 to 1


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


def iter_audio(source: MediaInfo | str | Path, *, rate: int = 16000) -> Iterator[Samples]:
    """Yield the audio of *source* in chunks of (n,) float32 mono at *rate* hertz.

    Raises:
        SourceUnreachable: The file does not exist or cannot be opened.
        MediaUnreadable: The file cannot be decoded, or has no audio.
    """
    info = source if isinstance(source, MediaInfo) else probe(source)
    return (chunk[0] for chunk in iter_channels(info, rate=rate, layout="mono"))


def iter_channels(info: MediaInfo, *, rate: int, layout: str) -> Generator[Samples]:
    """Yield the audio of *info* in chunks of (channels, n) float32 at *rate* hertz.

    Encoder delay and padding are dropped; gaps in the timestamps become silence.

    Args:
        info: The probed file.
        rate: Sample rate of the result, hertz.
        layout: FFmpeg's name of the channel layout, such as ``mono`` or ``5.1``.

    Raises:
        SourceUnreachable: The file no longer exists.
        MediaUnreadable: The file has no audio, or none of it can be decoded.
    """
    total = remaining = round(require_audio(info).duration * rate)
    for chunk in _decode_and_resample(info, rate, layout):
        yield chunk[:, :remaining]
        remaining -= chunk.shape[1]
        if remaining <= 0:
            return
    if remaining == total:
        raise MediaUnreadable(
            f"{info.path} has an audio stream, but nothing in it can be decoded: it may be damaged "
            "or protected; use another recording"
        )


def _decode_and_resample(info: MediaInfo, rate: int, layout: str) -> Iterator[Samples]:
    """Yield all decoded samples, with silence in the gaps."""
    audio = require_audio(info)
    gaps = _GapDetector()
    resampler = Resampler(rate, layout)
    with open_input(info.path) as container, translate_errors(info.path):
        stream = container.streams[audio.stream]
        assert isinstance(stream, av.AudioStream)
        stream.codec_context.thread_type = "AUTO"
        for frame in _decode(container, stream):
            gap = gaps.gap_before(frame)
            if gap:
                yield resampler.silence(gap)
            yield from resampler.feed(frame)
        yield from resampler.feed(None)


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
    """Converts decoded frames to float32 chunks of one rate and layout; the input may change."""

    def __init__(self, rate: int, layout: str) -> None:
        self._rate = rate
        self._layout = av.AudioLayout(layout)
        self._resampler: av.AudioResampler | None = None
        self._format: tuple[str, str, int] | None = None  # sample format, layout, rate of the input

    def feed(self, frame: av.AudioFrame | None) -> Iterator[Samples]:
        """Yield the (channels, n) output for *frame*; None flushes the end."""
        format_ = (
            None if frame is None else (frame.format.name, frame.layout.name, frame.sample_rate)
        )
        if self._resampler is not None and format_ != self._format:
            yield from self._resample(None)
            self._resampler = None
        if frame is None:
            return
        if self._resampler is None:
            self._format = format_
            self._resampler = av.AudioResampler("fltp", self._layout, self._rate)
        frame.pts = None  # the resampler must not insert samples by timestamp
        yield from self._resample(frame)

    def silence(self, seconds: Fraction) -> Samples:
        """Return (channels, n) zeros."""
        return np.zeros((self._layout.nb_channels, round(seconds * self._rate)), np.float32)

    def _resample(self, frame: av.AudioFrame | None) -> Iterator[Samples]:
        assert self._resampler is not None
        for out in self._resampler.resample(frame):
            samples = out.to_ndarray()
            if samples.size:
                yield samples.astype(np.float32, copy=False)


def _decode(
    container: av.container.InputContainer, stream: av.AudioStream
) -> Iterator[av.AudioFrame]:
    """Yield the frames of *stream*; skip damaged packets, which leave a gap."""
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            continue
        yield from frames
