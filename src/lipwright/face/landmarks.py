"""Index the 478 landmarks of MediaPipe's face mesh: lips, jaw, eyes, and the rigid part.

A mouth shape is an array (T, 61, 3) whose rows are the landmarks MOUTH; :func:`mouth_rows` gives
the row of a landmark. Of the two edges of the red of a lip, the border is the outer one and the rim
the inner one.
"""

from __future__ import annotations

import numpy as np

from lipwright.types import Ints

# fmt: off
#: Four rings around the mouth (4, 20), from the border to the rim; the second and the third lie in
#: the red. First the upper lip from right to left, corners included, then the lower lip without.
LIP_RINGS = np.array([
    [61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 146, 91, 181, 84, 17, 314, 405, 321, 375],
    [76, 184, 74, 73, 72, 11, 302, 303, 304, 408, 306, 77, 90, 180, 85, 16, 315, 404, 320, 307],
    [62, 183, 42, 41, 38, 12, 268, 271, 272, 407, 292, 96, 89, 179, 86, 15, 316, 403, 319, 325],
    [78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 95, 88, 178, 87, 14, 317, 402, 318, 324],
])
# fmt: on
# Borders and rims without the corners, right to left.
UPPER_BORDER, UPPER_RIM = LIP_RINGS[0, 1:10], LIP_RINGS[3, 1:10]
LOWER_BORDER, LOWER_RIM = LIP_RINGS[0, 11:], LIP_RINGS[3, 11:]


def _lower_with_corners(ring: Ints) -> Ints:
    """Return an edge of the lower lip with its corners, right to left."""
    return np.concatenate([ring[:1], ring[11:], ring[10:11]])


# Both rims, and the border of the lower lip, with the corners, right to left.
UPPER_RIM_FULL = LIP_RINGS[3, :11]
LOWER_RIM_FULL = _lower_with_corners(LIP_RINGS[3])
LOWER_BORDER_FULL = _lower_with_corners(LIP_RINGS[0])
# Closed loops: along the lower lip, and back along the upper.
OUTER_LIPS = np.concatenate([LOWER_BORDER_FULL, UPPER_BORDER[::-1]])
INNER_LIPS = np.concatenate([LOWER_RIM_FULL, UPPER_RIM[::-1]])
#: All landmarks of borders and rims (40,), in the order of mouth shapes.
LIPS = np.concatenate([LOWER_BORDER_FULL, UPPER_BORDER, LOWER_RIM_FULL, UPPER_RIM])

# fmt: off
JAW = np.array([
    152, 148, 377, 176, 400, 149, 378, 150, 379, 136, 365, 18, 200, 199, 175, 169, 394, 32, 262,
    171, 396,
])
#: The 61 landmarks that carry speech: the rows of mouth shapes.
MOUTH = np.concatenate([LIPS, JAW])
#: Eyes, bridge of the nose and forehead, which speech does not move.
RIGID = np.array([33, 133, 362, 263, 168, 6, 197, 195, 10, 151, 9, 8, 127, 356, 70, 300])
# fmt: on
EYE_RIGHT, EYE_LEFT = 33, 263  # outer corners of the eyes

_ROW_OF_LANDMARK = {int(landmark): row for row, landmark in enumerate(MOUTH)}


def mouth_rows(*landmarks: int) -> list[int]:
    """Return the rows of mouth shapes (T, 61, 3) that hold some landmarks.

    Raises:
        KeyError: a landmark is not one of MOUTH.
    """
    return [_ROW_OF_LANDMARK[int(landmark)] for landmark in landmarks]


# Rows of mouth shapes by which opening and width are measured.
UPPER_INNER_ROWS = mouth_rows(82, 13, 312)
LOWER_INNER_ROWS = mouth_rows(87, 14, 317)
CORNER_ROWS = mouth_rows(61, 291)
