"""Files with further tracks, odd starts, and files that are no media."""

from __future__ import annotations

import json
import os
import struct
import threading
import zipfile
import zlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from bench.inputs.case import Recipe
from bench.inputs.recipes.footage import (
    Footage,
    VideoSpec,
    babble,
    encode_sound,
    pattern,
    write_video,
)


def content(name: str, data: bytes) -> Recipe:
    """A file of these bytes."""

    def make(folder: Path, _: Footage) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return make


def path(text: str) -> Recipe:
    """A path that is not made."""
    return lambda folder, _: text.replace("FOLDER", str(folder))


def archive(folder: Path, _: Footage) -> Path:
    """A ZIP archive."""
    with zipfile.ZipFile(folder / "talk.zip", "w") as file:
        file.writestr("talk.mp4", b"0" * 1000)
    return folder / "talk.zip"


def cut_short(folder: Path, footage: Footage) -> Path:
    """An MP4 of which the last third is missing; its index is at the front."""
    whole = write_video(
        folder / "whole.mp4", pattern(60, (160, 120)), VideoSpec(options=(("crf", "8"),))
    )
    with (
        av.open(str(whole)) as source,
        av.open(str(folder / "front.mp4"), "w", options={"movflags": "faststart"}) as out,
    ):
        streams = {s.index: out.add_stream_from_template(s) for s in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream_index]
                out.mux(packet)
    data = (folder / "front.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(data[: len(data) * 2 // 3])
    return folder / "cut.mp4"


def damaged(folder: Path, footage: Footage) -> Path:
    """A video with a few frames overwritten."""
    made = write_video(folder / "talk.mp4", footage.face[:40], VideoSpec(options=(("g", "8"),)))
    with av.open(str(made)) as container:
        spots = [(p.pos, p.size) for p in container.demux(video=0) if p.size and p.pos]
    data = bytearray(made.read_bytes())
    random = np.random.default_rng(3)
    for position, size in spots[10:13]:
        data[position + 8 : position + size] = random.bytes(size - 8)
    (folder / "damaged.mp4").write_bytes(data)
    return folder / "damaged.mp4"


def sample_bomb(folder: Path, _: Footage) -> Path:
    """A small MP4 that declares sixty million samples."""
    made = write_video(folder / "small.mp4", pattern(5), VideoSpec(audio=None))
    data = bytearray(made.read_bytes())
    at = data.index(b"stsz") + 8
    data[at : at + 8] = struct.pack(">II", 1, 60_000_000)
    (folder / "bomb.mp4").write_bytes(data)
    return folder / "bomb.mp4"


def growing(folder: Path, _: Footage) -> Path:
    """A transport stream whose frames grow to ten million pixels."""
    parts = []
    for k, (side, count) in enumerate(((64, 5), (3200, 2))):
        spec = VideoSpec(audio=None, options=(("preset", "ultrafast"), ("g", "1")))
        parts.append(
            write_video(folder / f"{k}.ts", pattern(count, (side, side)), spec).read_bytes()
        )
    (folder / "grow.ts").write_bytes(b"".join(parts))
    return folder / "grow.ts"


def image_bomb(folder: Path, _: Footage) -> Path:
    """A PNG of 100 x 100 whose data inflate to 600 MB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(bytes(1 << 20)) for _ in range(600)) + packer.flush()
    header = struct.pack(">IIBBBBB", 100, 100, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    (folder / "bomb.png").write_bytes(png)
    return folder / "bomb.png"


def picture(name: str, *, alpha: bool = False) -> Recipe:
    """A portrait as a still picture."""

    def make(folder: Path, footage: Footage) -> Path:
        bgr = cv2.cvtColor(footage.face[0], cv2.COLOR_RGB2BGR)
        if alpha:
            bgr = np.dstack([bgr, np.full(bgr.shape[:2], 255, np.uint8)])
        assert cv2.imwrite(str(folder / name), bgr)
        return folder / name

    return make


def pipe(name: str, data: Recipe) -> Recipe:
    """A named pipe that another process writes to."""

    def make(folder: Path, footage: Footage) -> Path:
        inner = folder / "inner"
        inner.mkdir(exist_ok=True)
        source = Path(data(inner, footage))
        os.mkfifo(folder / name)

        def feed() -> None:
            with open(folder / name, "wb") as target:
                target.write(source.read_bytes())

        threading.Thread(target=feed, daemon=True).start()
        return folder / name

    return make


def with_tracks(name: str, *extras: str, tags: tuple[tuple[str, str], ...] = ()) -> Recipe:
    """A pattern with ``chapters``, ``music``, ``timecode`` or a ``second video``."""

    def make(folder: Path, _: Footage) -> Path:
        target = folder / name
        frames = pattern(25)
        with av.open(
            str(target),
            "w",
            options={"movflags": "use_metadata_tags"} if target.suffix in (".mp4", ".mov") else {},
        ) as container:
            container.metadata.update(dict(tags))
            codec = "libx264"
            videos: list[Any] = [container.add_stream(codec, rate=25)]
            if "second video" in extras:
                videos.append(container.add_stream(codec, rate=25))
            for stream in videos:
                stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
            if "timecode" in extras:
                videos[0].metadata["timecode"] = "01:02:03:04"
            sounds: list[Any] = [container.add_stream("aac", rate=48_000, layout="mono")]
            sounds[0].metadata["language"] = "eng"
            if "music" in extras:
                sounds.append(container.add_stream("aac", rate=48_000, layout="mono"))
                sounds[1].metadata.update({"language": "mul", "title": "Music and effects"})
            if "chapters" in extras:
                half = {"time_base": Fraction(1, 1000)}
                container.set_chapters(
                    [
                        {"id": 1, "start": 0, "end": 500, "metadata": {"title": "One"}, **half},
                        {"id": 2, "start": 500, "end": 1000, "metadata": {"title": "Two"}, **half},
                    ]
                )
            for stream in videos:
                for k, rgb in enumerate(frames):
                    frame = av.VideoFrame.from_ndarray(rgb if stream is videos[0] else 255 - rgb)
                    frame.pts = k
                    container.mux(stream.encode(frame.reformat(format="yuv420p")))
                container.mux(stream.encode(None))
            for stream in sounds:
                encode_sound(container, stream, babble(1.0))
        return target

    return make


def late_picture(name: str, seconds: float) -> Recipe:
    """A video whose picture begins later than its sound."""
    return lambda folder, _: write_video(
        folder / name, pattern(25), VideoSpec(start=Fraction(seconds).limit_denominator(25))
    )


LFS_POINTER = (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:"
    + b"4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)
HTML_PAGE = (
    b"<!DOCTYPE html><html><head><title>Watch</title></head><body>Please sign in</body></html>"
)
JSON_BODY = json.dumps({"error": "not found", "status": 404}).encode()
PLAYLIST = (
    b"#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:10,\nhttps://media.example.org/0.ts\n#EXT-X-ENDLIST\n"
)
SUBTITLES = b"1\n00:00:00,000 --> 00:00:02,000\nHello\n"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"></svg>'
PDF = b"%PDF-1.7\n1 0 obj\n<< >>\nendobj\n"
HEIC = struct.pack(">I4s4sI4s", 24, b"ftyp", b"heic", 0, b"mif1") + bytes(400)
