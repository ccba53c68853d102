"""Rules of the ledger: rate limits, checks, counters and conversions."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipwright.errors import InvalidOptions, TooManyRequests
from lipwright.jobs.ledger import rules
from lipwright.jobs.ledger.rules import Account, LedgerPolicy
from lipwright.jobs.model import PRIORITIES, RANKS_PER_PRIORITY, SubmitLimits
from lipwright.settings import Settings

NOW = 1_767_323_045_678  # milliseconds since 1970


def admitted(pauses: list[int], per_minute: int) -> list[int]:
    """Return the times of the admitted submits, given the pauses before each in milliseconds."""
    account, now, times = Account(key_id="k"), NOW, []
    limits = SubmitLimits(max_queued=10**9, submits_per_minute=per_minute)
    for pause in pauses:
        now += pause
        try:
            account = rules.admit(account, limits, now)
        except TooManyRequests:
            continue
        times.append(now)
    return times


@given(
    pauses=st.lists(st.integers(0, 20_000), max_size=60),
    per_minute=st.integers(1, 20),
)
def test_no_interval_admits_more_than_the_bucket_and_its_refill(pauses, per_minute):
    times = admitted(pauses, per_minute)
    for first, start in enumerate(times):
        for last, end in enumerate(times[first:], first):
            assert last - first + 1 <= per_minute + (end - start) * per_minute / 60_000 + 1e-6


@given(pauses=st.lists(st.integers(0, 3_000), max_size=200))
def test_submits_within_the_rate_are_never_refused(pauses):
    steady = [3_000 + pause for pause in pauses]
    assert len(admitted(steady, 20)) == len(steady)


@given(
    per_minute=st.integers(1, 200_000),
    late=st.integers(0, 59_999),
)
def test_a_submit_is_admitted_exactly_after_retry_after(per_minute, late):
    limits = SubmitLimits(max_queued=10**9, submits_per_minute=per_minute)
    empty = Account(key_id="k", bucket_full_at=(NOW + 60_000) * 1_000_000)
    now = NOW + late * (60_000 // per_minute) // 60_000
    with pytest.raises(TooManyRequests) as refused:
        rules.admit(empty, limits, now)
    then = now + round(refused.value.retry_after * 1000)
    rules.admit(empty, limits, then)
    with pytest.raises(TooManyRequests):
        rules.admit(empty, limits, then - 1)


@pytest.mark.parametrize(("excess", "seconds"), [(1, 0.001), (10**9, 1.0), (10**9 + 1, 1.001)])
def test_retry_after_rounds_nanoseconds_up_to_milliseconds(excess, seconds):
    limits = SubmitLimits(max_queued=1, submits_per_minute=60)
    last_token = NOW * 1_000_000 + rules.MINUTE_NS - rules.MINUTE_NS // 60
    rules.admit(Account(key_id="k", bucket_full_at=last_token), limits, NOW)
    with pytest.raises(TooManyRequests, match="60 jobs a minute") as refused:
        rules.admit(Account(key_id="k", bucket_full_at=last_token + excess), limits, NOW)
    assert refused.value.retry_after == seconds


def test_a_full_queue_suggests_when_to_retry():
    limits = SubmitLimits(max_queued=2, submits_per_minute=60)
    with pytest.raises(TooManyRequests, match="limit is 2") as refused:
        rules.admit(Account(key_id="k", queued=2), limits, NOW)
    assert refused.value.retry_after == rules.QUEUE_FULL_RETRY_SECONDS


@pytest.mark.parametrize(
    ("span", "milliseconds"),
    [(1.5, 1500), (timedelta(days=1, milliseconds=3), 86_400_003), (0.0006, 1), (0, 0)],
)
def test_spans_are_rounded_to_milliseconds(span, milliseconds):
    assert rules.to_milliseconds(span) == milliseconds


@pytest.mark.parametrize("limit", ["concurrency", "submits_per_minute", "max_queued"])
def test_an_invalid_limit_of_a_key_is_named(limit):
    limits = {"concurrency": 1, "submits_per_minute": 1, "max_queued": 1}
    rules.check_key("ci", 10, **limits)
    with pytest.raises(InvalidOptions, match=f"^{limit} 0 is out of range"):
        rules.check_key("ci", 10, **{**limits, limit: 0})


@pytest.mark.parametrize("priority", [0, 101])
def test_an_invalid_priority_is_refused_with_the_range(priority):
    with pytest.raises(InvalidOptions, match=r"use 1 \(first\) to 100"):
        rules.check_key("ci", priority, None, None, None)


@pytest.mark.parametrize("length", [1, 64])
def test_the_shortest_and_longest_key_names_are_accepted(length):
    rules.check_key("x" * length, 10, None, None, None)


def test_ranks_fit_31_bits_and_priorities_do_not_overlap():
    assert PRIORITIES[0] * RANKS_PER_PRIORITY > 0
    assert PRIORITIES[-1] * RANKS_PER_PRIORITY + RANKS_PER_PRIORITY - 1 < 2**31


def test_release_capacity_is_concurrency_minus_released():
    account = Account(key_id="k", released=3)
    assert account.release_capacity(None) is None
    assert [account.release_capacity(number) for number in (5, 3, 1)] == [2, 0, 0]


def test_upload_ids_ignores_urls_and_other_values():
    payload = {"video": "file:abc", "audio": "https://example.org/file:x", "seed": 3}
    assert rules.upload_ids(payload) == {"abc"}


def test_the_policy_is_read_from_the_settings(tmp_path):
    settings = Settings(
        data_dir=tmp_path, retention_seconds=5, idempotency_seconds=6, concurrency_per_key=2
    )
    policy = LedgerPolicy(retention_seconds=5, idempotency_seconds=6, concurrency=2)
    assert LedgerPolicy.from_settings(settings) == policy


def test_the_default_policy_is_that_of_the_default_settings(tmp_path):
    unlimited = Settings(data_dir=tmp_path, concurrency_per_key=0)
    assert LedgerPolicy() == LedgerPolicy.from_settings(unlimited)
