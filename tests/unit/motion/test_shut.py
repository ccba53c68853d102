from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipwright.face.shape import MOUTH, mouth_shapes, opening, width
from lipwright.motion import speaking_style as style
from lipwright.motion.animate import part_lips
from lipwright.motion.close_mouth import LIP_GAP, LOWER, UPPER, shut
from lipwright.motion.model import MotionModel
from lipwright.testing import synthetic_landmarks

CHIN = int(np.flatnonzero(MOUTH == 152)[0])


def mouth(gap):
    return mouth_shapes(synthetic_landmarks(1, opening=np.array([gap], np.float32), seed=2))[0]


@given(st.floats(0.02, 0.4))
def test_lips_meet_all_along_and_the_jaw_follows(gap):
    parted = mouth(gap)
    closed = shut(parted)
    left = closed[LOWER, 1] - closed[UPPER, 1]
    assert left[1:-1].max() < LIP_GAP + 0.01
    assert opening(closed[None])[0] < 0.02
    assert abs(width(closed[None])[0] - width(parted[None])[0]) < 1e-4
    assert closed[CHIN, 1] <= parted[CHIN, 1]


def test_a_wider_gap_moves_the_jaw_farther():
    ways = [mouth(gap)[CHIN, 1] - shut(mouth(gap))[CHIN, 1] for gap in (0.05, 0.15, 0.3)]
    assert ways == sorted(ways)
    assert ways[0] > 0


def test_a_closed_mouth_stays_as_it_is():
    closed = part_lips(shut(mouth(0.1))[None], LIP_GAP)[0]
    assert np.abs(shut(closed) - closed).max() < 0.005


@pytest.mark.parametrize("frames", [1, 40])
def test_who_only_ever_smiles_with_parted_lips_rests_with_them_closed(frames):
    model = MotionModel()
    prediction = np.zeros((50, model.basis.components.shape[0]), np.float32)
    smiling = np.repeat(mouth(0.12)[None], frames, 0)
    found = style.fit(model.basis, smiling, prediction)
    assert opening((found.mean + model.basis.shapes(found.rest[None]))[0][None])[0] < 0.02
    closed = shut(mouth(0.12))
    calm = style.fit(model.basis, np.repeat(closed[None], frames, 0), prediction)
    assert np.allclose(calm.mean, closed, atol=1e-5)
