"""Contact sheets: crops of many frames side by side, for visual inspection.

Images are RGB uint8 arrays (height, width, 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from lipwright.errors import OutputUnwritable
from lipwright.types import Rgb

GAP = 4  # pixels between cells
BACKGROUND = 255  # grey of the gaps
LABEL_HEIGHT = 18  # pixels above a labelled row


def crop_square(rgb: Rgb, centre: tuple[float, float], side: float, size: int) -> Rgb:
    """Crop a square and resize it; pixels beyond the edge repeat the border.

    Args:
        rgb: Image (height, width, 3) uint8 RGB.
        centre: x and y of the centre of the square, pixels.
        side: Side of the square in the image, pixels.
        size: Side of the result, pixels.

    Returns:
        The square (size, size, 3) uint8 RGB.
    """
    scale = size / side
    offset = (size - 1) / 2 - scale * np.asarray(centre, float)
    matrix = np.array([[scale, 0, offset[0]], [0, scale, offset[1]]])
    method = cv2.INTER_CUBIC if scale >= 1 else cv2.INTER_AREA
    if scale < 1:  # warpAffine samples points: blur first, or fine texture aliases
        blur = 0.5 / scale
        rgb = np.asarray(cv2.GaussianBlur(rgb, (0, 0), blur), np.uint8)
        method = cv2.INTER_LINEAR
    crop = cv2.warpAffine(rgb, matrix, (size, size), flags=method, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(crop, np.uint8)


def make_sheet(rows: Sequence[Sequence[Rgb]], labels: Sequence[str] = (), gap: int = GAP) -> Rgb:
    """Lay out rows of images of equal size with gaps.

    Args:
        rows: Images (h, w, 3) uint8 RGB, all of one size; shorter rows end in background.
        labels: One line of text above each row, or none at all.
        gap: Pixels between images.

    Returns:
        The sheet (height, width, 3) uint8 RGB.
    """
    height, width = rows[0][0].shape[:2]
    label_height = LABEL_HEIGHT if labels else 0
    columns = max(len(row) for row in rows)
    pitch_x, pitch_y = width + gap, height + label_height + gap
    shape = (len(rows) * pitch_y + gap, columns * pitch_x + gap, 3)
    canvas = np.full(shape, BACKGROUND, np.uint8)
    for j, row in enumerate(rows):
        top = gap + j * pitch_y + label_height
        for i, image in enumerate(row):
            left = gap + i * pitch_x
            canvas[top : top + height, left : left + width] = image
        if labels:
            _draw_label(canvas, labels[j], (gap, top - 5))
    return canvas


def _draw_label(canvas: Rgb, text: str, at: tuple[int, int]) -> None:
    cv2.putText(canvas, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (40, 40, 40), 1, cv2.LINE_AA)


def write_png(path: Path, rgb: Rgb) -> None:
    """Write an image (height, width, 3) uint8 RGB as PNG.

    Raises:
        OutputUnwritable: The file cannot be written.
    """
    ok, data = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    try:
        if not ok:
            raise OSError("the PNG encoder failed")
        path.write_bytes(data.tobytes())
    except OSError as cause:
        raise OutputUnwritable(f"{path}: cannot write the image: {cause}") from cause
