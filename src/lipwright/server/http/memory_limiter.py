"""A limit on the memory that all requests together hold.

A request reserves its memory before its body is read, in one step, so that no two requests wait for
memory that the other one holds. Requests over the limit wait briefly, then receive 429.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from lipwright.errors import TooManyRequests

WAIT_SECONDS = 10.0  # longest wait for memory
RETRY_SECONDS = 5.0  # Retry-After of a refused request


class MemoryLimiter:
    """Grants reservations up to a total number of bytes, first come, first served.

    Not thread-safe: use it from one event loop.

    Args:
        total: bytes that all reservations together may hold.
        wait_seconds: longest wait of `MemoryReservation.acquire`.
    """

    def __init__(self, total: int, *, wait_seconds: float = WAIT_SECONDS) -> None:
        self.total = total
        self.free = total
        self._wait_seconds = wait_seconds
        self._waiters: deque[tuple[int, asyncio.Future[None]]] = deque()

    @contextmanager
    def reserve(self) -> Iterator[MemoryReservation]:
        """Yield an empty reservation; it is released at the end of the block."""
        reservation = MemoryReservation(self)
        try:
            yield reservation
        finally:
            reservation.shrink(0)

    async def _acquire(self, size: int) -> None:
        """Take *size* bytes after all earlier waiters.

        Raises:
            TooManyRequests: they do not become free in time.
        """
        if not self._waiters and size <= self.free:
            self.free -= size
            return
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((size, granted))
        try:
            async with asyncio.timeout(self._wait_seconds):
                await granted
        except TimeoutError as cause:
            self._abandon(size, granted)
            raise self._refusal() from cause
        except BaseException:
            self._abandon(size, granted)
            raise

    def _abandon(self, size: int, granted: asyncio.Future[None]) -> None:
        """Remove a waiter; release its memory if it was granted at the same moment."""
        if granted.done() and not granted.cancelled():
            self._release(size)
            return
        self._waiters = deque(waiter for waiter in self._waiters if waiter[1] is not granted)
        self._wake_waiters()

    def _acquire_now(self, size: int) -> None:
        if size > self.free:
            raise self._refusal()
        self.free -= size

    def _release(self, size: int) -> None:
        self.free += size
        self._wake_waiters()

    def _wake_waiters(self) -> None:
        while self._waiters and self._waiters[0][0] <= self.free:
            size, granted = self._waiters.popleft()
            if not granted.done():
                self.free -= size
                granted.set_result(None)

    def _refusal(self) -> TooManyRequests:
        return TooManyRequests(
            "too many large bodies are arriving: try again soon, or upload the files and send "
            "their URLs",
            retry_after=RETRY_SECONDS,
        )


class MemoryReservation:
    """The memory that one request holds.

    Attributes:
        size: bytes held now.
    """

    def __init__(self, limiter: MemoryLimiter) -> None:
        self._limiter = limiter
        self.size = 0

    async def acquire(self, size: int) -> None:
        """Take *size* bytes, at most the total. The reservation must be empty, as this may wait.

        Raises:
            TooManyRequests: they do not become free in time.
        """
        assert not self.size
        wanted = min(size, self._limiter.total)
        await self._limiter._acquire(wanted)
        self.size = wanted

    def grow(self, size: int) -> None:
        """Grow to *size* bytes, at most the total, without waiting.

        Raises:
            TooManyRequests: they are not free now.
        """
        more = min(size, self._limiter.total) - self.size
        if more > 0:
            self._limiter._acquire_now(more)
            self.size += more

    def shrink(self, size: int) -> None:
        """Release all but *size* bytes."""
        if self.size > size:
            self._limiter._release(self.size - size)
            self.size = size
