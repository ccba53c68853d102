"""Naming files that are no media by their first bytes."""

from __future__ import annotations

import io
import zipfile

import pytest

from lipwright.media.inspect.file_kind import describe_file


def zipped(*names: str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return data.getvalue()


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"<!DOCTYPE html><html></html>", "a web page (HTML)"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "a Git LFS pointer"),
        (b"/annex/objects/SHA256E-s1--a.mp4\n", "a git-annex pointer"),
        (b'{"error": "not found"}', "JSON"),
        (zipped("a.mp4"), "a ZIP archive"),
        (zipped("[Content_Types].xml", "word/document.xml"), "a Word document"),
        (b"Rar!\x1a\x07\x01\0", "a RAR archive"),
        (bytes(4096), "a file of zero bytes only"),
        (b"#EXTM3U\na.ts\n", "a playlist"),
        (b"1\n00:00:01,000 --> 00:00:02,000\nhi\n", "subtitles (SRT)"),
        (b"WEBVTT\n\n", "subtitles (WebVTT)"),
        (b"[Script Info]\n", "subtitles (ASS)"),
        (b'<?xml version="1.0"?><svg></svg>', "a vector drawing (SVG)"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"8BPS\0\1", "a Photoshop document (PSD)"),
        (b"II*\0\x10\0\0\0CR\2\0", "a raw photograph (CR2)"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1", "a raw photograph (CR3)"),
        (b"just words\n", "plain text"),
    ],
)
def test_other_files_are_named_with_advice(head, kind):
    found, advice = describe_file(head)
    assert found == kind
    assert advice


@pytest.mark.parametrize(
    "head",
    [
        b"\0\0\0\x20ftypisom\0\0\2\0",
        b"\x1aE\xdf\xa3\x01\0\0\0",
        b"RIFF\x24\0\0\0WAVEfmt ",
        b"YUV4MPEG2 W64 H64 F25:1\nFRAME\n",
        b"#!AMR\n",
        b"II*\0\x08\0\0\0\x0f\0",
        b"",
    ],
)
def test_media_and_unknown_bytes_are_not_named(head):
    assert describe_file(head) is None or not head
