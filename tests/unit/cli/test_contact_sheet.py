from __future__ import annotations

import cv2
import numpy as np
import pytest

from lipwright.cli.contact_sheet import (
    BACKGROUND,
    GAP,
    LABEL_HEIGHT,
    crop_square,
    make_sheet,
    write_png,
)
from lipwright.errors import OutputUnwritable


def test_a_square_at_its_own_size_keeps_its_pixels():
    rgb = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    crop = crop_square(rgb, (30.5, 20.5), 10, 10)
    assert np.array_equal(crop, rgb[16:26, 26:36])


def test_a_square_beyond_the_edge_repeats_the_border():
    rgb = np.full((20, 20, 3), 77, np.uint8)
    assert (crop_square(rgb, (0, 0), 30, 15) == 77).all()


def test_images_are_laid_out_in_rows_with_gaps_and_labels():
    cells = [np.full((8, 10, 3), value, np.uint8) for value in (1, 2, 3)]
    canvas = make_sheet([cells[:2], cells[2:]], labels=("a", "b"))
    top = GAP + LABEL_HEIGHT
    assert canvas.shape == (2 * (8 + top) + GAP, 2 * (10 + GAP) + GAP, 3)
    assert (canvas[top : top + 8, GAP : GAP + 10] == 1).all()
    assert (canvas[top : top + 8, 2 * GAP + 10 : 2 * GAP + 20] == 2).all()
    assert (canvas[-1] == BACKGROUND).all()


def test_a_png_round_trips(tmp_path):
    rgb = np.zeros((4, 6, 3), np.uint8)
    rgb[..., 0] = 255
    write_png(tmp_path / "a.png", rgb)
    back = cv2.imread(str(tmp_path / "a.png"))
    assert back is not None
    assert np.array_equal(back[..., ::-1], rgb)


def test_a_missing_folder_is_named_in_the_error(tmp_path):
    with pytest.raises(OutputUnwritable, match="gone"):
        write_png(tmp_path / "gone" / "a.png", np.zeros((4, 6, 3), np.uint8))
