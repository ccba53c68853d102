"""sync.so's clients point at a speaker by frame; the engine is pointed at by time."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from lipwright.errors import SourceUnreachable
from lipwright.media.decode.video import read_video
from lipwright.media.probe import probe, require_video
from lipwright.worker.render_process import at_time, options_of
from small_media import write_clip


@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30000, 1001), Fraction(24000, 1001)])
def test_every_frame_is_the_first_one_from_its_time_on(tmp_path: Path, rate):
    video = write_clip(tmp_path / "clip.mp4", frames=40, rate=rate)
    times = [float(frame.time) for frame in read_video(probe(video))]
    assert len(times) == 40
    for frame in range(40):
        pick = options_of(at_time({"speaker_frame": [3, 4, frame]}, video)).speaker
        assert pick is not None
        assert (pick.x, pick.y) == (3, 4)
        assert next(i for i, time in enumerate(times) if time >= pick.seconds) == frame


def test_who_points_by_time_is_left_alone_and_nothing_is_read():
    wish = {"mode": "loop", "speaker": [1, 2, 0.5]}
    assert at_time(wish, Path("/nowhere.mp4")) == wish


def test_other_options_stay(tmp_path: Path):
    video = write_clip(tmp_path / "clip.mp4", frames=2)
    made = at_time({"mode": "loop", "crf": 18, "speaker_frame": [1, 2, 0]}, video)
    assert made == {"mode": "loop", "crf": 18, "speaker": [1, 2, 0.0]}
    assert require_video(probe(video)).rate == 25


def test_a_video_that_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(SourceUnreachable):
        at_time({"speaker_frame": [1, 2, 0]}, tmp_path / "none.mp4")
