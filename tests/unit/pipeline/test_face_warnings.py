"""Warnings name the frames that are unchanged, and the true reason."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from lipwright.engines.base import FaceTrack
from lipwright.face.effect_strength import Weakness
from lipwright.face.lower_face_raster import RASTER_SIDE
from lipwright.face.track import RawTrack, Take
from lipwright.media.probe import MediaInfo, VideoInfo
from lipwright.pipeline.driving import AnimatedFace
from lipwright.pipeline.plan import RenderPlan
from lipwright.pipeline.warnings.face import (
    NO_FACE,
    OTHER_PERSON,
    FrameRange,
    face_warnings,
    find_unpainted,
)
from lipwright.testing import synthetic_landmarks

FRAMES = 20
INFO = VideoInfo(
    width=1280,
    height=720,
    rate=Fraction(10),
    variable_rate=False,
    duration=Fraction(2),
    frames=FRAMES,
    rotation=0,
    codec="h264",
    pix_fmt="yuv420p",
)
SOURCE = MediaInfo(path=Path("talk.mp4"), container="mp4", video=INFO, audio=None)


def landmarks(seen, x=640):
    points = np.full((FRAMES, 478, 3), np.nan, np.float32)
    rows = [*seen]
    points[rows] = synthetic_landmarks(FRAMES, size=(2 * x, 720), unit=100.0)[rows]
    return points


def track(seen, x=640):
    points = landmarks(seen, x)
    there = np.isfinite(points[:, 0, 0]).astype(np.float32)
    rasters = np.zeros((FRAMES, RASTER_SIDE, RASTER_SIDE, 3), np.uint8)
    return RawTrack(
        landmarks=points, confidence=there, sharpness=there, light=there, rasters=rasters
    )


def face(raw, covered=(), confidence=None):
    occluder = np.zeros((FRAMES, RASTER_SIDE, RASTER_SIDE), bool)
    occluder[[*covered]] = True
    return FaceTrack(
        landmarks=raw.landmarks,
        confidence=raw.confidence if confidence is None else confidence,
        sharpness=raw.sharpness,
        light=raw.light,
        depth=8,
        shot=np.zeros(FRAMES, np.int64),
        occluder=occluder,
    )


def report(tracks, faces, painted, indices=None):
    """Return the ranges and the warnings of a job that painted some frames."""
    indices = indices or [(i, 0.0) for i in range(FRAMES)]
    take = Take(
        info=INFO, times=tuple(Fraction(i, 10) for i in range(FRAMES)), tracks=tuple(tracks)
    )
    animated = tuple(AnimatedFace(face=item, motion=None) for item in faces)
    plan = RenderPlan(source=SOURCE, engine="exemplar", indices=indices, faces=animated)
    shown = np.isin(np.arange(len(indices)), [*painted])
    ranges = find_unpainted(plan, take, shown)
    return ranges, [*face_warnings(plan, take, shown, ranges)]


def test_a_job_that_painted_everything_has_no_warning():
    only = track(range(FRAMES))
    assert report([only], [face(only)], range(FRAMES)) == ((), [])


def test_two_tracks_of_one_person_are_no_warning():
    first, second = track(range(10)), track(range(10, FRAMES))
    both = track(range(FRAMES))
    assert report([first, second], [face(both)], range(FRAMES)) == ((), [])


def test_frames_without_a_face_are_named():
    some = track(range(5, 12))
    ranges, warnings = report([some], [face(some)], range(5, 12))
    assert ranges == (FrameRange(0, 4, NO_FACE), FrameRange(12, 19, NO_FACE))
    assert warnings == ["frames 0-4 and 12-19 (13 of 20) are unchanged: no face is seen"]


def test_frames_of_another_person_are_named():
    speaker, other = track(range(8)), track(range(8, FRAMES), 300)
    ranges, (warning,) = report([speaker, other], [face(speaker)], range(8))
    assert ranges == (FrameRange(8, 19, OTHER_PERSON),)
    assert warning.startswith("frames 8-19 (12 of 20) are unchanged: another person is in view; ")


def test_a_face_beside_the_speaker_is_mentioned():
    speaker, other = track(range(FRAMES)), track(range(8), 300)
    _, (warning,) = report([speaker, other], [face(speaker)], range(FRAMES))
    assert warning.startswith("another face is in view in 8 of 20 frames and was not animated")


def test_of_several_animated_people_none_is_left_out():
    first, second = track(range(10)), track(range(10, FRAMES), 300)
    assert report([first, second], [face(first), face(second)], range(FRAMES)) == ((), [])


@pytest.mark.parametrize("reason", [Weakness.COVERED, Weakness.UNCERTAIN, Weakness.OUTSIDE])
def test_the_reason_is_what_reduces_the_effect_most(reason):
    only = track(range(FRAMES), x=20 if reason is Weakness.OUTSIDE else 640)
    confidence = np.where(np.arange(FRAMES) == 7, 0.4, 1).astype(np.float32)
    item = face(
        only,
        covered=[7] if reason is Weakness.COVERED else [],
        confidence=confidence if reason is Weakness.UNCERTAIN else None,
    )
    ranges, (warning,) = report([only], [item], {*range(FRAMES)} - {7})
    assert ranges == (FrameRange(7, 7, reason),)
    assert warning == f"frame 7 (1 of 20) is unchanged: {reason}"


def test_output_frames_are_named_not_source_frames():
    some = track(range(10))
    indices = [*((i, 0.0) for i in range(5)), (12, 0.0), (13, 0.5), *((i, 0.0) for i in range(5))]
    ranges, _ = report([some], [face(some)], {*range(12)} - {5, 6}, indices)
    assert ranges == (FrameRange(5, 6, NO_FACE),)


def test_many_ranges_are_summarised():
    only = track(range(0, FRAMES, 2))
    _, (warning,) = report([only], [face(only)], range(0, FRAMES, 2))
    assert warning == (
        "frames 1, 3, 5, 7, 9 and 5 more ranges (10 of 20) are unchanged: no face is seen"
    )


def test_without_a_face_there_is_one_warning():
    ranges, warnings = report([], [], [])
    assert ranges == (FrameRange(0, 19, NO_FACE),)
    assert warnings == ["no face was found: the picture is unchanged"]
