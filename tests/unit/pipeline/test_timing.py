"""No output frame mixes two shots, and the length of the output is known before decoding."""

from __future__ import annotations

from fractions import Fraction

import pytest

from lipwright.face.track import Take
from lipwright.media.probe import AudioInfo, VideoInfo
from lipwright.options import SyncMode
from lipwright.pipeline.timing import plan_from_headers, plan_output, snap_to_cuts

CUTS = (10, 20)
AUDIO = AudioInfo(codec="pcm", sample_rate=16000, channels=1, layout="mono", duration=Fraction(5))
TIMES = tuple(Fraction(k, 25) for k in range(80))


def video(**changes):
    fields = {
        "width": 64,
        "height": 48,
        "rate": Fraction(25),
        "variable_rate": False,
        "duration": Fraction(4),
        "frames": 90,
        "rotation": 0,
        "codec": "h264",
        "pix_fmt": "yuv420p",
    }
    return VideoInfo(**fields | changes)


def take(**changes):
    return Take(info=video(**changes), times=TIMES, tracks=())


def test_between_two_shots_the_nearer_frame_is_shown():
    indices = [(9, 0.3), (9, 0.7), (19, 0.01), (19, 0.99)]
    assert snap_to_cuts(indices, CUTS) == [(9, 0.0), (10, 0.0), (19, 0.0), (20, 0.0)]


def test_frames_within_a_shot_are_mixed_as_planned():
    indices = [(8, 0.5), (9, 0.0), (10, 0.25), (19, 0.0)]
    assert snap_to_cuts(indices, CUTS) == indices
    assert snap_to_cuts([(9, 0.5)], ()) == [(9, 0.5)]


@pytest.mark.parametrize(
    ("changes", "seconds"),
    [
        ({}, Fraction(90, 25)),
        ({"frames": None}, 4),
        ({"variable_rate": True}, 4),
        ({"frames": 1, "rate": Fraction(50)}, Fraction(1, 50)),
        ({"frames": None, "duration": Fraction(1, 2)}, Fraction(1, 2)),
        ({"frames": None, "duration": Fraction(0)}, 5),
        ({"frames": None, "duration": Fraction(-1)}, 5),
        ({"still": True}, 5),
    ],
    ids=str,
)
def test_the_planned_output_is_as_long_as_the_container_states(changes, seconds):
    timeline = plan_from_headers(video(**changes), AUDIO, SyncMode.CUT_OFF)
    assert timeline.duration == timeline.video_duration == seconds
    assert timeline.audio_duration == 5
    assert timeline.rate == video(**changes).rate
    assert timeline.mode is SyncMode.CUT_OFF


@pytest.mark.parametrize(
    ("changes", "seconds"),
    [
        ({}, Fraction(80, 25)),
        ({"frames": None, "duration": Fraction(0)}, Fraction(80, 25)),
        ({"rate": Fraction(50)}, Fraction(80, 50)),
        ({"variable_rate": True}, 4),
        ({"still": True}, 5),
    ],
    ids=str,
)
def test_the_output_is_as_long_as_the_decoded_frames(changes, seconds):
    timeline = plan_output(take(**changes), AUDIO, SyncMode.CUT_OFF)
    assert timeline.duration == timeline.video_duration == seconds
    assert timeline.audio_duration == 5
    assert timeline.rate == video(**changes).rate
    assert timeline.mode is SyncMode.CUT_OFF


@pytest.mark.parametrize("mode", SyncMode)
def test_a_still_picture_lasts_as_long_as_the_audio_in_any_mode(mode):
    for timeline in (
        plan_output(take(still=True), AUDIO, mode),
        plan_from_headers(video(still=True), AUDIO, mode),
    ):
        assert (timeline.mode, timeline.duration, timeline.video_duration) == (mode, 5, 5)
