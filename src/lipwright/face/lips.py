"""Which landmarks the lips are, of the 478 of MediaPipe's mesh."""

from __future__ import annotations

import numpy as np

from lipwright.types import Ints

# fmt: off
# Across the lips, from the outer edge to the inner one: of each row the second and the third lie in
# the red. First the upper lip from right to left, corners included, then the lower one without.
ACROSS = np.array([
    [61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 146, 91, 181, 84, 17, 314, 405, 321, 375],
    [76, 184, 74, 73, 72, 11, 302, 303, 304, 408, 306, 77, 90, 180, 85, 16, 315, 404, 320, 307],
    [62, 183, 42, 41, 38, 12, 268, 271, 272, 407, 292, 96, 89, 179, 86, 15, 316, 403, 319, 325],
    [78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 95, 88, 178, 87, 14, 317, 402, 318, 324],
])
# fmt: on
# The borders of the red and the rims inside, without the corners, right to left.
UPPER_BORDER, UPPER_RIM = ACROSS[0, 1:10], ACROSS[3, 1:10]
LOWER_BORDER, LOWER_RIM = ACROSS[0, 11:], ACROSS[3, 11:]


def _whole(row: Ints) -> Ints:
    """Return an edge of the lower lip with its corners, right to left."""
    return np.concatenate([row[:1], row[11:], row[10:11]])


# The inner edges, and the lower lip's outer one, from corner to corner.
UPPER_LIP, LOWER_LIP, BELOW_LIP = ACROSS[3, :11], _whole(ACROSS[3]), _whole(ACROSS[0])
# Closed loops: along the lower lip, and back along the upper.
OUTER_LIPS = np.concatenate([BELOW_LIP, UPPER_BORDER[::-1]])
INNER_LIPS = np.concatenate([LOWER_LIP, UPPER_RIM[::-1]])
#: All on the two edges (40,), in the order of mouth shapes.
LIPS = np.concatenate([BELOW_LIP, UPPER_BORDER, LOWER_LIP, UPPER_RIM])
