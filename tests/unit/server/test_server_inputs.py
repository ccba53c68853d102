from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipwright.options import SyncOptions
from lipwright.server.errors import InvalidBody
from lipwright.server.inputs import (
    SourceRef,
    SubmitRequest,
    check_idempotency_key,
    drop_nulls,
    parse_traceparent,
    replace_strings,
)

pytestmark = pytest.mark.model  # slow

SOURCE = SourceRef(url="https://a.example/v.mp4", loc=("body", "video_url"))
SUBMISSION = SubmitRequest(
    dialect="runcomfy",
    model_id="m",
    engine="e",
    video=SOURCE,
    audio=SOURCE,
    options=SyncOptions(),
    input={"a": 1, "b": [2]},
)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_the_fingerprint_ignores_the_order_of_keys():
    assert replace(SUBMISSION, input={"b": [2], "a": 1}).fingerprint == SUBMISSION.fingerprint


@pytest.mark.parametrize(
    "change",
    [{"input": {"a": 1, "b": [3]}}, {"input": {"a": 1}}, {"model_id": "n"}, {"dialect": "sync_v2"}],
)
def test_the_fingerprint_differs_by_body_model_and_dialect(change):
    assert replace(SUBMISSION, **change).fingerprint != SUBMISSION.fingerprint


def test_a_valid_traceparent_is_kept():
    assert parse_traceparent(TRACE) == TRACE
    assert parse_traceparent(TRACE.replace("00-", "cc-", 1)) == TRACE.replace("00-", "cc-", 1)


@pytest.mark.parametrize(
    "bad",
    [
        None,
        "",
        TRACE.upper(),
        TRACE[:-1],
        f"{TRACE}-more",
        TRACE.replace("00-", "ff-", 1),
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01",
        f"{TRACE}\n",
    ],
)
def test_any_other_traceparent_is_ignored(bad):
    assert parse_traceparent(bad) is None


@pytest.mark.parametrize("good", ["a", "x" * 255, "6f1c0d5e-8a53", "!~"])
def test_a_valid_idempotency_key_is_accepted(good):
    assert check_idempotency_key(good) == good


@pytest.mark.parametrize("bad", ["", "x" * 256, "a b", "ä", "a\x7f", "a\n"])
def test_any_other_idempotency_key_is_refused(bad):
    with pytest.raises(InvalidBody, match="Idempotency-Key"):
        check_idempotency_key(bad)


def test_no_idempotency_key_is_fine():
    assert check_idempotency_key(None) is None


def test_whole_strings_are_replaced_at_any_depth():
    value = {"a": "data:x", "b": ["data:x", {"c": "data:xy"}], "d": 1}
    assert replace_strings(value, {"data:x": "u"}) == {
        "a": "u",
        "b": ["u", {"c": "data:xy"}],
        "d": 1,
    }


@given(
    st.recursive(st.none() | st.integers(), lambda i: st.lists(i) | st.dictionaries(st.text(), i))
)
def test_all_nulls_are_dropped(value):
    def nulls(part):
        if isinstance(part, dict):
            return any(item is None or nulls(item) for item in part.values())
        return isinstance(part, list) and any(map(nulls, part))

    assert not nulls(drop_nulls(value))
