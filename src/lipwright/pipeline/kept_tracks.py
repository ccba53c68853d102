"""Decide what a result keeps of its source besides picture and speech, and say what it loses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from lipwright.media.encode.encoder_settings import container_for, needs_tag_list
from lipwright.media.encode.mux import writable_tags
from lipwright.media.encode.track_copy import CopyPlan, can_hold, cut_chapters, fits_rate
from lipwright.media.inspect.tracks import TrackInfo
from lipwright.media.probe import MediaInfo
from lipwright.media.timeline import Timeline
from lipwright.options import SyncMode, SyncOptions

NAMES = {
    "audio": "further audio track",
    "subtitle": "subtitle track",
    "data": "data track",
    "attachment": "attachment",
    "cover": "cover picture",
}
LARGEST = "matroska"  # the container that holds most
TIMELESS = ("attachment", "cover")  # kinds that belong to no moment


def plan_copies(
    source: MediaInfo, speech: MediaInfo, timeline: Timeline, options: SyncOptions, out: Path
) -> CopyPlan:
    """Return what the result keeps of the source, besides picture and speech.

    Further audio tracks and subtitles are kept where the result plays the source once from its
    start; the audio track that the speech replaces, with ``keep_audio`` only.

    Args:
        source: probed.
        speech: probed; its language is that of the result's speech.
        timeline: of the result.
        options: of the job.
        out: output file; its suffix selects the container.

    Raises:
        MediaUnreadable: The source cannot be read.
    """
    start = source.video.start - timeline.offset if source.video else Fraction(0)
    tracks = _wanted(source, timeline, options)
    held = _held(source, tracks, out)
    chapters = source.chapters if plays_source_once(timeline) else ()
    spoken = next(
        (t for t in speech.tracks if speech.audio and t.index == speech.audio.stream), None
    )
    plan = CopyPlan(
        path=source.path,
        start=start,
        end=timeline.duration,
        tracks=tuple(track for track, holds in zip(tracks, held, strict=True) if holds),
        language=spoken.language if spoken else None,
        names=not options.strip_metadata,
    )
    if options.strip_metadata:
        return plan
    fits = source.timecode is not None and fits_rate(source.timecode, timeline.rate)
    return replace(
        plan,
        chapters=cut_chapters(chapters, start, timeline.duration),
        timecode=source.timecode if fits else None,
    )


def container_warnings(
    source: MediaInfo, timeline: Timeline, options: SyncOptions, out: Path
) -> Iterator[str]:
    """Yield what a result does not keep of its source, besides picture and speech.

    Args:
        source: probed.
        timeline: of the result.
        options: of the job.
        out: output file.
    """
    videos = [track for track in source.tracks if track.kind == "video"]
    if len(videos) > 1 and source.video is not None:
        used = 1 + [track.index for track in videos].index(source.video.stream)
        yield (
            f"the video has {len(videos)} video tracks: track {used} was used and the others are "
            "not kept; choose with video_track"
        )
    wanted = _wanted(source, timeline, options)
    timed = [track for track in _candidates(source, options) if track not in wanted]
    chapters = () if options.strip_metadata or plays_source_once(timeline) else source.chapters
    if lost := [*_count(timed), *([_plural(len(chapters), "chapter")] if chapters else [])]:
        yield (
            f"{' and '.join(lost)} {_verb(timed, len(chapters))} not kept: with mode "
            f"{timeline.mode} the result does not follow the time of the video"
        )
    yield from _unheld_warnings(source, wanted, out)
    timecode = None if options.strip_metadata else source.timecode
    if timecode and not fits_rate(timecode, timeline.rate):
        yield (
            f"the timecode {timecode} is not kept: it does not fit "
            f"{float(timeline.rate):.5g} frames per second"
        )


def plays_source_once(timeline: Timeline) -> bool:
    """Return whether time in the result is time in the source, up to the end of the shorter."""
    match timeline.mode:
        case SyncMode.CUT_OFF | SyncMode.SILENCE:
            return True
        case SyncMode.LOOP | SyncMode.BOUNCE:
            return timeline.duration - timeline.offset <= timeline.video_duration
        case SyncMode.REMAP:
            return timeline.audio_duration - timeline.offset == timeline.video_duration


def _candidates(source: MediaInfo, options: SyncOptions) -> tuple[TrackInfo, ...]:
    """Return the tracks that a container may keep."""
    replaced = source.audio.stream if source.audio is not None else None
    return tuple(
        track
        for track in source.tracks
        if track.kind != "video"
        and (track.index != replaced or options.keep_audio)
        and not (options.strip_metadata and track.kind in (*TIMELESS, "data"))
    )


def _wanted(source: MediaInfo, timeline: Timeline, options: SyncOptions) -> tuple[TrackInfo, ...]:
    """Return the tracks to keep, if the container holds them."""
    once = plays_source_once(timeline)
    return tuple(t for t in _candidates(source, options) if once or t.kind in TIMELESS)


def _held(source: MediaInfo, tracks: tuple[TrackInfo, ...], out: Path) -> tuple[bool, ...]:
    """Return for each track whether the result can hold it."""
    container = container_for(out)
    covers = not needs_tag_list(container, writable_tags(source.metadata))
    held = can_hold(source.path, tracks, container)
    return tuple(
        holds and (covers or track.kind != "cover")
        for track, holds in zip(tracks, held, strict=True)
    )


def _unheld_warnings(source: MediaInfo, tracks: tuple[TrackInfo, ...], out: Path) -> Iterator[str]:
    """Yield which tracks the container cannot hold, and which container can."""
    held = _held(source, tracks, out)
    lost = tuple(track for track, holds in zip(tracks, held, strict=True) if not holds)
    elsewhere = can_hold(source.path, lost, LARGEST)
    for fix, better in (("; write .mkv", True), ("", False)):
        chosen = [t for t, holds in zip(lost, elsewhere, strict=True) if holds is better]
        for kind, name in NAMES.items():
            group = [track for track in chosen if track.kind == kind]
            if not group:
                continue
            codecs = ", ".join(sorted({track.codec for track in group if track.codec}))
            yield (
                f"{_plural(len(group), name)}{f' ({codecs})' if codecs else ''} "
                f"{_verb(group)} not kept: {out.suffix} cannot hold "
                f"{'them' if len(group) > 1 else 'it'}{fix}"
            )


def _count(tracks: list[TrackInfo]) -> list[str]:
    counts = Counter[str](track.kind for track in tracks)
    return [_plural(counts[kind], name) for kind, name in NAMES.items() if counts[kind]]


def _plural(count: int, name: str) -> str:
    return f"{count} {name}" + ("s" if count > 1 else "")


def _verb(tracks: list[TrackInfo], more: int = 0) -> str:
    return "are" if len(tracks) + more > 1 else "is"
