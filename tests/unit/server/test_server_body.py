from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipwright.server.errors import InvalidBody
from lipwright.server.http.body import MAX_DEPTH, parse_json_object

pytestmark = pytest.mark.model  # slow

TEXT = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\x00"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=20,
)


@given(st.dictionaries(TEXT, JSON | TEXT))
def test_valid_json_is_parsed_unchanged(value):
    assert parse_json_object(json.dumps(value).encode()) == value
    assert parse_json_object(json.dumps(value, ensure_ascii=False).encode()) == value


@given(st.binary(max_size=200))
def test_any_bytes_give_an_object_or_one_clear_error(raw):
    try:
        message = "" if isinstance(parse_json_object(raw), dict) else "not an object"
    except InvalidBody as error:
        message = str(error)
    assert message == "" or message.startswith("body: ")


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'"{}"', "not a JSON object"),
        (b"{", "not JSON"),
        (b"{}{}", "not JSON"),
        (b'{"a": 1,}', "not JSON"),
        (b'{"a": "\xff"}', "byte 7 is not UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
        (b'{"a": NaN}', "NaN is not a JSON number"),
        (b'{"a": -Infinity}', "-Infinity is not a JSON number"),
        (b'{"a": 1e999}', "out of range"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not JSON"),
        (b'{"a": 1, "a": 2}', "the key 'a' comes twice"),
        (b'{"x": {"a": 1, "\\u0061": 2}}', "the key 'a' comes twice"),
        (b'{"a": "\\u0000"}', "NUL"),
        (b'{"\\u0000": 1}', "NUL"),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b'{"\\udfff": 1}', "surrogate"),
        (b'{"a":' * 100_000, "nested deeper"),
        (b'{"a":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}", "nested deeper"),
    ],
)
def test_json_that_parsers_disagree_on_is_refused(raw, reason):
    with pytest.raises(InvalidBody, match=reason):
        parse_json_object(raw)


def test_a_surrogate_pair_is_one_character():
    assert parse_json_object(b'{"a": "\\ud83d\\ude00"}') == {"a": "\N{GRINNING FACE}"}


def test_nesting_up_to_the_limit_is_fine():
    depth = MAX_DEPTH - 1
    assert parse_json_object(b'{"a":' + b"[" * depth + b"]" * depth + b"}")


def test_messages_stay_short_for_any_input():
    raw = json.dumps({"k" * 100_000: 1}).encode()
    doubled = raw[:-1] + b", " + raw[1:]
    with pytest.raises(InvalidBody) as caught:
        parse_json_object(doubled)
    assert len(str(caught.value)) < 300
