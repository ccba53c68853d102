"""Read the timestamps of every packet of a file, without decoding."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
import numpy.typing as npt

from lipwright.errors import MediaUnreadable
from lipwright.media.container import open_input, translated

GAP = Fraction(1, 10)  # seconds of missing sound that are silence, not rounding
LONGEST_GAP = Fraction(30)  # beyond, the timestamps are wrong rather than the sound missing


@dataclass
class VideoPackets:
    """The picture packets of a stream that are to be shown."""

    pts: list[int] = field(default_factory=list)
    dts: list[int] = field(default_factory=list)
    durations: dict[int, int] = field(default_factory=dict)
    count: int = 0

    def add(self, packet: av.Packet[av.VideoStream]) -> None:
        """Take note of one packet."""
        if packet.is_discard:
            return
        self.count += 1
        if packet.dts is not None:
            self.dts.append(packet.dts)
        if packet.pts is not None:
            self.pts.append(packet.pts)
            self.durations[packet.pts] = packet.duration or 0

    def stamps(self, first: int | None) -> npt.NDArray[np.int64]:
        """Return the presentation times in ticks, ascending, from *first* (the first decoded)."""
        stamps = self.pts if len(self.pts) == self.count else self.dts
        if len(stamps) != self.count:
            stamps = []
        kept = sorted(set(stamps))
        if first is not None and kept and kept[0] <= first <= kept[-1]:
            kept = [stamp for stamp in kept if stamp >= first]
        return np.array(kept, np.int64)


@dataclass
class SoundClock:
    """Adds up the length of a sound from its parts, gaps included."""

    counted: bool  #: whether the lengths are exact samples, rather than the container's rounding
    first: Fraction | None = None  #: seconds on the stream's clock of the first real sample
    length: Fraction = Fraction(0)  #: seconds so far

    def add(self, start: Fraction | None, length: Fraction) -> Fraction:
        """Take note of *length* seconds at *start*; return the silence to insert before."""
        if length <= 0:
            return Fraction(0)
        if self.first is None:
            self.first = start or Fraction(0)
        drift = Fraction(0) if start is None else start - self.first - self.length
        gap = drift if GAP <= drift <= LONGEST_GAP else Fraction(0)
        if not self.counted and abs(drift) < GAP:
            gap = drift  # the stamps do not add up roundings, the lengths do
        self.length += gap + length
        return gap


class PacketSound:
    """The length of a sound from its packets, less the samples that the decoder will drop."""

    def __init__(self, stream: av.AudioStream) -> None:
        self.clock = SoundClock(counted=False)
        self._tick = stream.time_base or Fraction(1, 1000)
        self._rate = stream.codec_context.sample_rate or 1
        self._drop = Fraction(0)  # seconds still to drop: the encoder's delay

    def add(self, packet: av.Packet[av.AudioStream]) -> None:
        """Take note of one packet."""
        length = (packet.duration or 0) * self._tick
        delay, padding = _skipped(packet)
        self._drop = max(self._drop, Fraction(delay, self._rate))
        lost = min(self._drop, length)
        self._drop -= lost
        if packet.is_discard:
            return
        start = None if packet.pts is None else packet.pts * self._tick + lost
        self.clock.add(start, length - lost - Fraction(padding, self._rate))


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What the packets of a file say."""

    video: VideoPackets
    audio: SoundClock | None


def scan(path: Path, video: int | None, audio: int | None) -> Scan:
    """Read every packet of the streams with the indices *video* and *audio*.

    Raises:
        MediaUnreadable: the file is damaged, or ends before its index says.
    """
    with open_input(path) as container, translated(path):
        wanted = [container.streams[i] for i in (video, audio) if i is not None]
        for stream in wanted:
            _check_complete(path, stream)
        pictures, sound = VideoPackets(), None
        if audio is not None:
            sound = PacketSound(cast(av.AudioStream, container.streams[audio]))
        for packet in container.demux(wanted):
            if not packet.size:
                continue  # the end of the file
            if packet.stream_index == video:
                pictures.add(cast("av.Packet[av.VideoStream]", packet))
            elif sound is not None:
                sound.add(cast("av.Packet[av.AudioStream]", packet))
        return Scan(video=pictures, audio=sound.clock if sound else None)


def _skipped(packet: av.Packet[av.AudioStream]) -> tuple[int, int]:
    """Return the samples to drop at the start and the end of what *packet* decodes to."""
    if not packet.has_sidedata("skip_samples"):
        return 0, 0
    start, end = struct.unpack_from("<II", bytes(packet.get_sidedata("skip_samples")))
    return start, end


def _check_complete(path: Path, stream: av.stream.Stream) -> None:
    """Refuse a file that is shorter than the index at its front says (MP4 family)."""
    size = path.stat().st_size
    for entry in stream.index_entries[-8:] if len(stream.index_entries) else ():
        if entry.pos + entry.size > size:
            raise MediaUnreadable(
                f"{path} is cut short: it ends at byte {size}, its index goes on to "
                f"{entry.pos + entry.size}; download or copy it again"
            )
