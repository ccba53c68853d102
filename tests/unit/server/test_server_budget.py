from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipwright.errors import TooManyRequests
from lipwright.server.http.body import VALUE_BYTES, bulk_of
from lipwright.server.http.memory_limiter import Budget

LONG, SHORT = 60.0, 0.01  # seconds of patience


def run(story: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), LONG))


def test_a_share_comes_back_with_its_block_whatever_happens():
    async def story() -> None:
        budget = Budget(10)
        with suppress(ValueError), budget.share() as share:
            await share.take(7)
            assert budget.free == 3
            raise ValueError
        assert budget.free == 10

    run(story)


def test_who_finds_too_little_waits_in_order_of_arrival():
    async def story() -> None:
        budget, order = Budget(10, patience=LONG), []

        async def come(name: str, size: int) -> None:
            with budget.share() as share:
                await share.take(size)
                order.append(name)

        with budget.share() as first:
            await first.take(8)
            waiting = [asyncio.create_task(come(name, size)) for name, size in
                       (("large", 9), ("small", 1), ("last", 10))]  # fmt: skip
            await asyncio.sleep(0)
            assert order == []  # the small one does not push in, or the large one waited for ever
        await asyncio.gather(*waiting)
        assert order == ["large", "small", "last"]
        assert budget.free == 10

    run(story)


def test_who_waits_in_vain_is_told_when_to_come_back_and_leaves_nothing():
    async def story() -> None:
        budget = Budget(10, patience=SHORT)
        with budget.share() as first:
            await first.take(8)
            with budget.share() as second:
                with pytest.raises(TooManyRequests) as caught:
                    await second.take(5)
                assert caught.value.retry_after >= 1
                await second.take(2)
        assert budget.free == 10

    run(story)


def test_one_that_gives_up_lets_those_behind_it_pass():
    async def story() -> None:
        budget = Budget(10, patience=LONG)

        async def come(size: int) -> None:
            with budget.share() as share:
                await share.take(size)

        with budget.share() as first:
            await first.take(5)
            large, small = (asyncio.create_task(come(size)) for size in (6, 5))
            await asyncio.sleep(0)
            large.cancel()
            await small
            assert large.cancelled()
        assert budget.free == 10

    run(story)


def test_a_share_given_in_the_moment_of_giving_up_is_not_lost():
    async def story() -> None:
        budget = Budget(10, patience=LONG)

        async def come() -> None:
            with budget.share() as share:
                await share.take(10)

        with budget.share() as first:
            await first.take(5)
            late = asyncio.create_task(come())
            await asyncio.sleep(0)
        late.cancel()  # its turn has come, but it has not run since
        await asyncio.gather(late, return_exceptions=True)
        assert budget.free == 10

    run(story)


def test_a_share_that_must_grow_does_not_wait_for_others():
    async def story() -> None:
        budget = Budget(10, patience=LONG)
        with budget.share() as one, budget.share() as other:
            await one.take(5)
            await other.take(4)
            one.grow(6)
            with pytest.raises(TooManyRequests):
                one.grow(7)
            one.cut(2)
            other.grow(8)
            assert (one.size, other.size, budget.free) == (2, 8, 0)
        assert budget.free == 10

    run(story)


def test_more_than_all_is_all():
    async def story() -> None:
        budget = Budget(10, patience=SHORT)
        with budget.share() as share:
            await share.take(1000)
            share.grow(2000)
            assert (share.size, budget.free) == (10, 0)

    run(story)


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3), st.booleans()), max_size=12))
def test_the_budget_is_never_overdrawn_and_whole_in_the_end(callers):
    async def story() -> None:
        budget = Budget(10, patience=LONG)

        async def come(size: int, turns: int) -> None:
            with budget.share() as share:
                await share.take(size)
                assert 0 <= budget.free <= 10 - share.size
                for _ in range(turns):
                    await asyncio.sleep(0)

        tasks = [asyncio.create_task(come(size, turns)) for size, turns, _ in callers]
        for task, (_, turns, leaves) in zip(tasks, callers, strict=True):
            for _ in range(turns if leaves else 0):
                await asyncio.sleep(0)
            if leaves:
                task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            assert outcome is None or isinstance(outcome, asyncio.CancelledError)
        assert budget.free == 10

    run(story)


@pytest.mark.parametrize(
    ("raw", "bulk"),
    [
        (b'{"a": "%s"}' % (b"x" * 1000), 1009),
        ('{"a": "ä"}'.encode() + b" " * 989, 4000),
        (b'{"a": "\\ud83d\\ude00"}' + b" " * 979, 4000),
        (b'{"a": [%s]}' % b",".join([b"[]"] * 100), 201 * VALUE_BYTES),
    ],
)
def test_what_parsing_takes_is_known_before(raw, bulk):
    assert bulk_of(raw) == bulk
