from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from lipwright.engines.base import FaceTrack
from lipwright.face.effect_strength import FADE_SECONDS
from lipwright.face.lower_face_raster import RASTER_SIDE
from lipwright.face.smoothing import smooth_landmarks
from lipwright.face.track import RawTrack
from lipwright.pipeline import driving as module
from lipwright.pipeline.driving import build_driving_sequence, build_face_track
from lipwright.testing import SIZE, synthetic_landmarks

FRAMES = 24
LAST_VISIBLE = 15
CUT = 12
MEAN = np.full((61, 3), 3, np.float32)


def displacements(times):
    """Move every landmark by the time in seconds."""
    assert times.dtype == np.float64
    return times[:, None, None] * np.ones((61, 3), np.float32)


MOTION = SimpleNamespace(style=SimpleNamespace(mean=MEAN), displacements=displacements)
INFO = SimpleNamespace(width=SIZE[0], height=SIZE[1], rate=Fraction(25))


@pytest.fixture(scope="module")
def face() -> FaceTrack:
    """A face track that ends at LAST_VISIBLE and is occluded in another cell in each frame."""
    landmarks = synthetic_landmarks(FRAMES)
    landmarks[LAST_VISIBLE + 1 :] = np.nan
    occluder = np.zeros((FRAMES, RASTER_SIDE, RASTER_SIDE), bool)
    occluder[np.arange(FRAMES), 0, np.arange(FRAMES)] = True
    return FaceTrack(
        landmarks=landmarks,
        confidence=np.isfinite(landmarks[:, 0, 0]).astype(np.float32),
        sharpness=np.ones(FRAMES, np.float32),
        light=np.arange(FRAMES, dtype=np.float32) ** 2,
        depth=8,
        shot=(np.arange(FRAMES) >= CUT).astype(np.int64),
        occluder=occluder,
    )


def driving_sequence(face, frames, share, info=INFO):
    return build_driving_sequence(face, MOTION, [(i, share) for i in frames], info)


def occluded_cells(sequence):
    rows = sequence.occluder[np.arange(len(sequence.light))][:, 0]
    return [np.flatnonzero(row).tolist() for row in rows]


# ------------------------------------------------------------------------------ driving sequence
def test_frames_between_two_source_frames_mix_both(face):
    frames = np.arange(8)
    sequence = driving_sequence(face, frames.tolist(), 0.25)
    assert sequence.source_frame == pytest.approx(frames + 0.25)
    assert sequence.light == pytest.approx(0.75 * frames**2 + 0.25 * (frames + 1) ** 2)
    mixed = 0.75 * face.landmarks[frames] + 0.25 * face.landmarks[frames + 1]
    assert np.allclose(sequence.landmarks[frames], mixed, atol=1e-3)
    assert occluded_cells(sequence) == [[i, i + 1] for i in frames]
    assert np.flatnonzero(sequence.occluder[5][0]).tolist() == [5, 6]


def test_each_frame_has_its_own_share(face):
    sequence = build_driving_sequence(face, MOTION, [(2, 0.0), (4, 0.25), (4, 0.75)], INFO)
    assert sequence.light.tolist() == [4, 0.75 * 16 + 0.25 * 25, 0.25 * 16 + 0.75 * 25]
    assert occluded_cells(sequence) == [[2], [4, 5], [4, 5]]
    assert np.array_equal(sequence.landmarks[0], face.landmarks[2])
    mixed = 0.25 * face.landmarks[4] + 0.75 * face.landmarks[5]
    assert np.allclose(sequence.landmarks[np.array([2])][0], mixed, atol=1e-3)


def test_frames_at_a_source_frame_take_nothing_of_the_next(face):
    frames = np.arange(8)
    sequence = driving_sequence(face, frames.tolist(), 0.0)
    assert np.array_equal(sequence.landmarks[frames], face.landmarks[frames])
    assert np.array_equal(sequence.occluder[frames], face.occluder[frames])
    assert np.array_equal(sequence.light, face.light[frames])


def test_frames_before_a_lost_face_need_no_next_frame(face):
    sequence = driving_sequence(face, [LAST_VISIBLE], 0.0)
    assert np.isfinite(sequence.landmarks[0]).all()
    assert np.isnan(driving_sequence(face, [LAST_VISIBLE], 0.5).landmarks[0]).all()


def test_the_last_source_frame_has_no_next(face):
    sequence = driving_sequence(face, [FRAMES - 1], 0.5)
    assert sequence.light.tolist() == [(FRAMES - 1) ** 2]
    assert occluded_cells(sequence) == [[FRAMES - 1]]


def test_mouth_follows_the_time_of_the_output(face):
    sequence = driving_sequence(face, [5, 13, 11], 0.0)
    assert sequence.mouth[np.arange(3)][:, 0, 0] == pytest.approx([3, 3 + 1 / 25, 3 + 2 / 25])
    assert sequence.mouth[2][60, 2] == pytest.approx(3 + 2 / 25)


def test_shots_are_those_of_the_source_frames(face):
    assert driving_sequence(face, [5, 13, 11], 0.0).shot.tolist() == [0, 1, 0]


def test_arrays_have_the_documented_shapes_and_types(face):
    sequence = driving_sequence(face, [5, 13, 11], 0.5)
    shapes = {
        "mouth": ((3, 61, 3), np.float32),
        "landmarks": ((3, 478, 3), np.float32),
        "source_frame": ((3,), np.float32),
        "light": ((3,), np.float32),
        "strength": ((3,), np.float32),
        "shot": ((3,), np.int64),
        "occluder": ((3, RASTER_SIDE, RASTER_SIDE), np.bool_),
    }
    for name, (shape, dtype) in shapes.items():
        values = getattr(sequence, name)
        assert (values.shape, values.dtype) == (shape, dtype), name
        assert values[:].shape == shape
        assert values[:].dtype == dtype


# -------------------------------------------------------------------------------------- strength
def test_strength_is_the_lesser_of_both_source_frames(face):
    landmarks = face.landmarks.copy()
    landmarks[:3] = np.nan
    face = replace(face, landmarks=landmarks)
    whole = driving_sequence(face, range(FRAMES), 0.0).strength
    assert (np.diff(whole) > 0).any()  # it fades in after the face appears
    assert (np.diff(whole) < 0).any()  # it fades out before the face disappears
    between = driving_sequence(face, range(FRAMES - 1), 0.5).strength
    assert np.array_equal(between, np.minimum(whole[:-1], whole[1:]))
    assert between[2] == between[LAST_VISIBLE] == 0


@pytest.mark.parametrize("rate", [25, 50])
def test_strength_fades_by_the_time_of_the_source(face, rate):
    info = SimpleNamespace(width=SIZE[0], height=SIZE[1], rate=Fraction(rate))
    one_shot = replace(face, shot=np.zeros(FRAMES, np.int64))
    strength = driving_sequence(one_shot, range(FRAMES), 0.0, info).strength
    assert np.diff(strength).min() == pytest.approx(-1 / (FADE_SECONDS * rate))


def test_strength_does_not_fade_at_a_cut(face):
    lost_at_cut = replace(face, shot=(np.arange(FRAMES) > LAST_VISIBLE).astype(np.int64))
    strength = driving_sequence(lost_at_cut, range(FRAMES), 0.0).strength
    assert strength[LAST_VISIBLE - 1 : LAST_VISIBLE + 2].tolist() == [1, 1, 0]


def test_covered_mouth_has_no_strength(face):
    covered = replace(face, occluder=np.ones_like(face.occluder))
    assert driving_sequence(covered, range(FRAMES), 0.0).strength.max() == 0


def test_uncertain_face_has_no_strength(face):
    uncertain = replace(face, confidence=np.full(FRAMES, 0.1, np.float32))
    assert driving_sequence(uncertain, range(FRAMES), 0.0).strength.max() == 0


@pytest.mark.parametrize("size", [(SIZE[0] // 4, SIZE[1]), (SIZE[0], SIZE[1] // 4)])
def test_lips_outside_the_frame_have_no_strength(face, size):
    info = SimpleNamespace(width=size[0], height=size[1], rate=Fraction(25))
    assert driving_sequence(face, range(FRAMES), 0.0, info).strength.max() == 0


# ------------------------------------------------------------------------------------ face track
@pytest.mark.parametrize(("bits", "depth"), [(5, 8), (8, 8), (9, 10), (10, 10), (12, 10)])
def test_face_track_is_smoothed_and_searched_for_occluders_shot_by_shot(
    monkeypatch, face, bits, depth
):
    landmarks = face.landmarks + np.random.default_rng(0).normal(0, 1, face.landmarks.shape)
    raw = RawTrack(
        landmarks=landmarks.astype(np.float32),
        confidence=face.confidence,
        sharpness=face.sharpness,
        light=face.light,
        rasters=np.zeros((FRAMES, RASTER_SIDE, RASTER_SIDE, 3), np.uint8),
    )
    take = SimpleNamespace(
        info=SimpleNamespace(bit_depth=bits), shots=np.append(face.shot, [1, 1]), overlays=None
    )
    arguments = []

    def detect_occluders(*args):
        arguments.append(args)
        return face.occluder

    monkeypatch.setattr(module, "detect_occluders", detect_occluders)
    track = build_face_track(raw, take, "detector")
    smooth = smooth_landmarks(raw.landmarks, face.shot)
    assert not np.array_equal(smooth, smooth_landmarks(raw.landmarks), equal_nan=True)
    assert np.array_equal(track.landmarks, smooth, equal_nan=True)
    ((rasters, searched, detector, shots),) = arguments
    assert rasters is raw.rasters
    assert searched is track.landmarks
    assert detector == "detector"
    assert np.array_equal(shots, face.shot)
    assert track.occluder is face.occluder
    assert track.depth == depth
    assert np.array_equal(track.shot, face.shot)
    assert track.confidence is raw.confidence
    assert track.sharpness is raw.sharpness
    assert track.light is raw.light
