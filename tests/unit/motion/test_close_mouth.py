from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipwright.face.canonical import mouth_opening, mouth_shapes, mouth_width
from lipwright.face.landmarks import MOUTH
from lipwright.motion.animate import separate_lips
from lipwright.motion.close_mouth import LIP_GAP, LOWER_INNER_LIP, UPPER_INNER_LIP, close_mouth
from lipwright.motion.model import MotionModel
from lipwright.motion.speaking_style import fit_style
from lipwright.testing import synthetic_landmarks

CHIN = int(np.flatnonzero(MOUTH == 152)[0])


def mouth(gap):
    return mouth_shapes(synthetic_landmarks(1, opening=np.array([gap], np.float32), seed=2))[0]


@given(st.floats(0.02, 0.4))
def test_lips_meet_along_their_whole_length_and_the_jaw_follows(gap):
    parted = mouth(gap)
    closed = close_mouth(parted)
    left = closed[LOWER_INNER_LIP, 1] - closed[UPPER_INNER_LIP, 1]
    assert left[1:-1].max() < LIP_GAP + 0.01
    assert mouth_opening(closed[None])[0] < 0.02
    assert abs(mouth_width(closed[None])[0] - mouth_width(parted[None])[0]) < 1e-4
    assert closed[CHIN, 1] <= parted[CHIN, 1]


def test_wider_gap_moves_the_jaw_farther():
    ways = [mouth(gap)[CHIN, 1] - close_mouth(mouth(gap))[CHIN, 1] for gap in (0.05, 0.15, 0.3)]
    assert ways == sorted(ways)
    assert ways[0] > 0


def test_closed_mouth_is_unchanged():
    closed = separate_lips(close_mouth(mouth(0.1))[None], LIP_GAP)[0]
    assert np.abs(close_mouth(closed) - closed).max() < 0.005


@pytest.mark.parametrize("frames", [1, 40])
def test_speaker_seen_only_with_parted_lips_rests_with_closed_lips(frames):
    model = MotionModel()
    prediction = np.zeros((50, model.basis.components.shape[0]), np.float32)
    smiling = np.repeat(mouth(0.12)[None], frames, 0)
    found = fit_style(model.basis, smiling, prediction)
    assert mouth_opening((found.mean + model.basis.shapes(found.rest[None]))[0][None])[0] < 0.02
    closed = close_mouth(mouth(0.12))
    calm = fit_style(model.basis, np.repeat(closed[None], frames, 0), prediction)
    assert np.allclose(calm.mean, closed, atol=1e-5)
