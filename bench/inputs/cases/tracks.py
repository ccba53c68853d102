"""Further tracks, chapters, tags, and streams that begin late."""

from __future__ import annotations

from bench.inputs.case import Case, Right, Warned
from bench.inputs.checks import chapters, picture_as_late, tag, tracks
from bench.inputs.recipes.other import late_picture, with_tracks
from bench.inputs.recipes.sound import voice

TOPIC = "Tracks, chapters and tags"
GPS = ("location", "+48.8577+002.295/")


def _tracks(name: str, file: str, *extras: str, out: str = "mp4", **more: object) -> Case:
    facts = {"expect": Right(), **more}
    return Case(
        name=f"tracks {name}",
        topic=TOPIC,
        video=with_tracks(file, *extras, tags=facts.pop("tags", ())),
        audio=voice(),
        out=f"out.{out}",
        **facts,
    )  # type: ignore[arg-type]


CASES = (
    *(
        _tracks(
            f"chapters in {suffix}",
            f"a.{suffix}",
            "chapters",
            out=suffix,
            brings="chapters",
            happens="kept",
            checks=(chapters(2),),
            quick=suffix == "mp4",
        )
        for suffix in ("mp4", "mov", "mkv")
    ),
    *(
        _tracks(
            f"subtitles in {suffix}",
            f"a.{suffix}",
            "music",
            out=suffix,
            brings="further audio tracks, such as music and effects",
            happens="kept as further tracks",
            checks=(tracks("audio", 2),),
            quick=suffix == "mkv",
        )
        for suffix in ("mp4", "mov", "mkv")
    ),
    _tracks(
        "music and loop",
        "a.mp4",
        "music",
        brings="further audio tracks with `--mode loop`",
        happens="dropped, with a warning",
        options=("--mode", "loop"),
        checks=(tracks("audio", 1),),
        expect=Warned("not kept"),
        quick=True,
    ),
    _tracks(
        "own voice kept",
        "a.mp4",
        brings="`--keep-audio`",
        happens="the old voice is a further track",
        options=("--keep-audio",),
        checks=(tracks("audio", 2),),
        quick=True,
    ),
    _tracks(
        "timecode in mov",
        "a.mov",
        "timecode",
        out="mov",
        brings="timecode",
        happens="kept in mov and mp4",
        quick=True,
    ),
    _tracks("timecode in mp4", "a.mp4", "timecode", brings="timecode"),
    _tracks(
        "place",
        "a.mp4",
        tags=(GPS, ("title", "Holiday")),
        brings="title, place and other tags",
        happens="kept",
        checks=(tag("title"),),
        quick=True,
    ),
    _tracks(
        "place stripped",
        "a.mp4",
        "chapters",
        tags=(GPS, ("title", "Holiday")),
        brings="tags, with `--strip-metadata`",
        happens="dropped",
        options=("--strip-metadata",),
        checks=(tag("title", False), tag("location", False), chapters(0)),
        quick=True,
    ),
    _tracks(
        "two videos",
        "a.mkv",
        "second video",
        out="mkv",
        brings="two video tracks",
        happens="the default is used, with a warning",
        expect=Warned("2 video tracks"),
        quick=True,
    ),
    _tracks(
        "second video picked",
        "a.mkv",
        "second video",
        out="mkv",
        brings="two video tracks, `--video-track 2`",
        happens="that one is used, with a warning",
        options=("--video-track", "1"),
        expect=Warned("2 video tracks"),
    ),
    *(
        Case(
            name=f"late picture in {suffix} to {out}",
            topic=TOPIC,
            brings="a picture that begins after its sound",
            happens="it begins as late in the result",
            video=late_picture(f"late.{suffix}", 0.6),
            audio=voice(),
            out=f"out.{out}",
            checks=(picture_as_late,),
            quick=suffix == "mp4",
        )
        for suffix, out in (
            ("mp4", "mp4"),
            ("mov", "mov"),
            ("mkv", "mkv"),
            ("ts", "mp4"),
            ("mkv", "webm"),
        )
    ),
)
