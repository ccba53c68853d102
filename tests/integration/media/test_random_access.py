"""Random access in the order of a timeline: all modes, all kinds of streams, bounded memory."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from lipwright.errors import MediaUnreadable
from lipwright.media.decode import random_access
from lipwright.media.decode.random_access import RandomAccessReader
from lipwright.media.decode.video import read_video
from lipwright.media.probe import probe, require_video
from lipwright.media.timeline import plan_timeline
from lipwright.options import SyncMode
from media_clips import ClipSpec, number_of, write_clip

STREAMS = {
    "short_groups.mp4": ClipSpec(frames=40, options={"g": "5", "bf": "2"}),
    "long_group.mp4": ClipSpec(frames=40, options={"g": "250", "bf": "2"}),
    "open_groups.mp4": ClipSpec(
        frames=40,
        options={"x264-params": "keyint=8:min-keyint=8:open-gop=1:bframes=3:b-adapt=0"},
    ),
    "intra.avi": ClipSpec(frames=40, codec="mjpeg", pix_fmt="yuvj420p"),
    "old.avi": ClipSpec(frames=40, codec="mpeg4", options={"bf": "2", "g": "9"}),
    "web.webm": ClipSpec(frames=40, codec="libvpx-vp9", options={"g": "12", "cpu-used": "8"}),
    "broadcast.ts": ClipSpec(frames=40, codec="mpeg2video", options={"g": "6", "bf": "2"}),
    "hevc.mkv": ClipSpec(
        frames=40, codec="libx265", options={"x265-params": "log-level=none:keyint=10"}
    ),
    "moving.gif": ClipSpec(frames=40, codec="gif", pix_fmt="rgb8", rate=Fraction(20)),
    "gaps.mp4": ClipSpec(
        times=[Fraction(k, 25) for k in range(60) if k % 7 != 3 and k % 11],
        clock=12800,
        options={"g": "8"},
    ),
}


@pytest.fixture(scope="session")
def streams(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("streams")
    for name, clip in STREAMS.items():
        write_clip(folder / name, clip)
    return folder


def frame_numbers(path: Path, indices: list[tuple[int, float]]) -> list[int]:
    return [
        number_of(picture.rgb()) for picture in RandomAccessReader(probe(path)).read(iter(indices))
    ]


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("mode", [m for m in SyncMode if m is not SyncMode.REMAP])
def test_every_mode_reads_the_expected_frames(name, mode, streams, monkeypatch):
    monkeypatch.setattr(random_access, "BLOCK_BYTES", 0)  # use the smallest blocks
    info = probe(streams / name)
    video = require_video(info)
    times = [frame.time for frame in read_video(info)]
    audio = video.duration * Fraction(5, 2)
    timeline = plan_timeline(mode, video=video.duration, audio=audio, rate=video.rate)
    indices = list(timeline.source_indices(times))
    assert frame_numbers(streams / name, indices) == [index for index, _ in indices]


@pytest.mark.parametrize("name", STREAMS)
def test_frames_are_read_in_any_order(name, streams):
    order = np.random.default_rng(5).integers(0, 40, 60)
    assert frame_numbers(streams / name, [(int(i), 0.0) for i in order]) == list(order)


@pytest.mark.parametrize(("constant", "value"), [("BLOCK_BYTES", 0), ("MAX_BLOCK_FRAMES", 8)])
def test_memory_is_bounded_when_reading_backward(constant, value, streams, monkeypatch):
    monkeypatch.setattr(random_access, constant, value)
    held_counts = []
    original = random_access.RandomAccessDecoder._decode_to

    def recorded(self: random_access.RandomAccessDecoder, index: int) -> None:
        original(self, index)
        held_counts.append(len(self._held))

    monkeypatch.setattr(random_access.RandomAccessDecoder, "_decode_to", recorded)
    order = [*range(40), *range(38, -1, -1), *range(1, 40)]
    assert frame_numbers(streams / "long_group.mp4", [(i, 0.0) for i in order]) == order
    assert max(held_counts) <= random_access.MIN_BLOCK_FRAMES


def test_a_repeated_frame_is_decoded_once(streams):
    pictures = list(RandomAccessReader(probe(streams / "intra.avi")).read([(3, 0.0)] * 5))
    assert len({id(picture) for picture in pictures}) == 1


def test_fractions_are_interpolated_between_frames(tmp_path):
    path = write_clip(tmp_path / "a.mp4", ClipSpec(frames=4))
    indices = [(0, 0.0), (0, 0.5), (1, 0.0), (1, 0.25), (1, 0.75), (2, 0.0), (3, 0.0)]
    pictures = list(RandomAccessReader(probe(path)).read(indices))
    plain = [frame.picture for frame in read_video(probe(path))]
    for position, index in ((0, 0), (2, 1), (5, 2), (6, 3)):
        assert np.array_equal(pictures[position].planes[0], plain[index].planes[0])
    half = pictures[1].planes[0].astype(float)
    middle = (plain[0].planes[0].astype(float) + plain[1].planes[0]) / 2
    assert np.abs(half - middle).mean() < 3


def test_an_index_beyond_the_end_is_refused(streams):
    with pytest.raises(MediaUnreadable, match="40 frames, but frame 41"):
        frame_numbers(streams / "intra.avi", [(39, 0.0), (40, 0.0)])


def test_a_reader_can_be_closed_early_and_reused(streams):
    reader = RandomAccessReader(probe(streams / "intra.avi"))
    first = reader.read([(i, 0.0) for i in range(5)])
    next(first)
    first.close()
    assert [number_of(p.rgb()) for p in reader.read([(7, 0.0)])] == [7]


def test_a_single_frame_works_in_every_mode(tmp_path):
    path = write_clip(tmp_path / "one.mp4", ClipSpec(frames=1))
    for mode in SyncMode:
        timeline = plan_timeline(
            mode, video=Fraction(1, 25), audio=Fraction(1, 2), rate=Fraction(25)
        )
        indices = list(timeline.source_indices([Fraction(0)]))
        assert frame_numbers(path, indices) == [0] * timeline.frames
