"""The pipeline mixes no two shots, and knows beforehand how long its output will be."""

from __future__ import annotations

from fractions import Fraction

import pytest

from lipwright.media.probe import AudioInfo, VideoInfo
from lipwright.options import SyncMode
from lipwright.pipeline.timing import plan_from_headers, snap_to_cuts

CUTS = (10, 20)


def test_between_two_shots_the_nearer_frame_is_shown():
    assert snap_to_cuts([(9, 0.3), (9, 0.7)], CUTS) == [(9, 0.0), (10, 0.0)]


def test_frames_within_a_shot_are_mixed_as_planned():
    picks = [(8, 0.5), (9, 0.0), (10, 0.25), (19, 0.0)]
    assert snap_to_cuts(picks, CUTS) == picks


def video(**facts):
    usual = {
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
    return VideoInfo(**usual | facts)


@pytest.mark.parametrize(
    ("facts", "seconds"),
    [
        ({}, Fraction(90, 25)),
        ({"frames": None}, 4),
        ({"variable_rate": True}, 4),
        ({"frames": None, "duration": Fraction(0)}, 5),
        ({"still": True}, 5),
    ],
    ids=str,
)
def test_the_output_is_as_long_as_the_container_claims(facts, seconds):
    sound = AudioInfo(
        codec="pcm", sample_rate=16000, channels=1, layout="mono", duration=Fraction(5)
    )
    assert plan_from_headers(video(**facts), sound, SyncMode.CUT_OFF).duration == seconds
