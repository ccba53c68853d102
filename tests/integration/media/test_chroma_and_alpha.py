"""Chroma, alpha and depth pass through decoding and encoding."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from lipwright.media.decode.random_access import RandomAccessReader
from lipwright.media.decode.video import read_video
from lipwright.media.encode.mux import VideoWriter
from lipwright.media.encode.video import write_segment
from lipwright.media.picture import Picture
from lipwright.media.pixel_format import subsampling_after_rotation
from lipwright.media.probe import VideoInfo, probe, require_video
from lipwright.media.timeline import plan_timeline
from media_clips import ClipSpec, write_clip

RATE = Fraction(25)
SIZE = (96, 64)
LIKE = VideoInfo(
    width=96,
    height=64,
    rate=RATE,
    variable_rate=False,
    duration=Fraction(1),
    frames=None,
    rotation=0,
    codec="h264",
    pix_fmt="yuv420p",
)


def stripes(like: VideoInfo, k: int = 0) -> Picture:
    """A grey ramp over columns of red and blue, one pixel wide, transparent outside a disc."""
    deep = like.bit_depth > 8
    y, x = np.mgrid[: like.height, : like.width]
    red = x % 2 == 0
    rgb = np.dstack([np.where(red, 190, 70), np.full(x.shape, 90), np.where(red, 70, 190)]) + k
    codes = (rgb << 2).astype(np.uint16) if deep else rgb.astype(np.uint8)
    chroma = subsampling_after_rotation(like.chroma, like.rotation)
    alpha = None
    if like.alpha:
        inside = np.hypot(x - like.width / 2, y - like.height / 2) < 20
        alpha = (inside * ((1 << (10 if deep else 8)) - 1)).astype(codes.dtype)
    return replace(Picture.from_rgb(codes, matrix="bt601", chroma=chroma), alpha=alpha)


def write(path: Path, like: VideoInfo, count: int = 4, **settings: object) -> VideoInfo:
    """Write stripes and return the description of the file."""
    timeline = plan_timeline("cut_off", video=count / RATE, audio=count / RATE, rate=RATE)
    with VideoWriter(path, like=like, timeline=timeline, audio=None, **settings) as writer:
        for k in range(count):
            writer.write(stripes(like, k))
    return require_video(probe(path))


def first_picture(path: Path) -> Picture:
    with read_video(probe(path)) as frames:
        return next(frames).picture


def contrast(picture: Picture) -> float:
    """How far neighbouring columns differ in red: 120 where chroma is whole, about 0 at 4:2:0."""
    red = picture.rgb()[16:-16, 16:-16, 0].astype(float) / (1 << (picture.depth - 8))
    return float(np.abs(np.diff(red, axis=1)).mean())


@pytest.mark.parametrize(
    ("codec", "bits", "chroma", "name", "expected"),
    [
        ("h264", 8, "4:4:4", "out.mp4", ("h264", "yuv444p")),
        ("h264", 8, "4:2:2", "out.mkv", ("h264", "yuv422p")),
        ("h264", 10, "4:2:2", "out.mp4", ("h264", "yuv422p10le")),
        ("h264", 10, "4:4:4", "out.mov", ("h264", "yuv444p10le")),
        ("hevc", 10, "4:2:2", "out.mp4", ("hevc", "yuv422p10le")),
        ("mjpeg", 8, "4:2:2", "out.mp4", ("h264", "yuv422p")),
        ("vp9", 8, "4:4:4", "out.webm", ("vp9", "yuv444p")),
        ("prores", 10, "4:2:2", "out.mov", ("prores", "yuv422p10le")),
        ("prores", 10, "4:2:2", "out.mkv", ("prores", "yuv422p10le")),
        ("prores", 12, "4:4:4", "out.mov", ("prores", "yuv444p12le")),
        ("prores", 10, "4:2:2", "out.mp4", ("h264", "yuv422p10le")),
        ("dnxhd", 8, "4:2:2", "out.mov", ("prores", "yuv422p10le")),
        ("v210", 10, "4:2:2", "out.mov", ("prores", "yuv422p10le")),
        ("qtrle", 8, "4:4:4", "out.mov", ("prores", "yuv444p12le")),
        ("ffv1", 10, "4:4:4", "out.mkv", ("ffv1", "yuv444p10le")),
        ("ffv1", 8, "4:2:0", "out.mkv", ("ffv1", "yuv420p")),
        ("ffv1", 8, "4:2:0", "out.mp4", ("h264", "yuv420p")),
        ("h264", 8, "4:2:0", "out.mov", ("h264", "yuv420p")),
    ],
)
def test_chroma_and_depth_are_those_of_the_source(codec, bits, chroma, name, expected, tmp_path):
    like = replace(LIKE, codec=codec, bit_depth=bits, chroma=chroma)
    video = write(tmp_path / name, like, crf=5)
    assert (video.codec, video.pix_fmt) == expected
    assert (video.color_range, video.colorspace) in [(0, 2), (1, 2)]
    kept = contrast(first_picture(tmp_path / name))
    assert kept > 90 if chroma == "4:4:4" else kept < 30


@pytest.mark.parametrize(
    ("codec", "bits", "chroma", "name", "expected"),
    [
        ("prores", 12, "4:4:4", "out.mov", "prores"),
        ("prores", 12, "4:4:4", "out.mkv", "prores"),
        ("qtrle", 8, "4:4:4", "out.mov", "prores"),
        ("vp9", 8, "4:2:0", "out.mov", "prores"),
        ("png", 8, "4:4:4", "out.mkv", "ffv1"),
        ("vp8", 8, "4:2:0", "out.mkv", "vp9"),
        ("vp9", 8, "4:2:0", "out.webm", "vp9"),
        ("qtrle", 8, "4:4:4", "out.webm", "vp9"),
    ],
)
def test_alpha_is_kept(codec, bits, chroma, name, expected, tmp_path):
    like = replace(LIKE, codec=codec, bit_depth=bits, chroma=chroma, alpha=True)
    video = write(tmp_path / name, like)
    assert (video.codec, video.alpha) == (expected, True)
    before, after = stripes(like).alpha, first_picture(tmp_path / name).alpha
    share = after / after.max() - before / before.max()
    assert np.abs(share).mean() < 0.01


@pytest.mark.parametrize(("codec", "bits"), [("vp9", 8), ("prores", 12)])
@pytest.mark.parametrize("name", ["out.mp4", "out.m4v"])
def test_without_alpha_transparent_parts_are_white(codec, bits, name, tmp_path):
    video = write(tmp_path / name, replace(LIKE, codec=codec, bit_depth=bits, alpha=True))
    assert not video.alpha
    rgb = first_picture(tmp_path / name).rgb() >> max(0, min(video.bit_depth, 10) - 8)
    assert rgb[:8].min() > 240  # not the stripes behind the mask
    assert rgb[28:36, 44:52].max() < 230


@pytest.mark.parametrize("rotation", [0, 90, 270])
@pytest.mark.parametrize("chroma", ["4:2:2", "4:4:4"])
def test_chroma_and_alpha_are_kept_in_rotated_video(chroma, rotation, tmp_path):
    like = replace(LIKE, codec="ffv1", chroma=chroma, rotation=rotation, alpha=True)
    path = tmp_path / "out.mkv"
    video = write(path, like)
    assert (video.rotation, video.chroma, video.width) == (rotation, chroma, 96)
    before, after = stripes(like), first_picture(path)
    assert after.chroma == before.chroma
    assert all(map(np.array_equal, before.planes, after.planes))
    assert np.array_equal(before.alpha, after.alpha)


@pytest.mark.parametrize("chroma", ["4:2:0", "4:2:2", "4:4:4"])
@pytest.mark.parametrize("codec", ["ffv1", "h264", "prores"])
@pytest.mark.parametrize("size", [(97, 63), (97, 64), (96, 63)], ids=str)
def test_odd_sizes_are_kept(size, codec, chroma, tmp_path):
    like = replace(LIKE, width=size[0], height=size[1], codec=codec, chroma=chroma)
    video = write(tmp_path / "out.mkv", like)
    assert (video.width, video.height) == size
    assert video.chroma == ("4:2:2" if codec == "prores" and chroma == "4:2:0" else chroma)
    before, after = stripes(like).planes[0], first_picture(tmp_path / "out.mkv").planes[0]
    if codec == "prores":
        after = after >> 2
    assert np.abs(before.astype(float) - after).mean() < 8


def test_ffv1_is_lossless(tmp_path):
    like = replace(LIKE, codec="ffv1", bit_depth=10, chroma="4:4:4", alpha=True)
    write(tmp_path / "out.mkv", like)
    before, after = stripes(like), first_picture(tmp_path / "out.mkv")
    assert all(map(np.array_equal, (*before.planes, before.alpha), (*after.planes, after.alpha)))


@pytest.mark.parametrize(
    ("encoder", "chroma", "name", "pix_fmt"),
    [
        ("libx264", "4:2:2", "out.mp4", "yuv422p10le"),
        ("libx265", "4:4:4", "out.mp4", "yuv444p10le"),
        ("prores_ks", "4:2:0", "out.mov", "yuv422p10le"),
        ("ffv1", "4:2:0", "out.mkv", "yuv420p10le"),
    ],
)
def test_a_requested_encoder_keeps_what_it_can(encoder, chroma, name, pix_fmt, tmp_path):
    like = replace(LIKE, bit_depth=10, chroma=chroma)
    assert write(tmp_path / name, like, encoder=encoder).pix_fmt == pix_fmt


@pytest.mark.parametrize(
    ("codec", "name", "alpha"),
    [
        ("prores", "out.mov", True),
        ("ffv1", "out.mkv", True),
        ("vp9", "out.webm", True),
        ("vp9", "out.mkv", True),
        ("h264", "out.mp4", False),
    ],
)
def test_segments_of_every_codec_can_be_joined(codec, name, alpha, tmp_path):
    chroma = "4:2:0" if codec == "vp9" else "4:2:2"
    like = replace(LIKE, codec=codec, chroma=chroma, alpha=alpha)
    timeline = plan_timeline("cut_off", video=6 / RATE, audio=6 / RATE, rate=RATE)

    def segments(writer: VideoWriter) -> Iterator[io.BytesIO]:
        for start in (0, 3):
            out = io.BytesIO()
            list(write_segment(out, writer.spec, (stripes(like, start + k) for k in range(3))))
            yield out

    with VideoWriter(tmp_path / name, like=like, timeline=timeline, audio=None) as writer:
        writer.concatenate(segments(writer))
    video = require_video(probe(tmp_path / name))
    assert (video.codec, video.alpha, video.rate) == (codec, alpha, RATE)
    frames = [f.picture for f in read_video(probe(tmp_path / name))]
    assert len(frames) == 6
    levels = [np.median(p.planes[0]) for p in frames]
    assert levels == sorted(levels)
    if alpha:
        assert all(p.alpha.min() == 0 < p.alpha.max() for p in frames)


def write_alpha_webm(path: Path, codec: str = "libvpx-vp9") -> Path:
    """Ten frames that are red under a transparent left half."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, width=64, height=64)
        stream.pix_fmt = "yuva420p"
        for k in range(10):
            rgba = np.full((64, 64, 4), (200, 40 + k, 40, 255), np.uint8)
            rgba[:, :32, 3] = 0
            frame = av.VideoFrame.from_ndarray(rgba, format="rgba").reformat(format="yuva420p")
            frame.pts, frame.time_base = k, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def remux(source: Path, path: Path) -> Path:
    """Copy the packets, as ``ffmpeg -c copy`` does."""
    with av.open(str(source)) as before, av.open(str(path), "w") as after:
        stream = after.add_stream_from_template(before.streams.video[0])
        stream.metadata["alpha_mode"] = "1"
        for packet in before.demux(before.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                after.mux(packet)
    return path


@pytest.mark.parametrize("copied", [False, True])
def test_alpha_coded_beside_the_pictures_is_read(copied, tmp_path):
    path = write_alpha_webm(tmp_path / "alpha.webm")
    info = probe(remux(path, tmp_path / "copy.webm") if copied else path)
    assert require_video(info).alpha
    frames = [frame.picture for frame in read_video(info)]
    assert len(frames) == 10
    assert all(p.alpha[:, :24].max() < 8 and p.alpha[:, 40:].min() > 247 for p in frames)
    order = [7, 3, 9, 0]
    pictures = RandomAccessReader(info).read((k, 0.0) for k in order)
    for k, picture in zip(order, pictures, strict=True):
        assert np.array_equal(picture.planes[0], frames[k].planes[0])
        assert np.array_equal(picture.alpha, frames[k].alpha)


@pytest.mark.parametrize(
    ("name", "clip", "alpha", "chroma"),
    [
        ("a.mov", ClipSpec(codec="qtrle", pix_fmt="argb"), True, "4:4:4"),
        ("a.mov", ClipSpec(codec="png", pix_fmt="rgba"), True, "4:4:4"),
        ("a.mkv", ClipSpec(codec="ffv1", pix_fmt="bgra"), True, "4:4:4"),
        ("a.mov", ClipSpec(codec="prores_ks", pix_fmt="yuva444p10le"), True, "4:4:4"),
        ("a.gif", ClipSpec(codec="gif", pix_fmt="rgb8", rate=Fraction(20)), False, "4:4:4"),
        ("a.avi", ClipSpec(codec="mjpeg", pix_fmt="yuvj444p"), False, "4:4:4"),
        ("a.mov", ClipSpec(codec="v210", pix_fmt="yuv422p10le"), False, "4:2:2"),
        ("a.avi", ClipSpec(codec="rawvideo", pix_fmt="uyvy422"), False, "4:2:2"),
        ("a.mkv", ClipSpec(codec="ffv1", pix_fmt="yuv411p"), False, "4:2:2"),
        ("a.mkv", ClipSpec(codec="ffv1", pix_fmt="gray10le"), False, "4:2:0"),
    ],
    ids=lambda value: value.pix_fmt if isinstance(value, ClipSpec) else str(value),
)
def test_what_a_source_holds_is_known(name, clip, alpha, chroma, tmp_path):
    video = require_video(probe(write_clip(tmp_path / name, replace(clip, frames=2))))
    assert (video.alpha, video.chroma) == (alpha, chroma)
    picture = first_picture(tmp_path / name)
    assert (picture.alpha is not None) == alpha
    expected = cv2.cvtColor(np.uint8([[[150, 110, 90]]]), cv2.COLOR_RGB2GRAY)[0, 0]
    rgb = picture.rgb()[40:, 60:].mean((0, 1)) / (1 << (picture.depth - 8))
    grey = (expected,) * 3 if "gray" in clip.pix_fmt else (150, 110, 90)
    assert np.abs(rgb - grey).max() < (20 if clip.codec == "gif" else 4)


@pytest.mark.parametrize(("codec", "name"), [("gif", "a.gif"), ("png", "a.mov")])
@pytest.mark.parametrize("transparent", [False, True])
def test_a_palette_has_alpha_if_it_is_used(codec, name, transparent, tmp_path):
    palette = np.tile(np.arange(256, dtype=np.uint8)[:, None], (1, 4))
    palette[:, 0] = 255  # alpha, red, green, blue
    palette[40, 0] = 0 if transparent else 255
    indices = np.full((64, 64), 200, np.uint8)
    indices[:32] = 40
    with av.open(str(tmp_path / name), "w") as container:
        stream = container.add_stream(codec, rate=20, width=64, height=64)
        stream.pix_fmt = "pal8"
        for k in range(2):
            frame = av.VideoFrame.from_ndarray((indices, palette), format="pal8")
            frame.pts, frame.time_base = k, Fraction(1, 20)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert require_video(probe(tmp_path / name)).alpha == transparent
    picture = first_picture(tmp_path / name)
    if transparent:
        assert picture.alpha[:28].max() < 8 < 247 < picture.alpha[36:].min()
    assert np.abs(picture.rgb()[36:].mean() - 200) < 3
