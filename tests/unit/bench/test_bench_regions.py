"""The bands that the table of quality looks at lie where they say."""

from __future__ import annotations

import numpy as np
import pytest
from bench.measures import change
from bench.regions import CONTOUR, Regions

from lipwright.testing import synthetic_landmarks


@pytest.mark.parametrize("seed", range(3))
def test_the_band_below_the_chin_is_no_face(seed):
    landmarks = synthetic_landmarks(1, seed=seed)
    regions = Regions.of(landmarks)
    box, neck = regions.beneath(0)
    assert neck.any()
    for x, y in landmarks[0, :, :2] - [box.x0, box.y0]:
        inside = 0 <= x < neck.shape[1] and 0 <= y < neck.shape[0]
        assert not (inside and neck[int(y), int(x)])
    chin = landmarks[0, CONTOUR[len(CONTOUR) // 2], :2] - [box.x0, box.y0]
    down = chin + regions.pose.rotation[0, :2, 1] * 0.3 * regions.unit
    assert neck[int(down[1]), int(down[0])]


@pytest.mark.parametrize("depth", [8, 10])
def test_change_is_told_in_levels_of_eight_bits(depth):
    kind = np.uint8 if depth == 8 else np.uint16
    before = np.full((20, 20), 100, kind)
    after = before.copy()
    after[:, :4] += 8  # a fifth of it
    everywhere = np.ones((20, 20), bool)
    assert change(before, after, everywhere, depth) == 8 / (1 << (depth - 8))
    after[:, :4] = before[:, :4]
    after[0, 0] += 50  # a spot is not seen
    assert change(before, after, everywhere, depth) == 0
    assert np.isnan(change(before, after, ~everywhere, depth))
