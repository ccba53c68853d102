from __future__ import annotations

import pytest

from lipwright.net.sniff import SNIFF_BYTES, detect_non_media

MEDIA = {
    "mp4": b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00",
    "mov": b"\x00\x00\x00\x08wide\x00\x00\x10\x00mdat",
    "matroska": b"\x1aE\xdf\xa3\x01\x00\x00\x00\x00\x00\x00\x1fB\x86",
    "avi": b"RIFF\x00\x10\x00\x00AVI LIST",
    "wav": b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00",
    "ogg": b"OggS\x00\x02\x00\x00\x00\x00\x00\x00",
    "flac": b"fLaC\x00\x00\x00\x22\x10\x00",
    "mp3": b"\xff\xfb\x90\x64\x00\x0f\xf0\x00",
    "mp3 with a tag": b"ID3\x04\x00\x00\x00\x00\x00\x23TSSE",
    "aac": b"\xff\xf1\x50\x80\x03\xdf\xfc\xde",
    "ts": b"G@\x11\x10\x00B\xf0%\x00\x01\xc1\x00",
    "flv": b"FLV\x01\x05\x00\x00\x00\x09",
    "amr": b"#!AMR\n<\x08\x1e\xf1",
    "y4m": b"YUV4MPEG2 W64 H64 F25:1 Ip A1:1 C420jpeg\nFRAME\n\x10\x10\x10",
    "h264": b"\x00\x00\x00\x01\x67\x64\x00\x1f",
    "png": b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR",
}
NOT_MEDIA = [
    (b"", "empty"),
    (b"PK\x03\x04\x14\x00", "ZIP"),
    (b"\x1f\x8b\x08\x00", "gzip"),
    (b"%PDF-1.7\n%\xe2\xe3", "PDF"),
    (b"\x7fELF\x02\x01", "program"),
    (b"MZ\x90\x00", "program"),
    (b"SQLite format 3\x00", "database"),
    (b"<!DOCTYPE html><html>", "web page"),
    (b"\xef\xbb\xbf\r\n  <HTML>", "web page"),
    (b"<!-- hello -->\n<!doctype HTML>", "web page"),
    ("<html>ü".encode("utf-16"), "web page"),
    (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "XML"),
    (b"<?xml version='1.0'?>\n<MPD xmlns='urn:mpeg:dash:schema:mpd:2011'>", "DASH"),
    (b"<svg xmlns='http://www.w3.org/2000/svg'>", "XML"),
    (b"<asx version='3.0'>", "playlist"),
    (b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n", "playlist"),
    (b"[playlist]\nFile1=http://10.0.0.1/\n", "playlist"),
    (b"ffconcat version 1.0\nfile '/etc/passwd'\n", "list of files"),
    (b"file '/etc/passwd'\n", "list of files"),
    (b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\n", "SDP"),
    (b'{"error": "denied"}', "JSON"),
    (b'[{"error": 1}]', "JSON"),
    (b"Not found", "plain text"),
    ("Datei nicht gefunden – schön".encode(), "plain text"),
    (("ü" * SNIFF_BYTES).encode()[:SNIFF_BYTES], "plain text"),
    (("aü" * SNIFF_BYTES).encode()[:SNIFF_BYTES], "plain text"),
]


@pytest.mark.parametrize("head", MEDIA.values(), ids=MEDIA.keys())
def test_media_files_are_accepted(head):
    assert detect_non_media(head) is None


@pytest.mark.parametrize(("head", "description"), NOT_MEDIA)
def test_other_files_are_described(head, description):
    assert description in (detect_non_media(head) or "media")
