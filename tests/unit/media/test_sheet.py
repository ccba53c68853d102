from __future__ import annotations

import cv2
import numpy as np
import pytest

from lipwright.errors import OutputUnwritable
from lipwright.media.contact_sheet import GAP, LABEL_HEIGHT, PAPER, sheet, square, write_png


def test_a_square_keeps_pixels_at_their_own_size():
    rgb = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    cut = square(rgb, (30.5, 20.5), 10, 10)
    assert np.array_equal(cut, rgb[16:26, 26:36])


def test_a_square_beyond_the_edge_repeats_the_border():
    rgb = np.full((20, 20, 3), 77, np.uint8)
    assert (square(rgb, (0, 0), 30, 15) == 77).all()


def test_cells_lie_in_rows_with_gaps_and_labels():
    cells = [np.full((8, 10, 3), value, np.uint8) for value in (1, 2, 3)]
    paper = sheet([cells[:2], cells[2:]], labels=("a", "b"))
    top = GAP + LABEL_HEIGHT
    assert paper.shape == (2 * (8 + top) + GAP, 2 * (10 + GAP) + GAP, 3)
    assert (paper[top : top + 8, GAP : GAP + 10] == 1).all()
    assert (paper[top : top + 8, 2 * GAP + 10 : 2 * GAP + 20] == 2).all()
    assert (paper[-1] == PAPER).all()


def test_a_picture_written_is_read_back(tmp_path):
    rgb = np.zeros((4, 6, 3), np.uint8)
    rgb[..., 0] = 255
    write_png(tmp_path / "a.png", rgb)
    back = cv2.imread(str(tmp_path / "a.png"))
    assert back is not None
    assert np.array_equal(back[..., ::-1], rgb)


def test_a_folder_that_is_missing_is_named(tmp_path):
    with pytest.raises(OutputUnwritable, match="gone"):
        write_png(tmp_path / "gone" / "a.png", np.zeros((4, 6, 3), np.uint8))
