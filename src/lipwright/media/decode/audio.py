"""Samples of a sound: decoded, gaps filled, resampled, in constant memory."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from lipwright.errors import MediaUnreadable
from lipwright.media.container import open_input, translated
from lipwright.media.packets import GAP, LONGEST_GAP
from lipwright.media.probe import MediaInfo, probe, require_audio

Samples = npt.NDArray[np.float32]  #: -1..1


def read_audio(
    source: MediaInfo | str | Path,
    *,
    rate: int = 16000,
    from_picture: bool = False,
    seconds: float = math.inf,
) -> Samples:
    """Return the sound of *source* as (n,) float32 mono at *rate*.

    Sample 0 is the first real sample of the sound; with *from_picture*, what is heard with the
    first frame of the video (silence is put before, or sound left out). At most *seconds* of it
    are read, or all.

    Raises:
        SourceUnreachable: there is no such file.
        MediaUnreadable: it cannot be decoded, or has no sound.
    """
    info = source if isinstance(source, MediaInfo) else probe(source)
    lead = 0
    if from_picture and info.video is not None:
        lead = round((require_audio(info).start - info.video.start) * rate)
    parts, left = [np.zeros(0, np.float32)], seconds * rate - lead
    for part in iter_audio(info, rate=rate):
        parts.append(part)
        left -= len(part)
        if left <= 0:
            break
    samples = np.concatenate(parts)
    samples = np.pad(samples, (lead, 0)) if lead > 0 else samples[-lead:]
    return samples if math.isinf(seconds) else samples[: round(seconds * rate)]


def iter_audio(source: MediaInfo | str | Path, *, rate: int = 16000) -> Iterator[Samples]:
    """Yield the sound of *source* in chunks of (n,) float32 mono at *rate*.

    Raises:
        SourceUnreachable: there is no such file.
        MediaUnreadable: it cannot be decoded, or has no sound.
    """
    info = source if isinstance(source, MediaInfo) else probe(source)
    return (chunk[0] for chunk in iter_channels(info, rate=rate, layout="mono"))


def iter_channels(info: MediaInfo, *, rate: int, layout: str) -> Generator[Samples]:
    """Yield the sound of *info* in chunks of (channels, n) float32 at *rate*.

    Encoder delay and padding are left out; gaps in the timestamps become silence.

    Raises:
        SourceUnreachable: the file is gone.
        MediaUnreadable: it has no sound, or none of it can be decoded.
    """
    total = left = round(require_audio(info).duration * rate)
    for chunk in _resampled(info, rate, layout):
        yield chunk[:, :left]
        left -= chunk.shape[1]
        if left <= 0:
            return
    if left == total:
        raise MediaUnreadable(
            f"{info.path} has a sound track, but nothing in it can be decoded: it may be damaged "
            "or protected; give another recording"
        )


def _resampled(info: MediaInfo, rate: int, layout: str) -> Iterator[Samples]:
    """Yield everything that the decoder yields."""
    audio = require_audio(info)
    clock = _Clock()
    resampler = Resampler(rate, layout)
    with open_input(info.path) as container, translated(info.path):
        stream = container.streams[audio.stream]
        assert isinstance(stream, av.AudioStream)
        stream.codec_context.thread_type = "AUTO"
        for frame in _decoded(container, stream):
            gap = clock.gap_before(frame)
            if gap:
                yield resampler.silence(gap)
            yield from resampler.feed(frame)
        yield from resampler.feed(None)


class _Clock:
    """Counts samples and compares the count with the timestamps."""

    def __init__(self) -> None:
        self._next: Fraction | None = None  # when the next sample is due, on the file's clock

    def gap_before(self, frame: av.AudioFrame) -> Fraction:
        """Return the seconds of sound that are missing before *frame*."""
        length = Fraction(frame.samples, frame.sample_rate)
        if frame.pts is None or frame.time_base is None:
            self._next = None if self._next is None else self._next + length
            return Fraction(0)
        start = frame.pts * frame.time_base
        late = Fraction(0) if self._next is None else start - self._next
        if abs(late) < GAP and self._next is not None:
            self._next += length  # the stamps are rounded, the count is not
            return Fraction(0)
        self._next = start + length
        return late if GAP <= late <= LONGEST_GAP else Fraction(0)


class Resampler:
    """Turns decoded frames into float32 chunks of one rate and layout, whatever comes in."""

    def __init__(self, rate: int, layout: str) -> None:
        self._rate = rate
        self._layout = av.AudioLayout(layout)
        self._resampler: av.AudioResampler | None = None
        self._kind: tuple[str, str, int] | None = None

    def feed(self, frame: av.AudioFrame | None) -> Iterator[Samples]:
        """Yield what comes out for *frame*; None ends the sound."""
        kind = None if frame is None else (frame.format.name, frame.layout.name, frame.sample_rate)
        if self._resampler is not None and kind != self._kind:
            yield from self._run(None)
            self._resampler = None
        if frame is None:
            return
        if self._resampler is None:
            self._kind = kind
            self._resampler = av.AudioResampler("fltp", self._layout, self._rate)
        frame.pts = None  # samples are counted, not timed
        yield from self._run(frame)

    def silence(self, seconds: Fraction) -> Samples:
        """Return (channels, n) zeros."""
        return np.zeros((self._layout.nb_channels, round(seconds * self._rate)), np.float32)

    def _run(self, frame: av.AudioFrame | None) -> Iterator[Samples]:
        assert self._resampler is not None
        for out in self._resampler.resample(frame):
            samples = out.to_ndarray()
            if samples.size:
                yield samples.astype(np.float32, copy=False)


def _decoded(
    container: av.container.InputContainer, stream: av.AudioStream
) -> Iterator[av.AudioFrame]:
    """Yield the frames of *stream*; damaged packets leave a gap."""
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            continue
        yield from frames
