"""Upscaling to a named size, unchanged samples outside the mask, and 10-bit HDR."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from face_clips import FRAMES, RATE, SIDE, frames, write_clip, write_speech
from lipwright.engines.base import Patch
from lipwright.engines.registry import find_engine
from lipwright.media.decode.video import read_video
from lipwright.media.encode.mux import VideoWriter
from lipwright.media.picture import Picture
from lipwright.media.probe import VideoInfo, probe, require_video
from lipwright.media.timeline import plan_timeline
from lipwright.options import SyncOptions
from lipwright.pipeline import pipeline as module
from lipwright.pipeline.pipeline import Pipeline

SECONDS = 0.4  # 10 frames
DISPLAY = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
LIGHT = "1000,400"
PQ, BT2020 = 16, 9


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("large")
    write_clip(folder / "talk.mp4", frames())
    write_speech(folder / "speech.wav", SECONDS)
    return folder


class Recording:
    """Records what was decoded, painted and encoded."""

    def __init__(self) -> None:
        self.patches: list[Patch | None] = []
        self.pictures: list[Picture] = []


@pytest.fixture
def recorded_pipeline(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Pipeline, Recording]]:
    recording, spec = Recording(), find_engine("exemplar")

    class Engine(type(spec.open())):
        def paint(self, speaker, script, views):
            for patch in super().paint(speaker, script, views):
                recording.patches.append(patch)
                yield patch

    class Writer(VideoWriter):
        def write(self, picture: Picture) -> None:
            recording.pictures.append(picture)
            super().write(picture)

    monkeypatch.setattr(
        module, "find_engine", lambda _: replace(spec, load=lambda device, store: Engine())
    )
    monkeypatch.setattr(module, "VideoWriter", Writer)
    with Pipeline() as pipeline:
        yield pipeline, recording


def write_hdr(path: Path, pictures: list[np.ndarray]) -> Path:
    """Write (h, w, 3) 10-bit codes as PQ in BT.2020, mastered on a display of 1,000 cd/m2."""
    height, width = pictures[0].shape[:2]
    length = len(pictures) / RATE
    like = VideoInfo(
        width=width,
        height=height,
        rate=RATE,
        variable_rate=False,
        duration=length,
        frames=len(pictures),
        rotation=0,
        codec="hevc",
        pix_fmt="yuv420p10le",
        bit_depth=10,
        color_range=1,
        color_primaries=BT2020,
        color_trc=PQ,
        colorspace=BT2020,
        mastering_display=DISPLAY,
        content_light=LIGHT,
    )
    timeline = plan_timeline("cut_off", video=length, audio=length, rate=RATE)
    with VideoWriter(path, like=like, timeline=timeline, audio=None) as writer:
        for rgb in pictures:
            writer.write(Picture.from_rgb(rgb, matrix="bt2020"))
    return path


def assert_outside_unchanged(recording: Recording, source: Path) -> None:
    """Assert that the painted frames differ from the source only inside the masks."""
    for k, frame in enumerate(read_video(probe(source), stop=len(recording.pictures))):
        patch, after = recording.patches[k], recording.pictures[k]
        assert patch is not None
        changed = np.zeros((after.height, after.width), bool)
        box = patch.box
        changed[box.y0 : box.y1, box.x0 : box.x1] = patch.mask > 0
        differs = after.planes[0] != frame.picture.planes[0]
        assert differs.any()
        assert not (differs & ~changed).any()
        for plane, before in zip(after.planes[1:], frame.picture.planes[1:], strict=True):
            rows = changed.reshape(plane.shape[0], 2, plane.shape[1], 2).any((1, 3))
            assert not ((plane != before) & ~rows).any()


# ------------------------------------------------------------------------------------------- size
@pytest.mark.parametrize(("size", "side"), [("1080p", 1080), (None, SIDE)])
def test_frames_are_upscaled_to_the_requested_size(folder: Path, tmp_path: Path, size, side):
    out = tmp_path / "out.mp4"
    with Pipeline(engine="passthrough") as pipeline:
        result = pipeline.sync(
            folder / "talk.mp4", folder / "speech.wav", out, options=SyncOptions(size=size)
        )
    video = require_video(probe(out))
    assert (video.width, video.height) == (side, side)
    assert result.frames == 10
    assert not result.warnings
    first = next(read_video(probe(out))).picture.rgb()
    truth = next(read_video(probe(folder / "talk.mp4"))).picture.rgb()
    small = cv2.resize(first, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - truth).mean() < 3


def test_a_frame_that_fills_the_size_is_kept_with_a_warning(tmp_path: Path, folder: Path):
    wide = [np.full((1080, 1920, 3), 90, np.uint8)] * 2
    write_clip(tmp_path / "wide.mp4", wide)
    out = tmp_path / "out.mp4"
    options = SyncOptions(size="1080p", allow_no_face=True)
    with Pipeline(engine="passthrough") as pipeline:
        result = pipeline.sync(tmp_path / "wide.mp4", folder / "speech.wav", out, options=options)
    video = require_video(probe(out))
    assert (video.width, video.height) == (1920, 1080)
    assert any("fills 1080p already" in warning for warning in result.warnings)


def test_a_rotated_video_is_upscaled_upright(folder: Path, tmp_path: Path):
    tall = [rgb[:, 32:192] for rgb in frames()[:12]]  # 160 x 224, as displayed
    write_clip(tmp_path / "tall.mp4", tall, rotation=90)
    out = tmp_path / "out.mp4"
    options = SyncOptions(size="1080p", allow_no_face=True)
    source = require_video(probe(tmp_path / "tall.mp4"))
    with Pipeline(engine="passthrough") as pipeline:
        pipeline.sync(tmp_path / "tall.mp4", folder / "speech.wav", out, options=options)
    video = require_video(probe(out))
    assert video.rotation == source.rotation == 90
    assert min(video.width, video.height) == 1080
    assert (video.width > video.height) == (source.width > source.height)


# ------------------------------------------------------------------------------------------- depth
@pytest.mark.parametrize("size", [None, "1080p"])
def test_hdr_stays_hdr_with_the_mouth_painted(
    folder: Path, tmp_path: Path, recorded_pipeline, size
):
    pipeline, recording = recorded_pipeline
    deep = [rgb.astype(np.uint16) * 3 for rgb in frames()[:FRAMES]]  # dim, as is usual in PQ
    source = write_hdr(tmp_path / "hdr.mp4", deep)
    out = tmp_path / "out.mp4"
    result = pipeline.sync(source, folder / "speech.wav", out, options=SyncOptions(size=size))
    assert result.face_frames == result.frames == 10
    video = require_video(probe(out))
    assert (video.codec, video.bit_depth, video.pix_fmt) == ("hevc", 10, "yuv420p10le")
    tags = video.color_primaries, video.color_trc, video.colorspace
    assert tags == (BT2020, PQ, BT2020)
    assert (video.mastering_display, video.content_light) == (DISPLAY, LIGHT)
    assert all(picture.depth == 10 for picture in recording.pictures)
    if size is None:
        assert_outside_unchanged(recording, source)
    codes = recording.pictures[-1].planes[0]
    assert (codes % 4 != 0).mean() > 0.5  # all 10 bits are used


# --------------------------------------------------------------------------------- native detail
def test_a_large_face_keeps_its_full_detail(folder: Path, tmp_path: Path, recorded_pipeline):
    """A face of twice the usual size, with grain, is painted at full resolution."""
    pipeline, recording = recorded_pipeline
    grain = np.random.default_rng(3)
    large = []
    for rgb in frames()[:12]:
        big = cv2.resize(rgb, (640, 640), interpolation=cv2.INTER_CUBIC).astype(np.float32)
        large.append(np.clip(big + grain.normal(0, 4, (640, 640, 1)), 0, 255).astype(np.uint8))
    source = write_clip(tmp_path / "large.mp4", large, rate=Fraction(25))
    pipeline.sync(source, folder / "speech.wav", tmp_path / "out.mp4")
    assert_outside_unchanged(recording, source)
    ratios = []
    for k, frame in enumerate(read_video(probe(source), stop=len(recording.pictures))):
        box, mask = recording.patches[k].box, recording.patches[k].mask > 0
        painted, source_luma = (
            plane[box.y0 : box.y1, box.x0 : box.x1].astype(np.float32)
            for plane in (recording.pictures[k].planes[0], frame.picture.planes[0])
        )
        ratios.append(
            high_frequencies(painted)[mask].std() / high_frequencies(source_luma)[mask].std()
        )
    assert 0.9 < np.mean(ratios) < 1.15


def high_frequencies(luma: np.ndarray) -> np.ndarray:
    return luma - cv2.GaussianBlur(luma, (0, 0), 1.2)
