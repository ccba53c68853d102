"""Videos of every container, codec, rate, size, orientation and pixel format."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from bench.inputs.case import Recipe
from bench.inputs.recipes.footage import (
    Footage,
    Rgb,
    VideoSpec,
    babble,
    encode_sound,
    pattern,
    upright,
    write_video,
)

PLAIN_FRAMES = 15


def plain(
    name: str, *, size: tuple[int, int] = (96, 64), count: int = PLAIN_FRAMES, **spec: Any
) -> Recipe:
    """A moving pattern without a face."""
    return lambda folder, _: write_video(folder / name, pattern(count, size), VideoSpec(**spec))


def raw_stream(name: str, codec: str, format_: str) -> Recipe:
    """A pattern in a format that holds a picture only."""
    return plain(name, codec=codec, audio=None, format=format_)


def gapped(name: str) -> Recipe:
    """Frames at uneven times."""
    times = np.cumsum([0, 40, 40, 80, 33, 40, 120, 40, 40, 17, 40, 60, 40, 40, 40])
    return plain(name, times=tuple(int(t) for t in times), audio=None)


def turned(name: str, rotation: int) -> Recipe:
    """A pattern that players turn by a matrix."""
    return plain(name, rotation=rotation)


def with_exif(name: str, orientation: int = 1) -> Recipe:
    """Motion JPEG with an EXIF block in each picture, as cameras write it."""
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    body = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + struct.pack("<I", 0)
    segment = b"\xff\xe1" + struct.pack(">H", 2 + len(body)) + body

    def make(folder: Path, _: Footage) -> Path:
        with av.open(str(folder / name), "w") as container:
            stream: Any = container.add_stream("mjpeg", rate=25)
            stream.width, stream.height, stream.pix_fmt = 96, 64, "yuvj420p"
            for k, rgb in enumerate(pattern(PLAIN_FRAMES)):
                frame = av.VideoFrame.from_ndarray(rgb).reformat(format="yuvj420p")
                frame.pts = k
                for packet in stream.encode(frame):
                    jpeg = bytes(packet)
                    tagged = av.Packet(jpeg[:2] + segment + jpeg[2:])
                    tagged.stream, tagged.time_base = stream, packet.time_base
                    tagged.pts, tagged.dts = packet.pts, packet.dts
                    tagged.duration, tagged.is_keyframe = packet.duration, True
                    container.mux(tagged)
        return folder / name

    return make


def fields(name: str, order: str, codec: str = "libx264", **spec: Any) -> Recipe:
    """Interlaced frames: two moments in the odd and the even rows; *order* ``tt`` or ``bb``."""

    def make(folder: Path, _: Footage) -> Path:
        moments = pattern(2 * PLAIN_FRAMES, (96, 64))
        frames = []
        for first, second in zip(moments[::2], moments[1::2], strict=True):
            frame = first.copy()
            later = slice(1, None, 2) if order == "tt" else slice(0, None, 2)
            frame[later] = second[later]
            frames.append(frame)
        return write_interlaced(folder / name, frames, codec, order, **spec)

    return make


def write_interlaced(
    path: Path, frames: list[Rgb], codec: str, order: str, pix_fmt: str = "yuv420p"
) -> Path:
    """Write frames flagged as interlaced, with a sound."""
    from av.codec.context import Flags

    options = {}
    if codec == "libx264":
        options = {"x264-params": "tff=1" if order == "tt" else "bff=1"}
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25, options=options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pix_fmt
        context = stream.codec_context
        context.field_order = 2 if order == "tt" else 3
        context.flags |= Flags.interlaced_dct | Flags.interlaced_me
        sound = container.add_stream(
            "mp2"
            if path.suffix == ".ts"
            else "pcm_s16le"
            if path.suffix in (".mov", ".mkv", ".mxf")
            else "aac",
            rate=48_000,
            layout="mono",
        )
        for k, rgb in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(rgb).reformat(format=pix_fmt)
            frame.pts = k
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        encode_sound(container, sound, babble(len(frames) / 25))
    return path


def rgba(name: str, codec: str, pix_fmt: str, **spec: Any) -> Recipe:
    """A pattern with a round opaque part."""

    def make(folder: Path, _: Footage) -> Path:
        y, x = np.mgrid[:64, :96]
        alpha = (255 * (np.hypot(x - 48, y - 32) < 28)).astype(np.uint8)
        frames = [np.dstack([rgb, alpha]) for rgb in pattern(PLAIN_FRAMES)]
        return write_video(folder / name, frames, VideoSpec(codec=codec, pix_fmt=pix_fmt, **spec))

    return make


# ------------------------------------------------------------------------------------------ faces
def talk(name: str = "talk.mp4", *, count: int = 30, **spec: Any) -> Recipe:
    """A talking face."""
    return lambda folder, footage: write_video(
        folder / name, footage.face[:count], VideoSpec(**spec)
    )


def held(name: str, counts: tuple[int, ...], rate: Fraction) -> Recipe:
    """A talking face whose pictures are shown so many times in turn."""

    def make(folder: Path, footage: Footage) -> Path:
        repeated = []
        for k, rgb in enumerate(footage.face):
            repeated += [rgb] * counts[k % len(counts)]
        return write_video(folder / name, repeated[: round(1.5 * rate)], VideoSpec(rate=rate))

    return make


def gap_in_time(name: str) -> Recipe:
    """A talking face with a second in which nothing was recorded."""

    def make(folder: Path, footage: Footage) -> Path:
        times = [40 * k for k in range(15)] + [1600 + 40 * k for k in range(15)]
        frames = [*footage.face[:15], *footage.face[30:45]]
        return write_video(folder / name, frames, VideoSpec(times=times, audio=None))

    return make


def shots(name: str, order: str, audio: str | None = None) -> Recipe:
    """Shots of half a second: ``f`` a face, ``c`` the same closer, ``b`` no face."""

    def make(folder: Path, footage: Footage) -> Path:
        frames: list[Rgb] = []
        for k, kind in enumerate(order):
            part = footage.face[12 * k % 36 :][:12]
            side = part[0].shape[0]
            if kind == "b":
                part = pattern(12, (side, side))
            elif kind == "c":
                edge = side // 10
                part = [cv2.resize(rgb[edge:-edge, edge:-edge], (side, side)) for rgb in part]
            frames += part
        sound = None if audio is None else np.zeros(len(frames) * 640, np.float32)
        return write_video(folder / name, frames, VideoSpec(audio=audio, sound=sound))

    return make


def upside_down(name: str, quarter: int) -> Recipe:
    """A face whose pixels are turned by quarters."""
    return lambda folder, footage: write_video(
        folder / name, [upright(rgb, quarter) for rgb in footage.face[:30]], VideoSpec()
    )


def turned_matrix(name: str, rotation: int) -> Recipe:
    """An upright face that a wrong matrix turns."""
    return lambda folder, footage: write_video(
        folder / name, footage.face[:30], VideoSpec(rotation=rotation)
    )


def two_faces(folder: Path, footage: Footage) -> Path:
    """Two faces side by side."""
    frames = [
        np.hstack([a, b]) for a, b in zip(footage.face[:30], footage.face[10:40], strict=True)
    ]
    return write_video(folder / "two.mp4", frames, VideoSpec())


def tiny_face(folder: Path, footage: Footage) -> Path:
    """A face of a few pixels in a large frame."""
    frames = []
    for rgb in footage.face[:20]:
        frame = np.full((360, 640, 3), 90, np.uint8)
        frame[20:44, 300:324] = cv2.resize(rgb, (24, 24), interpolation=cv2.INTER_AREA)
        frames.append(frame)
    return write_video(folder / "tiny.mp4", frames, VideoSpec())


def with_graphic(name: str, kind: str) -> Recipe:
    """A talking face with a ``caption``, a ``logo`` or a ``watermark`` over the chin."""

    def make(folder: Path, footage: Footage) -> Path:
        frames = [draw_graphic(rgb, kind) for rgb in footage.face[:40]]
        spec = VideoSpec(options=(("crf", "14"),))
        return write_video(folder / name, frames, spec)

    return make


def draw_graphic(rgb: Rgb, kind: str) -> Rgb:
    """Return a picture with a graphic over the lower part of the face."""
    drawn = rgb.copy()
    height, width = rgb.shape[:2]
    y = round(height * 0.72)
    if kind == "logo":
        cv2.rectangle(drawn, (width // 2 - 12, y - 8), (width // 2 + 30, y + 14), (20, 60, 200), -1)
    elif kind == "caption":
        cv2.putText(
            drawn, "HELLO WORLD", (width // 5, y), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 4
        )
        cv2.putText(
            drawn, "HELLO WORLD", (width // 5, y), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1
        )
    else:
        layer = drawn.copy()
        cv2.circle(layer, (width // 2, y), 22, (255, 255, 255), 5)
        drawn = cv2.addWeighted(drawn, 0.6, layer, 0.4, 0)
    return drawn
