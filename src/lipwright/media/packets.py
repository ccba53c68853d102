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
LONGEST_GAP = Fraction(30)  # seconds; beyond, the clock jumped and no sound is missing


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


class PacketSound:
    """Where a sound begins and ends, from its packets, less what the decoder will drop."""

    def __init__(self, stream: av.AudioStream) -> None:
        self.first: Fraction | None = None  #: of the first real sample, seconds on the file's clock
        self._end = Fraction(0)
        self._tick = stream.time_base or Fraction(1, 1000)
        self._rate = stream.codec_context.sample_rate or 1
        self._real = Fraction(-(1 << 40))  # where the encoder's delay is over
        self._usual = Fraction(0)  # length of a full packet
        self._shift = Fraction(0)  # what clocks that jumped are off by

    @property
    def length(self) -> Fraction:
        """Seconds from the first to the last real sample, gaps included."""
        return Fraction(0) if self.first is None else self._end - self.first

    def add(self, packet: av.Packet[av.AudioStream]) -> None:
        """Take note of one packet."""
        delay, padding = _skipped(packet)
        length = (packet.duration or 0) * self._tick
        start = self._end if packet.pts is None else packet.pts * self._tick + self._shift
        if delay:
            self._real = start + Fraction(delay, self._rate)
        self._usual = max(self._usual, length)
        if length + Fraction(padding, self._rate) > self._usual + self._tick:
            length -= Fraction(padding, self._rate)  # some containers shorten the packet already
        end = start + length
        if packet.is_discard or end <= self._real:
            return
        start = max(start, self._real)
        if self.first is None:
            self.first = start
        elif not -GAP <= start - self._end <= LONGEST_GAP:
            self._shift += self._end - start
            end += self._end - start
        self._end = max(self._end, end)


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What the packets of a file say."""

    video: VideoPackets
    audio: PacketSound | None


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
        return Scan(video=pictures, audio=sound)


def check_whole(path: Path, claimed: Fraction, found: Fraction) -> None:
    """Refuse a file whose streams end long before its header says.

    Raises:
        MediaUnreadable: more than a twentieth, and more than half a second, is missing.
    """
    if claimed - found > max(claimed / 20, Fraction(1, 2)):
        raise MediaUnreadable(
            f"{path} is cut short: {float(found):.1f} of its {float(claimed):.1f} seconds are "
            "there; download or copy it again"
        )


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
