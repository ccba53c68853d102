"""The order in which API keys get a slot."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lipwright.jobs.model import RANKS_PER_PRIORITY
from lipwright.jobs.queue import FairScheduler


def rank(priority: int, sequence: int) -> int:
    return priority * RANKS_PER_PRIORITY + sequence


def test_the_better_priority_goes_first():
    scheduler = FairScheduler()
    first_ranks = {"early": rank(10, 1), "urgent": rank(1, 999)}
    assert [scheduler.choose(first_ranks, {}) for _ in range(3)] == ["urgent"] * 3


def test_keys_of_one_priority_take_turns():
    scheduler, chosen = FairScheduler(), []
    first = {"a": 1, "b": 501, "c": 502}
    for k in range(6):
        first_ranks = {key: rank(10, sequence + k) for key, sequence in first.items()}
        chosen.append(scheduler.choose(first_ranks, {}))
    assert chosen == ["a", "b", "c", "a", "b", "c"]


def test_a_key_with_fewer_running_jobs_goes_before_one_with_more():
    first_ranks = {"a": rank(10, 1), "b": rank(10, 2)}
    assert FairScheduler().choose(first_ranks, {"a": 2, "b": 1}) == "b"


def test_no_key_is_chosen_when_no_job_waits():
    assert FairScheduler().choose({}, {"a": 1}) is None


@given(st.lists(st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 99), min_size=1)))
def test_no_waiting_key_starves(rounds):
    """No key of the same priority gets two turns while another one keeps waiting."""
    scheduler, passed = FairScheduler(), dict.fromkeys("abcdef", 0)
    for waiting in rounds:
        first_ranks = {key: rank(10, sequence) for key, sequence in waiting.items()}
        chosen = scheduler.choose(first_ranks, {})
        for key in passed:
            passed[key] = passed[key] + 1 if key in first_ranks and key != chosen else 0
        assert max(passed.values()) < len(passed)
