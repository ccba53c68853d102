"""Graphics on the screen: evidence of motion, blending, filling and their storage."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from lipwright.face.canonical import reference_face
from lipwright.face.overlays.blend import fit_blend
from lipwright.face.overlays.coherence import compare_motion, similarity, still_edges
from lipwright.face.overlays.fill import fill_holes
from lipwright.face.overlays.graphics import Graphic, OverlayGraphics, OverlayReader
from lipwright.face.overlays.matte import Matte
from lipwright.media.picture import Box
from lipwright.render.overlay import recombine, separate

SIDE = 120
SHIFTS = (0, 2, 4, 6, 8, 10)


def scene(*, still: bool, moving: bool):
    """Return samples with a still and a moving square, and the faces that move along."""
    samples, faces = [], []
    face = reference_face()[:, :2] * 30 + 60
    for shift in SHIFTS:
        luma = np.full((SIDE, SIDE), 120, np.uint8)
        if moving:
            luma[20:50, 20 + shift : 50 + shift] = 40
        if still:
            luma[70:100, 60:90] = 240
        samples.append(cv2.GaussianBlur(luma, (3, 3), 0))
        faces.append((face + np.array([shift, 0])).astype(np.float32))
    return samples, faces


def test_an_edge_that_stands_still_while_the_face_moves_is_a_graphics():
    samples, faces = scene(still=True, moving=True)
    edges = compare_motion(samples, faces, still_edges(samples), 2).graphic_edges()
    assert edges[70:100, 58:62].sum() > 40
    assert not edges[20:50, 15:65].any()


def test_nothing_is_found_where_neither_moves():
    samples, faces = scene(still=True, moving=False)
    faces = [faces[0]] * len(faces)
    edges = compare_motion(samples, faces, still_edges(samples), 2).graphic_edges()
    assert not edges.any()


def test_a_similarity_maps_points_to_where_they_moved():
    points = np.array([[0, 0], [10, 0], [0, 10]], np.float32)
    turned = 2 * points[:, ::-1] * [1, -1] + [3, 4]
    matrix = similarity(points, turned.astype(np.float32))
    assert np.allclose(points @ matrix[:, :2].T + matrix[:, 2], turned, atol=1e-4)


@pytest.mark.parametrize("opacity", [0.25, 0.5, 0.75])
def test_the_blending_of_a_translucent_graphic_is_recovered(opacity):
    random = np.random.default_rng(1)
    under = random.integers(20, 230, (6, 80, 3)).astype(np.float32)
    colour = np.float32([200, 180, 40])
    fit = fit_blend(opacity * colour + (1 - opacity) * under, under)
    assert fit is not None
    assert fit[0] == pytest.approx(1 - opacity, abs=0.02)
    assert np.allclose(fit[1], opacity * colour, atol=3)


def test_a_hole_is_filled_with_the_colours_around_it():
    rgb = np.full((60, 60, 3), 90, np.uint8)
    hole = np.zeros((60, 60), bool)
    hole[20:40, 25:45] = True
    rgb[hole] = 255
    fill_holes(rgb, hole)
    assert np.abs(rgb.astype(int) - 90).max() <= 1


def graphic(opacity: float) -> Graphic:
    alpha = np.zeros((20, 40), np.float32)
    alpha[5:15, 5:35] = opacity
    own = np.where(alpha[..., None] > 0, np.uint8([100, 0, 0]), np.uint8(0))
    edges = cv2.Canny((alpha * 255).astype(np.uint8), 50, 150) > 0
    luma = (alpha * 200).astype(np.uint8)
    box = Box(10, 30, 50, 50)
    matte = Matte(alpha=alpha, own=own, edges=edges)
    return Graphic(start=50, stop=100, box=box, matte=matte, luma=luma)


def test_a_graphic_is_in_front_in_its_own_frames_and_not_long_before():
    item = graphic(1.0)
    overlays = OverlayGraphics.of([(item.start, item.stop, item.box, item.pack())])
    reader, view = OverlayReader(overlays), Box(0, 20, 60, 60)
    rgb = np.zeros((40, 60, 3), np.uint8)
    found = reader.matte([75], rgb, view)
    assert found is not None
    assert found.alpha[15:25, 15:45].min() == 1
    assert found.alpha.sum() == 300
    assert reader.matte([10], rgb, view) is None
    assert reader.matte([48], rgb, view) is None  # near, but its edges are not there


def test_a_graphic_is_in_front_just_before_its_time_if_its_edges_are_there():
    item = graphic(1.0)
    overlays = OverlayGraphics.of([(item.start, item.stop, item.box, item.pack())])
    rgb = np.zeros((40, 60, 3), np.uint8)
    rgb[10:30, 10:50] = item.luma[..., None]
    assert OverlayReader(overlays).matte([45], rgb, Box(0, 20, 60, 60)) is not None


@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize("opacity", [0.5, 1.0])
def test_pixels_that_are_not_painted_come_back_bit_for_bit(opacity, depth):
    item = graphic(opacity)
    overlays = OverlayGraphics.of([(item.start, item.stop, item.box, item.pack())])
    dtype, top = (np.uint8, 256) if depth == 8 else (np.uint16, 1024)
    rgb = np.random.default_rng(0).integers(0, top, (40, 60, 3)).astype(dtype)
    matte = OverlayReader(overlays).matte([75], rgb, Box(0, 20, 60, 60))
    assert matte is not None
    separated = separate(rgb, matte)
    assert np.array_equal(recombine(separated.face, rgb, separated), rgb)
    painted = recombine(separated.face // 2, rgb, separated)
    inside = np.zeros((40, 60), bool)
    inside[18:22, 20:40] = True
    assert np.array_equal(painted[inside], rgb[inside]) == (opacity == 1.0)
