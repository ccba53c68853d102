"""Face regions and the change of luma in them."""

from __future__ import annotations

import numpy as np
import pytest
from bench.common.face_regions import JAW, FaceRegions
from bench.common.metrics import luma_change

from lipwright.testing import synthetic_landmarks

pytestmark = pytest.mark.model  # slow


@pytest.mark.parametrize("seed", range(3))
def test_neck_region_contains_no_landmark(seed):
    landmarks = synthetic_landmarks(1, seed=seed)
    regions = FaceRegions.from_landmarks(landmarks)
    box, neck = regions.neck_region(0)
    assert neck.any()
    for x, y in landmarks[0, :, :2] - [box.x0, box.y0]:
        inside = 0 <= x < neck.shape[1] and 0 <= y < neck.shape[0]
        assert not (inside and neck[int(y), int(x)])
    chin = landmarks[0, JAW[len(JAW) // 2], :2] - [box.x0, box.y0]
    down = chin + regions.pose.rotation[0, :2, 1] * 0.3 * regions.unit
    assert neck[int(down[1]), int(down[0])]


@pytest.mark.parametrize("depth", [8, 10])
def test_luma_change_is_in_8_bit_levels(depth):
    kind = np.uint8 if depth == 8 else np.uint16
    before = np.full((20, 20), 100, kind)
    after = before.copy()
    after[:, :4] += 8  # a fifth of it
    everywhere = np.ones((20, 20), bool)
    assert luma_change(before, after, everywhere, depth) == 8 / (1 << (depth - 8))
    after[:, :4] = before[:, :4]
    after[0, 0] += 50  # a single pixel does not count
    assert luma_change(before, after, everywhere, depth) == 0
    assert np.isnan(luma_change(before, after, ~everywhere, depth))
