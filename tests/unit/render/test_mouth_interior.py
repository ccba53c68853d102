from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lipwright.face.canonical import estimate_pose, mouth_opening, mouth_shapes, to_image
from lipwright.face.landmarks import CORNER_ROWS, INNER_LIPS, MOUTH, OUTER_LIPS, UPPER_INNER_ROWS
from lipwright.media.picture import Box
from lipwright.motion.close_mouth import close_mouth
from lipwright.render.bank import Exemplar
from lipwright.render.composite import fill_polygon
from lipwright.render.face_mesh import rest_vertices
from lipwright.render.mouth_interior import fill_mouth
from lipwright.render.tone import Tone, guess_teeth_colour
from lipwright.testing import synthetic_landmarks

pytestmark = pytest.mark.model  # slow

SKIN = np.array([176, 140, 122], np.float32)
LIP = np.array([150, 90, 90], np.float32)
CHIN = [int(np.flatnonzero(i == MOUTH)[0]) for i in (152, 148, 377)]


def face(opening_=0.2):
    """Return landmarks (478, 3) of a face with parted lips; 84 pixels between the eyes."""
    return synthetic_landmarks(1, opening=np.array([opening_], np.float32), seed=2)[0]


def plain_exemplar(opening_=0.0, fill=None, depth=8):
    """Return an kept of plain skin and lips, its mouth built with one colour, and its box."""
    points = face(opening_)
    low, high = points[:, :2].min(0) - 20, points[:, :2].max(0) + 20
    box = Box(*(int(v) for v in (*low, *high)))
    rgb = np.broadcast_to(SKIN, (box.height, box.width, 3)).copy()
    rgb[fill_polygon(points[OUTER_LIPS], box) > 0] = LIP
    if fill is not None:
        rgb[fill_polygon(points[INNER_LIPS], box) > 0] = fill
    codes = rgb.astype(np.uint8) if depth == 8 else (rgb * 4).astype(np.uint16)
    return Exemplar(load=lambda: (codes, points), origin=(box.x0, box.y0)), box


def with_pixels(exemplar, rgb):
    """Return an kept with other pixels."""
    return replace(exemplar, load=lambda: (rgb, exemplar.landmarks))


def filled(
    opening_=0.2,
    *,
    amount=1.0,
    exemplar=None,
    tone=None,
    drop=0.0,
    depth=8,
    turn=None,
    flat=LIP,
):
    """Return a flat patch with a synthetic interior, its box and its landmarks."""
    exemplar, box = exemplar or plain_exemplar(depth=depth)
    if tone is not None:
        exemplar.__dict__["tone"] = tone  # replaces the measured one
    target = face(opening_)
    wanted = mouth_shapes(target[None])[0]
    wanted[CHIN, 1] += drop
    if turn is not None:
        target = turn(target)
    pose = estimate_pose(target[None])
    top = 255 if depth == 8 else 1023
    shown = np.broadcast_to(flat * (top / 255), (box.height, box.width, 3)).astype(np.float32)
    patch = fill_mouth(
        shown,
        rest_vertices(target, 84.0),
        box,
        pose,
        close_mouth(mouth_shapes(face(0.1)[None])[0]),
        wanted,
        amount=amount,
        exemplar=exemplar,
        top=top,
    )
    return patch, box, target


def column(patch, box, target, shares):
    """Return levels from the upper to the lower inner lip, in the middle of the mouth."""
    top, bottom = target[13, :2], target[14, :2]
    points = (np.round(top + (bottom - top) * k).astype(int) for k in shares)
    return np.array([patch[y - box.y0, x - box.x0] for x, y in points])


# ---------------------------------------------------------------------------------- measure_tone
def test_tone_of_a_plain_face_is_measured():
    exemplar, _ = plain_exemplar()
    tone = exemplar.tone
    assert np.abs(tone.skin * 255 - SKIN).max() < 2
    assert np.abs(tone.lip * 255 - LIP).max() < 2
    assert tone.tilt == pytest.approx(1, abs=0.02)


def test_tilt_measures_light_from_one_side():
    exemplar, box = plain_exemplar()
    level = np.linspace(0.6, 1.2, box.width, dtype=np.float32)[None, :, None]
    lit = np.clip(exemplar.rgb * level, 0, 255).astype(np.uint8)
    assert with_pixels(exemplar, lit).tone.tilt > 1.1
    assert with_pixels(exemplar, np.ascontiguousarray(lit[:, ::-1])).tone.tilt < 0.95


def test_blur_measures_a_soft_picture():
    exemplar, _ = plain_exemplar()
    soft = cv2.GaussianBlur(exemplar.rgb, (0, 0), 2.5)
    assert with_pixels(exemplar, soft).tone.blur > 1.5 * exemplar.tone.blur


# ------------------------------------------------------------------------------------ fill_mouth
def test_only_the_interior_changes():
    patch, box, target = filled()
    changed = np.abs(patch - LIP).max(-1) > 0.5
    assert changed.any()
    assert not (changed & (fill_polygon(target[OUTER_LIPS], box) == 0)).any()


def test_teeth_hang_above_a_dark_cavity():
    patch, box, target = filled(0.3)
    levels = column(patch, box, target, (0.15, 0.5))
    assert levels[0].mean() > 1.5 * levels[1].mean()
    assert levels[1].mean() < 0.7 * SKIN.mean()
    assert levels[1][0] > levels[1][1:].max()  # red
    assert patch.max() < 1.35 * SKIN.max()  # teeth lie in the shade


def test_small_gap_shows_teeth_and_no_cavity():
    patch, box, target = filled(0.05)
    inner = column(patch, box, target, (0.5, 0.65))
    wide = column(*filled(0.3), (0.5, 0.65))
    assert inner.mean() > 0.4 * SKIN.mean() > 3 * wide.mean()


def test_lower_teeth_follow_the_jaw_and_upper_ones_stay():
    still, box, target = filled(0.3)
    dropped, _, _ = filled(0.3, drop=0.1)
    shares = np.linspace(0.05, 0.95, 40)
    levels = [column(p, box, target, shares).mean(1) for p in (still, dropped)]
    upper = shares < 0.3
    assert np.abs(levels[0] - levels[1])[upper].max() < 8
    assert np.abs(levels[0] - levels[1])[~upper].max() > 20


def test_corners_are_darker_than_the_middle():
    patch, box, target = filled(0.2)
    grid = fill_polygon(target[INNER_LIPS], box) > 0
    x = np.arange(box.width) + box.x0
    middle = np.abs(x - target[13, 0]) < 6
    left, right = target[[78, 308], 0]
    corner = (np.abs(x - left) < 6) | (np.abs(x - right) < 6)
    luma = patch.mean(-1)
    assert luma[:, corner][grid[:, corner]].mean() < 0.8 * luma[:, middle][grid[:, middle]].mean()


def test_teeth_show_light_from_one_side():
    tone = plain_exemplar()[0].tone
    even, box, target = filled(0.15, tone=tone)
    tilted, _, _ = filled(0.15, tone=replace(tone, tilt=1.5))
    ratio = tilted.mean(-1) / even.mean(-1)
    y = round(float((target[13, 1] + target[14, 1]) / 2)) - box.y0
    x = round(float(target[13, 0])) - box.x0
    assert ratio[y, x + 12] > 1.03
    assert ratio[y, x - 12] < 0.97


def test_teeth_brighten_with_the_face_and_are_never_white():
    levels = []
    for skin in (0.15, 0.4, 0.7, 0.95):
        tone = Tone(
            skin=np.full(3, skin, np.float32),
            lip=np.full(3, skin / 2, np.float32),
            teeth=guess_teeth_colour(np.full(3, skin, np.float32)),
            tilt=1.0,
            blur=0.0,
        )
        levels.append(filled(0.12, tone=tone)[0].max())
    assert levels == sorted(levels)
    assert levels[-1] < 250


def test_amount_mixes_patch_and_interior():
    whole = filled(amount=1.0)[0]
    none, _, _ = filled(amount=0.0)
    assert (none == np.broadcast_to(LIP, none.shape)).all()
    assert np.abs(filled(amount=0.5)[0] - (whole + none) / 2).max() < 0.01


def test_real_teeth_are_not_stretched():
    """Green teeth in a slightly open mouth keep their place when it opens wide."""
    green = np.array([20, 220, 20], np.float32)
    wide, box, target = filled(0.3, exemplar=plain_exemplar(0.12, green))
    share_ = wide[..., 1] - wide[..., 0]
    shown = share_ > 60
    assert shown.any()
    rows = np.flatnonzero(shown.any(1))
    exemplar = plain_exemplar(0.12)[0].landmarks
    tall = exemplar[14, 1] - exemplar[13, 1]
    assert shown[:, round(float(target[13, 0])) - box.x0].sum() <= 2.2 * tall
    assert rows.min() + box.y0 < target[13, 1] + 0.6 * (target[14, 1] - target[13, 1])


def test_closing_lips_cover_teeth():
    stripes = plain_exemplar(0.25, np.array([20, 220, 20], np.float32))
    nearly, box, target = filled(-0.05, exemplar=stripes)
    inside = fill_polygon(target[INNER_LIPS], box) > 0
    assert nearly.mean(-1)[inside].mean() < 0.95 * LIP.mean()  # a dark line


def test_interior_of_nearly_closed_lips_is_no_brighter_than_the_exemplar():
    wide = plain_exemplar(0.12, fill=(20, 8, 8))
    shade = LIP * np.float32(0.4)
    met = filled(-0.065, exemplar=wide, flat=shade)[0]  # a drawn mouth at rest is parted by 0.07
    assert (met <= shade + 0.01).all()
    open_ = filled(0.09, exemplar=wide, flat=shade)[0]
    assert (open_ > shade + 5).any()


def test_mouth_outside_the_patch_changes_nothing():
    patch, _, _ = filled(turn=lambda t: t + np.array([1000, 0, 0], np.float32))
    assert (patch == np.broadcast_to(LIP, patch.shape)).all()


@pytest.mark.model
@settings(deadline=None, max_examples=30)
@given(st.floats(-0.2, 0.4), st.floats(-40, 40), st.floats(-30, 30))
def test_any_mouth_and_pose_give_valid_levels(opening_, yaw, pitch):
    y, p = np.radians([yaw, pitch])
    turn_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    turn_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])

    def turn(points):
        middle = points.mean(0)
        return ((points - middle) @ turn_y.T @ turn_x.T + middle).astype(np.float32)

    patch, _, _ = filled(opening_, turn=turn)
    assert np.isfinite(patch).all()
    assert patch.min() >= 0
    assert patch.max() <= 255


def test_10_bit_interior_equals_8_bit_interior():
    tall, _, _ = filled(depth=10)
    assert np.abs(tall / 1023 * 255 - filled()[0]).max() < 1.5


def test_interior_turns_with_the_head():
    """The teeth of a head that lies on its side are beside the upper lip."""

    def turn(points):
        middle = points[13].copy()
        out = points - middle
        out = np.stack([-out[:, 1], out[:, 0], out[:, 2]], 1)
        return (out + middle).astype(np.float32)

    patch, box, target = filled(0.3, turn=turn)
    levels = column(patch, box, target, (0.15, 0.5)).mean(1)
    assert levels[0] > 1.5 * levels[1]


def test_fill_mouth_does_not_modify_the_exemplar():
    exemplar, box = plain_exemplar(0.1)
    before = exemplar.rgb.copy()
    filled(0.3, exemplar=(exemplar, box))
    assert (exemplar.rgb == before).all()


def test_synthetic_closed_mouth_is_closed():
    """The other tests rely on the closed mouths of the synthetic faces."""
    calm = close_mouth(mouth_shapes(face(0.1)[None])[0])
    assert mouth_opening(calm[None])[0] < 0.02
    target = face(0.1)
    line = to_image(calm[UPPER_INNER_ROWS][None], estimate_pose(target[None]))[0]
    assert target[13, 1] < line[:, 1].mean() < target[14, 1]
    assert calm[CORNER_ROWS[0], 0] < 0 < calm[CORNER_ROWS[1], 0]
