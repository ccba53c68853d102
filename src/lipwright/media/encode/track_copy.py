"""Copy what a result keeps of its source besides picture and speech: tracks, chapters, timecode."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av.container import InputContainer, OutputContainer
from av.subtitles.stream import SubtitleStream
from av.subtitles.subtitle import AssSubtitle

from lipwright.media.inspect.container import open_input, translate_errors
from lipwright.media.inspect.tracks import Chapter, TrackInfo

MILLISECOND = Fraction(1, 1000)
NTSC = Fraction(30000, 1001)  # drop-frame timecode exists at multiples of it
# text subtitles that each container holds, for those of another format
TEXT_SUBTITLES = {"mp4": "mov_text", "mov": "mov_text", "matroska": "subrip", "webm": "webvtt"}
TEXT_CODECS = {"mov_text", "subrip", "srt", "ass", "ssa", "webvtt", "text"}
ATTACHING = {"matroska"}  # containers that hold attachments
COVER_NAMES = {"mjpeg": ("cover.jpg", "image/jpeg"), "png": ("cover.png", "image/png")}
EMPTY_MOV_TEXT = b"\0\0"
# the one of two or more codes of a language that FFmpeg writes to QuickTime files
QUICKTIME_LANGUAGES = {
    "fre": "fra", "deu": "ger", "nld": "dut", "ell": "gre", "zho": "chi", "cze": "ces",
    "isl": "ice", "sqi": "alb", "rum": "ron", "slo": "slk", "fas": "per", "swe": "sve",
    "mkd": "mac", "eus": "baq", "cym": "wel", "kat": "geo", "msa": "may", "bod": "tib",
}  # fmt: skip
_TIMECODE = re.compile(r"\d\d:[0-5]\d:[0-5]\d([:;.])(\d\d)")
_OVERRIDE = re.compile(r"\{\\[^}]*\}")  # of the style, in ASS
# FFmpeg's header of ASS subtitles, from which mov_text takes its style
ASS_HEADER = b"""[Script Info]
ScriptType: v4.00+
PlayResX: 384
PlayResY: 288

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, \
Bold, Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, \
Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,1

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


@dataclass(frozen=True, kw_only=True)
class CopyPlan:
    """What a result keeps of its source, besides picture and speech."""

    path: Path  #: of the source
    start: Fraction = Fraction(0)  #: time on the source's clock that is 0 in the result, seconds
    end: Fraction = Fraction(0)  #: duration of the result, seconds
    tracks: tuple[TrackInfo, ...] = ()  #: to copy
    chapters: tuple[Chapter, ...] = ()
    timecode: str | None = None  #: of the first frame
    language: str | None = None  #: of the speech
    names: bool = True  #: whether the tracks keep their titles


def can_hold(path: Path, tracks: tuple[TrackInfo, ...], container: str) -> tuple[bool, ...]:
    """Return for each track of the file at *path* whether a container holds it, converted or not.

    Raises:
        MediaUnreadable: The file cannot be read.
    """
    if not tracks:
        return ()
    with open_input(path) as source:
        return tuple(_can_hold(source, track, container) for track in tracks)


def fits_rate(timecode: str, rate: Fraction) -> bool:
    """Return whether a timecode is well-formed for *rate* frames per second."""
    match = _TIMECODE.fullmatch(timecode)
    if match is None or int(match[2]) >= rate:
        return False
    return match[1] == ":" or (rate / NTSC).denominator == 1


def cut_chapters(
    chapters: tuple[Chapter, ...], start: Fraction, end: Fraction
) -> tuple[Chapter, ...]:
    """Return the chapters in a result of *end* seconds that begins at *start* of the source."""
    moved = (
        replace(c, start=max(c.start - start, Fraction(0)), end=min(c.end - start, end))
        for c in chapters
    )
    return tuple(chapter for chapter in moved if chapter.start < chapter.end)


def write_chapters(container: OutputContainer, chapters: tuple[Chapter, ...]) -> None:
    """Set the chapters of a result, before its first packet."""
    if chapters:
        container.set_chapters(
            [
                {
                    "id": number,
                    "start": round(chapter.start / MILLISECOND),
                    "end": round(chapter.end / MILLISECOND),
                    "time_base": MILLISECOND,
                    "metadata": chapter.metadata,
                }
                for number, chapter in enumerate(chapters, 1)
            ]
        )


def set_language(stream: av.stream.Stream, language: str) -> None:
    """Tag a stream of a result, before its first packet, with an ISO 639-2 code."""
    quicktime = stream.container.format.name == "mov"
    stream.metadata["language"] = (
        QUICKTIME_LANGUAGES.get(language, language) if quicktime else language
    )


class TrackCopier:
    """Copies tracks of the source to a container, packet for packet; text may change its format."""

    def __init__(self, container: OutputContainer, plan: CopyPlan) -> None:
        """Add the streams. The first packets must not be muxed yet.

        Raises:
            MediaUnreadable: The source cannot be read any more.
        """
        self._plan = plan
        self._source = open_input(plan.path)
        self._targets: dict[int, _Target] = {}
        for track in plan.tracks:
            stream = self._source.streams[track.index]
            if track.kind == "attachment" or (
                track.kind == "cover" and container.format.name == "matroska"
            ):
                _attach(container, self._source, track)
                continue
            target = _add_target(container, stream, track)
            self._targets[track.index] = target
            _label(target.stream, stream, track, plan)
        self._packets = self._demux()
        self._pending = next(self._packets, None)

    def packets_until(self, time: Fraction) -> Iterator[av.Packet[av.stream.Stream]]:
        """Yield the packets that begin before *time*, seconds of the result."""
        while self._pending is not None and self._pending[0] < time:
            yield self._pending[1]
            self._pending = next(self._packets, None)

    def finish(self) -> Iterator[av.Packet[av.stream.Stream]]:
        """Yield the remaining packets, and close the source."""
        yield from self.packets_until(self._plan.end)
        self.close()

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def _demux(self) -> Iterator[tuple[Fraction, av.Packet[av.stream.Stream]]]:
        """Yield time and packet, in the order of the file."""
        if not self._targets:
            return
        streams = [self._source.streams[index] for index in self._targets]
        with translate_errors(self._plan.path):
            for packet in self._source.demux(*streams):
                if not packet.size:
                    continue  # PyAV marks the end of the file with an empty packet
                target = self._targets[packet.stream.index]
                if packet.pts is None and packet.dts is None and not target.cover:
                    continue  # it belongs to no moment
                found = target.convert(packet, self._plan)
                if found is not None and target.advances(found[1]):
                    yield found


@dataclass(kw_only=True)
class _Target:
    """A stream of the result, and how packets of the source become packets of it."""

    stream: av.stream.Stream
    source: av.stream.Stream
    text: str = ""  #: the format that text subtitles are converted to; empty: copied
    cover: bool = False
    last: int | None = None  #: timestamp of the last packet

    def advances(self, packet: av.Packet[av.stream.Stream]) -> bool:
        """Return whether a packet is later than those before, as muxers require."""
        assert packet.dts is not None
        least = self.last if self.last is None or self.source.type == "subtitle" else self.last + 1
        if least is not None and packet.dts < least:
            return False
        self.last = packet.dts
        return True

    @property
    def takes_negative(self) -> bool:
        """Whether the container marks packets before 0 as not played, without shifting others."""
        return (
            "mp4" in self.stream.container.format.name or "mov" in self.stream.container.format.name
        )

    def convert(
        self, packet: av.Packet[av.stream.Stream], plan: CopyPlan
    ) -> tuple[Fraction, av.Packet[av.stream.Stream]] | None:
        """Return the time in the result and the packet; None if it is outside the result."""
        if self.cover:
            packet.stream = self.stream
            packet.pts = packet.dts = 0
            return Fraction(0), packet
        base = packet.time_base
        pts = packet.pts if packet.pts is not None else packet.dts
        dts = packet.dts if packet.dts is not None else packet.pts
        assert pts is not None
        assert dts is not None
        start = pts * base - plan.start
        length = (packet.duration or 0) * base
        early = not self.takes_negative or pts >= 0  # before 0 on its clock: encoder delay
        if start >= plan.end or (start < 0 and early and start + length <= 0):
            return None
        if self.source.type == "subtitle":
            if bytes(packet) == EMPTY_MOV_TEXT:
                return None  # the muxer writes its own
            length = min(start + length, plan.end) - max(start, Fraction(0))
            start = max(start, Fraction(0))
        elif start < 0 and not self.takes_negative:
            return None
        if self.text:
            return self._converted(packet, start, length)
        packet.stream = self.stream
        if self.source.type == "subtitle":
            packet.pts = packet.dts = round(start / base)
            packet.duration = round(length / base)
        else:
            shift = round(plan.start / base)
            packet.pts, packet.dts = pts - shift, dts - shift
        return start, packet

    def _converted(
        self, packet: av.Packet[av.stream.Stream], start: Fraction, length: Fraction
    ) -> tuple[Fraction, av.Packet[av.stream.Stream]] | None:
        subtitles = cast(SubtitleStream, self.source).decode2(
            cast("av.Packet[SubtitleStream]", packet)
        )
        if subtitles is None:
            return None
        if self.text == "mov_text":
            converted = cast(SubtitleStream, self.stream).codec_context.encode_subtitle(subtitles)
        else:
            converted = av.Packet(_plain_text(cast(AssSubtitle, subtitles[0]).dialogue))
        converted.stream = self.stream
        converted.time_base = MILLISECOND
        converted.pts = converted.dts = round(start / MILLISECOND)
        converted.duration = round(length / MILLISECOND)
        return start, converted


def _plain_text(dialogue: bytes) -> bytes:
    """Return the text of an ASS dialogue; of its styles, only italic and bold are kept."""
    text = dialogue.decode("utf-8", "replace")
    for mark in "ib":
        text = text.replace(f"{{\\{mark}1}}", f"<{mark}>").replace(f"{{\\{mark}0}}", f"</{mark}>")
    return _OVERRIDE.sub("", text).encode()


def _can_hold(source: InputContainer, track: TrackInfo, container: str) -> bool:
    stream = source.streams[track.index]
    if track.kind == "data":
        return False
    if track.kind == "attachment":
        return container in ATTACHING
    if track.kind == "cover":
        return container in ("mp4", "matroska") and track.codec in COVER_NAMES
    scratch = av.open(io.BytesIO(), "w", format=container)
    with closing(scratch):
        try:
            _add_target(scratch, stream, track)
            scratch.start_encoding()
        except (av.error.FFmpegError, ValueError):
            return False
    return True


def _add_target(container: OutputContainer, stream: av.stream.Stream, track: TrackInfo) -> _Target:
    """Add a stream for a track, converted if it is text that the container does not hold.

    Raises:
        ValueError: The container holds neither.
    """
    text = TEXT_SUBTITLES[container.format.name.partition(",")[0]]
    if track.codec not in TEXT_CODECS or track.codec == text:
        target = container.add_stream_from_template(stream)
        if track.kind == "cover":
            target.disposition = av.stream.Disposition.attached_pic
        return _Target(stream=target, source=stream, cover=track.kind == "cover")
    if container.format.name.startswith("matroska") and track.codec in ("ass", "ssa"):
        return _Target(stream=container.add_stream_from_template(stream), source=stream)
    if text == "mov_text":
        target = container.add_stream(text)
        cast(SubtitleStream, target).codec_context.subtitle_header = ASS_HEADER
        target.codec_context.time_base = MILLISECOND
    else:
        target = container.add_mux_stream(text)
    target.time_base = MILLISECOND
    return _Target(stream=target, source=stream, text=text)


def _label(
    target: av.stream.Stream, source: av.stream.Stream, track: TrackInfo, plan: CopyPlan
) -> None:
    """Copy language, title and disposition; the new speech is the default of the audio."""
    if track.language:
        set_language(target, track.language)
    if track.title and plan.names:
        target.metadata["title"] = track.title
    if track.kind == "audio":
        target.disposition = source.disposition & ~av.stream.Disposition.default
    elif track.kind != "cover":
        target.disposition = source.disposition


def _attach(container: OutputContainer, source: InputContainer, track: TrackInfo) -> None:
    """Copy an attachment, or cover art as an attachment."""
    stream = source.streams[track.index]
    if track.kind == "cover":
        name, mimetype = COVER_NAMES[track.codec]
        picture = next((bytes(packet) for packet in source.demux(stream) if packet.size), b"")
        source.seek(0)
        container.add_attachment(name, mimetype, picture)
        return
    tags: Mapping[str, str] = stream.metadata
    attachment = cast(av.stream.AttachmentStream, stream)
    container.add_attachment(
        tags.get("filename") or "attachment",
        attachment.mimetype or "application/octet-stream",
        attachment.data,
    )
