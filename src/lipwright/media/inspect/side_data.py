"""Read the side data of frames: rotation, HDR metadata."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from math import atan2, pi
from struct import unpack_from
from typing import Any, cast

import av
import av.filter

SideData = Mapping[str, bytes]  #: by FFmpeg's names of the kinds

CHROMATICITY_UNITS = 50_000  # per 1.0 of a CIE x or y
LUMINANCE_UNITS = 10_000  # per candela per square metre
MAX_UNKNOWN = 16  # kinds of unknown side data of one frame
_UNKNOWN = re.compile(r"(\d+) is not a valid Type")


def read_side_data(frame: av.VideoFrame) -> SideData:
    """Return the side data of a frame by FFmpeg's names, such as ``DISPLAYMATRIX``.

    PyAV refuses all side data of a frame that has a kind it has no name for (EXIF, views of
    spatial video, …): those kinds are removed from a copy of the frame and ignored.
    """
    for _ in range(MAX_UNKNOWN):
        try:
            return {data.type.name: bytes(data) for data in cast(Any, frame.side_data)}
        except ValueError as error:
            unknown = _UNKNOWN.search(str(error))
            if unknown is None:
                raise
            frame = _without(frame, int(unknown[1]))
    return {}


def orientation(side_data: SideData) -> tuple[int, bool]:
    """Return the clockwise rotation of a frame in degrees, and whether it is flipped first."""
    data = side_data.get("DISPLAYMATRIX")
    if data is None:
        return 0, False
    a, b, _, c, d = unpack_from("=5i", data)
    quarter = round(atan2(b, a) / (pi / 2)) % 4
    return 90 * quarter, a * d - b * c < 0


def read_mastering_display(side_data: SideData) -> str | None:
    """Return the mastering display as x265's ``G(x,y)B(x,y)R(x,y)WP(x,y)L(max,min)``.

    SMPTE ST 2086 defines it. Chromaticities are in units of 1/50,000, luminances in 1/10,000 cd/m2.
    None if the frame has none.
    """
    data = side_data.get("MASTERING_DISPLAY_METADATA")
    if data is None:
        return None
    numbers = unpack_from("=22i", data)  # ten rationals, two flags
    if not (numbers[20] and numbers[21]) or 0 in numbers[1:20:2]:
        return None
    rationals = [Fraction(n, d) for n, d in zip(numbers[:20:2], numbers[1:20:2], strict=True)]
    red, green, blue, white = (
        "({},{})".format(*(round(value * CHROMATICITY_UNITS) for value in rationals[i : i + 2]))
        for i in (0, 2, 4, 6)
    )
    darkest, brightest = (round(value * LUMINANCE_UNITS) for value in rationals[8:10])
    return f"G{green}B{blue}R{red}WP{white}L({brightest},{darkest})"


def read_content_light(side_data: SideData) -> str | None:
    """Return MaxCLL and MaxFALL (CTA-861.3) as x265's ``max,average`` in cd/m2, None if absent."""
    data = side_data.get("CONTENT_LIGHT_LEVEL")
    if data is None:
        return None
    brightest, average = unpack_from("=2I", data)
    return f"{brightest},{average}"


def _without(frame: av.VideoFrame, kind: int) -> av.VideoFrame:
    """Return a copy of a frame without a kind of side data, given by its number in FFmpeg."""
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=frame.width,
        height=frame.height,
        format=frame.format,
        time_base=frame.time_base or Fraction(1),
    )
    graph.link_nodes(
        source, graph.add("sidedata", f"mode=delete:type={kind}"), graph.add("buffersink")
    ).configure()
    graph.push(frame)
    return cast(av.VideoFrame, graph.pull())
