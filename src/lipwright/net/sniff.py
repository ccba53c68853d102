"""Tell what a file is by its first bytes, so that what cannot be media is refused at once (pure).

This only finds the friendly reason early. What keeps a hostile file from making FFmpeg open others
is the list of formats in `lipwright.media.container`.
"""

from __future__ import annotations

import codecs
import re

SNIFF_BYTES = 1024  # of a file are looked at

_BINARY: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "a ZIP archive"),
    (b"PK\x05\x06", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"(\xb5/\xfd", "a Zstandard archive"),
    (b"%PDF-", "a PDF document"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"SQLite format 3\x00", "a database"),
)
_MARKS = ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_TEXT: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"#EXTM3U|\[playlist\]|<(\?xml[^>]*>\s*)?(asx|smil|playlist)\b", re.I),
        "a playlist",
    ),
    (re.compile(r"(#\s*)?ffconcat|file\s+\S", re.I), "a list of files"),
    (re.compile(r"(<\?xml[^>]*>\s*)?<mpd\b", re.I), "a DASH manifest"),
    (re.compile(r"v=0\s+o="), "a session description (SDP)"),
    (
        re.compile(
            r"(<!--.*?-->\s*)*<(!doctype html|html|head|body|script|title|meta)\b", re.I | re.S
        ),
        "a web page (HTML)",
    ),
    (re.compile(r"<\?xml|<svg|<[a-z]", re.I), "an XML document"),
    (re.compile(r"[{\[]"), "JSON"),
)


def foreign(head: bytes) -> str | None:
    """Return what a file is instead of media, None when it may be media.

    Args:
        head: its first :data:`SNIFF_BYTES` bytes, or all of it when it is shorter.
    """
    if not head:
        return "empty"
    for magic, what in _BINARY:
        if head.startswith(magic):
            return what
    text = _text(head)
    if text is None:
        return None
    return next((what for pattern, what in _TEXT if pattern.match(text)), "plain text")


def _text(head: bytes) -> str | None:
    """Return *head* as text, None when it is something else."""
    encoding = next((name for mark, name in _MARKS if head.startswith(mark)), "utf-8-sig")
    decoder = codecs.getincrementaldecoder(encoding)()
    whole = len(head) < SNIFF_BYTES  # else the last character may be cut in two
    try:
        text = decoder.decode(head, final=whole)
    except UnicodeDecodeError:
        return None
    return None if any(c < " " and c not in "\t\n\r\f" for c in text) else text.strip()
