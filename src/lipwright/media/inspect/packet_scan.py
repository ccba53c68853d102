"""Read the timestamps of all packets of a file without decoding them."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np

from lipwright.errors import MediaUnreadable
from lipwright.media.inspect.container import open_input, translate_errors
from lipwright.types import Ints

MIN_GAP = Fraction(1, 10)  # seconds; a shorter gap in the audio timestamps is rounding
MAX_GAP = Fraction(30)  # seconds; a longer gap is a timestamp jump, not missing audio


@dataclass
class VideoPackets:
    """Timestamps of the video packets that are shown, in ticks of the stream's time base."""

    pts: list[int] = field(default_factory=list)
    dts: list[int] = field(default_factory=list)
    durations: dict[int, int] = field(default_factory=dict)
    count: int = 0

    def add(self, packet: av.Packet[av.VideoStream]) -> None:
        """Record one packet."""
        if packet.is_discard:
            return
        self.count += 1
        if packet.dts is not None:
            self.dts.append(packet.dts)
        if packet.pts is not None:
            self.pts.append(packet.pts)
            self.durations[packet.pts] = packet.duration or 0

    def timestamps(self, first: int | None) -> Ints:
        """Return the ascending presentation times in ticks, from *first* (the first frame) on."""
        timestamps = self.pts if len(self.pts) == self.count else self.dts
        if len(timestamps) != self.count:
            timestamps = []
        shown = sorted(set(timestamps))
        if first is not None and shown and shown[0] <= first <= shown[-1]:
            shown = [timestamp for timestamp in shown if timestamp >= first]
        return np.array(shown, np.int64)


class AudioPackets:
    """Start and duration of an audio stream from its packets, without the samples that are dropped.

    Encoder delay, padding and timestamp jumps are left out.
    """

    def __init__(self, stream: av.AudioStream) -> None:
        #: time of the first real sample, seconds on the file's clock
        self.first: Fraction | None = None
        self._end = Fraction(0)
        self._time_base = stream.time_base or Fraction(1, 1000)
        self._rate = stream.codec_context.sample_rate or 1
        self._delay_end = Fraction(-(1 << 40))  # seconds; samples before are encoder delay
        self._full_length = Fraction(0)  # seconds of a full packet
        self._shift = Fraction(0)  # seconds to add to later timestamps, to undo jumps

    @property
    def duration(self) -> Fraction:
        """Seconds from the first to the last real sample, gaps included."""
        return Fraction(0) if self.first is None else self._end - self.first

    def add(self, packet: av.Packet[av.AudioStream]) -> None:
        """Record one packet."""
        delay, padding = _skipped_samples(packet)
        length = (packet.duration or 0) * self._time_base
        start = self._end if packet.pts is None else packet.pts * self._time_base + self._shift
        if delay:
            self._delay_end = start + Fraction(delay, self._rate)
        self._full_length = max(self._full_length, length)
        if length + Fraction(padding, self._rate) > self._full_length + self._time_base:
            # otherwise the container has already shortened the packet
            length -= Fraction(padding, self._rate)
        end = start + length
        if packet.is_discard or end <= self._delay_end:
            return
        start = max(start, self._delay_end)
        if self.first is None:
            self.first = start
        elif not -MIN_GAP <= start - self._end <= MAX_GAP:
            self._shift += self._end - start
            end += self._end - start
        self._end = max(self._end, end)


@dataclass(frozen=True, kw_only=True)
class PacketScan:
    """The packet timestamps of one video and one audio stream."""

    video: VideoPackets
    audio: AudioPackets | None


def scan_packets(path: Path, video: int | None, audio: int | None) -> PacketScan:
    """Read every packet of the streams with the indices *video* and *audio*.

    Raises:
        MediaUnreadable: The file is damaged, or shorter than its index says.
    """
    with open_input(path) as container, translate_errors(path):
        streams = [container.streams[i] for i in (video, audio) if i is not None]
        for stream in streams:
            _check_index(path, stream)
        video_packets, audio_packets = VideoPackets(), None
        if audio is not None:
            audio_packets = AudioPackets(cast(av.AudioStream, container.streams[audio]))
        for packet in container.demux(streams):
            if not packet.size:
                continue  # PyAV marks the end of the file with an empty packet
            if packet.stream_index == video:
                video_packets.add(cast("av.Packet[av.VideoStream]", packet))
            elif audio_packets is not None:
                audio_packets.add(cast("av.Packet[av.AudioStream]", packet))
        return PacketScan(video=video_packets, audio=audio_packets)


def check_complete(path: Path, declared: Fraction, actual: Fraction) -> None:
    """Refuse a file whose streams end long before the duration in its header, both in seconds.

    Raises:
        MediaUnreadable: More than a twentieth, and more than half a second, is missing.
    """
    if declared - actual > max(declared / 20, Fraction(1, 2)):
        raise MediaUnreadable(
            f"{path} is cut short: it holds {float(actual):.1f} of {float(declared):.1f} seconds; "
            "download or copy it again"
        )


def _skipped_samples(packet: av.Packet[av.AudioStream]) -> tuple[int, int]:
    """Return how many samples to drop at the start and at the end of the decoded packet."""
    if not packet.has_sidedata("skip_samples"):
        return 0, 0
    start, end = struct.unpack_from("<II", bytes(packet.get_sidedata("skip_samples")))
    return start, end


def _check_index(path: Path, stream: av.stream.Stream) -> None:
    """Refuse a file that ends before the last packets of its index (MP4 family)."""
    size = path.stat().st_size
    for entry in stream.index_entries[-8:] if len(stream.index_entries) else ():
        if entry.pos + entry.size > size:
            raise MediaUnreadable(
                f"{path} is cut short: it ends at byte {size}, but its index continues to byte "
                f"{entry.pos + entry.size}; download or copy it again"
            )
