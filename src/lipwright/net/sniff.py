"""Detect files that are not media by their first bytes, to refuse a download early (no I/O).

This only gives a helpful error early. It is the format allow list in
`lipwright.media.inspect.container` that keeps a hostile file from making FFmpeg open other files.
"""

from __future__ import annotations

import codecs
import re

SNIFF_BYTES = 1024  # read from the start of a file

_SIGNATURES: tuple[tuple[bytes, str], ...] = (
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
_BYTE_ORDER_MARKS = ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_TEXT_FORMATS: tuple[tuple[re.Pattern[str], str], ...] = (
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


def detect_non_media(head: bytes) -> str | None:
    """Return a description of a file that is not media, such as ``a ZIP archive``; else None.

    Args:
        head: The first `SNIFF_BYTES` bytes of the file, or the whole file if it is shorter.
    """
    if not head:
        return "empty"
    for magic, description in _SIGNATURES:
        if head.startswith(magic):
            return description
    text = _decode_text(head)
    if text is None:
        return None
    return next((name for pattern, name in _TEXT_FORMATS if pattern.match(text)), "plain text")


def _decode_text(head: bytes) -> str | None:
    """Return *head* as text, None if it is not text."""
    encoding = next((name for bom, name in _BYTE_ORDER_MARKS if head.startswith(bom)), "utf-8-sig")
    decoder = codecs.getincrementaldecoder(encoding)()
    final = len(head) < SNIFF_BYTES  # otherwise the last character may be cut in two
    try:
        text = decoder.decode(head, final=final)
    except UnicodeDecodeError:
        return None
    return None if any(c < " " and c not in "\t\n\r\f" for c in text) else text.strip()
