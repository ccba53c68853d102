"""Orientation, chroma, alpha, depth and fields."""

from __future__ import annotations

from typing import Any

from bench.inputs.case import Case, Right, Warned
from bench.inputs.checks import codec, has, interlaced, same
from bench.inputs.recipes.other import picture
from bench.inputs.recipes.sound import voice
from bench.inputs.recipes.video import fields, plain, rgba, turned

TURN = "Orientation"
PIXELS = "Chroma, depth and alpha"
INTERLACED = "Interlaced video"


def _pixels(name: str, file: str, codec_: str, pix_fmt: str, out: str, **more: Any) -> Case:
    return Case(
        name=f"pixels {name} to {out}",
        topic=PIXELS,
        brings=more.pop("brings", name),
        happens=more.pop("happens", "kept"),
        video=more.pop("video", None) or plain(file, codec=codec_, pix_fmt=pix_fmt, audio=None),
        audio=voice(),
        out=f"out.{out}",
        **more,
    )


PLAYERS = Warned("which browsers and many players cannot show")
TWELVE_BITS = Warned("12 bits per sample became 10")
FIRST = {"tt": "top", "bb": "bottom"}
KEEPS_CHROMA = (same("chroma"),)
KEEPS_ALPHA = (same("chroma"), same("alpha"))
VP9_ALPHA = rgba("vp9.webm", "libvpx-vp9", "yuva420p", audio=None)
PRORES_ALPHA = rgba("prores.mov", "prores_ks", "yuva444p10le", audio=None)

CASES = (
    *(
        Case(
            name=f"turned by {rotation}",
            topic=TURN,
            brings=f"a phone video turned by {rotation} degrees",
            happens="shown as players show it; the matrix is kept",
            video=turned("phone.mp4", rotation),
            audio=voice(),
            checks=(same("rotation"),),
            quick=rotation == 90,
        )
        for rotation in (0, 90, 180, 270)
    ),
    Case(
        name="turned in mov",
        topic=TURN,
        brings="a phone video in mov",
        video=turned("phone.mov", 270),
        audio=voice(),
        out="out.mov",
        checks=(same("rotation"),),
    ),
    _pixels(
        "4:2:0 10 bit", "deep.mkv", "libx265", "yuv420p10le", "mp4", checks=(same("bit_depth"),)
    ),
    _pixels(
        "4:2:2 H.264",
        "a.mp4",
        "libx264",
        "yuv422p",
        "mp4",
        checks=KEEPS_CHROMA,
        expect=PLAYERS,
        quick=True,
        brings="4:2:2 or 4:4:4 H.264",
    ),
    _pixels(
        "4:4:4 H.264", "a.mp4", "libx264", "yuv444p", "mp4", checks=KEEPS_CHROMA, expect=PLAYERS
    ),
    _pixels(
        "4:2:2 H.264 mkv", "a.mkv", "libx264", "yuv422p", "mkv", checks=KEEPS_CHROMA, expect=PLAYERS
    ),
    _pixels(
        "ProRes 422",
        "a.mov",
        "prores_ks",
        "yuv422p10le",
        "mov",
        checks=(*KEEPS_CHROMA, codec("prores")),
        quick=True,
        brings="ProRes",
        happens="ProRes again",
    ),
    _pixels(
        "ProRes 4444",
        "a.mov",
        "prores_ks",
        "yuv444p10le",
        "mov",
        checks=(*KEEPS_CHROMA, codec("prores")),
        expect=TWELVE_BITS,
    ),
    _pixels(
        "FFV1 4:2:2",
        "a.mkv",
        "ffv1",
        "yuv422p",
        "mkv",
        checks=(*KEEPS_CHROMA, codec("ffv1")),
        brings="FFV1",
        happens="FFV1 again",
    ),
    _pixels("FFV1 4:4:4", "a.mkv", "ffv1", "yuv444p", "mkv", checks=KEEPS_CHROMA),
    _pixels(
        "4:2:0 by request",
        "a.mp4",
        "libx264",
        "yuv444p",
        "mp4",
        options=("--chroma", "4:2:0"),
        checks=(has(lambda info: info.video and info.video.chroma, "4:2:0", "chroma"),),
        brings="4:4:4 with `--chroma 4:2:0`",
        happens="4:2:0",
        quick=True,
    ),
    _pixels("gray", "a.mkv", "ffv1", "gray", "mp4"),
    _pixels("RGB", "a.mkv", "ffv1", "bgr0", "mkv", expect=Warned("RGB became")),
    _pixels("RLE RGB", "a.mov", "qtrle", "rgb24", "mov", expect=Warned("RGB became")),
    _pixels(
        "alpha VP9",
        "",
        "",
        "",
        "webm",
        video=VP9_ALPHA,
        checks=KEEPS_ALPHA,
        quick=True,
        brings="VP9 with alpha, to webm or mkv",
        happens="alpha kept",
    ),
    _pixels(
        "alpha VP9",
        "",
        "",
        "",
        "mp4",
        video=VP9_ALPHA,
        expect=Warned("alpha"),
        quick=True,
        brings="alpha, to mp4",
        happens="transparent parts become white, with a warning",
    ),
    _pixels(
        "alpha ProRes",
        "",
        "",
        "",
        "mov",
        video=PRORES_ALPHA,
        checks=(same("alpha"),),
        expect=TWELVE_BITS,
        quick=True,
        brings="ProRes 4444 with alpha",
        happens="alpha kept",
    ),
    _pixels(
        "alpha ProRes",
        "",
        "",
        "",
        "mp4",
        video=PRORES_ALPHA,
        expect=Warned("alpha", "players cannot show", "12 bits"),
    ),
    Case(
        name="portrait with alpha",
        topic=PIXELS,
        brings="a picture with transparent parts",
        happens="shown on white",
        video=picture("cut.png", alpha=True),
        audio=voice(),
        face=True,
    ),
    *(
        Case(
            name=f"interlaced {order} {codec_} to {out}",
            topic=INTERLACED,
            brings=f"{FIRST[order]} field first in {file.rpartition('.')[2]}",
            happens="interlaced again, the same field first",
            video=fields(file, order, codec_, **more),
            audio=voice(),
            out=f"out.{out}",
            checks=(interlaced(order),),
            quick=(order, out) in (("tt", "mp4"), ("bb", "mov")) and codec_ != "mpeg2video",
        )
        for order in ("tt", "bb")
        for file, codec_, out, more in (
            ("a.mp4", "libx264", "mp4", {}),
            ("a.ts", "mpeg2video", "mp4", {}),
            ("a.mov", "prores_ks", "mov", {"pix_fmt": "yuv422p10le"}),
            ("a.mkv", "ffv1", "mkv", {}),
        )
    ),
    *(
        Case(
            name=f"interlaced to {name}",
            topic=INTERLACED,
            brings=f"interlaced video, to {name}",
            happens="deinterlaced, with a warning",
            video=fields("a.mp4", "tt"),
            audio=voice(),
            out=out,
            options=options,
            expect=Warned("deinterlaced"),
            quick=name == "webm",
        )
        for name, out, options in (
            ("webm", "out.webm", ()),
            ("a larger size", "out.mp4", ("--size", "1080p")),
        )
    ),
    Case(
        name="progressive stays progressive",
        topic=INTERLACED,
        brings="progressive video",
        happens="progressive",
        video=plain("a.mp4"),
        audio=voice(),
        expect=Right(),
        checks=(same("interlaced"),),
    ),
)
