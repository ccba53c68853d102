"""Contact sheets: crops of many frames side by side, to be looked at by a person.

Pictures are RGB uint8 arrays (height, width, 3); rows of a sheet are read from left to right.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from lipwright.errors import OutputUnwritable
from lipwright.types import Rgb

GAP = 4  # pixels between cells
PAPER = 255  # grey of the gaps
LABEL_HEIGHT = 18  # pixels above a labelled row


def square(rgb: Rgb, centre: tuple[float, float], side: float, size: int) -> Rgb:
    """Cut a square out of a picture and bring it to a size; beyond the edge its border repeats.

    Args:
        rgb: picture (height, width, 3) uint8 RGB.
        centre: x and y of the middle of the square, pixels.
        side: length of the square in the picture, pixels.
        size: length of the result, pixels.

    Returns:
        The square (size, size, 3) uint8 RGB.
    """
    scale = size / side
    offset = (size - 1) / 2 - scale * np.asarray(centre, float)
    matrix = np.array([[scale, 0, offset[0]], [0, scale, offset[1]]])
    how = cv2.INTER_CUBIC if scale >= 1 else cv2.INTER_AREA
    if scale < 1:  # warpAffine samples points: average first, or fine texture turns into noise
        blur = 0.5 / scale
        rgb = np.asarray(cv2.GaussianBlur(rgb, (0, 0), blur), np.uint8)
        how = cv2.INTER_LINEAR
    cut = cv2.warpAffine(rgb, matrix, (size, size), flags=how, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cut, np.uint8)


def sheet(rows: Sequence[Sequence[Rgb]], labels: Sequence[str] = (), gap: int = GAP) -> Rgb:
    """Lay out rows of equal pictures with gaps.

    Args:
        rows: pictures (h, w, 3) uint8 RGB, all of one size; shorter rows end in paper.
        labels: one line of text above each row, or none at all.
        gap: pixels between pictures.

    Returns:
        The sheet (height, width, 3) uint8 RGB.
    """
    height, width = rows[0][0].shape[:2]
    head = LABEL_HEIGHT if labels else 0
    columns = max(len(row) for row in rows)
    pitch_x, pitch_y = width + gap, height + head + gap
    shape = (len(rows) * pitch_y + gap, columns * pitch_x + gap, 3)
    paper = np.full(shape, PAPER, np.uint8)
    for j, row in enumerate(rows):
        top = gap + j * pitch_y + head
        for i, picture in enumerate(row):
            left = gap + i * pitch_x
            paper[top : top + height, left : left + width] = picture
        if labels:
            _label(paper, labels[j], (gap, top - 5))
    return paper


def _label(paper: Rgb, text: str, at: tuple[int, int]) -> None:
    cv2.putText(paper, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (40, 40, 40), 1, cv2.LINE_AA)


def write_png(path: Path, rgb: Rgb) -> None:
    """Write a picture (height, width, 3) uint8 RGB as PNG.

    Raises:
        OutputUnwritable: the file cannot be written.
    """
    done, data = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    try:
        if not done:
            raise OSError("the PNG encoder refused the picture")
        path.write_bytes(data.tobytes())
    except OSError as cause:
        raise OutputUnwritable(f"{path}: cannot write the picture: {cause}") from cause
