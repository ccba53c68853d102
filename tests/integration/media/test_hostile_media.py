"""Hostile media files cannot make FFmpeg open another file or access the network.

inotify reports which files were opened. Where possible, a test first shows that the attack works
against FFmpeg without the format and protocol allow lists.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import pytest

from hostile import HostileServer
from lipwright.errors import LipwrightError, MediaUnreadable
from lipwright.media.decode.video import read_video
from lipwright.media.inspect.container import open_input
from lipwright.media.probe import probe
from media_clips import ClipSpec, write_clip

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs inotify")

IN_OPEN = 0x20


class Watch:
    """Detects whether a file was opened."""

    def __init__(self, path: Path) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._handle = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        assert self._libc.inotify_add_watch(self._handle, os.fsencode(path), IN_OPEN) > 0

    def opened(self) -> bool:
        """Return whether it was opened since the last call."""
        try:
            return bool(os.read(self._handle, 65536))
        except BlockingIOError:
            return False

    def close(self) -> None:
        os.close(self._handle)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A private video with a file name that FFmpeg accepts."""
    (tmp_path / "private").mkdir()
    return write_clip(tmp_path / "private" / "secret.ts", ClipSpec(frames=5))


@pytest.fixture
def watch(secret: Path) -> Iterator[Watch]:
    watch = Watch(secret)
    yield watch
    watch.close()


@pytest.fixture
def server() -> Iterator[HostileServer]:
    with HostileServer() as server:
        server.on("/clip.ts", lambda connection: connection.respond(b"G" * 188))
        yield server


# ---------------------------------------------------------------------------------- the attacks
def hls(target: str) -> bytes:
    head = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n"
    return f"{head}#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n".encode()


def hls_key(target: str) -> bytes:
    key = f'#EXT-X-KEY:METHOD=AES-128,URI="{target}"'
    return (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n{key}\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n".encode()
    )


def behind_a_tag(target: str) -> bytes:
    """FFmpeg skips ID3 tags before it detects the format."""
    return b"ID3\x04\x00\x00\x00\x00\x00\x0a" + bytes(10) + hls(target)


def concat(target: str) -> bytes:
    return f"ffconcat version 1.0\nfile '{target}'\n".encode()


def dash(target: str) -> bytes:
    return f"""<?xml version="1.0"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT1S"
 profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period><AdaptationSet mimeType="video/mp2t">
<Representation id="1" bandwidth="1"><BaseURL>{target}</BaseURL></Representation>
</AdaptationSet></Period></MPD>""".encode()


def sdp(target: str) -> bytes:
    lines = ("v=0", "o=- 0 0 IN IP4 127.0.0.1", f"s={target}", "c=IN IP4 127.0.0.1", "t=0 0")
    return "\r\n".join([*lines, "m=video 5004 RTP/AVP 96", "a=rtpmap:96 H264/90000", ""]).encode()


def subtitles_index(target: str) -> bytes:
    """VobSub opens the .sub file of the same name."""
    return b"# VobSub index file, v7\nid: en, index: 0\ntimestamp: 00:00:00:000, filepos: 0\n"


TEXTS: dict[str, Callable[[str], bytes]] = {
    "HLS": hls,
    "HLS key": hls_key,
    "HLS behind a tag": behind_a_tag,
    "concat": concat,
    "DASH": dash,
    "SDP": sdp,
    "VobSub": subtitles_index,
}
NAMES = ("clip", "clip.mp4", "clip.m3u8", "clip.ffconcat", "clip.mpd", "clip.sdp", "clip.idx")


def read_all(path: Path) -> None:
    """Read a file as a job does."""
    info = probe(path)
    if info.video is not None:
        for _ in read_video(info):
            pass


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", TEXTS)
def test_playlists_open_no_other_file(tmp_path, secret, watch, server, kind, name):
    for target in (
        str(secret),
        f"file://{secret}",
        f"file:{secret}",
        f"concat:{secret}",
        f"subfile,,start,0,end,9,,:{secret}",
        f"crypto:{secret}",
        f"data:video/mp2t;base64,{secret}",
        "private/secret.ts",
        server.url("/clip.ts"),
    ):
        path = tmp_path / name
        path.write_bytes(TEXTS[kind](target))
        with pytest.raises(MediaUnreadable):
            read_all(path)
        assert not watch.opened(), target
    assert server.requests == []


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("HLS", {"allowed_extensions": "ALL", "extension_picky": "0"}),
        ("concat", {"safe": "0"}),
    ],
)
def test_without_the_allow_lists_a_playlist_opens_files(tmp_path, secret, watch, kind, options):
    path = tmp_path / ("clip.m3u8" if kind == "HLS" else "clip.ffconcat")
    path.write_bytes(TEXTS[kind](str(secret)))
    with contextlib.suppress(av.error.FFmpegError), av.open(str(path), options=options) as found:
        next(found.demux())
    assert watch.opened()


def test_without_the_allow_lists_a_playlist_reaches_the_network(tmp_path, server, monkeypatch):
    monkeypatch.delenv("http_proxy", raising=False)
    path = tmp_path / "clip.m3u8"
    path.write_bytes(hls(server.url("/clip.ts")))
    with contextlib.suppress(av.error.FFmpegError):
        av.open(str(path), options={"protocol_whitelist": "file,http,tcp"}, timeout=10).close()
    assert server.request_count("/clip.ts")


# --------------------------------------------------------------- media that refer to other files
def alias(path: Path) -> bytes:
    """An entry of a `dref` box: a Macintosh alias to *path*."""
    name = os.fsencode(path)
    absolute = name + bytes(len(name) % 2)
    record = bytes(10) + b"\x00" + bytes(27) + bytes(12) + b"\x00" + bytes(63) + bytes(16)
    record += struct.pack(">HH", 0, 0) + bytes(16)
    record += struct.pack(">HH", 2, len(name)) + absolute + struct.pack(">HH", 0xFFFF, 0)
    return struct.pack(">I4sI", 12 + len(record), b"alis", 0) + record


def quicktime(path: Path, target: Path) -> Path:
    """A QuickTime file whose video track refers to *target*."""
    write_clip(path, ClipSpec(frames=5))
    data = path.read_bytes()
    at = data.index(b"dref") - 4
    (size,) = struct.unpack_from(">I", data, at)
    entry = alias(target)
    box = struct.pack(">I4sII", 16 + len(entry), b"dref", 0, 1) + entry
    larger = bytearray(data[:at] + box + data[at + size :])
    for name in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
        start = data.rindex(name, 0, at) - 4
        (old,) = struct.unpack_from(">I", data, start)
        struct.pack_into(">I", larger, start, old + len(box) - size)
    path.write_bytes(larger)
    return path


def test_external_tracks_are_not_opened(tmp_path, secret, watch):
    path = quicktime(tmp_path / "clip.mov", secret)
    with contextlib.suppress(LipwrightError):
        read_all(path)
    assert not watch.opened()


def test_without_the_defaults_an_external_track_is_opened(tmp_path, secret, watch):
    path = quicktime(tmp_path / "clip.mov", secret)
    options = {"enable_drefs": "1", "use_absolute_path": "1"}
    with contextlib.suppress(av.error.FFmpegError), av.open(str(path), options=options):
        pass
    assert watch.opened()


# ------------------------------------------------------------------------------------ file names
@pytest.mark.parametrize(
    "name",
    ["%s", "-", "http:", "concat:a|b", "pipe:0", "data:x", "subfile,,start,0,:x"],
)
def test_a_file_name_is_never_a_url_or_pattern(tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "clip.mp4", ClipSpec(frames=3)).rename(tmp_path / name)
    with open_input(Path(name)) as container:
        assert container.format.name.startswith("mov")


def test_an_image_sequence_pattern_is_not_expanded(tmp_path, monkeypatch):
    for n in range(3):
        write_clip(tmp_path / f"frame{n}.png", ClipSpec(frames=1, codec="png", pix_fmt="rgb24"))
    watch = Watch(tmp_path / "frame1.png")
    (tmp_path / "frame%d.png").write_bytes((tmp_path / "frame0.png").read_bytes())
    with contextlib.suppress(LipwrightError):
        read_all(tmp_path / "frame%d.png")
    assert not watch.opened()
    watch.close()
