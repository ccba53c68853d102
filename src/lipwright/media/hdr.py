"""Static HDR metadata (SMPTE ST 2086, CTA-861.3) of decoded frames, as the encoder writes it."""

from __future__ import annotations

from fractions import Fraction
from struct import unpack_from
from typing import Any, cast

import av

CHROMATICITY = 50_000  # units per 1.0 of a CIE x or y
LUMINANCE = 10_000  # units per candela per square metre


def mastering_display(frame: av.VideoFrame) -> str | None:
    """Return the display the video was graded on, as ``G(x,y)B(x,y)R(x,y)WP(x,y)L(max,min)``."""
    data = frame.side_data.get("MASTERING_DISPLAY_METADATA")
    if data is None:
        return None
    numbers = unpack_from("=22i", bytes(cast(Any, data)))  # ten rationals, two flags
    if not (numbers[20] and numbers[21]) or 0 in numbers[1:20:2]:
        return None
    rationals = [Fraction(n, d) for n, d in zip(numbers[:20:2], numbers[1:20:2], strict=True)]
    red, green, blue, white = (
        "({},{})".format(*(round(value * CHROMATICITY) for value in rationals[i : i + 2]))
        for i in (0, 2, 4, 6)
    )
    darkest, brightest = (round(value * LUMINANCE) for value in rationals[8:10])
    return f"G{green}B{blue}R{red}WP{white}L({brightest},{darkest})"


def content_light(frame: av.VideoFrame) -> str | None:
    """Return the brightest pixel and the brightest frame average, as ``max,average`` in cd/m2."""
    data = frame.side_data.get("CONTENT_LIGHT_LEVEL")
    if data is None:
        return None
    brightest, average = unpack_from("=2I", bytes(cast(Any, data)))
    return f"{brightest},{average}"
