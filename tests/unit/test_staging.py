"""The pipeline mixes no two shots."""

from __future__ import annotations

from lipwright.staging import whole_at_cuts

CUTS = (10, 20)


def test_between_two_shots_the_nearer_frame_is_shown():
    assert whole_at_cuts([(9, 0.3), (9, 0.7)], CUTS) == [(9, 0.0), (10, 0.0)]


def test_frames_within_a_shot_are_mixed_as_planned():
    picks = [(8, 0.5), (9, 0.0), (10, 0.25), (19, 0.0)]
    assert whole_at_cuts(picks, CUTS) == picks
