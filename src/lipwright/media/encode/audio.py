"""Encode the audio stream of a result: an exact number of samples, interleaved with the video."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from fractions import Fraction
from typing import cast

import av
import numpy as np
from av.container import OutputContainer

from lipwright.media.decode.audio import Samples, iter_channels
from lipwright.media.encode.encoder_settings import AudioEncoderSettings
from lipwright.media.probe import MediaInfo

BLOCK_SAMPLES = 1024  # samples per frame passed to the encoder


class AudioTrackEncoder:
    """Encodes audio, cut or padded with silence to *total* samples per channel."""

    def __init__(
        self,
        container: OutputContainer,
        source: MediaInfo,
        settings: AudioEncoderSettings,
        total: int,
    ) -> None:
        self._rate = settings.sample_rate
        self._layout = settings.layout
        self._total = total
        self._sent = 0
        self._buffer = _SampleBuffer(iter_channels(source, rate=self._rate, layout=self._layout))
        options = {"b": str(settings.bit_rate)} if settings.bit_rate else {}
        self._stream = cast(
            av.AudioStream,
            container.add_stream(settings.codec, rate=self._rate, options=options),
        )
        self._stream.codec_context.layout = self._layout
        self._stream.codec_context.time_base = Fraction(1, self._rate)
        self._channels = av.AudioLayout(self._layout).nb_channels

    def encode_until(self, time: Fraction) -> Iterator[av.Packet[av.AudioStream]]:
        """Yield the packets up to *time*, seconds."""
        end = min(self._total, int(time * self._rate))
        while self._sent < end:
            yield from self._encode(min(BLOCK_SAMPLES, self._total - self._sent))

    def finish(self) -> Iterator[av.Packet[av.AudioStream]]:
        """Yield all remaining packets."""
        while self._sent < self._total:
            yield from self._encode(min(BLOCK_SAMPLES, self._total - self._sent))
        yield from self._stream.encode(None)
        self.close()

    def close(self) -> None:
        """Close the source."""
        self._buffer.close()

    def _encode(self, count: int) -> list[av.Packet[av.AudioStream]]:
        samples = self._buffer.take(self._channels, count)
        # Packed samples: PyAV reads past the end of exactly eight planes.
        packed = np.ascontiguousarray(samples.T).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=self._layout)
        frame.sample_rate = self._rate
        frame.time_base = Fraction(1, self._rate)
        frame.pts = self._sent
        self._sent += count
        return self._stream.encode(frame)


class _SampleBuffer:
    """Returns blocks of the requested size from chunks of any size, then silence."""

    def __init__(self, chunks: Generator[Samples]) -> None:
        self._chunks = chunks
        self._pending: list[Samples] = []
        self._count = 0

    def take(self, channels: int, count: int) -> Samples:
        """Return the next (channels, count) samples."""
        while self._count < count and (chunk := next(self._chunks, None)) is not None:
            self._pending.append(chunk)
            self._count += chunk.shape[1]
        joined = np.concatenate([np.zeros((channels, 0), np.float32), *self._pending], axis=1)
        self._pending = [joined[:, count:]]
        self._count = self._pending[0].shape[1]
        missing = max(0, count - joined.shape[1])
        return np.ascontiguousarray(np.pad(joined[:, :count], ((0, 0), (0, missing))))

    def close(self) -> None:
        self._chunks.close()
