"""Test the tracker with a fake network that detects bright discs as faces."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import pytest

from lipwright.face.canonical import reference_face
from lipwright.face.crop import CROP_SIDE, crop_around
from lipwright.face.landmarker import Detection, Region
from lipwright.face.track import (
    DETECTION_INTERVAL,
    MAX_FACES,
    Take,
    Tracker,
    track_faces,
)
from lipwright.media.decode.video import SourceFrame
from lipwright.media.picture import Picture
from lipwright.media.probe import VideoInfo

pytestmark = pytest.mark.model  # many pictures

SIZE = (480, 320)
RADIUS = 30
FACE, DIM, FAINT = 220, 120, 60  # grey levels: a face, one of low presence, one that is lost
DETECTED = 40  # grey level from which the fake detector finds a disc


class Discs:
    """Detects discs as faces, with a presence that depends on their brightness."""

    def __init__(self) -> None:
        self.detections = 0
        self.stretch = 1.0  # of the faces, downwards

    def detect(self, rgb, *, tiles=False):
        assert rgb.dtype == np.uint8
        self.detections += 1
        return [
            Detection(region=Region(x=x, y=y, side=3 * r, angle=0.0), score=min(1.0, level / FACE))
            for x, y, r, level in find_discs(rgb)
        ]

    def estimate_landmarks(self, rgb, region):
        assert rgb.dtype == np.uint8
        near = [
            (np.hypot(x - region.x, y - region.y), x, y, r, v) for x, y, r, v in find_discs(rgb)
        ]
        distance, x, y, r, level = min(near, default=(np.inf, 0, 0, 1, 0))
        if distance > region.side / 2:
            return _face(region.x, region.y, region.side / 3), 0.01
        return _face(x, y, r, self.stretch), {FACE: 0.99, DIM: 0.35, FAINT: 0.05}[_nearest(level)]


def _nearest(level):
    return min((FACE, DIM, FAINT), key=lambda known: abs(known - level))


def find_discs(rgb):
    """Return x, y, radius and level of each disc."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    count, marks, stats, centres = cv2.connectedComponentsWithStats(
        (grey > DETECTED).astype(np.uint8)
    )
    discs = []
    for i in range(1, count):
        radius = stats[i, 2:4].max() / 2
        if radius >= 3:
            x, y, width, height = stats[i, :4]
            box = slice(y, y + height), slice(x, x + width)
            discs.append((*centres[i], radius, float(np.median(grey[box][marks[box] == i]))))
    return sorted(discs, key=lambda d: -d[3])


def _face(x, y, radius, stretch=1.0):
    """A face of that many pixels to each side around a point."""
    points = reference_face() * np.array([1, stretch, 1], np.float32)
    middle = (points[:468].min(0) + points[:468].max(0)) / 2
    return ((points - middle) * radius / 0.96 + [x, y, 0]).astype(np.float32)


def picture(*discs, size=SIZE):
    """Draw discs (x, y[, level[, radius]]) on black."""
    rgb = np.zeros((size[1], size[0], 3), np.uint8)
    for x, y, *rest in discs:
        level, radius = (*rest, *(FACE, RADIUS)[len(rest) :])
        cv2.circle(rgb, (round(x), round(y)), radius, (level,) * 3, -1)
    return Picture.from_rgb(rgb)


def track_shots(shots):
    """Track shots, each a list of pictures, with cuts between them."""
    tracker = Tracker(Discs())
    for shot, pictures in enumerate(shots):
        for k, one in enumerate(pictures):
            tracker.feed(one, cut=shot > 0 and k == 0)
    return tracker


def track_pictures(pictures, network=None):
    frames = (SourceFrame(index=i, time=Fraction(i, 25), picture=p) for i, p in enumerate(pictures))
    return track_faces(frames, network or Discs())


def centres(track):
    """Centre (T, 2) of a track's face."""
    points = track.landmarks[:, :468, :2]
    return (points.min(1) + points.max(1)) / 2


def test_moving_face_is_tracked_in_every_frame():
    path = [(80 + 6 * k, 150 + 2 * k) for k in range(40)]
    (track,) = track_pictures(picture(p) for p in path)
    assert track.seen.all()
    assert centres(track) == pytest.approx(np.array(path), abs=2)
    assert track.confidence == pytest.approx(np.full(40, 0.99))
    assert (track.sharpness > 0).all()
    assert (track.light > 0).all()


def test_detector_runs_rarely_while_a_face_is_tracked():
    network = Discs()
    track_pictures([picture((200, 150))] * 100, network)
    assert network.detections <= 100 / DETECTION_INTERVAL + 2


def test_every_array_has_a_row_for_every_frame():
    pictures = [picture()] * 4 + [picture((200, 150))] * 8 + [picture()] * 5
    (track,) = track_pictures(pictures)
    assert track.landmarks.shape == (17, 478, 3)
    assert track.seen.tolist() == [False] * 4 + [True] * 8 + [False] * 5
    away = ~track.seen
    assert np.isnan(track.landmarks[away]).all()
    for column in (track.confidence, track.sharpness, track.light):
        assert (column[away] == 0).all()
        assert column.dtype == np.float32


@pytest.mark.parametrize("back", [(200, 150), (230, 170), (420, 60)])
def test_lost_face_resumes_its_track(back):
    pictures = [picture((200, 150))] * 10 + [picture()] * 10 + [picture(back)] * 10
    (track,) = track_pictures(pictures)
    assert track.seen.tolist() == [True] * 10 + [False] * 10 + [True] * 10
    assert centres(track)[25] == pytest.approx(back, abs=2)


def test_lost_face_is_reacquired_at_once_near_its_last_region():
    """Even while another face is tracked and the detector runs rarely."""
    other = (400, 200)
    pictures = (
        [picture((100, 150), other)] * 6 + [picture(other)] * 3 + [picture((110, 150), other)] * 20
    )
    tracks = track_pictures(pictures)
    assert len(tracks) == 2
    left = min(tracks, key=lambda t: np.nanmean(t.landmarks[..., 0]))
    assert left.seen.tolist() == [True] * 6 + [False] * 3 + [True] * 20


def test_two_faces_are_two_tracks_and_do_not_swap():
    left = [(100 + k, 120) for k in range(40)]
    right = [(360 - k, 200) for k in range(40)]
    tracks = track_pictures(picture(a, b) for a, b in zip(left, right, strict=True))
    assert len(tracks) == 2
    ours = sorted((centres(t) for t in tracks), key=lambda c: c[0, 0])
    assert ours[0] == pytest.approx(np.array(left), abs=2)
    assert ours[1] == pytest.approx(np.array(right), abs=2)


def test_most_prominent_face_comes_first():
    small, large = (100, 100, FACE, 18), (350, 200, FACE, 45)
    tracks = track_pictures([picture(small, large)] * 10)
    assert centres(tracks[0])[0] == pytest.approx(large[:2], abs=2)
    brief = [picture(small, large)] * 4 + [picture(small)] * 36
    assert centres(track_pictures(brief)[0])[0] == pytest.approx(small[:2], abs=2)


def test_face_that_appears_later_is_detected_within_the_interval():
    pictures = [picture((100, 100))] * 7 + [picture((100, 100), (350, 200))] * 60
    tracks = track_pictures(pictures)
    assert len(tracks) == 2
    assert 7 <= int(tracks[1].seen.argmax()) <= 7 + DETECTION_INTERVAL
    assert tracks[1].seen[-1]


def test_two_tracks_on_one_face_become_one():
    """One face disappears behind the other, and its tracks slides onto it."""
    apart = [picture((200 + 10 * k, 150), (360, 150)) for k in range(9)]
    tracks = track_pictures([*apart, *[picture((325, 150))] * 20])
    seen = np.sum([t.seen for t in tracks], 0)
    assert seen.tolist() == [2] * 9 + [1] * 20
    assert len(tracks) == 2
    assert tracks[0].seen.all()


def test_track_of_two_frames_is_dropped():
    pictures = [picture((100, 100))] * 30
    pictures[25] = pictures[26] = picture((100, 100), (350, 200))
    (track,) = track_pictures(pictures)
    assert track.seen.all()


@pytest.mark.parametrize("frames", [1, 2])
def test_shortest_videos_keep_every_face(frames):
    (track,) = track_pictures([picture((200, 150))] * frames)
    assert track.seen.all()


def test_low_presence_continues_a_track_but_does_not_start_one():
    assert track_pictures([picture((200, 150, DIM))] * 10) == ()
    (track,) = track_pictures([picture((200, 150))] * 5 + [picture((200, 150, DIM))] * 10)
    assert track.seen.all()
    assert track.confidence[5:] == pytest.approx(np.full(10, 0.35))
    (track,) = track_pictures([picture((200, 150))] * 5 + [picture((200, 150, FAINT))] * 10)
    assert track.seen.tolist() == [True] * 5 + [False] * 10


def test_at_most_max_faces_are_tracked():
    crowd = [(60 + 90 * i, 80 + 40 * (i % 3), FACE, 20) for i in range(MAX_FACES + 1)]
    tracks = track_pictures([picture(*crowd)] * 30)
    assert len(tracks) == MAX_FACES
    assert all(t.seen.all() for t in tracks)


def test_no_face_gives_no_track():
    assert track_pictures([picture()] * 8) == ()
    assert track_pictures([]) == ()
    assert Tracker(Discs()).tracks() == ()


def test_face_is_tracked_out_of_the_frame_and_back():
    path = [(400 + 12 * k, 150) for k in range(10)] + [(508 - 12 * k, 150) for k in range(10)]
    tracks = track_pictures(picture(p) for p in path)
    assert tracks
    assert tracks[0].seen[[0, 1, 2, -1]].all()
    assert np.isfinite(tracks[0].landmarks[tracks[0].seen]).all()


def test_ten_bit_pictures_and_large_faces_give_the_same_position():
    small = picture((200, 150))
    tall = Picture.from_rgb(small.rgb().astype(np.uint16) * 4)
    assert centres(track_pictures([tall] * 3)[0]) == pytest.approx(
        centres(track_pictures([small] * 3)[0]), abs=1
    )
    huge = picture((1300, 900, FACE, 700), size=(2600, 1800))
    (track,) = track_pictures([huge] * 2)
    assert centres(track) == pytest.approx(np.array([[1300, 900]] * 2), abs=8)
    extents = np.ptp(track.landmarks[1, :468], axis=0)
    assert extents == pytest.approx(np.ptp(_face(0, 0, 700)[:468], axis=0), rel=0.03)


def test_different_faces_at_one_position_are_two_tracks_across_a_cut():
    """Different people: one has a much longer face."""
    tracker = Tracker(tall := Discs())
    for k in range(20):
        if k == 10:
            tall.stretch = 1.3
        tracker.feed(picture((200, 150)), cut=k == 10)
    tracks = tracker.tracks()
    assert tracker.cuts == (10,)
    first, second = sorted((t.seen.tolist() for t in tracks), reverse=True)
    assert first == [True] * 10 + [False] * 10
    assert second == [False] * 10 + [True] * 10


def test_same_face_at_another_position_after_a_cut_is_one_track():
    tracker = track_shots([[picture((100, 150))] * 8, [picture((380, 90))] * 9])
    (track,) = tracker.tracks()
    assert track.seen.all()
    assert centres(track)[8] == pytest.approx((380, 90), abs=2)


def test_all_faces_are_detected_at_once_after_a_cut():
    alone, both = [picture((100, 150))] * 8, [picture((110, 150), (330, 150))] * 8
    tracks = track_shots([alone, both]).tracks()
    assert sorted(int(t.seen.sum()) for t in tracks) == [8, 16]


def test_similar_faces_of_one_shot_are_two_tracks():
    both = [picture((110, 150), (330, 150))] * 8
    tracks = track_shots([both, both, both]).tracks()
    assert len(tracks) == 2
    assert all(t.seen.all() for t in tracks)


def test_shot_indices_follow_from_the_cuts():
    info = VideoInfo  # only its times and cuts are read
    take = Take(info=info, times=tuple(map(Fraction, range(6))), tracks=(), cuts=(2, 5))
    assert take.shots.tolist() == [0, 0, 1, 1, 1, 2]
    assert Take(info=info, times=(Fraction(0),), tracks=()).shots.tolist() == [0]


# ------------------------------------------------------------------------- current landmarks
def test_current_landmarks_are_those_of_the_last_picture():
    tracker = Tracker(Discs())
    spots = [((100, 100), (360, 200)), ((104, 102), (360, 204)), ((108, 104),), ()]
    for places in spots:
        tracker.feed(picture(*places))
        tracks = sorted(tuple(p[:468, :2].mean(0)) for p in tracker.current_landmarks())
        assert len(tracks) == len(places)
        for middle, place in zip(tracks, places, strict=True):
            assert np.hypot(*np.subtract(middle, place)) < RADIUS / 2


@pytest.mark.parametrize("turn", [0.0, 0.5, -1.2])
@pytest.mark.parametrize("side", [90, 500, 1500])
def test_crop_covers_its_region(turn, side):
    whole = np.zeros((1600, 1600, 3), np.uint8)
    whole[..., 0] = np.arange(1600)[None] % 256
    region = Region(x=800.0, y=790.0, side=float(side), angle=turn)
    crop, x0, y0, scale = crop_around(Picture.from_rgb(whole), region)
    assert max(crop.shape[:2]) <= CROP_SIDE + 4
    assert (scale == 1) == (side < 600)
    square = np.array([[x, y] for x in (-0.5, 0.5) for y in (-0.5, 0.5)]) * side
    c, s = np.cos(turn), np.sin(turn)
    corners = square @ np.array([[c, s], [-s, c]]) + [region.x, region.y]
    low, high = (corners - [x0, y0]).min(0) * scale, (corners - [x0, y0]).max(0) * scale
    assert (low >= -0.5).all() or (x0, y0) == (0, 0)
    assert (high <= np.array(crop.shape[1::-1]) + 0.5).all() or side == 1500
