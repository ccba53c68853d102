"""Containers, codecs, frame rates and sizes."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from bench.inputs.case import Case, Warned
from bench.inputs.checks import same
from bench.inputs.recipes.sound import voice
from bench.inputs.recipes.video import gapped, plain, with_exif

TOPIC = "Containers and codecs"
RATES = "Frame rates and sizes"
AS_MEZZANINE = ("prores", "ffv1", "rawvideo", "huffyuv", "qtrle", "png")

#: file name, video codec, pixel format, audio codec, suffix of the result, warnings
FORMATS: tuple[tuple[str, str, str, str | None, str, tuple[str, ...]], ...] = (
    ("h264.mp4", "libx264", "yuv420p", "aac", "mp4", ()),
    ("hevc.mp4", "libx265", "yuv420p", "aac", "mp4", ()),
    ("mpeg4.mp4", "mpeg4", "yuv420p", "aac", "mp4", ()),
    ("h264.m4v", "libx264", "yuv420p", "aac", "mp4", ()),
    ("h264.mov", "libx264", "yuv420p", "pcm_s16le", "mov", ()),
    ("mjpeg.mov", "mjpeg", "yuvj420p", "pcm_s16le", "mov", ()),
    ("prores.mov", "prores_ks", "yuv422p10le", "pcm_s16le", "mov", ()),
    ("h264.mkv", "libx264", "yuv420p", "aac", "mkv", ()),
    ("hevc.mkv", "libx265", "yuv420p", "aac", "mkv", ()),
    ("ffv1.mkv", "ffv1", "yuv420p", "flac", "mkv", ()),
    ("vp8.mkv", "libvpx", "yuv420p", "flac", "mkv", ()),
    ("vp9.mkv", "libvpx-vp9", "yuv420p", "libopus", "mkv", ()),
    ("mpeg2.mkv", "mpeg2video", "yuv420p", "mp2", "mkv", ()),
    ("mpeg1.mpg", "mpeg1video", "yuv420p", "mp2", "mp4", ()),
    ("mpeg2.mpg", "mpeg2video", "yuv420p", "mp2", "mp4", ()),
    ("mpeg2.ts", "mpeg2video", "yuv420p", "mp2", "mp4", ()),
    ("h264.ts", "libx264", "yuv420p", "aac", "mp4", ()),
    ("h264.m2ts", "libx264", "yuv420p", "ac3", "mp4", ()),
    ("mpeg4.avi", "mpeg4", "yuv420p", "mp2", "mp4", ()),
    ("mjpeg.avi", "mjpeg", "yuvj420p", "pcm_s16le", "mp4", ()),
    ("flv1.flv", "flv", "yuv420p", None, "mp4", ()),
    ("h264.flv", "libx264", "yuv420p", "aac", "mp4", ()),
    ("vp8.webm", "libvpx", "yuv420p", "libopus", "webm", ()),
    ("vp9.webm", "libvpx-vp9", "yuv420p", "libopus", "webm", ()),
    ("wmv2.wmv", "wmv2", "yuv420p", "wmav2", "mp4", ()),
    ("nut.nut", "mpeg4", "yuv420p", "mp2", "mp4", ()),
    ("mpeg2.mxf", "mpeg2video", "yuv420p", None, "mp4", ()),
    ("raw.y4m", "wrapped_avframe", "yuv420p", None, "mp4", ()),
    ("vp8.ivf", "libvpx", "yuv420p", None, "mp4", ()),
)


def _format(
    name: str, codec: str, pix_fmt: str, audio: str | None, suffix: str, texts: Any
) -> Case:
    return Case(
        name=f"format {name}",
        topic=TOPIC,
        brings=f"{codec.removeprefix('lib')} in {name.rpartition('.')[2]}",
        happens="dubbed at its size and rate",
        video=plain(name, codec=codec, pix_fmt=pix_fmt, audio=audio),
        audio=voice(),
        out=f"out.{suffix}",
        expect=Warned(*texts) if texts else Case.__dataclass_fields__["expect"].default_factory(),
        quick=name in ("hevc.mp4", "vp9.webm", "mpeg2.ts", "prores.mov", "mpeg4.avi"),
    )


def _rate(rate: str) -> Case:
    value = Fraction(rate)
    return Case(
        name=f"rate {rate}",
        topic=RATES,
        brings=f"{float(value):.5g} frames per second",
        happens="kept exactly",
        video=plain("rate.mp4", rate=value, count=24),
        audio=voice(),
        checks=(same("rate"),),
        quick=rate in ("24000/1001", "60"),
    )


def _size(
    width: int, height: int, quick: bool = False, out: str = "out.mp4", count: int = 6
) -> Case:
    codec = "mpeg4" if width % 2 == 0 and height % 2 == 0 else "mjpeg"
    pix_fmt = "yuv420p" if codec == "mpeg4" else "yuvj420p"
    return Case(
        name=f"size {width}x{height}",
        topic=RATES,
        brings=f"{width} x {height} pixels",
        happens="kept",
        video=plain(
            "size.mkv", size=(width, height), count=count, codec=codec, pix_fmt=pix_fmt, audio=None
        ),
        audio=voice(),
        out=out,
        quick=quick,
    )


CASES = (
    *(_format(*facts) for facts in FORMATS),
    *(
        Case(
            name=f"exif {orientation} in {suffix}",
            topic=TOPIC,
            brings=f"Motion JPEG with EXIF in {suffix}",
            happens="read, turned upright",
            video=with_exif(f"camera.{suffix}", orientation),
            audio=voice(),
            quick=(suffix, orientation) == ("mov", 6),
        )
        for suffix in ("mov", "avi", "mkv")
        for orientation in (1, 6)
    ),
    *(
        _rate(rate)
        for rate in (
            *("10", "12", "15", "24000/1001", "24", "25", "30000/1001", "30", "48", "50"),
            *("60000/1001", "60", "100", "120000/1001"),
        )
    ),
    Case(
        name="uneven times",
        topic=RATES,
        brings="a variable frame rate",
        happens="kept in step with the sound, at an even rate",
        video=gapped("vfr.mkv"),
        audio=voice(),
        quick=True,
    ),
    Case(
        name="uneven times in mp4",
        topic=RATES,
        brings="a variable frame rate",
        video=gapped("vfr.mp4"),
        audio=voice(),
    ),
    _size(16, 16),
    _size(64, 48),
    _size(160, 90, quick=True),
    _size(120, 214),
    _size(161, 121, quick=True),
    _size(160, 121),
    _size(1280, 720),
    _size(1080, 1920),
    _size(3840, 2160, count=2),
    Case(
        name="anamorphic",
        topic=RATES,
        brings="pixels that are not square",
        happens="kept, with their aspect",
        video=plain("dv.mp4", sample_aspect=Fraction(16, 11)),
        audio=voice(),
        checks=(same("sample_aspect"),),
        quick=True,
    ),
)
