"""Encode the new speech beside the pictures: exactly so many samples, from the first real one."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from fractions import Fraction
from typing import cast

import av
import numpy as np
from av.container import OutputContainer

from lipwright.media.decode.audio import Samples, iter_channels
from lipwright.media.encode.spec import AudioEncoding
from lipwright.media.probe import MediaInfo

BLOCK = 1024  # samples handed to the encoder at a time


class VoiceTrack:
    """The sound stream of a result: cut or padded with silence to *total* samples."""

    def __init__(
        self, container: OutputContainer, source: MediaInfo, encoding: AudioEncoding, total: int
    ) -> None:
        self._rate = encoding.sample_rate
        self._layout = encoding.layout
        self._total = total
        self._sent = 0
        self._feed = _Feed(iter_channels(source, rate=self._rate, layout=self._layout))
        options = {"b": str(encoding.bit_rate)} if encoding.bit_rate else {}
        self._stream = cast(
            av.AudioStream,
            container.add_stream(encoding.codec, rate=self._rate, options=options),
        )
        self._stream.codec_context.layout = self._layout
        self._stream.codec_context.time_base = Fraction(1, self._rate)
        self._channels = av.AudioLayout(self._layout).nb_channels

    def until(self, time: Fraction) -> Iterator[av.Packet[av.AudioStream]]:
        """Yield the packets of the sound up to *time*, seconds."""
        end = min(self._total, int(time * self._rate))
        while self._sent < end:
            yield from self._encode(min(BLOCK, self._total - self._sent))

    def finish(self) -> Iterator[av.Packet[av.AudioStream]]:
        """Yield all packets that are left."""
        while self._sent < self._total:
            yield from self._encode(min(BLOCK, self._total - self._sent))
        yield from self._stream.encode(None)
        self.close()

    def close(self) -> None:
        """Close the source."""
        self._feed.close()

    def _encode(self, count: int) -> list[av.Packet[av.AudioStream]]:
        samples = self._feed.take(self._channels, count)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=self._layout)
        frame.sample_rate = self._rate
        frame.time_base = Fraction(1, self._rate)
        frame.pts = self._sent
        self._sent += count
        return self._stream.encode(frame)


class _Feed:
    """Cuts chunks of any length into those asked for; after the end comes silence."""

    def __init__(self, chunks: Generator[Samples]) -> None:
        self._chunks = chunks
        self._waiting: list[Samples] = []
        self._count = 0

    def take(self, channels: int, count: int) -> Samples:
        """Return the next (channels, count) samples."""
        while self._count < count and (chunk := next(self._chunks, None)) is not None:
            self._waiting.append(chunk)
            self._count += chunk.shape[1]
        joined = np.concatenate([np.zeros((channels, 0), np.float32), *self._waiting], axis=1)
        self._waiting = [joined[:, count:]]
        self._count = self._waiting[0].shape[1]
        missing = max(0, count - joined.shape[1])
        return np.ascontiguousarray(np.pad(joined[:, :count], ((0, 0), (0, missing))))

    def close(self) -> None:
        self._chunks.close()
