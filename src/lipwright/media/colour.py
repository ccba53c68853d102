"""Colour matrices between YUV and RGB, as defined by ITU-R BT.601, BT.709 and BT.2020."""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np

from lipwright.types import Doubles

Matrix = Literal["bt601", "bt709", "bt2020"]
Affine = Doubles  #: (3, 4): three rows of weights and an offset

LUMA_WEIGHTS: dict[Matrix, tuple[float, float]] = {  # red, blue
    "bt601": (0.299, 0.114),
    "bt709": (0.2126, 0.0722),
    "bt2020": (0.2627, 0.0593),  # non-constant luminance
}
HD_SIDE = 1280  # pixels; players read untagged video with such a side as BT.709

# FFmpeg's AVCOL_SPC and AVCOL_RANGE numbers
RGB = 0
LIMITED_RANGE, FULL_RANGE = 1, 2
_MATRICES: dict[int, Matrix] = {
    RGB: "bt709",  # RGB sources are converted to it
    1: "bt709",
    4: "bt601",  # FCC, equal to within one code
    5: "bt601",
    6: "bt601",
    7: "bt709",  # SMPTE 240M, nearly
    9: "bt2020",
    10: "bt2020",
}


def matrix_of(colorspace: int, width: int, height: int) -> Matrix:
    """Return the matrix for FFmpeg's AVCOL_SPC number; the size decides for untagged video."""
    default: Matrix = "bt709" if max(width, height) >= HD_SIDE else "bt601"
    return _MATRICES.get(colorspace, default)


@cache
def yuv_to_rgb_matrix(matrix: Matrix, full_range: bool, depth: int) -> Affine:
    """Return the (3, 4) affine matrix from Y, U, V codes to full-range R, G, B codes.

    Codes are 0 to 2**depth - 1; in limited range Y spans 16 to 235 and U, V 16 to 240 (at 8 bit).
    """
    red, blue = LUMA_WEIGHTS[matrix]
    green = 1 - red - blue
    top, luma, chroma, black = _code_ranges(full_range, depth)
    weights = np.array(
        [
            [1, 0, 2 * (1 - red)],
            [1, -2 * blue * (1 - blue) / green, -2 * red * (1 - red) / green],
            [1, 2 * (1 - blue), 0],
        ]
    ) * (top / np.array([luma, chroma, chroma]))
    offset = -weights @ np.array([black, 1 << (depth - 1), 1 << (depth - 1)])
    return _read_only(np.column_stack([weights, offset]))


@cache
def rgb_to_yuv_matrix(matrix: Matrix, full_range: bool, depth: int) -> Affine:
    """Return the (3, 4) affine matrix from full-range R, G, B codes to Y, U, V codes."""
    forward = yuv_to_rgb_matrix(matrix, full_range, depth)
    weights = np.linalg.inv(forward[:, :3])
    return _read_only(np.column_stack([weights, -weights @ forward[:, 3]]))


def _code_ranges(full_range: bool, depth: int) -> tuple[float, float, float, float]:
    """Return the largest code, the ranges of luma and chroma, and the code of black."""
    top = float((1 << depth) - 1)
    if full_range:
        return top, top, top, 0.0
    unit = 1 << (depth - 8)
    return top, 219.0 * unit, 224.0 * unit, 16.0 * unit


def _read_only(array: Affine) -> Affine:
    array.setflags(write=False)
    return array
