"""Files that are no media, hostile ones, and unusual paths."""

from __future__ import annotations

from bench.inputs.case import Case, Recipe, Refused, Right
from bench.inputs.checks import link_kept
from bench.inputs.recipes import other
from bench.inputs.recipes.footage import Footage
from bench.inputs.recipes.sound import voice
from bench.inputs.recipes.video import plain

TOPIC = "Other files and paths"
UNREADABLE = "media_unreadable"


def _video(
    name: str, recipe: Recipe, expect: Refused | Right, brings: str = "", **more: object
) -> Case:
    happens = "refused by name" if isinstance(expect, Refused) else "read"
    facts = {"happens": happens, "audio": voice(), **more}
    return Case(
        name=f"file {name}",
        topic=TOPIC,
        brings=brings or name,
        video=recipe,
        expect=expect,
        **facts,
    )  # type: ignore[arg-type]


def linked(folder, footage: Footage):  # type: ignore[no-untyped-def]
    """Return a pattern, beside an output that is a link to another file."""
    (folder / "target.mp4").write_bytes(b"old")
    (folder / "out.mp4").symlink_to(folder / "target.mp4")
    return plain("a.mp4")(folder, footage)


CASES = (
    *(
        _video(name, other.content(file, data), Refused(UNREADABLE, 3, text), quick=quick)
        for name, file, data, text, quick in (
            ("a web page", "talk.mp4", other.HTML_PAGE, "web page", True),
            ("a Git LFS pointer", "talk.mp4", other.LFS_POINTER, "LFS", True),
            ("a JSON answer", "talk.mp4", other.JSON_BODY, "JSON", True),
            ("a playlist", "talk.m3u8", other.PLAYLIST, "playlist", True),
            ("subtitles", "talk.srt", other.SUBTITLES, "subtitles", False),
            ("a vector drawing", "talk.svg", other.SVG, "SVG", False),
            ("a PDF", "talk.pdf", other.PDF, "PDF", False),
            ("a HEIC picture", "talk.heic", other.HEIC, "HEIC", True),
            ("plain text", "talk.mp4", b"hello, this is no video at all\n" * 50, "text", False),
            ("zeros", "talk.mp4", bytes(5000), "zero bytes", False),
            ("an empty file", "talk.mp4", b"", "empty", True),
            ("random bytes", "talk.mp4", bytes(range(1, 256)) * 40, "", False),
            ("a Photoshop document", "talk.psd", b"8BPS\0\1" + bytes(400), "Photoshop", False),
        )
    ),
    _video("a ZIP archive", other.archive, Refused(UNREADABLE, 3, "ZIP"), quick=True),
    _video("a file cut short", other.cut_short, Refused(UNREADABLE, 3, "cut short"), quick=True),
    _video(
        "millions of declared samples",
        other.sample_bomb,
        Refused(UNREADABLE, 3, "declares"),
        quick=True,
    ),
    _video(
        "frames that grow",
        other.growing,
        Refused("limit_exceeded", 3, "grow"),
        "frames that grow beyond the limit",
        quick=True,
    ),
    _video(
        "a picture that inflates",
        other.image_bomb,
        Refused("limit_exceeded", 3, "bomb.png"),
        "a small picture that inflates to gigabytes",
    ),
    _video(
        "a missing file",
        other.path("FOLDER/none.mp4"),
        Refused("source_unreachable", 3, "does not exist"),
        quick=True,
    ),
    _video(
        "a folder", other.path("FOLDER"), Refused("source_unreachable", 3, "folder"), quick=True
    ),
    _video("/dev/null", other.path("/dev/null"), Refused("source_unreachable", 3), quick=True),
    _video("/dev/zero", other.path("/dev/zero"), Refused("source_unreachable", 3)),
    _video(
        "a private address",
        other.path("https://127.0.0.1:9/talk.mp4"),
        Refused("source_unreachable", 3, ""),
        "a URL of a private network",
        quick=True,
    ),
    _video(
        "an FTP address",
        other.path("ftp://media.example.org/talk.mp4"),
        Refused("invalid_options", 2, "https"),
        "an FTP address",
    ),
    _video(
        "a named pipe",
        other.pipe("pipe", plain("a.mkv")),
        Right(),
        "a named pipe (FIFO)",
        quick=True,
    ),
    _video(
        "the standard input",
        plain("a.mkv"),
        Right(),
        "`-`, the standard input",
        stdin=True,
        quick=True,
    ),
    _video("an odd name", plain("-a b%03d:?é.mp4"), Right(), "spaces, `%` and accents in a name"),
    _video("a wrong suffix", plain("a.txt", format="matroska"), Right(), "a wrong suffix"),
    _video("no suffix", plain("video", format="mp4"), Right(), "no suffix"),
    _video(
        "an output that is a link",
        linked,
        Right(),
        "an output that is a link",
        happens="written through the link",
        checks=(link_kept,),
        quick=True,
    ),
    _video(
        "an output without suffix",
        plain("a.mp4"),
        Refused("invalid_options", 2, "suffix"),
        "an unknown output suffix",
        out="out.xyz",
        quick=True,
    ),
    _video(
        "an output folder that is missing",
        plain("a.mp4"),
        Refused("output_unwritable", 6),
        "an output folder that is missing",
        out="none/out.mp4",
    ),
    Case(
        name="file audio: a web page",
        topic=TOPIC,
        brings="a web page as recording",
        happens="refused by name",
        video=plain("a.mp4"),
        audio=other.content("v.mp3", other.HTML_PAGE),
        expect=Refused(UNREADABLE, 3, "web page"),
    ),
    Case(
        name="file audio: a picture",
        topic=TOPIC,
        brings="a picture as recording",
        happens="refused",
        video=plain("a.mp4"),
        audio=other.picture("v.png"),
        expect=Refused(UNREADABLE, 3, "no sound"),
    ),
    Case(
        name="file audio: a silent video",
        topic=TOPIC,
        brings="a video without sound as recording",
        happens="refused",
        video=plain("a.mp4"),
        audio=plain("v.mp4", audio=None),
        expect=Refused(UNREADABLE, 3, "no sound"),
        quick=True,
    ),
    Case(
        name="file video: a recording",
        topic=TOPIC,
        brings="a recording as video",
        happens="refused",
        video=voice("v.wav"),
        audio=voice(),
        expect=Refused(UNREADABLE, 3, "no video"),
        quick=True,
    ),
)
