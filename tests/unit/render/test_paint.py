from __future__ import annotations

import cv2
import numpy as np
import pytest

from lipwright.face.canonical import estimate_pose, mouth_opening, mouth_shapes, to_canonical
from lipwright.face.landmarks import INNER_LIPS, MOUTH, OUTER_LIPS
from lipwright.media.picture import Box
from lipwright.motion.close_mouth import close_mouth
from lipwright.render.bank import ExemplarStore, crop_exemplar
from lipwright.render.composite import fill_polygon
from lipwright.render.paint import MouthTarget, WeightedExemplar, paint_mouth
from lipwright.testing import draw_face, synthetic_landmarks

pytestmark = pytest.mark.model  # many pictures

SIZE = (288, 256)
VIEW = Box(20, 10, 270, 250)


def face(gap):
    """Return landmarks (478, 3) of the same head with a mouth opened by *gap*."""
    return synthetic_landmarks(1, opening=np.array([gap], np.float32), seed=4)[0]


def view(gap, *, box=VIEW, depth=8, seed=0):
    return draw_face(face(gap), SIZE, depth=depth, seed=seed)[box.y0 : box.y1, box.x0 : box.x1]


def weighted_exemplar(gap, *, share=1.0, depth=8):
    exemplar = crop_exemplar(ExemplarStore(), view(gap, depth=depth, seed=1), VIEW, face(gap))
    wide = float(mouth_opening(mouth_shapes(face(gap)[None]))[0])
    return WeightedExemplar(exemplar=exemplar, share=share, opening=wide)


def mouth_target(gap, wanted, *, depth=8):
    pose = estimate_pose(face(gap)[None])
    shapes = [to_canonical(face(g)[None, MOUTH], pose)[0] for g in (gap, wanted)]
    return MouthTarget(
        pose=pose,
        landmarks=face(gap),
        own=shapes[0],
        wanted=shapes[1],
        shown=shapes[1],
        closed_mouth=close_mouth(shapes[0]),
        top=255 if depth == 8 else 1023,
    )


def lips(gap, box=VIEW):
    return fill_polygon(face(gap)[OUTER_LIPS], box) > 0


def test_painting_the_same_mouth_changes_only_grain():
    rgb = view(0.05)
    painted, mask = paint_mouth(rgb, VIEW, mouth_target(0.05, 0.05), [weighted_exemplar(0.05)], 1.0)
    apart = np.abs(painted.astype(int) - rgb)
    assert apart[lips(0.05)].mean() < 2.5  # grain
    assert 0 < mask.mean() < 0.4


@pytest.mark.parametrize(("now", "wanted"), [(0.0, 0.1), (0.1, 0.0)])
def test_wanted_mouth_appears(now, wanted):
    rgb, truth = view(now), view(wanted, seed=2)
    painted, _ = paint_mouth(rgb, VIEW, mouth_target(now, wanted), [weighted_exemplar(wanted)], 1.0)
    where = lips(now) | lips(wanted)
    before, after = (np.abs(x.astype(int) - truth)[where].mean() for x in (rgb, painted))
    assert after < 0.25 * before


def test_exemplar_of_another_shape_is_warped():
    rgb, truth = view(0.02), view(0.08, seed=2)
    painted, _ = paint_mouth(rgb, VIEW, mouth_target(0.02, 0.08), [weighted_exemplar(0.1)], 1.0)
    where = lips(0.02) | lips(0.08)
    before, after = (np.abs(x.astype(int) - truth)[where].mean() for x in (rgb, painted))
    assert after < 0.35 * before


def test_open_mouth_is_painted_from_a_closed_exemplar():
    """The interior is dark, not a stretched lip."""
    rgb, truth = view(0.0), view(0.14)
    painted, _ = paint_mouth(rgb, VIEW, mouth_target(0.0, 0.14), [weighted_exemplar(0.0)], 1.0)
    low = face(0.14)[14, :2] - [VIEW.x0, VIEW.y0 + 4]
    x, y = np.rint(low).astype(int)
    assert painted[y, x].mean() < 0.6 * view(0.0)[y, x].mean()
    assert truth[y, x].mean() < 80


@pytest.mark.parametrize("depth", [8, 10])
def test_mask_covers_all_changes_and_the_view_is_not_modified(depth):
    rgb = view(0.03, depth=depth)
    before = rgb.copy()
    painted, mask = paint_mouth(
        rgb, VIEW, mouth_target(0.03, 0.1, depth=depth), [weighted_exemplar(0.1, depth=depth)], 0.7
    )
    assert np.array_equal(rgb, before)
    assert painted.dtype == rgb.dtype
    assert mask.dtype == np.float32
    assert set(np.unique(mask)) == {0, 1}
    assert np.array_equal(painted[mask == 0], rgb[mask == 0])
    assert painted.max() < 1 << depth


def test_10_bit_result_equals_8_bit_result():
    eight, _ = paint_mouth(view(0.0), VIEW, mouth_target(0.0, 0.1), [weighted_exemplar(0.1)], 1.0)
    ten, _ = paint_mouth(
        view(0.0, depth=10),
        VIEW,
        mouth_target(0.0, 0.1, depth=10),
        [weighted_exemplar(0.1, depth=10)],
        1.0,
    )
    assert np.abs(ten / 4 - eight)[lips(0.1)].mean() < 2


def test_change_grows_with_strength():
    rgb = view(0.0)
    changes = [
        np.abs(
            paint_mouth(rgb, VIEW, mouth_target(0.0, 0.0), [weighted_exemplar(0.1)], s)[0].astype(
                int
            )
            - rgb
        ).mean()
        for s in (0.1, 0.4, 1.0)
    ]
    assert changes == sorted(changes)
    assert changes[0] < 0.5 * changes[2]


def test_exemplars_mix_by_their_shares():
    rgb, target = view(0.05), mouth_target(0.05, 0.05)
    one, other = (
        paint_mouth(rgb, VIEW, target, [weighted_exemplar(g)], 1.0)[0] for g in (0.03, 0.07)
    )
    both, _ = paint_mouth(
        rgb,
        VIEW,
        target,
        [weighted_exemplar(0.03, share=0.5), weighted_exemplar(0.07, share=0.5)],
        1.0,
    )
    middle = (one.astype(float) + other) / 2
    assert np.abs(both - middle).mean() < 1


@pytest.mark.parametrize(("gap", "is_mixed"), [(0.1, True), (0.01, False)])
def test_interiors_of_open_mouths_mix_and_closed_mouths_are_hidden(gap, is_mixed):
    rgb, target, own = view(0.1), mouth_target(0.1, 0.1), weighted_exemplar(0.1, share=0.75)
    inside = fill_polygon(face(0.1)[INNER_LIPS], VIEW) > 0
    white = view(0.1, seed=1)
    white[inside] = 250
    other = crop_exemplar(ExemplarStore(), white, VIEW, face(0.1))
    deep = cv2.erode(inside.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    assert deep.sum() > 30
    alone, _ = paint_mouth(rgb, VIEW, target, [weighted_exemplar(0.1)], 1.0)
    both, _ = paint_mouth(
        rgb, VIEW, target, [WeightedExemplar(exemplar=other, share=0.25, opening=gap), own], 1.0
    )
    change = np.abs(both[deep].astype(float) - alone[deep]).mean()
    assert (change > 20) if is_mixed else (change < 12)  # a is_mixed of white: 40


@pytest.mark.parametrize(("strength", "shown"), [(0.3, 0), (0.7, 1)])
def test_partial_strength_shows_only_one_interior(strength, shown):
    rgb = view(0.1)
    inside = fill_polygon(face(0.1)[INNER_LIPS], VIEW) > 0
    rgb[inside] = 60
    white = view(0.1, seed=1)
    white[inside] = 250
    other = WeightedExemplar(
        exemplar=crop_exemplar(ExemplarStore(), white, VIEW, face(0.1)), share=1, opening=0.1
    )
    target, _ = paint_mouth(rgb, VIEW, mouth_target(0.1, 0.1), [other], 1.0)
    faded, _ = paint_mouth(rgb, VIEW, mouth_target(0.1, 0.1), [other], strength)
    deep = cv2.erode(inside.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    assert deep.sum() > 20
    assert np.abs(faded[deep].astype(float) - (target if shown else rgb)[deep]).mean() < 12


def test_light_of_an_occluder_is_ignored():
    """A white cup over one cheek does not whiten the mouth painted beside it."""
    rgb, cup = view(0.0), np.zeros(view(0.0).shape[:2], np.float32)
    x = int(face(0.0)[[61, 291], 0].mean()) - VIEW.x0
    cup[:, x + 30 :] = 1
    covered = rgb.copy()
    covered[cup > 0] = 250
    clear, seen, unseen = (
        paint_mouth(picture, VIEW, mouth_target(0.0, 0.1), [weighted_exemplar(0.1)], 1.0, where)[
            0
        ].astype(int)
        for picture, where in ((rgb, None), (covered, cup), (covered, None))
    )
    lip = lips(0.1) & (cup == 0)
    wrong = [np.abs(p - clear)[lip].mean() for p in (seen, unseen)]
    assert wrong[0] < 0.5 * wrong[1]


@pytest.mark.parametrize(
    "box", [Box(120, 10, 270, 250), Box(20, 10, 150, 250), Box(20, 10, 270, 190)]
)
def test_view_that_cuts_the_mouth_is_painted_up_to_its_edge(box):
    rgb = view(0.0, box=box)
    painted, mask = paint_mouth(rgb, box, mouth_target(0.0, 0.1), [weighted_exemplar(0.1)], 1.0)
    assert painted.shape == rgb.shape
    assert mask.any()
    assert np.array_equal(painted[mask == 0], rgb[mask == 0])


def test_pixels_far_from_the_mouth_stay_unchanged():
    rgb = view(0.0)
    _, mask = paint_mouth(rgb, VIEW, mouth_target(0.0, 0.12), [weighted_exemplar(0.12)], 1.0)
    assert not mask[:60].any()  # eyes and brow
    assert not mask[:, :30].any()
    assert not mask[:, -30:].any()
