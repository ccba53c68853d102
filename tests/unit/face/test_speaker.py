from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from lipwright.errors import InvalidOptions
from lipwright.face.lower_face_raster import RASTER_SIDE
from lipwright.face.reidentification import FaceDescriptor
from lipwright.face.speaker import choose_speaker, faces_by_shot, merge_speaker_shots
from lipwright.face.track import RawTrack, Take
from lipwright.media.probe import VideoInfo
from lipwright.options import SpeakerPick
from lipwright.testing import synthetic_landmarks

SIZE = (1280, 720)
FRAMES = 20
EARLY, LATE = range(FRAMES // 2), range(FRAMES // 2, FRAMES)
INFO = VideoInfo(
    width=SIZE[0],
    height=SIZE[1],
    rate=Fraction(10),
    variable_rate=False,
    duration=Fraction(2),
    frames=FRAMES,
    rotation=0,
    codec="h264",
    pix_fmt="yuv420p",
)


def person(x, *, unit=100.0, seen=range(FRAMES)):
    """A track whose face is around x pixels."""
    landmarks = np.full((FRAMES, 478, 3), np.nan, np.float32)
    seen = list(seen)
    landmarks[seen] = synthetic_landmarks(FRAMES, size=(2 * x, 720), unit=unit)[seen]
    there = np.isfinite(landmarks[:, 0, 0]).astype(np.float32)
    return RawTrack(
        landmarks=landmarks,
        confidence=there,
        sharpness=there,
        light=there,
        rasters=np.zeros((FRAMES, RASTER_SIDE, RASTER_SIDE, 3), np.uint8),
    )


def take(*tracks):
    return Take(info=INFO, times=tuple(Fraction(i, 10) for i in range(FRAMES)), tracks=tracks)


def test_only_face_is_the_speaker():
    only = person(100)
    assert choose_speaker(take(only), None) is only


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (person(500, unit=140), person(780, unit=90)),
        (person(640, unit=95), person(1200, unit=100)),
        (person(500), person(780, seen=range(6))),
    ],
    ids=["larger", "central", "lasting"],
)
def test_without_a_voice_the_most_prominent_face_is_chosen(better, worse):
    assert choose_speaker(take(better, worse), None) is better
    assert choose_speaker(take(worse, better), None) is better


def test_face_that_matches_the_voice_is_chosen_even_if_small():
    large, small = person(640, unit=180), person(1100, unit=60)
    scores = {id(large): 0.04, id(small): 0.31}
    assert choose_speaker(take(large, small), None, lambda t: scores[id(t)]) is small


@pytest.mark.parametrize("values", [(0.02, 0.1), (0.28, 0.30), (0.2, 0.2)])
def test_ambiguous_scores_fall_back_to_prominence(values):
    large, small = person(640, unit=180), person(1100, unit=60)
    scores = dict(zip((id(large), id(small)), values, strict=True))
    assert choose_speaker(take(large, small), None, lambda t: scores[id(t)]) is large


def test_single_face_is_not_scored():
    def never(track):
        raise AssertionError

    only = person(640)
    assert choose_speaker(take(only), None, never) is only


def test_pick_overrides_the_voice():
    left, right = person(300, unit=150), person(1000, unit=60)
    for x, expected in ((250, left), (1100, right)):
        pick = SpeakerPick(x=x, y=300)
        assert choose_speaker(take(left, right), pick, lambda t: 0.5) is expected


def test_pick_selects_a_face_at_its_time():
    early, late = person(400, seen=range(10)), person(900, seen=range(10, FRAMES))
    both = take(early, late)
    assert choose_speaker(both, SpeakerPick(x=900, y=300, seconds=0.4)) is early
    assert choose_speaker(both, SpeakerPick(x=400, y=300, seconds=1.0)) is late
    assert choose_speaker(both, SpeakerPick(x=400, y=300, seconds=2.0)) is late


@pytest.mark.parametrize(
    ("pick", "message"),
    [
        (SpeakerPick(x=1281, y=300), r"1281,300 is outside the picture of 1280 x 720"),
        (SpeakerPick(x=300, y=5000), r"300,5000 is outside the picture of 1280 x 720"),
        (
            SpeakerPick(x=300, y=300, seconds=2.1),
            r"at 2\.1 s: the video ends after 20 frames, at 2",
        ),
        (SpeakerPick(x=300, y=300, frame=20), r"at frame 20: the video ends after 20 frames"),
    ],
)
def test_a_pick_outside_the_video_is_rejected(pick, message):
    with pytest.raises(InvalidOptions, match=message):
        choose_speaker(take(person(300), person(900)), pick)


def test_pick_without_a_face_at_its_time_is_rejected():
    with pytest.raises(InvalidOptions, match=r"no face is seen at 1\.5 s"):
        choose_speaker(take(person(400, seen=range(10))), SpeakerPick(x=400, y=300, seconds=1.5))


def two_shots(*tracks):
    return replace(take(*tracks), cuts=(FRAMES // 2,))


def test_track_of_another_shot_that_matches_the_voice_is_merged():
    first, second = person(200, seen=EARLY), person(800, seen=LATE)
    listener = person(400, seen=LATE)
    scores = {id(first): 0.4, id(second): 0.35, id(listener): 0.05}
    merged = merge_speaker_shots(first, two_shots(first, second, listener), lambda t: scores[id(t)])
    assert merged.seen.all()
    assert np.array_equal(merged.landmarks[: FRAMES // 2], first.landmarks[: FRAMES // 2])
    assert np.array_equal(merged.landmarks[FRAMES // 2 :], second.landmarks[FRAMES // 2 :])
    assert not first.seen.all()


@pytest.mark.parametrize(("main", "other"), [(0.4, 0.1), (0.1, 0.4)])
def test_track_of_another_shot_that_does_not_match_is_not_merged(main, other):
    first, second = person(200, seen=EARLY), person(800, seen=LATE)
    scores = {id(first): main, id(second): other}
    take_of_two_shots = two_shots(first, second)
    assert merge_speaker_shots(first, take_of_two_shots, lambda t: scores[id(t)]) is first


def described(track, shape=0.0):
    """The track of somebody whose face is *shape* inter-ocular distances from another."""
    descriptor = FaceDescriptor(
        shape=np.full((4, 3), shape / np.sqrt(3), np.float32), colour=np.zeros(3, np.float32)
    )
    return replace(track, descriptor=descriptor)


SILENT = pytest.mark.parametrize("score", [None, lambda _: 0.05], ids=["no sound", "no voice"])


@SILENT
@pytest.mark.parametrize(("place", "distance"), [(900, 0.04), (210, 0.055)])
def test_without_a_voice_the_only_face_of_each_shot_is_the_speaker(score, place, distance):
    first, second = (
        described(person(200, seen=EARLY)),
        described(person(place, seen=LATE), distance),
    )
    assert merge_speaker_shots(first, two_shots(first, second), score).seen.all()


@SILENT
@pytest.mark.parametrize(("place", "distance"), [(900, 0.05), (210, 0.065)])
def test_somebody_who_looks_different_is_not_merged(score, place, distance):
    first, second = (
        described(person(200, seen=EARLY)),
        described(person(place, seen=LATE), distance),
    )
    assert merge_speaker_shots(first, two_shots(first, second), score) is first


@SILENT
def test_of_two_faces_in_another_shot_none_is_merged(score):
    first, second, third = (
        described(person(x, seen=s)) for x, s in ((200, EARLY), (210, LATE), (900, LATE))
    )
    assert merge_speaker_shots(first, two_shots(first, second, third), score) is first


def test_a_picked_speaker_is_merged_whatever_the_voice_says():
    first, second = described(person(200, seen=EARLY)), described(person(210, seen=LATE))
    scores = {id(first): 0.4, id(second): 0.1}
    shots = two_shots(first, second)
    assert merge_speaker_shots(first, shots, lambda t: scores[id(t)], picked=True).seen.all()


def test_everyone_is_the_most_prominent_face_of_each_shot():
    host, guest = person(600, unit=120), person(300, unit=60, seen=LATE)
    close = person(640, unit=200, seen=LATE)
    faces = faces_by_shot(two_shots(host, guest, close))
    assert [face.seen.tolist() for face in faces] == [
        [k in EARLY for k in range(FRAMES)],
        [k in LATE for k in range(FRAMES)],
    ]
    assert np.isnan(faces[0].landmarks[FRAMES - 1]).all()
    assert np.array_equal(faces[0].landmarks[: FRAMES // 2], host.landmarks[: FRAMES // 2])


def test_face_seen_together_with_the_speaker_is_not_merged():
    first, both = person(200, seen=EARLY), person(800)
    assert merge_speaker_shots(first, two_shots(first, both), lambda _: 0.4) is first


@pytest.mark.parametrize(("frame", "expected"), [(0, 0), (9, 0), (10, 1), (19, 1)])
def test_a_pick_by_frame_selects_the_face_in_that_frame(frame, expected):
    faces = (person(300, seen=EARLY), person(900, seen=LATE))
    pick = SpeakerPick(x=600, y=300, frame=frame)
    assert choose_speaker(take(*faces), pick) is faces[expected]
