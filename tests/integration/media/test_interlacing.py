"""Interlaced video: container, stream, frames and content agree on the order of fields."""

from __future__ import annotations

import io
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.codec.context import Flags
from av.filter import Graph

from lipwright.media.decode.random_access import RandomAccessReader
from lipwright.media.decode.video import read_video
from lipwright.media.encode.mux import VideoWriter
from lipwright.media.encode.video import write_segment
from lipwright.media.picture import Picture
from lipwright.media.probe import MediaInfo, VideoInfo, probe, require_video
from lipwright.media.timeline import plan_timeline

RATE = Fraction(25)
WIDTH, HEIGHT, COUNT = 128, 64, 16
STEP = 3  # pixels that the bar moves from field to field
TOP, BOTTOM = 2, 3  # AVFieldOrder
TEXTURE = 60 * np.random.default_rng(0).random((HEIGHT, 1), np.float32)  # not flat: idet ignores it
ORDERS = pytest.mark.parametrize("order", [TOP, BOTTOM], ids=["top", "bottom"])


def field(time: int) -> np.ndarray:
    """The whole picture (h, w) at the time of a field: a soft bar that moves to the right."""
    x = np.arange(WIDTH)
    bar = 110 * np.exp(-(((x - 12 - STEP * time) / 8.0) ** 2)) + 10 * np.sin(x / 3 - time)
    return np.rint(60 + bar + TEXTURE).astype(np.uint8)


def woven(k: int, order: int) -> np.ndarray:
    """Frame *k* (h, w): two fields, the first one in the rows that *order* says."""
    frame, first = field(2 * k).copy(), 0 if order == TOP else 1
    frame[1 - first :: 2] = field(2 * k + 1)[1 - first :: 2]
    return frame


def picture(k: int, order: int, deep: bool = False) -> Picture:
    luma = woven(k, order)
    codes = luma.astype(np.uint16) << 2 if deep else luma
    half = np.full((HEIGHT // 2, WIDTH // 2), 512 if deep else 128, codes.dtype)
    return Picture(planes=(codes, half, half), depth=10 if deep else 8, matrix="bt601")


def shown_first(picture: Picture) -> int:
    """Return the order of fields by content: where the bar is in even and in odd rows."""
    luma = picture.planes[0].astype(float)
    rows = luma - luma.min(1, keepdims=True)
    weight = np.maximum(rows - 0.6 * rows.max(1, keepdims=True), 0)
    centre = (weight * np.arange(WIDTH)).sum(1) / weight.sum(1)
    shift = np.median(centre[1::2]) - np.median(centre[::2])
    if abs(shift) < STEP / 3:
        return 1
    return TOP if shift > 0 else BOTTOM


def flagged_first(frame: av.VideoFrame) -> int:
    """Return the order of fields that a frame is flagged with."""
    if not frame.interlaced_frame:
        return 1
    graph = Graph()
    size = {"width": frame.width, "height": frame.height, "format": frame.format}
    chain = (
        graph.add_buffer(time_base=Fraction(1, 25), **size),
        graph.add("select", expr="eq(interlace_type,TOPFIRST)"),
        graph.add("buffersink"),
    )
    graph.link_nodes(*chain).configure()
    graph.vpush(frame)
    try:
        graph.vpull()
    except av.error.BlockingIOError:
        return BOTTOM
    return TOP


def assert_order(path: Path, order: int) -> None:
    """Assert that stream, frames and content of a file have one order of fields."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        stated = stream.codec_context.field_order
    assert stated in {TOP: (2, 4), BOTTOM: (3, 5), 1: (0, 1)}[order]
    assert {flagged_first(frame) for frame in frames} == {order}
    contents = [shown_first(frame.picture) for frame in read_video(probe(path))]
    assert contents == [order] * len(frames)
    video = require_video(probe(path))
    assert video.interlaced == (order != 1)
    assert video.field_order in {TOP: (2, 4), BOTTOM: (3, 5), 1: (1,)}[order]


def describe(codec: str, order: int, **change: object) -> VideoInfo:
    like = VideoInfo(
        width=WIDTH,
        height=HEIGHT,
        rate=RATE,
        variable_rate=False,
        duration=COUNT / RATE,
        frames=COUNT,
        rotation=0,
        codec=codec,
        pix_fmt="yuv420p",
        interlaced=True,
        field_order=order,
    )
    return replace(like, **change)


def write_source(
    path: Path,
    codec: str,
    order: int,
    pix_fmt: str = "yuv420p",
    *,
    flag: int | None = None,
    stream_flag: int | None = None,
    frames: int = 18,
) -> Path:
    """Write woven fields; *flag* and *stream_flag*: of frames and stream if not *order*."""
    flag = order if flag is None else flag
    graph = Graph()
    mode = {TOP: "tff", BOTTOM: "bff", 1: "prog"}[flag]
    chain = (
        graph.add_buffer(
            width=WIDTH,
            height=HEIGHT,
            format=av.VideoFormat(pix_fmt),
            time_base=Fraction(1, 25),
        ),
        graph.add("setfield", mode=mode),
        graph.add("buffersink"),
    )
    graph.link_nodes(*chain).configure()
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, width=WIDTH, height=HEIGHT)
        context = stream.codec_context
        context.pix_fmt, context.bit_rate = pix_fmt, 6_000_000
        context.field_order = flag if stream_flag is None else stream_flag
        if flag != 1:
            context.flags |= Flags.interlaced_dct | Flags.interlaced_me
        for k in range(frames):
            frame = av.VideoFrame.from_ndarray(woven(k, order), format="gray")
            graph.vpush(frame.reformat(format=pix_fmt, dst_color_range="MPEG"))
            frame = graph.vpull()
            frame.pts, frame.time_base = k, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@ORDERS
@pytest.mark.parametrize(
    ("codec", "chroma", "deep", "name", "result"),
    [
        ("h264", "4:2:0", False, "out.mp4", "h264"),
        ("h264", "4:2:0", False, "out.mov", "h264"),
        ("h264", "4:2:0", False, "out.mkv", "h264"),
        ("h264", "4:2:2", True, "out.mp4", "h264"),
        ("hevc", "4:2:0", True, "out.mp4", "h264"),
        ("mpeg2video", "4:2:2", False, "out.mov", "h264"),
        ("prores", "4:2:2", True, "out.mov", "prores"),
        ("prores", "4:2:2", True, "out.mkv", "prores"),
        ("dnxhd", "4:2:2", True, "out.mov", "prores"),
        ("ffv1", "4:2:0", False, "out.mkv", "ffv1"),
        ("ffv1", "4:2:2", True, "out.mkv", "ffv1"),
    ],
)
def test_a_result_is_interlaced_as_the_source_in_every_place(
    codec, chroma, deep, name, result, order, tmp_path
):
    like = describe(codec, order, chroma=chroma, bit_depth=10 if deep else 8)
    timeline = plan_timeline("cut_off", video=COUNT / RATE, audio=COUNT / RATE, rate=RATE)
    with VideoWriter(tmp_path / name, like=like, timeline=timeline, audio=None, crf=12) as writer:
        for k in range(COUNT):
            writer.write(picture(k, order, deep))
    assert require_video(probe(tmp_path / name)).codec == result
    assert_order(tmp_path / name, order)


@ORDERS
@pytest.mark.parametrize(("codec", "name"), [("h264", "out.mp4"), ("prores", "out.mov")])
def test_joined_segments_are_interlaced_too(codec, name, order, tmp_path):
    like = describe(codec, order)
    timeline = plan_timeline("cut_off", video=8 / RATE, audio=8 / RATE, rate=RATE)
    with VideoWriter(tmp_path / name, like=like, timeline=timeline, audio=None, crf=12) as writer:
        segments = [io.BytesIO(), io.BytesIO()]
        for start, out in zip((0, 4), segments, strict=True):
            list(write_segment(out, writer.spec, (picture(start + k, order) for k in range(4))))
        writer.concatenate(segments)
    assert_order(tmp_path / name, order)


@ORDERS
def test_chroma_of_fields_is_not_mixed(order, tmp_path):
    """Conversion from 4:2:0 to ProRes 4:2:2 takes each chroma field for itself."""
    like = describe("prores", order)
    chroma = np.full((HEIGHT // 2, WIDTH // 2), 128, np.uint8)
    chroma[::2], chroma[1::2] = 90, 170  # the two fields
    luma = np.full((HEIGHT, WIDTH), 128, np.uint8)
    timeline = plan_timeline("cut_off", video=2 / RATE, audio=2 / RATE, rate=RATE)
    with VideoWriter(tmp_path / "a.mov", like=like, timeline=timeline, audio=None) as writer:
        for _ in range(2):
            writer.write(Picture(planes=(luma, chroma, chroma), matrix="bt601"))
    u = next(read_video(probe(tmp_path / "a.mov"))).picture.planes[1] / 4
    assert np.abs(u[::2] - 90).mean() < 3
    assert np.abs(u[1::2] - 170).mean() < 3


@ORDERS
@pytest.mark.parametrize(
    ("codec", "pix_fmt", "name"),
    [
        ("libx264", "yuv420p", "a.mp4"),
        ("libx264", "yuv422p10le", "a.mkv"),
        ("mpeg2video", "yuv420p", "a.ts"),
        ("mpeg2video", "yuv422p", "a.mov"),
        ("prores_ks", "yuv422p10le", "a.mov"),
        ("ffv1", "yuv420p", "a.mkv"),
        ("rawvideo", "uyvy422", "a.mov"),
        ("v210", "yuv422p10le", "a.mov"),
        ("utvideo", "yuv422p", "a.avi"),
        ("rawvideo", "yuv420p", "a.avi"),
    ],
)
def test_the_order_of_fields_of_a_source_is_known(codec, pix_fmt, name, order, tmp_path):
    path = write_source(tmp_path / name, codec, order, pix_fmt)
    video = require_video(probe(path))
    assert video.interlaced
    assert video.field_order in {TOP: (2, 4), BOTTOM: (3, 5)}[order]


@ORDERS
def test_fields_in_frames_without_flags_are_known(order, tmp_path):
    settings = {"flag": 1, "stream_flag": order}
    path = write_source(tmp_path / "a.mov", "mjpeg", order, "yuvj420p", **settings)
    with av.open(str(path)) as container:
        assert not next(container.decode(video=0)).interlaced_frame
    assert require_video(probe(path)).field_order == order


@ORDERS
@pytest.mark.parametrize(("codec", "name"), [("libx264", "a.mp4"), ("ffv1", "a.mkv")])
def test_content_counts_where_flags_are_wrong(codec, name, order, tmp_path):
    path = write_source(tmp_path / name, codec, order, flag=TOP + BOTTOM - order)
    assert require_video(probe(path)).field_order in {TOP: (2, 4), BOTTOM: (3, 5)}[order]


@pytest.mark.parametrize(("codec", "name"), [("libx264", "a.mp4"), ("prores_ks", "a.mov")])
def test_still_fields_keep_their_flags(codec, name, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "test_interlacing.field", lambda time: np.full((HEIGHT, WIDTH), 90, np.uint8)
    )
    path = write_source(
        tmp_path / name, codec, BOTTOM, "yuv420p" if codec == "libx264" else "yuv422p10le"
    )
    assert require_video(probe(path)).field_order in (3, 5)


def test_progressive_frames_in_a_stream_said_to_be_interlaced_are_progressive(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("test_interlacing.woven", lambda k, order: field(2 * k))
    path = write_source(tmp_path / "a.mov", "mjpeg", TOP, "yuvj420p", flag=1, stream_flag=TOP)
    assert not require_video(probe(path)).interlaced


@ORDERS
@pytest.mark.parametrize(
    ("codec", "pix_fmt", "name"),
    [
        ("libx264", "yuv420p", "a.mp4"),
        ("mpeg2video", "yuv422p", "a.ts"),
        ("prores_ks", "yuv422p10le", "a.mov"),
        ("v210", "yuv422p10le", "a.mov"),
    ],
)
def test_deinterlaced_frames_show_one_time_each(codec, pix_fmt, name, order, tmp_path):
    info = probe(write_source(tmp_path / name, codec, order, pix_fmt))
    once = deinterlaced(info)
    before, after = list(read_video(info)), list(read_video(once))
    assert [frame.time for frame in after] == [frame.time for frame in before]
    assert {shown_first(frame.picture) for frame in before} == {order}
    assert {shown_first(frame.picture) for frame in after[1:-1]} == {1}
    wanted = [12, 11, 7, 17, 3, 0, 15]
    pictures = RandomAccessReader(once).read((k, 0.0) for k in wanted)
    for k, again in zip(wanted, pictures, strict=True):
        assert all(map(np.array_equal, again.planes, after[k].picture.planes)), k


def deinterlaced(info: MediaInfo) -> MediaInfo:
    video = replace(require_video(info), interlaced=False, deinterlace=True)
    return replace(info, video=video)


@pytest.mark.parametrize(
    ("codec", "name", "encoder"),
    [("vp9", "out.webm", None), ("h264", "out.mp4", "libx265"), ("h264", "out.mp4", "libvpx-vp9")],
)
def test_codecs_without_fields_flag_none(codec, name, encoder, tmp_path):
    like = describe(codec, TOP)
    timeline = plan_timeline("cut_off", video=4 / RATE, audio=4 / RATE, rate=RATE)
    settings = {"like": like, "timeline": timeline, "audio": None, "encoder": encoder}
    with VideoWriter(tmp_path / name, **settings) as writer:
        for k in range(4):
            writer.write(replace(picture(k, TOP), planes=still_planes(k)))
    assert_order(tmp_path / name, 1)


def still_planes(k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    half = np.full((HEIGHT // 2, WIDTH // 2), 128, np.uint8)
    return field(2 * k), half, half
