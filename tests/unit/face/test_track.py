"""The tracker against a fake network that sees bright discs as faces."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import pytest

from lipwright.face.landmarker import Detection, Region
from lipwright.face.shape import reference
from lipwright.face.track import (
    CROP_SIDE,
    LOOK_AROUND_FRAMES,
    MAX_FACES,
    Take,
    Tracker,
    _crop,
    track_faces,
)
from lipwright.media.decode.video import SourceFrame
from lipwright.media.picture import Picture
from lipwright.media.probe import VideoInfo

SIZE = (480, 320)
RADIUS = 30
FACE, DIM, FAINT = 220, 120, 60  # grey levels: a face; one that is hardly one; none any more
DETECTED = 40  # level from which the fake detector sees something


class Discs:
    """Takes discs for faces: surely bright ones, less surely dim ones."""

    def __init__(self) -> None:
        self.detections = 0
        self.stretch = 1.0  # of the faces, downwards

    def detect(self, rgb, *, tiles=False):
        assert rgb.dtype == np.uint8
        self.detections += 1
        return [
            Detection(region=Region(x=x, y=y, side=3 * r, angle=0.0), score=level / 255)
            for x, y, r, level in _discs(rgb)
        ]

    def place(self, rgb, region):
        assert rgb.dtype == np.uint8
        near = [(np.hypot(x - region.x, y - region.y), x, y, r, v) for x, y, r, v in _discs(rgb)]
        distance, x, y, r, level = min(near, default=(np.inf, 0, 0, 1, 0))
        if distance > region.side / 2:
            return _face(region.x, region.y, region.side / 3), 0.01
        return _face(x, y, r, self.stretch), {FACE: 0.99, DIM: 0.35, FAINT: 0.05}[_nearest(level)]


def _nearest(level):
    return min((FACE, DIM, FAINT), key=lambda known: abs(known - level))


def _discs(rgb):
    """Return x, y, radius and level of each disc."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    count, marks, stats, centres = cv2.connectedComponentsWithStats(
        (grey > DETECTED).astype(np.uint8)
    )
    found = []
    for i in range(1, count):
        radius = stats[i, 2:4].max() / 2
        if radius >= 3:
            found.append((*centres[i], radius, float(np.median(grey[marks == i]))))
    return sorted(found, key=lambda d: -d[3])


def _face(x, y, radius, stretch=1.0):
    """A face of that many pixels to each side around a point."""
    points = reference() * np.array([1, stretch, 1], np.float32)
    middle = (points[:468].min(0) + points[:468].max(0)) / 2
    return ((points - middle) * radius / 0.96 + [x, y, 0]).astype(np.float32)


def picture(*discs, size=SIZE):
    """Draw discs (x, y[, level[, radius]]) on black."""
    rgb = np.zeros((size[1], size[0], 3), np.uint8)
    for x, y, *rest in discs:
        level, radius = (*rest, *(FACE, RADIUS)[len(rest) :])
        cv2.circle(rgb, (round(x), round(y)), radius, (level,) * 3, -1)
    return Picture.from_rgb(rgb)


def tracker_of(shots):
    """Follow shots, each a list of pictures, cut after one another."""
    tracker = Tracker(Discs())
    for shot, pictures in enumerate(shots):
        for k, one in enumerate(pictures):
            tracker.feed(one, cut=shot > 0 and k == 0)
    return tracker


def follow(pictures, network=None):
    frames = (SourceFrame(index=i, time=Fraction(i, 25), picture=p) for i, p in enumerate(pictures))
    return track_faces(frames, network or Discs())


def centres(found):
    """Middle (T, 2) of a track's faces."""
    points = found.landmarks[:, :468, :2]
    return (points.min(1) + points.max(1)) / 2


def test_a_moving_face_is_followed_from_the_first_frame_to_the_last():
    path = [(80 + 6 * k, 150 + 2 * k) for k in range(40)]
    (found,) = follow(picture(p) for p in path)
    assert found.seen.all()
    assert centres(found) == pytest.approx(np.array(path), abs=2)
    assert found.confidence == pytest.approx(np.full(40, 0.99))
    assert (found.sharpness > 0).all()
    assert (found.light > 0).all()


def test_a_face_that_stays_is_detected_only_now_and_then():
    network = Discs()
    follow([picture((200, 150))] * 100, network)
    assert network.detections <= 100 / LOOK_AROUND_FRAMES + 2


def test_every_column_has_a_row_for_every_frame():
    pictures = [picture()] * 4 + [picture((200, 150))] * 8 + [picture()] * 5
    (found,) = follow(pictures)
    assert found.landmarks.shape == (17, 478, 3)
    assert found.seen.tolist() == [False] * 4 + [True] * 8 + [False] * 5
    away = ~found.seen
    assert np.isnan(found.landmarks[away]).all()
    for column in (found.confidence, found.sharpness, found.light):
        assert (column[away] == 0).all()
        assert column.dtype == np.float32


@pytest.mark.parametrize("back", [(200, 150), (230, 170), (420, 60)])
def test_a_face_that_was_lost_is_found_again_as_the_same(back):
    pictures = [picture((200, 150))] * 10 + [picture()] * 10 + [picture(back)] * 10
    (found,) = follow(pictures)
    assert found.seen.tolist() == [True] * 10 + [False] * 10 + [True] * 10
    assert centres(found)[25] == pytest.approx(back, abs=2)


def test_a_face_is_found_again_at_once_near_where_it_was_lost():
    """Also while another face is followed, when the frame is searched rarely."""
    other = (400, 200)
    pictures = (
        [picture((100, 150), other)] * 6 + [picture(other)] * 3 + [picture((110, 150), other)] * 20
    )
    found = follow(pictures)
    assert len(found) == 2
    left = min(found, key=lambda t: np.nanmean(t.landmarks[..., 0]))
    assert left.seen.tolist() == [True] * 6 + [False] * 3 + [True] * 20


def test_two_faces_are_two_tracks_and_do_not_swap():
    left = [(100 + k, 120) for k in range(40)]
    right = [(360 - k, 200) for k in range(40)]
    found = follow(picture(a, b) for a, b in zip(left, right, strict=True))
    assert len(found) == 2
    ours = sorted((centres(t) for t in found), key=lambda c: c[0, 0])
    assert ours[0] == pytest.approx(np.array(left), abs=2)
    assert ours[1] == pytest.approx(np.array(right), abs=2)


def test_the_face_that_fills_most_of_the_clip_comes_first():
    small, large = (100, 100, FACE, 18), (350, 200, FACE, 45)
    found = follow([picture(small, large)] * 10)
    assert centres(found[0])[0] == pytest.approx(large[:2], abs=2)
    brief = [picture(small, large)] * 4 + [picture(small)] * 36
    assert centres(follow(brief)[0])[0] == pytest.approx(small[:2], abs=2)


def test_a_face_that_comes_later_is_met_soon():
    pictures = [picture((100, 100))] * 7 + [picture((100, 100), (350, 200))] * 60
    found = follow(pictures)
    assert len(found) == 2
    assert 7 <= int(found[1].seen.argmax()) <= 7 + LOOK_AROUND_FRAMES
    assert found[1].seen[-1]


def test_two_followers_on_one_face_become_one():
    """One face goes behind the other, and both followers slide onto the one that is left."""
    apart = [picture((200 + 10 * k, 150), (360, 150)) for k in range(9)]
    found = follow([*apart, *[picture((325, 150))] * 20])
    seen = np.sum([t.seen for t in found], 0)
    assert seen.tolist() == [2] * 9 + [1] * 20
    assert len(found) == 2
    assert found[0].seen.all()


def test_a_flash_is_no_face():
    pictures = [picture((100, 100))] * 30
    pictures[25] = pictures[26] = picture((100, 100), (350, 200))
    (found,) = follow(pictures)
    assert found.seen.all()


@pytest.mark.parametrize("frames", [1, 2])
def test_in_the_shortest_clips_every_face_counts(frames):
    (found,) = follow([picture((200, 150))] * frames)
    assert found.seen.all()


def test_what_the_landmark_network_doubts_is_not_taken_up_but_followed_on():
    assert follow([picture((200, 150, DIM))] * 10) == ()
    (found,) = follow([picture((200, 150))] * 5 + [picture((200, 150, DIM))] * 10)
    assert found.seen.all()
    assert found.confidence[5:] == pytest.approx(np.full(10, 0.35))
    (found,) = follow([picture((200, 150))] * 5 + [picture((200, 150, FAINT))] * 10)
    assert found.seen.tolist() == [True] * 5 + [False] * 10


def test_a_crowd_is_followed_in_part():
    crowd = [(60 + 90 * i, 80 + 40 * (i % 3), FACE, 20) for i in range(MAX_FACES + 1)]
    found = follow([picture(*crowd)] * 30)
    assert len(found) == MAX_FACES
    assert all(t.seen.all() for t in found)


def test_nothing_is_found_in_nothing():
    assert follow([picture()] * 8) == ()
    assert follow([]) == ()
    assert Tracker(Discs()).tracks() == ()


def test_a_face_at_the_edge_of_the_frame_is_followed_out_and_in():
    path = [(400 + 12 * k, 150) for k in range(10)] + [(508 - 12 * k, 150) for k in range(10)]
    found = follow(picture(p) for p in path)
    assert found
    assert found[0].seen[[0, 1, 2, -1]].all()
    assert np.isfinite(found[0].landmarks[found[0].seen]).all()


def test_pictures_of_ten_bits_and_large_faces_come_to_the_same_place():
    small = picture((200, 150))
    tall = Picture.from_rgb(small.rgb().astype(np.uint16) * 4)
    assert centres(follow([tall] * 3)[0]) == pytest.approx(centres(follow([small] * 3)[0]), abs=1)
    huge = picture((1300, 900, FACE, 700), size=(2600, 1800))
    (found,) = follow([huge] * 2)
    assert centres(found) == pytest.approx(np.array([[1300, 900]] * 2), abs=8)
    extents = np.ptp(found.landmarks[1, :468], axis=0)
    assert extents == pytest.approx(np.ptp(_face(0, 0, 700)[:468], axis=0), rel=0.03)


def test_a_face_on_the_spot_of_another_is_not_taken_for_it_across_a_cut():
    """Different people: one has a much longer face."""
    tracker = Tracker(tall := Discs())
    for k in range(20):
        if k == 10:
            tall.stretch = 1.3
        tracker.feed(picture((200, 150)), cut=k == 10)
    found = tracker.tracks()
    assert tracker.cuts == (10,)
    first, second = sorted((t.seen.tolist() for t in found), reverse=True)
    assert first == [True] * 10 + [False] * 10
    assert second == [False] * 10 + [True] * 10


def test_the_same_face_elsewhere_after_a_cut_is_one_track():
    tracker = tracker_of([[picture((100, 150))] * 8, [picture((380, 90))] * 9])
    (found,) = tracker.tracks()
    assert found.seen.all()
    assert centres(found)[8] == pytest.approx((380, 90), abs=2)


def test_after_a_cut_all_faces_are_looked_for_at_once():
    alone, both = [picture((100, 150))] * 8, [picture((110, 150), (330, 150))] * 8
    found = tracker_of([alone, both]).tracks()
    assert sorted(int(t.seen.sum()) for t in found) == [8, 16]


def test_two_faces_of_one_shot_stay_two_however_alike():
    both = [picture((110, 150), (330, 150))] * 8
    found = tracker_of([both, both, both]).tracks()
    assert len(found) == 2
    assert all(t.seen.all() for t in found)


def test_shots_are_numbered_from_the_cuts():
    info = VideoInfo  # only its times and cuts are read
    take = Take(info=info, times=tuple(map(Fraction, range(6))), tracks=(), cuts=(2, 5))
    assert take.shots.tolist() == [0, 0, 1, 1, 1, 2]
    assert Take(info=info, times=(Fraction(0),), tracks=()).shots.tolist() == [0]


# ------------------------------------------------------------------------- where faces are just now
def test_faces_are_told_of_as_they_are_placed():
    tracker = Tracker(Discs())
    spots = [((100, 100), (360, 200)), ((104, 102), (360, 204)), ((108, 104),), ()]
    for places in spots:
        tracker.feed(picture(*places))
        found = sorted(tuple(p[:468, :2].mean(0)) for p in tracker.placed())
        assert len(found) == len(places)
        for middle, place in zip(found, places, strict=True):
            assert np.hypot(*np.subtract(middle, place)) < RADIUS / 2


@pytest.mark.parametrize("turn", [0.0, 0.5, -1.2])
@pytest.mark.parametrize("side", [90, 500, 1500])
def test_a_crop_covers_its_region_and_says_where_and_how_large(turn, side):
    whole = np.zeros((1600, 1600, 3), np.uint8)
    whole[..., 0] = np.arange(1600)[None] % 256
    region = Region(x=800.0, y=790.0, side=float(side), angle=turn)
    crop, x0, y0, scale = _crop(Picture.from_rgb(whole), region)
    assert max(crop.shape[:2]) <= CROP_SIDE + 4
    assert (scale == 1) == (side < 600)
    square = np.array([[x, y] for x in (-0.5, 0.5) for y in (-0.5, 0.5)]) * side
    c, s = np.cos(turn), np.sin(turn)
    corners = square @ np.array([[c, s], [-s, c]]) + [region.x, region.y]
    low, high = (corners - [x0, y0]).min(0) * scale, (corners - [x0, y0]).max(0) * scale
    assert (low >= -0.5).all() or (x0, y0) == (0, 0)
    assert (high <= np.array(crop.shape[1::-1]) + 0.5).all() or side == 1500
