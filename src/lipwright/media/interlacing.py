"""Interlaced frames: read and set the order of their fields, and deinterlace them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import islice
from typing import NamedTuple

import av
from av.filter import Graph

# AVFieldOrder: progressive; first letter: the field shown first (FFmpeg's use)
PROGRESSIVE, TOP_FIRST, BOTTOM_FIRST, TOP_FIRST_SWAPPED, BOTTOM_FIRST_SWAPPED = 1, 2, 3, 4, 5
_TOP, _BOTTOM = (TOP_FIRST, TOP_FIRST_SWAPPED), (BOTTOM_FIRST, BOTTOM_FIRST_SWAPPED)
#: Codecs whose decoders flag no frames as interlaced: the container or the content says it.
UNFLAGGED_CODECS = {"huffyuv", "ffvhuff", "utvideo", "magicyuv", "rawvideo", "mjpeg", "cfhd"} | {
    *("v210", "v308", "v408", "v410", "r210", "qtrle", "png", "jpeg2000"),
}
LOOKED_AT = 25  # frames
UNSTATED = 12  # frames that must show fields where neither container nor frames state them
FEW = 4  # frames that show an order of fields: no proof
CLEAR = 4  # times as many frames show one order as the other
BWDIF = {"mode": "send_frame", "parity": "auto", "deint": "all"}  # motion-adaptive
ANY_TICK = Fraction(1, 25)  # seconds, where no time counts


def is_top_first(field_order: int) -> bool:
    """Return whether the top field is shown first; also where the order is unknown."""
    return field_order not in _BOTTOM


def flagged_order(field_order: int) -> int:
    """Return the AVFieldOrder to flag interlaced video with: top field first if it is unknown."""
    return field_order if field_order in _TOP + _BOTTOM else TOP_FIRST


def find_field_order(
    first: av.VideoFrame, later: Iterator[av.VideoFrame], codec: str, stream_order: int
) -> int:
    """Return the AVFieldOrder of a video: what its first frames show, else what they are flagged.

    Args:
        first: The first frame.
        later: The frames after it; decoded only if the video may be interlaced.
        codec: FFmpeg's name.
        stream_order: AVFieldOrder that the stream states.
    """
    doubt = stream_order in _TOP + _BOTTOM or (
        stream_order != PROGRESSIVE and codec in UNFLAGGED_CODECS
    )
    if not first.interlaced_frame and not doubt:
        return PROGRESSIVE
    frames = [first, *islice(later, LOOKED_AT - 1)]
    flagged = next((frame for frame in frames if frame.interlaced_frame), None)
    if flagged is None and stream_order in _TOP + _BOTTOM:
        stated = stream_order
    elif flagged is None:
        stated = PROGRESSIVE
    else:
        stated = TOP_FIRST if _is_flagged_top_first(flagged) else BOTTOM_FIRST
    seen = _look_at_fields(frames)
    if stated == PROGRESSIVE and max(seen.top, seen.bottom) < UNSTATED:
        return PROGRESSIVE  # nothing says that it is interlaced: a few frames are no proof
    if flagged is None and seen.progressive > seen.top + seen.bottom:
        return PROGRESSIVE
    if seen.top > max(FEW, CLEAR * seen.bottom):
        stated = TOP_FIRST
    elif seen.bottom > max(FEW, CLEAR * seen.top):
        stated = BOTTOM_FIRST
    same = _TOP if stated in _TOP else _BOTTOM
    return stream_order if stated > PROGRESSIVE and stream_order in same else stated


class _SeenFields(NamedTuple):
    """How many frames show which field first, or one picture."""

    top: int
    bottom: int
    progressive: int


def _look_at_fields(frames: list[av.VideoFrame]) -> _SeenFields:
    """Judge frames by their content; those in which too little moves do not count."""
    chain = _FilterChain(frames[0], ("idet", {}))
    results = [*map(chain.filter, filter(chain.accepts, frames)), *chain.flush()]
    kinds = [f.metadata.get("lavfi.idet.single.current_frame") for f in results if f is not None]
    return _SeenFields(*(kinds.count(kind) for kind in ("tff", "bff", "progressive")))


def _is_flagged_top_first(frame: av.VideoFrame) -> bool:
    """Return the flag of a frame, which PyAV does not show: a filter selects by it."""
    chain = _FilterChain(frame, ("select", {"expr": "eq(interlace_type,TOPFIRST)"}))
    return chain.filter(frame) is not None


class FieldFlags:
    """Flags frames as interlaced."""

    def __init__(self, field_order: int, pix_fmt: str) -> None:
        """Prepare to flag frames.

        Args:
            field_order: AVFieldOrder to flag.
            pix_fmt: Format to convert frames to, each field for itself.
        """
        self._mode = "tff" if is_top_first(field_order) else "bff"
        self._pix_fmt = pix_fmt
        self._chain: _FilterChain | None = None

    def apply(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Return *frame* in the format, flagged; its colour tags are not kept."""
        if self._chain is None or not self._chain.accepts(frame):
            steps: list[tuple[str, dict[str, str]]] = [("setfield", {"mode": self._mode})]
            if frame.format.name != self._pix_fmt:
                scale = {"interl": "1", "flags": "bicubic+accurate_rnd+full_chroma_inp"}
                steps += [("scale", scale), ("format", {"pix_fmts": self._pix_fmt})]
            self._chain = _FilterChain(frame, *steps)
        flagged = self._chain.filter(frame)
        assert flagged is not None
        return flagged


def deinterlace(frames: Iterator[av.VideoFrame], field_order: int) -> Iterator[av.VideoFrame]:
    """Yield as many frames at the same times, deinterlaced.

    Each depends on the frames before and after it; the first has none before it.

    Args:
        frames: Decoded, in order.
        field_order: AVFieldOrder of all of them.
    """
    order = ("setfield", {"mode": "tff" if is_top_first(field_order) else "bff"})
    chain: _FilterChain | None = None
    times: deque[tuple[int | None, Fraction | None]] = deque()

    def at_its_time(frame: av.VideoFrame) -> av.VideoFrame:
        frame.pts, time_base = times.popleft()  # the filter halves the time base
        frame.time_base = time_base or ANY_TICK
        return frame

    for frame in frames:
        if chain is not None and not chain.accepts(frame):
            yield from map(at_its_time, chain.flush())
            chain = None
        chain = chain or _FilterChain(frame, order, ("bwdif", BWDIF))
        times.append((frame.pts, frame.time_base))
        done = chain.filter(frame)
        if done is not None:
            yield at_its_time(done)
    if chain is not None:
        yield from map(at_its_time, chain.flush())


class _FilterChain:
    """Filters that return at most one frame per frame."""

    def __init__(self, like: av.VideoFrame, *steps: tuple[str, Mapping[str, str]]) -> None:
        """Connect filters, given by name and arguments, for frames like *like*."""
        self._kind = like.format.name, like.width, like.height
        self._graph = Graph()
        nodes = [
            self._graph.add_buffer(
                width=like.width,
                height=like.height,
                format=like.format,
                time_base=like.time_base or ANY_TICK,
            ),
            *(self._graph.add(name, **arguments) for name, arguments in steps),
            self._graph.add("buffersink"),
        ]
        self._graph.link_nodes(*nodes)
        self._graph.configure()

    def accepts(self, frame: av.VideoFrame) -> bool:
        """Return whether *frame* has the format and size that the filters were made for."""
        return (frame.format.name, frame.width, frame.height) == self._kind

    def filter(self, frame: av.VideoFrame) -> av.VideoFrame | None:
        """Return the next result, None if there is none yet."""
        self._graph.vpush(frame)
        return self._pull()

    def flush(self) -> Iterator[av.VideoFrame]:
        """Yield the results that are left."""
        self._graph.vpush(None)
        while (frame := self._pull()) is not None:
            yield frame

    def _pull(self) -> av.VideoFrame | None:
        try:
            return self._graph.vpull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return None
