from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipwright.errors import TooManyRequests
from lipwright.jobs.ledger import rules
from lipwright.jobs.ledger.rules import Account, Terms
from lipwright.jobs.model import PRIORITIES, RANKS, Limits
from lipwright.settings import Settings

NOW = 1_767_323_045_678  # milliseconds since 1970


def admitted(pauses: list[int], per_minute: int) -> list[int]:
    """Return the times of the submits that were let in, after such pauses in milliseconds."""
    account, now, times = Account(key_id="k"), NOW, []
    limits = Limits(max_queued=10**9, submits_per_minute=per_minute)
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
def test_no_span_sees_more_submits_than_a_bucket_and_its_refill(pauses, per_minute):
    times = admitted(pauses, per_minute)
    for first, start in enumerate(times):
        for last, end in enumerate(times[first:], first):
            assert last - first + 1 <= per_minute + (end - start) * per_minute / 60_000 + 1e-6


@given(pauses=st.lists(st.integers(0, 3_000), max_size=200))
def test_a_key_that_keeps_to_its_rate_is_never_refused(pauses):
    steady = [3_000 + pause for pause in pauses]
    assert len(admitted(steady, 20)) == len(steady)


@given(
    per_minute=st.integers(1, 200_000),
    late=st.integers(0, 59_999),
)
def test_after_retry_after_one_more_is_let_in_and_not_a_millisecond_sooner(per_minute, late):
    limits = Limits(max_queued=10**9, submits_per_minute=per_minute)
    empty = Account(key_id="k", due=(NOW + 60_000) * 1_000_000)
    now = NOW + late * (60_000 // per_minute) // 60_000
    with pytest.raises(TooManyRequests) as refused:
        rules.admit(empty, limits, now)
    then = now + round(refused.value.retry_after * 1000)
    rules.admit(empty, limits, then)
    with pytest.raises(TooManyRequests):
        rules.admit(empty, limits, then - 1)


def test_every_rank_fits_the_queues_priorities_and_no_priority_runs_into_the_next():
    assert PRIORITIES[0] * RANKS > 0
    assert PRIORITIES[-1] * RANKS + RANKS - 1 < 2**31


def test_an_account_without_a_limit_has_room_for_all_and_a_full_one_for_none():
    account = Account(key_id="k", released=3)
    assert account.room(None) is None
    assert [account.room(number) for number in (5, 3, 1)] == [2, 0, 0]


def test_uploads_are_found_in_the_work_and_urls_are_none():
    work = {"video": "file:abc", "audio": "https://example.org/file:x", "seed": 3, "mode": "loop"}
    assert rules.files_of(work) == {"abc"}


def test_the_terms_are_those_of_the_settings(tmp_path):
    chosen = Settings(
        data_dir=tmp_path, retention_seconds=5, idempotency_seconds=6, concurrency_per_key=0
    )
    assert Terms.of(chosen) == Terms(retention_seconds=5, idempotency_seconds=6)
    assert Terms.of(Settings(data_dir=tmp_path, concurrency_per_key=2)).concurrency == 2
