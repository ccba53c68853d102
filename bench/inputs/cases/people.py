"""Finding the person: held pictures, shots, orientation, graphics, several faces."""

from __future__ import annotations

from fractions import Fraction

from bench.inputs.case import Case, Recipe, Refused, Warned
from bench.inputs.checks import graphic_kept
from bench.inputs.recipes.other import damaged, picture
from bench.inputs.recipes.sound import voice
from bench.inputs.recipes.video import (
    gap_in_time,
    held,
    plain,
    shots,
    talk,
    tiny_face,
    turned_matrix,
    two_faces,
    upside_down,
    with_graphic,
)

TOPIC = "People"
HELD = "every frame is animated: a held picture makes no cut"


def _held(name: str, counts: tuple[int, ...], rate: str, quick: bool = False) -> Case:
    return Case(
        name=name,
        topic=TOPIC,
        brings=f"held pictures: {name}",
        happens=HELD,
        video=held("held.mp4", counts, Fraction(rate)),
        audio=voice(),
        face=True,
        quick=quick,
    )


def _face(name: str, video: Recipe, brings: str, happens: str, **more: object) -> Case:
    facts = {"audio": voice(), "face": True, **more}
    return Case(name=name, topic=TOPIC, brings=brings, happens=happens, video=video, **facts)  # type: ignore[arg-type]


CASES = (
    _face("a talking face", talk(), "a talking face", "animated in every frame", quick=True),
    _face("a talking face in mkv", talk("talk.mkv"), "a talking face", "animated"),
    _face(
        "10 bit face",
        talk("deep.mkv", codec="libx265", pix_fmt="yuv420p10le", audio=None),
        "10 bits",
        "animated at 10 bits",
    ),
    _face(
        "4:4:4 face",
        talk("full.mp4", pix_fmt="yuv444p"),
        "4:4:4",
        "animated in 4:4:4",
        expect=Warned("players cannot show"),
    ),
    _face(
        "ProRes face",
        talk("pro.mov", codec="prores_ks", pix_fmt="yuv422p10le", audio="pcm_s16le"),
        "ProRes",
        "animated",
        out="out.mov",
    ),
    _face(
        "a portrait",
        picture("portrait.jpg"),
        "a portrait",
        "animated for as long as the speech lasts",
        quick=True,
    ),
    _face("a portrait in png", picture("portrait.png"), "a portrait in PNG", "animated"),
    _face("a portrait in webp", picture("portrait.webp"), "a portrait in WebP", "animated"),
    _face("a portrait in jp2", picture("portrait.jp2"), "a portrait in JPEG 2000", "animated"),
    _held("12.5 in 50", (4,), "50", quick=True),
    _held("15 in 60", (4,), "60"),
    _held("24 in 119.88", (5,), "120000/1001"),
    _held("5 in 60", (12,), "60"),
    _held("telecine", (3, 2), "30000/1001"),
    _held("25 in 30", (1, 1, 1, 1, 2), "30"),
    _held("a call that freezes", (1, 1, 1, 1, 1, 14, 1, 1, 1, 9), "25", quick=True),
    _face("a gap in time", gap_in_time("gap.mkv"), "a gap in a variable rate", "animated"),
    _face(
        "short shots without sound",
        shots("jump.mp4", "fcf"),
        "one person in short shots, no sound",
        "animated in all shots",
        quick=True,
    ),
    _face(
        "short shots, silent",
        shots("jump.mp4", "fcfc", "aac"),
        "one person in short shots, silent",
        "animated in all shots",
    ),
    _face(
        "b-roll",
        shots("broll.mp4", "fbf"),
        "face, b-roll, face",
        "the face is animated; the rest is named in a warning",
        expect=Warned("frames 12-23 (12 of 36) are unchanged: no face is seen"),
        animated=0.66,
        quick=True,
    ),
    _face(
        "everyone",
        shots("jump.mp4", "fcf"),
        "several people, one at a time, with `--animate everyone`",
        "each is animated",
        options=("--animate", "everyone"),
        quick=True,
    ),
    _face(
        "upside down", upside_down("down.mp4", 2), "a picture upside down", "animated", quick=True
    ),
    _face(
        "on its side", upside_down("side.mp4", 1), "a picture on its side", "animated", quick=True
    ),
    _face("on its other side", upside_down("side.mp4", 3), "a picture on its side", "animated"),
    _face("wrong matrix", turned_matrix("matrix.mp4", 180), "a wrong display matrix", "animated"),
    _face("wrong matrix 90", turned_matrix("matrix.mp4", 90), "a wrong display matrix", "animated"),
    _face(
        "two faces",
        two_faces,
        "two faces",
        "one is animated; a warning says so",
        expect=Warned("another face is in view in"),
        quick=True,
    ),
    _face(
        "two faces, one picked",
        two_faces,
        "two faces, one picked",
        "the picked one is animated",
        options=("--speaker", "96,96"),
        expect=Warned("another face is in view in"),
    ),
    _face(
        "caption",
        with_graphic("caption.mp4", "caption"),
        "a caption over the chin",
        "it stays in front",
        checks=(graphic_kept,),
        quick=True,
    ),
    _face(
        "logo",
        with_graphic("logo.mp4", "logo"),
        "a logo over the chin",
        "it stays in front",
        checks=(graphic_kept,),
    ),
    _face(
        "watermark",
        with_graphic("mark.mp4", "watermark"),
        "a watermark over the chin",
        "it stays in front",
    ),
    _face(
        "damaged",
        damaged,
        "damaged frames",
        "played as far as possible; a warning counts them",
        expect=Warned("frames of the video are damaged"),
        quick=True,
    ),
    Case(
        name="no face",
        topic=TOPIC,
        brings="no face",
        happens="refused",
        video=plain("pattern.mp4"),
        audio=voice(),
        face=True,
        expect=Refused("no_face_found", 4, "allow_no_face"),
        quick=True,
    ),
    Case(
        name="no face, allowed",
        topic=TOPIC,
        brings="no face, with `--allow-no-face`",
        happens="the picture is kept, with a warning",
        video=plain("pattern.mp4"),
        audio=voice(),
        quick=True,
    ),
    Case(
        name="a face of a few pixels",
        topic=TOPIC,
        brings="a face of a few pixels",
        happens="refused as no face",
        video=tiny_face,
        audio=voice(),
        face=True,
        expect=Refused("no_face_found", 4),
    ),
    *(
        Case(
            name=f"speaker {name}",
            topic=TOPIC,
            brings=f"`--speaker` {name}",
            happens="refused",
            video=talk(),
            audio=voice(),
            options=("--speaker", pick),
            face=True,
            expect=Refused("invalid_options", 2, text),
            quick=True,
        )
        for name, pick, text in (
            ("outside the picture", "5000,20", "outside the picture of 192 x 192"),
            ("after the end", "96,96@60", "ends after"),
        )
    ),
)
