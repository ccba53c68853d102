from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipwright.server.http.ranges import (
    ResolvedRange,
    content_disposition,
    http_date,
    resolve_range,
)
from lipwright.storage.base import Blob

CHANGED = datetime(2026, 5, 4, 3, 2, 1, 999_999, tzinfo=UTC)
SIZE = 1000
BLOB = Blob(
    name="jobs/x/video.mp4", size=SIZE, etag="abc", content_type="video/mp4", modified_at=CHANGED
)
WHOLE = ResolvedRange(status=200, start=0, stop=SIZE)


def part(**headers: str) -> ResolvedRange:
    return resolve_range(BLOB, {name.replace("_", "-"): value for name, value in headers.items()})


def test_without_headers_the_whole_file_is_sent():
    assert part() == WHOLE


@pytest.mark.parametrize(
    ("range_header", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, SIZE),
        ("bytes=10-19", 10, 20),
        ("bytes=990-5000", 990, SIZE),
        ("bytes=-1", 999, SIZE),
        ("bytes=-5000", 0, SIZE),
        ("Bytes=0-1", 0, 2),
    ],
)
def test_a_single_range_is_partial_content(range_header, start, stop):
    assert part(range=range_header) == ResolvedRange(status=206, start=start, stop=stop)


@pytest.mark.parametrize("range_header", ["bytes=1000-", "bytes=5000-6000", "bytes=-0"])
def test_a_range_after_the_end_is_unsatisfiable(range_header):
    assert part(range=range_header).status == 416


@pytest.mark.parametrize(
    "range_header",
    ["bytes=", "bytes=-", "bytes=a-b", "lines=0-1", "bytes=5-1", "bytes=0-1,4-5", "bytes=0-1 x",
     "bytes=" + "9" * 400 + "-"],
)  # fmt: skip
def test_malformed_and_multiple_ranges_get_the_whole_file(range_header):
    assert part(range=range_header) == WHOLE


@given(st.text(max_size=40))
def test_any_range_header_gives_a_valid_range(range_header):
    got = part(range=range_header)
    assert got.status == 416 or 0 <= got.start < got.stop <= SIZE


def test_no_range_of_an_empty_file_is_satisfiable():
    empty = Blob(name="x", size=0, etag="e", content_type="a/b", modified_at=CHANGED)
    assert resolve_range(empty, {"range": "bytes=0-"}).status == 416
    assert resolve_range(empty, {}) == ResolvedRange(status=200, start=0, stop=0)


@pytest.mark.parametrize("tags", ['"abc"', 'W/"abc"', '"x", "abc"', "*"])
def test_a_matching_entity_tag_is_not_modified(tags):
    assert part(if_none_match=tags).status == 304


@pytest.mark.parametrize("tags", ['"other"', "abc", '"ab"', '"abcd"'])
def test_a_different_entity_tag_gets_the_file(tags):
    assert part(if_none_match=tags) == WHOLE


def test_an_entity_tag_takes_precedence_over_a_date():
    assert part(if_none_match='"other"', if_modified_since=http_date(CHANGED)) == WHOLE


def test_a_file_not_modified_since_is_not_sent_again():
    assert part(if_modified_since=http_date(CHANGED)).status == 304
    assert part(if_modified_since=http_date(CHANGED - timedelta(seconds=1))) == WHOLE
    assert part(if_modified_since="the day before yesterday") == WHOLE


def test_if_range_gives_the_whole_file_when_it_has_changed():
    assert part(range="bytes=0-1", if_range='"abc"').status == 206
    assert part(range="bytes=0-1", if_range='"other"') == WHOLE
    assert part(range="bytes=0-1", if_range='W/"abc"') == WHOLE
    assert part(range="bytes=0-1", if_range=http_date(CHANGED)).status == 206
    assert part(range="bytes=0-1", if_range=http_date(CHANGED + timedelta(days=1))) == WHOLE


def test_if_match_refuses_another_version():
    assert part(if_match='"abc"') == WHOLE
    assert part(if_match="*") == WHOLE
    assert part(if_match='"other"').status == 412
    assert part(if_match='W/"abc"').status == 412


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("clip.mp4", 'inline; filename="clip.mp4"'),
        ('a"b;c.mp4', "inline; filename=\"a_b_c.mp4\"; filename*=UTF-8''a%22b%3Bc.mp4"),
        ("ä.mp4", "inline; filename=\"_.mp4\"; filename*=UTF-8''%C3%A4.mp4"),
        ("a\r\nSet-Cookie: x", "inline; filename=\"a__Set-Cookie_ x\"; "
         "filename*=UTF-8''a%0D%0ASet-Cookie%3A%20x"),
    ],
)  # fmt: skip
def test_file_names_are_escaped_in_headers(name, header):
    assert content_disposition("inline", name) == header
