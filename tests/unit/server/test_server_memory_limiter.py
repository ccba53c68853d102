from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipwright.errors import TooManyRequests
from lipwright.server.http.body import VALUE_BYTES, parse_cost
from lipwright.server.http.memory_limiter import MemoryLimiter

LONG, SHORT = 60.0, 0.01  # seconds


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(scenario(), LONG))


def test_a_reservation_is_released_after_its_block_and_after_an_error():
    async def scenario() -> None:
        limiter = MemoryLimiter(10)
        with suppress(ValueError), limiter.reserve() as reservation:
            await reservation.acquire(7)
            assert limiter.free == 3
            raise ValueError
        assert limiter.free == 10

    run(scenario)


def test_waiting_requests_are_served_in_order_of_arrival():
    async def scenario() -> None:
        limiter, order = MemoryLimiter(10, wait_seconds=LONG), []

        async def acquire_memory(name: str, size: int) -> None:
            with limiter.reserve() as reservation:
                await reservation.acquire(size)
                order.append(name)

        with limiter.reserve() as first:
            await first.acquire(8)
            waiting = [asyncio.create_task(acquire_memory(name, size)) for name, size in
                       (("large", 9), ("small", 1), ("last", 10))]  # fmt: skip
            await asyncio.sleep(0)
            assert (
                order == []
            )  # the small one does not overtake, or the large one would wait forever
        await asyncio.gather(*waiting)
        assert order == ["large", "small", "last"]
        assert limiter.free == 10

    run(scenario)


def test_a_timeout_has_retry_after_and_holds_nothing():
    async def scenario() -> None:
        limiter = MemoryLimiter(10, wait_seconds=SHORT)
        with limiter.reserve() as first:
            await first.acquire(8)
            with limiter.reserve() as second:
                with pytest.raises(TooManyRequests) as caught:
                    await second.acquire(5)
                assert caught.value.retry_after >= 1
                await second.acquire(2)
        assert limiter.free == 10

    run(scenario)


def test_a_cancelled_waiter_lets_the_next_ones_pass():
    async def scenario() -> None:
        limiter = MemoryLimiter(10, wait_seconds=LONG)

        async def acquire_memory(size: int) -> None:
            with limiter.reserve() as reservation:
                await reservation.acquire(size)

        with limiter.reserve() as first:
            await first.acquire(5)
            large, small = (asyncio.create_task(acquire_memory(size)) for size in (6, 5))
            await asyncio.sleep(0)
            large.cancel()
            await small
            assert large.cancelled()
        assert limiter.free == 10

    run(scenario)


def test_memory_granted_at_the_moment_of_cancellation_is_released():
    async def scenario() -> None:
        limiter = MemoryLimiter(10, wait_seconds=LONG)

        async def acquire_memory() -> None:
            with limiter.reserve() as reservation:
                await reservation.acquire(10)

        with limiter.reserve() as first:
            await first.acquire(5)
            late = asyncio.create_task(acquire_memory())
            await asyncio.sleep(0)
        late.cancel()  # its granted has come, but it has not run since
        await asyncio.gather(late, return_exceptions=True)
        assert limiter.free == 10

    run(scenario)


def test_growing_does_not_wait():
    async def scenario() -> None:
        limiter = MemoryLimiter(10, wait_seconds=LONG)
        with limiter.reserve() as one, limiter.reserve() as other:
            await one.acquire(5)
            await other.acquire(4)
            one.grow(6)
            with pytest.raises(TooManyRequests):
                one.grow(7)
            one.shrink(2)
            other.grow(8)
            assert (one.size, other.size, limiter.free) == (2, 8, 0)
        assert limiter.free == 10

    run(scenario)


def test_a_reservation_is_capped_at_the_total():
    async def scenario() -> None:
        limiter = MemoryLimiter(10, wait_seconds=SHORT)
        with limiter.reserve() as reservation:
            await reservation.acquire(1000)
            reservation.grow(2000)
            assert (reservation.size, limiter.free) == (10, 0)

    run(scenario)


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3), st.booleans()), max_size=12))
def test_memory_is_never_overcommitted_and_all_released_at_the_end(callers):
    async def scenario() -> None:
        limiter = MemoryLimiter(10, wait_seconds=LONG)

        async def acquire_memory(size: int, turns: int) -> None:
            with limiter.reserve() as reservation:
                await reservation.acquire(size)
                assert 0 <= limiter.free <= 10 - reservation.size
                for _ in range(turns):
                    await asyncio.sleep(0)

        tasks = [asyncio.create_task(acquire_memory(size, turns)) for size, turns, _ in callers]
        for task, (_, turns, leaves) in zip(tasks, callers, strict=True):
            for _ in range(turns if leaves else 0):
                await asyncio.sleep(0)
            if leaves:
                task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            assert outcome is None or isinstance(outcome, asyncio.CancelledError)
        assert limiter.free == 10

    run(scenario)


@pytest.mark.parametrize(
    ("raw", "cost"),
    [
        (b'{"a": "%s"}' % (b"x" * 1000), 1009),
        ('{"a": "ä"}'.encode() + b" " * 989, 4000),
        (b'{"a": "\\ud83d\\ude00"}' + b" " * 979, 4000),
        (b'{"a": [%s]}' % b",".join([b"[]"] * 100), 201 * VALUE_BYTES),
    ],
)
def test_the_cost_of_parsing_is_estimated(raw, cost):
    assert parse_cost(raw) == cost
