"""Test that faces are found and tracked at any roll angle, with the real networks."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from face_clips import frames, wall
from lipwright.face.landmarker import Detection, FaceLandmarker, Region, face_region, region_iou
from lipwright.face.roll import (
    CERTAIN,
    detect_in_any_direction,
    detect_turned,
    find_direction,
    quarter_turns,
)
from lipwright.face.track import TILE_INTERVAL, RawTrack, Tracker
from lipwright.media.picture import Picture

pytestmark = pytest.mark.model

SIDE, COUNT = 256, 3
ANGLES = (-135, -90, -60, 50, 90, 135, 180)  # degrees clockwise


@pytest.fixture(scope="module")
def network() -> FaceLandmarker:
    return FaceLandmarker()


@pytest.fixture(scope="module")
def upright(network) -> RawTrack:
    return track(network, list(frames(COUNT, SIDE)))


def track(network, pictures) -> RawTrack:
    tracker = Tracker(network)
    for rgb in pictures:
        tracker.feed(Picture.from_rgb(np.ascontiguousarray(rgb)))
    (only,) = tracker.tracks()
    return only


def turning(degrees: float) -> np.ndarray:
    """Return the 2 x 3 matrix that turns a frame clockwise about its middle."""
    middle = (SIDE - 1) / 2
    return cv2.getRotationMatrix2D((middle, middle), -degrees, 1.0)


def turned(rgb: np.ndarray, degrees: float) -> np.ndarray:
    if degrees % 90 == 0:
        return np.rot90(rgb, round(-degrees / 90))
    return cv2.warpAffine(rgb, turning(degrees), (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)


@pytest.mark.parametrize("degrees", ANGLES)
def test_a_turned_face_has_the_landmarks_of_the_upright_one(network, upright, degrees):
    found = track(network, [turned(rgb, degrees) for rgb in frames(COUNT, SIDE)])
    assert found.seen.all()
    matrix = turning(degrees)
    expected = np.asarray(upright.landmarks)[..., :2] @ matrix[:, :2].T + matrix[:, 2]
    eyes = np.linalg.norm(expected[:, 33] - expected[:, 263], axis=1)
    error = np.linalg.norm(np.asarray(found.landmarks)[..., :2] - expected, axis=-1).mean(1)
    assert (error < 0.03 * eyes).all()


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_small_turned_face_is_found_in_the_first_frame(network, turns):
    scene = cv2.resize(wall(2), (900, 300))
    small = cv2.resize(np.ascontiguousarray(np.rot90(frames(1)[0], -turns)), (140, 140))
    scene[80:220, 650:790] = small
    found = track(network, [scene])
    assert quarter_turns(face_region(np.asarray(found.landmarks)[0]).angle) == turns
    assert 650 < found.landmarks[0, 1, 0] < 790


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_lost_turned_face_is_found_again_at_once(network, turns):
    shown = [np.rot90(rgb, -turns) for rgb in frames(4)]
    found = track(network, [*shown[:2], wall(), *shown[2:]])
    assert found.seen.tolist() == [True, True, False, True, True]


def test_two_people_upside_down_are_both_found(network):
    rgb = frames(1, SIDE)[0][::-1, ::-1]
    tracker = Tracker(network)
    tracker.feed(Picture.from_rgb(np.hstack([rgb, rgb[:, ::-1]])))
    angles = [quarter_turns(face_region(points).angle) for points in tracker.current_landmarks()]
    assert angles == [2, 2]


def test_the_direction_of_an_upright_face_is_kept(network, upright):
    rgb = frames(1, SIDE)[0]
    (found,) = network.detect(rgb)
    for score in (found.score, 0.55):
        same = Detection(region=found.region, score=score)
        assert find_direction(network, rgb, same) is same.region


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_landmarks_that_take_a_chin_for_a_forehead_are_turned(network, upright, turns):
    points = np.asarray(upright.landmarks)[0]
    right = face_region(points)
    rgb = np.ascontiguousarray(np.rot90(frames(1, SIDE)[0], -turns))
    x, y = {
        1: (SIDE - 1 - right.y, right.x),
        2: (SIDE - 1 - right.x, SIDE - 1 - right.y),
        3: (right.y, SIDE - 1 - right.x),
    }[turns]
    wrong = Detection(region=Region(x=x, y=y, side=right.side, angle=0.0), score=0.55)
    region = find_direction(network, rgb, wrong)
    assert region is not None
    assert quarter_turns(region.angle) == turns
    assert region_iou(region, wrong.region) > 0.5


def test_turned_pictures_of_a_wall_show_no_face(network):
    for seed in range(4):
        assert detect_in_any_direction(network, wall(seed, SIDE), tiles=True) == []


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_regions_are_in_pixels_of_the_picture(network, turns):
    rgb = np.vstack([np.rot90(frames(1)[0], -turns), np.full((120, 224, 3), 90, np.uint8)])
    found = detect_turned(network, rgb, turns)[0]
    assert region_iou(found.region, Region(x=112, y=112, side=120, angle=0)) > 0.4
    assert quarter_turns(found.region.angle) == turns


class Counting:
    """Counts the runs of the detector; finds one certain upright face, or none."""

    def __init__(self, *, face: bool) -> None:
        self.face, self.pictures = face, 0

    def detect(self, rgb, *, tiles=False):
        self.pictures += 1
        region = Region(x=rgb.shape[1] / 2, y=rgb.shape[0] / 2, side=150.0, angle=0.0)
        return [Detection(region=region, score=CERTAIN)] if self.face else []

    def estimate_landmarks(self, rgb, region):
        return np.zeros((478, 3), np.float32), 0.0


def test_turned_pictures_are_searched_only_now_and_then():
    for face, expected in ((True, 10), (False, 10 + 3 * 10 // TILE_INTERVAL)):
        network = Counting(face=face)
        tracker = Tracker(network)
        for _ in range(10):
            tracker.feed(Picture.from_rgb(wall()))
        assert network.pictures == expected


@pytest.mark.parametrize(
    ("degrees", "turns"), [(0, 0), (44, 0), (46, 1), (-44, 0), (-46, 3), (180, 2), (-179, 2)]
)
def test_quarter_turns(degrees, turns):
    assert quarter_turns(math.radians(degrees)) == turns
