"""Array types that all packages share; shapes stand in the docstrings that use them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Rgb = NDArray[np.uint8]  #: (h, w, 3) RGB, 0 to 255
DeepRgb = NDArray[Any]  #: (h, w, 3) RGB: uint8 (0 to 255), or uint16 (0 to 1023) for 10-bit video
