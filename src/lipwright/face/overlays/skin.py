"""Tell skin from graphics by colour."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lipwright.types import Floats

SKIN = np.array([4, 5, 195, 50, 280, 101, 330, 205, 425, 117, 346])  # landmarks on nose and cheeks
# Colours of skin: largest difference of its R and G over their sum with B; range of brightness.
SKIN_HUE, SKIN_BRIGHTNESS = 0.03, (0.4, 1.4)


def skin_colour(stack: NDArray[np.uint8], face: Floats) -> NDArray[np.floating]:
    """Return the median colour (3,) of nose and cheeks, (n, h, w, 3) samples."""
    size = np.array(stack.shape[2:0:-1]) - 1
    x, y = np.clip(np.rint(face[SKIN, :2]).astype(np.int64), 0, size).T
    return np.asarray(np.median(stack[:, y, x], (0, 1)))


def like_skin(colour: NDArray[Any], skin: NDArray[np.floating]) -> bool:
    """Return whether a colour (3,) may be the skin (3,) in another light."""
    total, skin_total = max(float(colour.sum()), 1.0), max(float(skin.sum()), 1.0)
    low, high = SKIN_BRIGHTNESS
    hue = np.abs(colour / total - skin / skin_total).max()
    return bool(hue < SKIN_HUE and low < total / skin_total < high)
