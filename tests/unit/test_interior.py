from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipwright.media.picture import Box
from lipwright.render.composite import INNER_LIPS, OUTER_LIPS, polygon
from lipwright.render.interior import OPEN, STRETCH, fill, share
from lipwright.testing import synthetic_landmarks

UNIT = 84.0
BOX = Box(60, 90, 230, 230)
SKIN = 160.0
gap = st.floats(0, 0.4)


def mouth(opening=0.2):
    return synthetic_landmarks(1, opening=np.array([opening], np.float32), seed=2)[0]


def painted(target, amount=1.0, *, level=SKIN, unit=UNIT, box=BOX, top=255, skin=SKIN):
    patch = np.full((box.y1 - box.y0, box.x1 - box.x0, 3), level, np.float32)
    return fill(patch, target, box, unit, amount=amount, skin=skin, top=top)


def at(picture, point):
    return picture[round(float(point[1])) - BOX.y0, round(float(point[0])) - BOX.x0]


# ----------------------------------------------------------------------------------------- share
@given(gap, gap, st.floats(0, 0.1))
def test_more_is_synthesised_the_more_is_lacking(wanted, given_, more):
    assert 0 <= share(wanted, given_) <= share(wanted + more, given_) <= 1
    assert share(wanted, given_ + more) <= share(wanted, given_)


@given(gap, gap)
def test_an_exemplar_open_enough_is_left_as_it_is(wanted, given_):
    if wanted <= STRETCH[0] * given_:
        assert share(wanted, given_) == 0
    if wanted >= STRETCH[1] * max(given_, OPEN):
        assert share(wanted, given_) == pytest.approx(1)


# ------------------------------------------------------------------------------------------ fill
def test_only_what_is_behind_the_lips_changes():
    target = mouth()
    changed = np.abs(painted(target) - SKIN).max(-1) > 0.5
    reach = polygon(target[OUTER_LIPS], BOX) > 0
    assert changed.any()
    assert not (changed & ~reach).any()


def test_teeth_hang_above_and_dark_lies_below():
    target = mouth()
    inside = painted(target)
    top, bottom = target[13, :2], target[14, :2]
    column = [at(inside, top + (bottom - top) * k).mean() for k in (0.2, 0.7, 0.85)]
    assert column[0] > 1.5 * column[1]
    assert column[1] < 0.4 * SKIN
    red, green, blue = at(inside, top + (bottom - top) * 0.75)
    assert red > green
    assert red > blue
    assert column[0] < 1.2 * SKIN  # teeth lie in shadow: no lamp


def test_none_of_it_leaves_the_patch_alone_and_half_is_between():
    target = mouth()
    assert np.array_equal(painted(target, 0.0), np.full_like(painted(target), SKIN))
    half = (painted(target, 1.0) + SKIN) / 2
    assert np.abs(painted(target, 0.5) - half).max() < 0.01


def test_a_mouth_outside_the_patch_changes_nothing():
    away = mouth() + np.array([1000, 0, 0], np.float32)
    assert (painted(away) == SKIN).all()


@given(st.floats(-0.2, 0.4), st.floats(20, 300))
def test_any_mouth_gives_levels_that_can_be_shown(opening, unit):
    target = mouth(opening) * np.float32(unit / UNIT)
    low = np.floor(target[INNER_LIPS, :2].min(0)).astype(int) - 10
    high = np.ceil(target[INNER_LIPS, :2].max(0)).astype(int) + 10
    inside = painted(target, unit=unit, box=Box(*map(int, (*low, *high))))
    assert np.isfinite(inside).all()
    assert inside.min() >= 0
    assert inside.max() <= 255


def test_it_looks_the_same_at_ten_bits():
    target = mouth()
    tall = painted(target, level=SKIN * 4, skin=SKIN * 4, top=1023)
    assert np.abs(tall / 4 - painted(target)).max() < 1


def test_it_turns_with_the_head():
    """A head that lies on its side has its teeth beside the upper lip."""
    target = mouth()
    middle = target[13, :2].copy()
    turned = target.copy()
    turned[:, :2] = (target[:, :2] - middle) @ np.array([[0, 1], [-1, 0]]) + middle
    turned += np.array([10, -10, 0], np.float32)
    inside = painted(turned)
    top, bottom = turned[13, :2], turned[14, :2]
    assert (
        at(inside, top + (bottom - top) * 0.2).mean()
        > 1.5 * at(inside, top + (bottom - top) * 0.7).mean()
    )


def test_the_patch_is_not_touched():
    patch = np.full((BOX.height, BOX.width, 3), SKIN, np.float32)
    fill(patch, mouth(), BOX, UNIT, amount=1.0, skin=SKIN, top=255)
    assert (patch == SKIN).all()
