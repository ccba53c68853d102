from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipwright.media.picture import Box
from lipwright.render.face_mesh import follow_weights, mesh_triangles, mesh_vertices, rest_vertices
from lipwright.render.warp import (
    IDENTITY,
    affine_grid,
    backward_map,
    fit_affine,
    mesh_offsets,
    pixel_grid,
    rasterise,
    sample_bicubic,
    upsample,
)
from lipwright.testing import synthetic_landmarks, synthetic_mouth

pytestmark = pytest.mark.model  # slow

UNIT = 84.0
BOX = Box(60, 90, 230, 256)
turn = st.tuples(*[st.floats(-0.4, 0.4)] * 4, *[st.floats(-60, 60)] * 2)


def face(seed=0):
    return rest_vertices(synthetic_landmarks(1, seed=seed)[0], UNIT)


def affine(values):
    a, b, c, d, x, y = values
    return np.array([[1 + a, b, x], [c, 1 + d, y]])


def transform(matrix, points):
    out = points.copy()
    out[..., :2] = points[..., :2] @ matrix[:, :2].T + matrix[:, 2]
    return out


@cache
def picture(shape, kind=np.uint8):
    """Return a smooth picture: sampling between pixels is exact to about one level."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]]
    waves = [np.sin(x / 17 + c) * np.cos(y / 23 - c) for c in range(3)]
    return ((np.stack(waves, -1) * 0.45 + 0.5) * (255 if kind == np.uint8 else 1023)).astype(kind)


# ------------------------------------------------------------------------------------ rasterise
@pytest.mark.parametrize("unit", [30.0, UNIT, 300.0])
@given(st.integers(0, 50))
def test_barycentric_coordinates_add_up_to_1(unit, seed):
    raster = rasterise(face(seed), mesh_triangles(), BOX, unit)
    inside = raster.triangle >= 0
    assert inside.any()
    assert raster.weights.min() >= 0
    assert np.abs(raster.weights.sum(0) - 1).max() < 1e-5
    assert np.array_equal(raster.cells, np.flatnonzero(inside))


@given(st.integers(0, 50), st.floats(0, 0.3))
def test_cells_lie_at_their_barycentric_position(seed, gap):
    landmarks = synthetic_landmarks(1, seed=seed, opening=np.array([gap], np.float32))[0]
    raster = rasterise(rest_vertices(landmarks, UNIT), mesh_triangles(), BOX, UNIT)
    corners = raster.target[raster.faces][raster.triangle.ravel()[raster.cells]][..., :2]
    position = np.einsum("kn,nkc->nc", raster.weights, corners)
    positions = affine_grid(raster.covered, IDENTITY, raster.step).reshape(-1, 2)[raster.cells]
    error = np.linalg.norm(position - positions, axis=1) / raster.step
    assert np.percentile(error, 99.5) < 0.8
    assert (error > 1).mean() < 0.001  # triangles that have folded over


def test_nearest_triangle_wins():
    points = np.array([[0, 0, 5], [40, 0, 5], [0, 40, 5], [0, 0, 1], [40, 0, 1], [0, 40, 1]])
    points = points.astype(np.float32)
    for faces in ([[0, 1, 2], [3, 4, 5]], [[3, 4, 5], [0, 1, 2]]):
        raster = rasterise(points, np.array(faces), Box(0, 0, 40, 40), 72)
        assert set(np.unique(raster.triangle)) == {-1, faces.index([3, 4, 5])}


def test_triangles_without_area_give_finite_positions():
    points = np.array([[0, 0, 0], [30, 0, 0], [15, 0, 0], [0, 30, 0]], np.float32)
    raster = rasterise(points, np.array([[0, 1, 2], [0, 1, 3]]), Box(0, 0, 32, 32), 72)
    assert np.isfinite(raster.weights).all()
    assert np.isfinite(backward_map(raster, points + 3)).all()


# ------------------------------------------------------------------------------------ at
@pytest.mark.parametrize("unit", [30.0, UNIT, 400.0])
@given(st.integers(0, 50))
def test_mesh_at_rest_moves_no_pixel(unit, seed):
    raster = rasterise(face(seed), mesh_triangles(), BOX, unit)
    assert np.abs(backward_map(raster, face(seed)) - pixel_grid(BOX)).max() < 1e-3
    assert np.abs(mesh_offsets(raster, face(seed))).max() < 1e-4


@given(turn)
def test_affine_motion_of_the_mesh_moves_every_pixel(values):
    """With the right base this is exact, also outside the mesh."""
    source = transform(affine(values), face())
    raster = rasterise(face(), mesh_triangles(), BOX, UNIT)
    base = fit_affine(raster.target, source)
    assert base == pytest.approx(affine(values), abs=1e-3)
    mapped = backward_map(raster, source, base)
    assert np.abs(mapped - transform(affine(values), pixel_grid(BOX))).max() < 0.05


@given(turn)
def test_affine_motion_without_a_base_is_exact_inside_the_mesh(values):
    source = transform(affine(values), face())
    raster = rasterise(face(), mesh_triangles(), BOX, UNIT)
    inside = raster.triangle[: BOX.height, : BOX.width] >= 0
    wrong = np.abs(backward_map(raster, source) - transform(affine(values), pixel_grid(BOX)))[
        inside
    ]
    assert len(wrong) > 5000
    assert np.percentile(wrong, 95) < 0.2
    assert (wrong > 1).mean() < 0.001


def test_pixels_outside_the_mesh_do_not_move():
    landmarks = synthetic_landmarks(1)[0]
    moved = (
        follow_weights()
        @ (synthetic_mouth(np.array([0.1], np.float32)) - synthetic_mouth(np.zeros(1, np.float32)))[
            0
        ]
    )
    rest, target = mesh_vertices(landmarks, moved * UNIT, UNIT)
    wide = Box(0, 0, 288, 320)
    shift = backward_map(rasterise(target, mesh_triangles(), wide, UNIT), rest) - pixel_grid(wide)
    assert np.abs(shift[:90]).max() == 0  # brow and wall above
    assert np.abs(shift[:, :20]).max() == 0
    assert np.abs(shift[-5:]).max() == 0
    assert np.abs(shift).max() == pytest.approx(0.1 * UNIT, rel=0.15)
    lip = np.rint(target[17, :2]).astype(int)
    assert shift[lip[1], lip[0], 1] < -0.07 * UNIT  # it comes from where the lip was: above


@pytest.mark.parametrize("unit", [UNIT, 250.0])
def test_part_of_the_box_is_mapped_like_the_whole(unit):
    raster = rasterise(face(), mesh_triangles(), BOX, unit)
    source, part = face(5), Box(100, 130, 171, 200)
    base = fit_affine(raster.target, source)
    whole = backward_map(raster, source, base)
    mapped = backward_map(raster, source, base, within=part)
    assert mapped.shape == (70, 71, 2)
    assert np.abs(mapped - whole[40:110, 40:111]).max() < 0.02


def test_coarse_grid_is_interpolated_between_cells():
    raster = rasterise(face(), mesh_triangles(), Box(0, 0, 90, 60), 240.0)
    assert raster.step == 4
    gh, gw = raster.triangle.shape
    slope = np.stack(np.meshgrid(np.arange(gw) * 4.0, np.arange(gh) * 4.0), -1).astype(np.float32)
    fine = upsample(slope, raster, Box(3, 5, 80, 55))
    assert np.abs(fine - pixel_grid(Box(3, 5, 80, 55))).max() < 0.05


# -------------------------------------------------------------------------------------- sampling
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_samples_at_whole_pixels_are_exact(kind):
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(kind) * 4
    out = sample_bicubic(image, pixel_grid(Box(105, 210, 130, 240)), (100, 200))
    assert out.dtype == kind
    assert np.array_equal(out, image[10:40, 5:30])


def test_border_is_repeated_beyond_the_crop():
    image = picture((20, 20))
    out = sample_bicubic(image, pixel_grid(Box(-5, 3, 0, 6)), (0, 0))
    assert np.array_equal(out, np.repeat(image[3:6, :1], 5, 1))


@pytest.mark.parametrize(("kind", "level"), [(np.uint8, 2), (np.uint16, 6)])
@given(turn)
def test_sampling_matches_the_analytic_picture(kind, level, values):
    matrix = affine([v / 4 for v in values[:4]] + [*values[4:]])
    image = picture((400, 400), kind)
    box = Box(150, 150, 250, 250)
    positions = transform(matrix, pixel_grid(box))
    expected = [
        np.sin(positions[..., 0] / 17 + c) * np.cos(positions[..., 1] / 23 - c) for c in range(3)
    ]
    top = 255 if kind == np.uint8 else 1023
    close = np.abs(
        sample_bicubic(image, positions, (0, 0)) - (np.stack(expected, -1) * 0.45 + 0.5) * top
    )
    assert close.max() <= level
