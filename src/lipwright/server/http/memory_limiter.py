"""A bound on what all callers together may have in memory: shares of one budget of bytes.

A share is taken in full before its bytes come, so that no two wait for what the other holds.
Whoever finds too little left waits in line for a while, unread by the server, then is refused.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from lipwright.errors import TooManyRequests

PATIENCE = 10.0  # seconds in line
RETRY_SECONDS = 5.0  # for who has waited in vain


class Budget:
    """So many bytes; used from one event loop."""

    def __init__(self, total: int, *, patience: float = PATIENCE) -> None:
        self.total = total
        self.free = total
        self._patience = patience
        self._line: deque[tuple[int, asyncio.Future[None]]] = deque()

    @contextmanager
    def share(self) -> Iterator[Share]:
        """Yield a share, empty at first, that is given back with the block."""
        share = Share(self)
        try:
            yield share
        finally:
            share.cut(0)

    async def _take(self, size: int) -> None:
        """Take so many bytes, after those who came before.

        Raises:
            TooManyRequests: they are not free in time.
        """
        if not self._line and size <= self.free:
            self.free -= size
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append((size, turn))
        try:
            async with asyncio.timeout(self._patience):
                await turn
        except TimeoutError as cause:
            self._leave(size, turn)
            raise self._refusal() from cause
        except BaseException:
            self._leave(size, turn)
            raise

    def _leave(self, size: int, turn: asyncio.Future[None]) -> None:
        """Give up a place in line, or what was given in the very moment of leaving."""
        if turn.done() and not turn.cancelled():
            self._give(size)
            return
        self._line = deque(place for place in self._line if place[1] is not turn)
        self._serve()

    def _take_now(self, size: int) -> None:
        if size > self.free:
            raise self._refusal()
        self.free -= size

    def _give(self, size: int) -> None:
        self.free += size
        self._serve()

    def _serve(self) -> None:
        while self._line and self._line[0][0] <= self.free:
            size, turn = self._line.popleft()
            if not turn.done():
                self.free -= size
                turn.set_result(None)

    def _refusal(self) -> TooManyRequests:
        return TooManyRequests(
            "too many large bodies are coming in: try again soon, or upload the files and send "
            "their URLs",
            retry_after=RETRY_SECONDS,
        )


class Share:
    """Part of a budget."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.size = 0

    async def take(self, size: int) -> None:
        """Take so many bytes, at most all there are; only of an empty share, as this may wait.

        Raises:
            TooManyRequests: they are not free in time.
        """
        assert not self.size
        wanted = min(size, self._budget.total)
        await self._budget._take(wanted)
        self.size = wanted

    def grow(self, size: int) -> None:
        """Make it so large, at most all there is, if it is smaller.

        Raises:
            TooManyRequests: that is not free now.
        """
        more = min(size, self._budget.total) - self.size
        if more > 0:
            self._budget._take_now(more)
            self.size += more

    def cut(self, size: int) -> None:
        """Give back what is over *size*."""
        if self.size > size:
            self._budget._give(self.size - size)
            self.size = size
