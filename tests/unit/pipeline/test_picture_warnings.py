"""What is said of pictures that a result cannot keep."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from lipwright.errors import InvalidOptions
from lipwright.media.probe import AudioInfo, MediaInfo, VideoInfo
from lipwright.media.timeline import plan_timeline
from lipwright.options import SyncOptions
from lipwright.pipeline.output_format import plan_pictures
from lipwright.pipeline.warnings.picture import picture_warnings

VIDEO = VideoInfo(
    width=640,
    height=480,
    rate=Fraction(25),
    variable_rate=False,
    duration=Fraction(4),
    frames=100,
    rotation=0,
    codec="h264",
    pix_fmt="yuv420p",
)
SPEECH = AudioInfo(codec="pcm", sample_rate=16000, channels=1, layout="mono", duration=Fraction(6))
VP9_ALPHA = {"codec": "vp9", "alpha": True}
PRORES = {"codec": "prores", "pix_fmt": "yuv422p10le", "bit_depth": 10, "chroma": "4:2:2"}
PRORES_4444 = {
    "codec": "prores",
    "pix_fmt": "yuva444p12le",
    "bit_depth": 12,
    "chroma": "4:4:4",
    "alpha": True,
}
QTRLE = {"codec": "qtrle", "pix_fmt": "argb", "chroma": "4:4:4", "alpha": True, "colorspace": 0}
SCREEN = {"pix_fmt": "yuv444p", "chroma": "4:4:4"}
CAMERA = {"pix_fmt": "yuv422p10le", "bit_depth": 10, "chroma": "4:2:2"}
HDR = {"codec": "prores", "content_light": "1000,400", **PRORES}
GIF = {"codec": "gif", "pix_fmt": "bgra", "chroma": "4:4:4", "colorspace": 0}
TOP_FIRST = {"interlaced": True, "field_order": 2}
PLAYERS = "browsers and many players cannot show"


def plan(change, name, **options):
    source = MediaInfo(path=Path("in"), container="x", video=VIDEO, audio=None)
    source = replace(source, video=replace(VIDEO, **change))
    speech = MediaInfo(path=Path("speech"), container="wav", video=None, audio=SPEECH)
    chosen = SyncOptions(**options)
    source, like = plan_pictures(source, speech, chosen, Path(name))
    mode = chosen.mode
    timeline = plan_timeline(mode, video=VIDEO.duration, audio=SPEECH.duration, rate=VIDEO.rate)
    return source, like, list(picture_warnings(source, timeline, chosen, Path(name)))


@pytest.mark.parametrize(
    ("change", "name", "options"),
    [
        ({}, "out.mp4", {}),
        ({}, "out.mov", {"encoder": "prores_ks"}),
        ({}, "out.webm", {}),
        ({"codec": "hevc", "bit_depth": 10}, "out.mp4", {}),
        (VP9_ALPHA, "out.webm", {}),
        (VP9_ALPHA, "out.mov", {}),
        (VP9_ALPHA, "out.mkv", {}),
        (PRORES, "out.mov", {}),
        (PRORES, "out.mkv", {}),
        ({"codec": "ffv1", "alpha": True}, "out.mkv", {}),
        (CAMERA, "out.mp4", {"chroma": "4:2:0"}),
        (TOP_FIRST, "out.mp4", {}),
        (TOP_FIRST, "out.mov", {"encoder": "prores_ks"}),
        ({**TOP_FIRST, "codec": "hevc", "bit_depth": 10}, "out.mkv", {}),
        ({"codec": "png", "pix_fmt": "rgb24", "still": True, "chroma": "4:2:0"}, "out.mp4", {}),
    ],
    ids=str,
)
def test_nothing_is_said_where_nothing_is_lost(change, name, options):
    assert plan(change, name, **options)[2] == []


@pytest.mark.parametrize(
    ("change", "name", "options", "texts"),
    [
        (VP9_ALPHA, "out.mp4", {}, [r"alpha channel is not kept.*white.*\.mp4.*write \.mov"]),
        (VP9_ALPHA, "out.mov", {"encoder": "libx264"}, ["alpha.*libx264 cannot hold it"]),
        (PRORES_4444, "out.mov", {}, ["12 bits per sample became 10"]),
        (PRORES_4444, "out.mp4", {}, ["alpha channel", PLAYERS, "12 bits per sample became 10"]),
        (PRORES, "out.mp4", {}, [f"4:2:2 chroma, which {PLAYERS}: use chroma 4:2:0"]),
        (SCREEN, "out.mp4", {}, [f"4:4:4 chroma, which {PLAYERS}"]),
        (SCREEN, "out.mp4", {"encoder": "h264_nvenc"}, ["4:4:4 chroma became 4:2:0: h264_nvenc"]),
        (CAMERA, "out.mp4", {"encoder": "hevc_nvenc"}, ["4:2:2 chroma became 4:2:0: hevc_nvenc"]),
        (QTRLE, "out.mov", {}, [r"^RGB became YUV 4:4:4 \(BT.709\)$"]),
        (QTRLE, "out.webm", {}, ["RGB became 4:2:0: VP9 has no other with alpha"]),
        (GIF, "out.mp4", {}, ["RGB became 4:2:0: browsers show no other; use chroma 4:4:4"]),
        (HDR, "out.mov", {}, ["HDR metadata.*not kept: prores_ks.*use libx265"]),
        (PRORES, "out.mov", {"crf": 12}, ["crf has no effect: ProRes"]),
        ({"codec": "ffv1"}, "out.mkv", {"crf": 12}, ["crf has no effect: FFV1"]),
    ],
)
def test_what_is_lost_is_said(change, name, options, texts):
    warnings = plan(change, name, **options)[2]
    assert len(warnings) == len(texts), warnings
    for warning, text in zip(warnings, texts, strict=True):
        assert re.search(text, warning), warning


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("out.webm", {}, r"libvpx-vp9 encodes no fields; use libx264 in \.mp4"),
        ("out.mp4", {"encoder": "libx265"}, "libx265 encodes no fields"),
        ("out.mp4", {"encoder": "hevc_nvenc"}, "hevc_nvenc encodes no fields"),
        ("out.mp4", {"size": "1080p"}, "enlarged frames cannot keep their fields"),
        ("out.mp4", {"mode": "remap"}, "frames between two frames"),
        ("out.mp4", {"mode": "bounce"}, "played backward"),
    ],
)
def test_video_whose_fields_cannot_be_kept_is_deinterlaced_and_said(name, options, reason):
    source, like, warnings = plan(TOP_FIRST, name, **options)
    assert source.video.deinterlace
    assert not source.video.interlaced
    assert not like.interlaced
    assert len(warnings) == 1
    assert re.search(f"the interlaced video was deinterlaced: {reason}", warnings[0])


@pytest.mark.parametrize("size", [(720, 486), (720, 478)])
def test_a_height_that_h264_has_no_fields_for_is_said(size):
    change = {**TOP_FIRST, "width": size[0], "height": size[1]}
    assert "libx264 encodes no fields at 720 x" in plan(change, "out.mp4")[2][0]
    assert plan({**change, "codec": "ffv1"}, "out.mkv")[2] == []


@pytest.mark.parametrize("change", [TOP_FIRST, {"interlaced": True, "field_order": 5}])
def test_fields_are_kept_at_the_size_of_the_source(change):
    source, like, _ = plan(change, "out.mp4", mode="loop", size=None)
    assert like.interlaced
    assert not source.video.deinterlace
    assert like.field_order == change["field_order"]


def test_a_container_that_cannot_hold_the_depth_is_refused_before_any_work():
    with pytest.raises(InvalidOptions, match=r"cannot be kept in \.webm"):
        plan(PRORES, "out.webm")
