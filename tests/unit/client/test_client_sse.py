from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipwright.client.sse import MAX_EVENT, SseMessage, SseParser
from lipwright.errors import ServiceUnavailable

STREAM = (
    "retry: 2000\n\n: comment\n\nid: 1\nevent: state\ndata: {\ndata: }\n\n"
    "data:tight\n\nunknown: x\ndata:  two blanks\ndata\n\nevent: empty\n\n"
)
MESSAGES = [
    SseMessage(event="state", data="{\n}"),
    SseMessage(data="tight"),
    SseMessage(data=" two blanks\n"),
]


def parsed(pieces: list[bytes]) -> list[SseMessage]:
    parser = SseParser()
    return [message for piece in pieces for message in parser.feed(piece)]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@given(cuts=st.sets(st.integers(0, len(STREAM) * 2)))
def test_messages_do_not_depend_on_chunk_boundaries(end: str, cuts: set[int]):
    whole = STREAM.replace("\n", end).encode() + (b": last\n" if end == "\r" else b"")
    edges = [0, *sorted(cut for cut in cuts if cut < len(whole)), len(whole)]
    pieces = [whole[a:b] for a, b in pairwise(edges)]
    assert parsed(pieces) == MESSAGES


def test_an_unfinished_event_is_not_returned():
    assert parsed([b"data: half\n"]) == []


def test_an_event_without_an_end_is_refused():
    with pytest.raises(ServiceUnavailable, match="without an end"):
        parsed([b"data: "] + [b"x" * 65536] * (MAX_EVENT // 65536 + 1))
    with pytest.raises(ServiceUnavailable, match="without an end"):
        parsed([b"data: " + b"x" * 65536 + b"\n"] * (MAX_EVENT // 65536 + 1))


def test_text_that_is_not_utf8_is_refused():
    with pytest.raises(ServiceUnavailable, match="UTF-8"):
        parsed([b"data: \xff\n\n"])
