from __future__ import annotations

import cv2
import numpy as np
import pytest

from lipwright.face.lips import INNER_LIPS, OUTER_LIPS
from lipwright.face.shape import MOUTH, align, mouth_shapes, opening, to_canonical
from lipwright.media.picture import Box
from lipwright.motion.close_mouth import shut
from lipwright.render.bank import Shelf, cut
from lipwright.render.composite import polygon
from lipwright.render.paint import Brush, Stroke, paint_mouth
from lipwright.testing import draw_face, synthetic_landmarks

SIZE = (288, 256)
VIEW = Box(20, 10, 270, 250)


def face(gap):
    """The same head with another mouth: landmarks (478, 3)."""
    return synthetic_landmarks(1, opening=np.array([gap], np.float32), seed=4)[0]


def view(gap, *, box=VIEW, depth=8, seed=0):
    return draw_face(face(gap), SIZE, depth=depth, seed=seed)[box.y0 : box.y1, box.x0 : box.x1]


def stroke(gap, *, share=1.0, depth=8):
    kept = cut(Shelf(), view(gap, depth=depth, seed=1), VIEW, face(gap))
    wide = float(opening(mouth_shapes(face(gap)[None]))[0])
    return Stroke(exemplar=kept, share=share, opening=wide)


def brush(gap, wanted, *, depth=8):
    pose = align(face(gap)[None])
    shapes = [to_canonical(face(g)[None, MOUTH], pose)[0] for g in (gap, wanted)]
    return Brush(
        pose=pose,
        landmarks=face(gap),
        own=shapes[0],
        wanted=shapes[1],
        shown=shapes[1],
        calm=shut(shapes[0]),
        top=255 if depth == 8 else 1023,
    )


def lips(gap, box=VIEW):
    return polygon(face(gap)[OUTER_LIPS], box) > 0


def test_a_mouth_painted_over_itself_stays_itself():
    rgb = view(0.05)
    painted, mask = paint_mouth(rgb, VIEW, brush(0.05, 0.05), [stroke(0.05)], 1.0)
    apart = np.abs(painted.astype(int) - rgb)
    assert apart[lips(0.05)].mean() < 2.5  # grain
    assert 0 < mask.mean() < 0.4


@pytest.mark.parametrize(("now", "wanted"), [(0.0, 0.1), (0.1, 0.0)])
def test_the_mouth_that_is_wanted_appears(now, wanted):
    rgb, truth = view(now), view(wanted, seed=2)
    painted, _ = paint_mouth(rgb, VIEW, brush(now, wanted), [stroke(wanted)], 1.0)
    where = lips(now) | lips(wanted)
    before, after = (np.abs(x.astype(int) - truth)[where].mean() for x in (rgb, painted))
    assert after < 0.25 * before


def test_an_exemplar_of_another_shape_is_warped_into_place():
    rgb, truth = view(0.02), view(0.08, seed=2)
    painted, _ = paint_mouth(rgb, VIEW, brush(0.02, 0.08), [stroke(0.1)], 1.0)
    where = lips(0.02) | lips(0.08)
    before, after = (np.abs(x.astype(int) - truth)[where].mean() for x in (rgb, painted))
    assert after < 0.35 * before


def test_an_open_mouth_can_be_painted_from_a_closed_one():
    """Its inside is dark, not stretched lip."""
    rgb, truth = view(0.0), view(0.14)
    painted, _ = paint_mouth(rgb, VIEW, brush(0.0, 0.14), [stroke(0.0)], 1.0)
    low = face(0.14)[14, :2] - [VIEW.x0, VIEW.y0 + 4]
    x, y = np.rint(low).astype(int)
    assert painted[y, x].mean() < 0.6 * view(0.0)[y, x].mean()
    assert truth[y, x].mean() < 80


@pytest.mark.parametrize("depth", [8, 10])
def test_the_mask_tells_all_that_changed_and_the_view_is_not_touched(depth):
    rgb = view(0.03, depth=depth)
    before = rgb.copy()
    painted, mask = paint_mouth(
        rgb, VIEW, brush(0.03, 0.1, depth=depth), [stroke(0.1, depth=depth)], 0.7
    )
    assert np.array_equal(rgb, before)
    assert painted.dtype == rgb.dtype
    assert mask.dtype == np.float32
    assert set(np.unique(mask)) == {0, 1}
    assert np.array_equal(painted[mask == 0], rgb[mask == 0])
    assert painted.max() < 1 << depth


def test_ten_bits_look_like_eight():
    eight, _ = paint_mouth(view(0.0), VIEW, brush(0.0, 0.1), [stroke(0.1)], 1.0)
    ten, _ = paint_mouth(
        view(0.0, depth=10), VIEW, brush(0.0, 0.1, depth=10), [stroke(0.1, depth=10)], 1.0
    )
    assert np.abs(ten / 4 - eight)[lips(0.1)].mean() < 2


def test_less_strength_shows_less():
    rgb = view(0.0)
    changes = [
        np.abs(
            paint_mouth(rgb, VIEW, brush(0.0, 0.0), [stroke(0.1)], s)[0].astype(int) - rgb
        ).mean()
        for s in (0.1, 0.4, 1.0)
    ]
    assert changes == sorted(changes)
    assert changes[0] < 0.5 * changes[2]


def test_shares_mix():
    rgb, whole = view(0.05), brush(0.05, 0.05)
    one, other = (paint_mouth(rgb, VIEW, whole, [stroke(g)], 1.0)[0] for g in (0.03, 0.07))
    both, _ = paint_mouth(rgb, VIEW, whole, [stroke(0.03, share=0.5), stroke(0.07, share=0.5)], 1.0)
    middle = (one.astype(float) + other) / 2
    assert np.abs(both - middle).mean() < 1


@pytest.mark.parametrize(("gap", "quarter"), [(0.1, True), (0.01, False)])
def test_between_the_lips_open_mouths_are_dissolved_and_closed_ones_hidden(gap, quarter):
    rgb, whole, own = view(0.1), brush(0.1, 0.1), stroke(0.1, share=0.75)
    inside = polygon(face(0.1)[INNER_LIPS], VIEW) > 0
    white = view(0.1, seed=1)
    white[inside] = 250
    other = cut(Shelf(), white, VIEW, face(0.1))
    deep = cv2.erode(inside.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    assert deep.sum() > 30
    alone, _ = paint_mouth(rgb, VIEW, whole, [stroke(0.1)], 1.0)
    both, _ = paint_mouth(
        rgb, VIEW, whole, [Stroke(exemplar=other, share=0.25, opening=gap), own], 1.0
    )
    change = np.abs(both[deep].astype(float) - alone[deep]).mean()
    assert (change > 20) if quarter else (change < 12)  # a quarter of white: 40


@pytest.mark.parametrize(("strength", "shown"), [(0.3, 0), (0.7, 1)])
def test_while_the_effect_fades_one_mouth_alone_shows_its_teeth(strength, shown):
    rgb = view(0.1)
    inside = polygon(face(0.1)[INNER_LIPS], VIEW) > 0
    rgb[inside] = 60
    white = view(0.1, seed=1)
    white[inside] = 250
    other = Stroke(exemplar=cut(Shelf(), white, VIEW, face(0.1)), share=1, opening=0.1)
    whole, _ = paint_mouth(rgb, VIEW, brush(0.1, 0.1), [other], 1.0)
    faded, _ = paint_mouth(rgb, VIEW, brush(0.1, 0.1), [other], strength)
    deep = cv2.erode(inside.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    assert deep.sum() > 20
    assert np.abs(faded[deep].astype(float) - (whole if shown else rgb)[deep]).mean() < 12


def test_the_light_of_what_is_in_front_is_not_taken_for_the_face():
    """A white cup over one cheek does not whiten the mouth that is painted beside it."""
    rgb, cup = view(0.0), np.zeros(view(0.0).shape[:2], np.float32)
    x = int(face(0.0)[[61, 291], 0].mean()) - VIEW.x0
    cup[:, x + 30 :] = 1
    covered = rgb.copy()
    covered[cup > 0] = 250
    clear, seen, unseen = (
        paint_mouth(picture, VIEW, brush(0.0, 0.1), [stroke(0.1)], 1.0, where)[0].astype(int)
        for picture, where in ((rgb, None), (covered, cup), (covered, None))
    )
    lip = lips(0.1) & (cup == 0)
    wrong = [np.abs(p - clear)[lip].mean() for p in (seen, unseen)]
    assert wrong[0] < 0.5 * wrong[1]


@pytest.mark.parametrize(
    "box", [Box(120, 10, 270, 250), Box(20, 10, 150, 250), Box(20, 10, 270, 190)]
)
def test_a_view_that_cuts_the_mouth_is_painted_up_to_its_edge(box):
    rgb = view(0.0, box=box)
    painted, mask = paint_mouth(rgb, box, brush(0.0, 0.1), [stroke(0.1)], 1.0)
    assert painted.shape == rgb.shape
    assert mask.any()
    assert np.array_equal(painted[mask == 0], rgb[mask == 0])


def test_the_wall_beside_the_jaw_stays():
    rgb = view(0.0)
    _, mask = paint_mouth(rgb, VIEW, brush(0.0, 0.12), [stroke(0.12)], 1.0)
    assert not mask[:60].any()  # eyes and brow
    assert not mask[:, :30].any()
    assert not mask[:, -30:].any()
