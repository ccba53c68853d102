"""The tracks, chapters and timecode of a file, as its container lists them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal, TypeVar

import av
from av.container import InputContainer

from lipwright.errors import InvalidOptions

COVER_ART = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
NO_LANGUAGE = {"", "und"}
CHAPTER_HANDLER = "SubtitleHandler"  # FFmpeg's name of a text track with chapter titles
TIMECODE_TAG = "timecode"

TrackKind = Literal["video", "audio", "subtitle", "data", "attachment", "cover"]
MediaStream = TypeVar("MediaStream", av.VideoStream, av.AudioStream)


@dataclass(frozen=True, kw_only=True)
class TrackInfo:
    """One stream of a file."""

    index: int  #: of the stream in the file
    kind: TrackKind  #: ``cover``: cover art
    codec: str  #: FFmpeg's name, empty if it is unknown
    language: str | None = None  #: ISO 639 code, None if it is unknown
    title: str | None = None
    default: bool = False  #: whether players use it unless told otherwise


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """A named part of a file."""

    start: Fraction  #: seconds on the file's clock
    end: Fraction  #: seconds on the file's clock
    metadata: dict[str, str] = field(default_factory=dict)  #: with ``title``, if it has one


def choose_stream(
    path: Path, kind: str, streams: Sequence[MediaStream], number: int | None
) -> MediaStream | None:
    """Return the stream to use: *number*, else the first flagged as default, else the first.

    Args:
        path: of the file, for messages.
        kind: ``video`` or ``audio``.
        streams: those that can be decoded, in the order of the file.
        number: from 1; None: not stated.

    Raises:
        InvalidOptions: There is no such stream.
    """
    if number is not None:
        if not 1 <= number <= len(streams):
            tracks = f"{len(streams)} {kind} track{'s' if len(streams) != 1 else ''}"
            raise InvalidOptions(
                f"{path} has {tracks}, not {number}: use {kind}_track 1"
                + (f" to {len(streams)}" if len(streams) > 1 else "")
            )
        return streams[number - 1]
    default = av.stream.Disposition.default
    flagged = (stream for stream in streams if stream.disposition & default)
    return next(flagged, streams[0] if streams else None)


def read_tracks(container: InputContainer) -> tuple[TrackInfo, ...]:
    """Return all streams, without those that only hold the titles of chapters or a timecode."""
    chapters = bool(container.chapters())
    return tuple(
        _track(stream)
        for stream in container.streams
        if not (stream.type == "data" and _is_helper(stream, chapters))
    )


def read_chapters(container: InputContainer) -> tuple[Chapter, ...]:
    """Return the chapters."""
    return tuple(
        Chapter(
            start=chapter["start"] * (chapter["time_base"] or Fraction(1)),
            end=chapter["end"] * (chapter["time_base"] or Fraction(1)),
            metadata=dict(chapter["metadata"]),
        )
        for chapter in container.chapters()
    )


def read_timecode(container: InputContainer, video: int | None) -> str | None:
    """Return the timecode of the first frame, as ``01:00:00:00``; None if there is none.

    Args:
        container: the file.
        video: index of the video stream, whose own timecode goes before others.
    """
    streams = sorted(container.streams, key=lambda stream: stream.index != video)
    tags: list[Mapping[str, str]] = [*(s.metadata for s in streams), container.metadata]
    found = (value for tag in tags for key, value in tag.items() if key.lower() == TIMECODE_TAG)
    return next(found, None)


def _track(stream: av.stream.Stream) -> TrackInfo:
    tags = {key.lower(): value for key, value in stream.metadata.items()}
    kind = "cover" if stream.type == "video" and stream.disposition & COVER_ART else stream.type
    context = stream.codec_context
    language = tags.get("language", "")
    return TrackInfo(
        index=stream.index,
        kind=kind if kind in ("video", "audio", "subtitle", "attachment", "cover") else "data",
        codec=context.codec.canonical_name if context is not None else "",
        language=None if language in NO_LANGUAGE else language,
        title=tags.get("title") or tags.get("name") or tags.get("filename"),
        default=bool(stream.disposition & av.stream.Disposition.default),
    )


def _is_helper(stream: av.stream.Stream, chapters: bool) -> bool:
    """Return whether a data stream holds the timecode or the titles of chapters."""
    tags = {key.lower(): value for key, value in stream.metadata.items()}
    return TIMECODE_TAG in tags or (chapters and tags.get("handler_name") == CHAPTER_HANDLER)
