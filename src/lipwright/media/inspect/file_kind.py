"""Name what a file is that is no video, picture or recording, by its first bytes (no I/O)."""

from __future__ import annotations

import re

from lipwright.net.sniff import detect_non_media

HEAD_BYTES = 4096  # read from the start of a file
FRESH = "get a fresh copy"
OTHER = "choose another file"
EXPORT = "export it as JPEG or PNG first"

_SIGNATURES: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", "a Git LFS pointer", "run git lfs pull to get the file itself"),
    (b"/annex/objects/", "a git-annex pointer", "run git annex get to get the file itself"),
    (b"8BPS", "a Photoshop document (PSD)", EXPORT),
    (b"FUJIFILMCCD-RAW", "a raw photograph (RAF)", EXPORT),
    (b"IIU\0", "a raw photograph (RW2)", EXPORT),
    (b"IIRO", "a raw photograph (ORF)", EXPORT),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Office document", OTHER),
    (b"\0\0\1\0", "an icon (ICO)", EXPORT),
    (b"#!AMR", "", ""),  # text that media begins with
    (b"YUV4MPEG2", "", ""),
)
_TIFF = (b"II*\0", b"MM\0*")
_RAW_MARKS = ((b"CR\2", "CR2"), (b"NIKON", "NEF"), (b"SONY", "ARW"), (b"PENTAX", "PEF"))
_SUBTITLES = (
    (re.compile(rb"(\xef\xbb\xbf)?\s*\d+\r?\n\d\d:\d\d:\d\d[,.]\d+ -->"), "subtitles (SRT)"),
    (re.compile(rb"(\xef\xbb\xbf)?WEBVTT"), "subtitles (WebVTT)"),
    (re.compile(rb"(\xef\xbb\xbf)?\s*\[Script Info\]", re.I), "subtitles (ASS)"),
)
_ZIP_KINDS = (
    (b"word/", "a Word document"),
    (b"ppt/", "a PowerPoint document"),
    (b"xl/", "an Excel document"),
    (b"[Content_Types].xml", "an Office document"),
    (b"mimetypeapplication/vnd.oasis", "an OpenDocument file"),
)
_ADVICE = {
    "a web page (HTML)": "download the file itself, not the page that shows it",
    "a playlist": "download the file that it lists",
    "a list of files": "use one of the files",
    "a DASH manifest": "download the video that it describes",
    "JSON": "it may be the error message of a download; " + FRESH,
    "an XML document": "it may be the error message of a download; " + FRESH,
    "a PDF document": EXPORT,
    "plain text": FRESH,
}


def describe_file(head: bytes) -> tuple[str, str] | None:
    """Return what a file is and what to do, for a file that is not media; None if that is unknown.

    Args:
        head: the first `HEAD_BYTES` of the file, or all of a shorter one.
    """
    if head and not head.strip(b"\0"):
        return "a file of zero bytes only", f"its download or copy did not finish; {FRESH}"
    for magic, kind, advice in _SIGNATURES:
        if head.startswith(magic):
            return (kind, advice) if kind else None
    if head[4:12] == b"ftypcrx ":
        return "a raw photograph (CR3)", EXPORT
    if head.startswith(_TIFF):
        kind = next((name for mark, name in _RAW_MARKS if mark in head), "")
        return (f"a raw photograph ({kind})", EXPORT) if kind else None
    for pattern, name in _SUBTITLES:
        if pattern.match(head):
            return name, OTHER
    if b"<svg" in head[:1024]:
        return "a vector drawing (SVG)", EXPORT
    kind = detect_non_media(head[:1024]) or ""
    if kind == "a ZIP archive":
        kind = next((name for mark, name in _ZIP_KINDS if mark in head), kind)
    if not kind:
        return None
    if kind.endswith("archive"):
        return kind, "unpack it first"
    return kind, _ADVICE.get(kind, OTHER)
