"""Pictures in the order of a timeline: every mode, every kind of stream, bounded memory."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from lipwright.errors import MediaUnreadable
from lipwright.media.decode import random_access as shuttle
from lipwright.media.decode.video import Reader, read_video
from lipwright.media.probe import probe, require_video
from lipwright.media.timeline import plan
from lipwright.options import SyncMode
from media_clips import Clip, number_of, write_clip

STREAMS = {
    "short_groups.mp4": Clip(frames=40, options={"g": "5", "bf": "2"}),
    "long_group.mp4": Clip(frames=40, options={"g": "250", "bf": "2"}),
    "open_groups.mp4": Clip(
        frames=40,
        options={"x264-params": "keyint=8:min-keyint=8:open-gop=1:bframes=3:b-adapt=0"},
    ),
    "intra.avi": Clip(frames=40, codec="mjpeg", pix_fmt="yuvj420p"),
    "old.avi": Clip(frames=40, codec="mpeg4", options={"bf": "2", "g": "9"}),
    "web.webm": Clip(frames=40, codec="libvpx-vp9", options={"g": "12", "cpu-used": "8"}),
    "broadcast.ts": Clip(frames=40, codec="mpeg2video", options={"g": "6", "bf": "2"}),
    "hevc.mkv": Clip(
        frames=40, codec="libx265", options={"x265-params": "log-level=none:keyint=10"}
    ),
    "moving.gif": Clip(frames=40, codec="gif", pix_fmt="rgb8", rate=Fraction(20)),
    "gaps.mp4": Clip(
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


def shown(path: Path, picks: list[tuple[int, float]]) -> list[int]:
    return [number_of(picture.rgb()) for picture in Reader(probe(path)).at(iter(picks))]


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("mode", [m for m in SyncMode if m is not SyncMode.REMAP])
def test_every_mode_shows_the_frames_it_should(name, mode, streams, monkeypatch):
    monkeypatch.setattr(shuttle, "BLOCK_BYTES", 0)  # the fewest frames at a time
    info = probe(streams / name)
    video = require_video(info)
    times = [frame.time for frame in read_video(info)]
    audio = video.duration * Fraction(5, 2)
    shape = plan(mode, video=video.duration, audio=audio, rate=video.rate)
    picks = list(shape.picks(times))
    assert shown(streams / name, picks) == [index for index, _ in picks]


@pytest.mark.parametrize("name", STREAMS)
def test_any_order_at_all(name, streams):
    order = np.random.default_rng(5).integers(0, 40, 60)
    assert shown(streams / name, [(int(i), 0.0) for i in order]) == list(order)


@pytest.mark.parametrize(("limit", "most"), [("BLOCK_BYTES", 0), ("BLOCK_MOST", 8)])
def test_memory_is_bounded_going_backward(limit, most, streams, monkeypatch):
    monkeypatch.setattr(shuttle, limit, most)
    held = []
    fetch = shuttle._Shuttle._fetch

    def watched(self: shuttle._Shuttle, index: int) -> None:
        fetch(self, index)
        held.append(len(self._held))

    monkeypatch.setattr(shuttle._Shuttle, "_fetch", watched)
    order = [*range(40), *range(38, -1, -1), *range(1, 40)]
    assert shown(streams / "long_group.mp4", [(i, 0.0) for i in order]) == order
    assert max(held) <= shuttle.BLOCK_LEAST


def test_holding_a_frame_decodes_it_once(streams):
    pictures = list(Reader(probe(streams / "intra.avi")).at([(3, 0.0)] * 5))
    assert len({id(picture) for picture in pictures}) == 1


def test_between_frames_there_is_motion(tmp_path):
    path = write_clip(tmp_path / "a.mp4", Clip(frames=4))
    ways = [(0, 0.0), (0, 0.5), (1, 0.0), (1, 0.25), (1, 0.75), (2, 0.0), (3, 0.0)]
    pictures = list(Reader(probe(path)).at(ways))
    plain = [frame.picture for frame in read_video(probe(path))]
    for place, index in ((0, 0), (2, 1), (5, 2), (6, 3)):
        assert np.array_equal(pictures[place].planes[0], plain[index].planes[0])
    half = pictures[1].planes[0].astype(float)
    middle = (plain[0].planes[0].astype(float) + plain[1].planes[0]) / 2
    assert np.abs(half - middle).mean() < 3


def test_asking_beyond_the_end_is_told(streams):
    with pytest.raises(MediaUnreadable, match="40 pictures, number 41"):
        shown(streams / "intra.avi", [(39, 0.0), (40, 0.0)])


def test_a_reader_can_be_used_again_and_left_early(streams):
    reader = Reader(probe(streams / "intra.avi"))
    first = reader.at([(i, 0.0) for i in range(5)])
    next(first)
    first.close()
    assert [number_of(p.rgb()) for p in reader.at([(7, 0.0)])] == [7]


def test_one_frame_in_every_mode(tmp_path):
    path = write_clip(tmp_path / "one.mp4", Clip(frames=1))
    for mode in SyncMode:
        shape = plan(mode, video=Fraction(1, 25), audio=Fraction(1, 2), rate=Fraction(25))
        picks = list(shape.picks([Fraction(0)]))
        assert shown(path, picks) == [0] * shape.frames
