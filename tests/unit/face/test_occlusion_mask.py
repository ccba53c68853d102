"""Test the masks that are made from the occlusion network's probabilities."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from lipwright.face.lower_face_raster import RASTER_SIDE, raster_layout
from lipwright.face.occlusion_mask import (
    compare_with_face,
    drop_false_occluders,
    segment_occluders,
    silhouette_cells,
)


def test_cells_along_the_silhouette_are_excluded():
    face = raster_layout().face
    turned = face & (np.arange(RASTER_SIDE) >= 12)
    near = silhouette_cells(turned)
    assert near[10:25, 12:14].all()
    assert not near[:, 14:].any()
    hole = face.copy()
    hole[4:7, 14:18] = False  # the underside of a nose
    assert not silhouette_cells(hole)[8:].any()
    assert not silhouette_cells(face).any()


@cache
def unoccluded_face() -> np.ndarray:
    """L, a, b (3, SIDE, SIDE) of skin with lips."""
    face = np.empty((3, RASTER_SIDE, RASTER_SIDE), np.float32)
    face[:] = np.array([65, 12, 14])[:, None, None]
    face[:, raster_layout().lips] = np.array([45, 28, 10])[:, None]
    return face


def occluder_cells(rows=slice(12, 22), columns=slice(8, 17)) -> np.ndarray:
    """Cells that reach from the cheek over half of the lips."""
    mask = np.zeros((RASTER_SIDE, RASTER_SIDE), bool)
    mask[rows, columns] = True
    return mask & raster_layout().searched


def compare(colour, comparable=None) -> np.ndarray:
    """Compare the cells of `occluder_cells`, with some noise, to the unoccluded face."""
    noise = np.random.default_rng(0).normal(0, 1, colour.shape).astype(np.float32)
    comparable = np.ones((RASTER_SIDE, RASTER_SIDE), bool) if comparable is None else comparable
    comparison = compare_with_face(occluder_cells(), colour + noise, unoccluded_face(), comparable)
    assert not comparison[~occluder_cells()].any()
    return comparison[occluder_cells()]


@pytest.mark.parametrize("gain", [0.7, 1.3])
def test_shadow_or_highlight_shows_the_face(gain):
    colour = unoccluded_face().copy()
    colour[0, :, :17] *= gain
    assert (compare(colour) == 1).all()


def test_hand_hides_the_face():
    colour = unoccluded_face().copy()
    colour[:, occluder_cells()] = np.array([60, 14, 15])[:, None]
    assert (compare(colour) == -1).all()
    assert (compare(colour, comparable=~occluder_cells()) == 0).all()  # no cell to compare with


def test_strand_of_hair_hides_the_face_even_if_lips_show_beside_it():
    colour = unoccluded_face().copy()
    colour[0, :, 12] -= 25
    assert (compare(colour) == -1).all()


def test_false_occluder_is_dropped_unless_a_near_frame_contradicts():
    mask = np.broadcast_to(occluder_cells(), (7, RASTER_SIDE, RASTER_SIDE))

    def kept(*signs):
        comparisons = np.array(signs, np.int8)[:, None, None] * occluder_cells()
        return drop_false_occluders(mask, comparisons).any((1, 2)).tolist()

    assert kept(1, 1, 1, 1, 1, 1, 1) == [False] * 7
    assert kept(1, 1, 1, -1, 1, 1, 1) == [False, True, True, True, True, True, False]
    assert kept(1, 1, 0, 1, 1, 1, 1) == [False] * 7  # a frame without a comparison does not matter
    assert kept(0, 0, 0, 0, 0, 0, 0) == [True] * 7


def test_cells_between_the_lips_alone_are_part_of_the_mouth():
    probability = np.where(
        raster_layout().inner & raster_layout().lips, np.float32(0.99), np.float32(0)
    )
    assert (probability > 0.9).sum() > 10
    assert not segment_occluders(probability).any()
    probability[occluder_cells()] = 0.99
    assert segment_occluders(probability)[occluder_cells()].all()
