from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from lipwright.pipeline.driving import build_driving_sequence
from lipwright.testing import SIZE, synthetic_face_track, synthetic_face_views, synthetic_landmarks

FRAMES = 24
LAST_VISIBLE = 15
MEAN = np.zeros((61, 3), np.float32)
MOTION = SimpleNamespace(
    style=SimpleNamespace(mean=MEAN),
    displacements=lambda times: MEAN + np.asarray(times, np.float32)[:, None, None],
)
INFO = SimpleNamespace(width=SIZE[0], height=SIZE[1], rate=Fraction(25))


@pytest.fixture(scope="module")
def face():
    """A face track that ends at LAST_VISIBLE and is occluded in another cell in each frame."""
    landmarks = synthetic_landmarks(FRAMES)
    landmarks[LAST_VISIBLE + 1 :] = np.nan
    track = synthetic_face_track(landmarks, synthetic_face_views(landmarks), cuts=(12,))
    occluder = track.occluder.copy()
    occluder[np.arange(FRAMES), 0, np.arange(FRAMES)] = True
    light = np.arange(FRAMES, dtype=np.float32) ** 2
    return replace(track, occluder=occluder, light=light)


def driving(face, frames, share):
    return build_driving_sequence(face, MOTION, [(i, share) for i in frames], INFO)


def test_frames_between_two_source_frames_mix_both(face):
    frames = np.arange(8)
    sequence = driving(face, frames.tolist(), 0.25)
    assert sequence.source_frame == pytest.approx(frames + 0.25)
    assert sequence.light == pytest.approx(0.75 * frames**2 + 0.25 * (frames + 1) ** 2)
    mixed = 0.75 * face.landmarks[frames] + 0.25 * face.landmarks[frames + 1]
    assert sequence.landmarks[frames] == pytest.approx(mixed, abs=1e-3)
    cells = [np.flatnonzero(row).tolist() for row in sequence.occluder[frames][:, 0]]
    assert cells == [[i, i + 1] for i in frames]


def test_frames_at_a_source_frame_take_nothing_of_the_next(face):
    frames = np.arange(8)
    sequence = driving(face, frames.tolist(), 0.0)
    assert np.array_equal(sequence.landmarks[frames], face.landmarks[frames])
    assert np.array_equal(sequence.occluder[frames], face.occluder[frames])
    assert np.array_equal(sequence.light, face.light[frames])


def test_strength_is_the_lesser_of_both_source_frames(face):
    frames = list(range(FRAMES - 1))
    whole = driving(face, [*frames, FRAMES - 1], 0.0).strength
    assert (np.diff(whole) < 0).any()  # it fades out before the face disappears
    between = driving(face, frames, 0.5).strength
    assert np.array_equal(between, np.minimum(whole[:-1], whole[1:]))
    assert between[LAST_VISIBLE] == 0


def test_the_last_source_frame_has_no_next(face):
    sequence = driving(face, [FRAMES - 1], 0.5)
    assert sequence.light.tolist() == [(FRAMES - 1) ** 2]
    assert np.flatnonzero(sequence.occluder[np.arange(1)][0, 0]).tolist() == [FRAMES - 1]


def test_mouth_and_shot_follow_the_output_and_the_source(face):
    sequence = driving(face, [5, 13, 11], 0.0)
    assert sequence.mouth[np.arange(3)][:, 0, 0] == pytest.approx([0, 1 / 25, 2 / 25])
    assert sequence.shot.tolist() == [0, 1, 0]
