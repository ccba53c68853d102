"""Cuts are detected; flashes, pans, fades and dissolves are not cuts."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import cv2
import numpy as np
import pytest

from lipwright.media.decode.video import SourceFrame
from lipwright.media.picture import Picture
from lipwright.media.shot_detection import AFTER, LOOKAHEAD_FRAMES, split_shots

pytestmark = pytest.mark.model  # many pictures

SIZE = (192, 128)


@cache
def scene(seed: int, width: int = SIZE[0]) -> np.ndarray:
    """A background of coloured circles, (h, width, 3)."""
    random = np.random.default_rng(seed)
    rgb = np.full((SIZE[1], width, 3), random.uniform(40, 200, 3), np.float32)
    for _ in range(width // 8):
        centre = random.integers(0, [width, SIZE[1]]).tolist()
        cv2.circle(rgb, centre, int(random.integers(6, 26)), random.uniform(0, 255, 3).tolist(), -1)
    return rgb


@cache
def grain(frame: int) -> np.ndarray:
    """The noise of a frame, (h, w, 3)."""
    return np.random.default_rng(frame).normal(0, 2, (SIZE[1], SIZE[0], 3))


def shot(seed: int, frames: int, mouth: int = 0) -> list[np.ndarray]:
    """Frames of a fixed camera on a scene with a small moving object."""
    out = []
    for k in range(frames):
        rgb = scene(seed).copy()
        cv2.circle(rgb, (96 + round(6 * np.sin(k)), 70 + mouth), 9, (255, 255, 255), -1)
        out.append(rgb + grain(k))
    return out


def moving(seed: int, frames: int, speed: float = 9.0) -> list[np.ndarray]:
    """Frames of a person who moves a lot in front of a scene."""
    out = []
    for k in range(frames):
        rgb = scene(seed).copy()
        x, y = 96 + 40 * np.sin(k * speed / 40), 70 + 12 * np.cos(k * speed / 25)
        cv2.ellipse(rgb, (round(x), round(y)), (30, 44), 0, 0, 360, (225, 175, 150), -1)
        out.append(rgb)
    return out


def held(pictures: list[np.ndarray], counts) -> list[np.ndarray]:
    """Repeat each picture, with a trace of the noise that an encoder adds."""
    repeated = [p for p, count in zip(pictures, counts, strict=False) for _ in range(count)]
    return [p + 0.02 * grain(k) for k, p in enumerate(repeated)]


def detect_cuts(
    pictures: list[np.ndarray], depth: int = 8, times: list[Fraction] | None = None
) -> list[int]:
    step = 1 << (depth - 8)
    kind = np.uint8 if depth == 8 else np.uint16
    frames = (
        SourceFrame(
            index=i,
            time=times[i] if times else Fraction(i, 25),
            picture=Picture.from_rgb((np.clip(p, 0, 255) * step).astype(kind)),
        )
        for i, p in enumerate(pictures)
    )
    result = list(split_shots(frames))
    assert [f.index for f, _ in result] == list(range(len(pictures)))
    return [f.index for f, cut in result if cut]


@pytest.mark.parametrize("depth", [8, 10])
def test_each_cut_is_detected_at_its_frame(depth):
    lengths = (9, 5, 12, 7)
    pictures = [p for seed, n in enumerate(lengths) for p in shot(seed, n)]
    assert detect_cuts(pictures, depth) == [9, 14, 26]


@pytest.mark.parametrize("at", range(1, 12))
def test_a_cut_near_either_end_is_detected(at):
    assert detect_cuts([*shot(1, at), *shot(2, 12 - at)]) == [at]


def test_a_jump_within_one_scene_is_a_cut():
    """The background stays; the person moves at once."""

    def with_person(x: float) -> list[np.ndarray]:
        out = shot(3, 10)
        for k, rgb in enumerate(out):
            cv2.ellipse(rgb, (round(x + k / 3), 80), (26, 46), 0, 0, 360, (220, 170, 140), -1)
        return out

    assert detect_cuts([*with_person(80), *with_person(112)]) == [10]


@pytest.mark.parametrize("length", range(1, AFTER))
def test_a_flash_is_not_a_cut(length):
    pictures = shot(4, 20)
    for k in range(8, 8 + length):
        pictures[k] = np.clip(pictures[k] * 2.5 + 60, 0, 255)
    assert detect_cuts(pictures) == []


@pytest.mark.parametrize("speed", [2, 8, 24])
def test_a_pan_is_not_a_cut(speed):
    wide = scene(5, 1200)
    still = [0] * 8
    offsets = [*still, *range(0, min(40 * speed, 1000), speed)]
    assert detect_cuts([wide[:, x : x + SIZE[0]] for x in offsets]) == []


@pytest.mark.parametrize("length", [8, 12, 25])
def test_a_fade_is_not_a_cut(length):
    fading = np.linspace(1, 0, length)
    pictures = shot(6, 8 + length)
    into_black = [p * s for p, s in zip(pictures[8:], fading, strict=True)]
    out_of_black = [p * s for p, s in zip(shot(6, length), fading[::-1], strict=True)]
    assert detect_cuts([*pictures[:8], *into_black, *out_of_black]) == []


@pytest.mark.parametrize("length", [8, 12, 25])
def test_a_dissolve_is_not_a_cut(length):
    share = np.linspace(0, 1, length)[:, None, None, None]
    mixed = np.array(shot(7, length)) * (1 - share) + np.array(shot(8, length)) * share
    assert detect_cuts([*shot(7, 8), *mixed, *shot(8, 8)]) == []


CADENCES = {
    "12.5 in 50": [4],
    "15 in 60": [4],
    "24 in 119.88": [5],
    "5 in 60": [12],
    "telecine": [3, 2],
    "25 in 30": [1, 1, 1, 1, 2],
    "a call that freezes": [1, 1, 1, 1, 1, 14, 1, 1, 1, 30, 1, 2, 1, 1, 9, 1, 1, 1],
}


@pytest.mark.parametrize("cadence", CADENCES)
def test_held_pictures_make_no_cut(cadence):
    counts = CADENCES[cadence] * 40
    assert detect_cuts(held(moving(3, 40), counts)[:150]) == []


@pytest.mark.parametrize("cadence", CADENCES)
def test_cuts_between_held_pictures_are_detected(cadence):
    first, second = (held(moving(seed, 60), CADENCES[cadence] * 60)[:60] for seed in (3, 4))
    assert detect_cuts([*first, *second]) == [60]


def test_a_gap_in_the_times_is_no_cut():
    pictures = moving(3, 60)
    kept = [*range(20), *range(33, 60)]
    times = [Fraction(k, 25) for k in kept]
    assert detect_cuts([pictures[k] for k in kept], times=times) == []


def test_each_still_of_a_slide_show_is_a_shot():
    slides = held([scene(seed) for seed in range(4)], [40, 25, 60, 30])
    assert detect_cuts(slides) == [40, 65, 125]


def test_a_cut_to_a_frozen_picture_is_detected():
    frozen = held(shot(9, 1), [50])
    assert detect_cuts([*moving(3, 30), *frozen]) == [30]
    assert detect_cuts([*frozen, *moving(3, 30)]) == [50]


def test_the_shortest_clips_have_no_cut():
    assert detect_cuts([]) == []
    assert detect_cuts(shot(1, 1)) == []
    assert detect_cuts(shot(1, 3)) == []


def test_the_output_lags_few_frames_behind():
    taken = 0

    def frames():
        nonlocal taken
        for i, rgb in enumerate(shot(1, 30)):
            taken += 1
            picture = Picture.from_rgb(np.clip(rgb, 0, 255).astype(np.uint8))
            yield SourceFrame(index=i, time=Fraction(i, 25), picture=picture)

    for done, _ in enumerate(split_shots(frames()), 1):
        assert taken <= done + AFTER - 1


def test_few_frames_wait_while_a_picture_is_held():
    taken = 0

    def frames():
        nonlocal taken
        for i, rgb in enumerate(held([scene(1), scene(2)], [300, 300])):
            taken += 1
            picture = Picture.from_rgb(np.clip(rgb, 0, 255).astype(np.uint8))
            yield SourceFrame(index=i, time=Fraction(i, 25), picture=picture)

    for done, _ in enumerate(split_shots(frames()), 1):
        assert taken <= done + LOOKAHEAD_FRAMES - 1
