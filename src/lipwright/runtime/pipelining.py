"""Stages of a job side by side: each in a thread, a few items apart.

Decoding, painting and encoding spend their time in native code that lets go of Python's lock, so a
thread each keeps two cores busy. Only a few items wait between them: memory does not grow with the
clip.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from threading import Event
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from lipwright.errors import Cancelled

T = TypeVar("T")

QUEUE_SIZE = 3  # items between two stages
_END: Any = object()


def prefetch(items: Iterable[T], room: int = QUEUE_SIZE) -> Generator[T]:
    """Yield *items*, made in a thread of their own up to *room* before they are asked for.

    Without room there is no thread, and each is made when it is asked for.

    What making them raises is raised here, after the items before it. Closing the generator early
    waits for the item that is being made, and closes *items* if that is a generator.
    """
    source = iter(items)
    if not room:
        try:
            yield from source
        finally:
            if isinstance(source, Generator):
                source.close()
        return
    pool = ThreadPoolExecutor(1, thread_name_prefix="ahead")
    try:
        coming = deque(pool.submit(next, source, _END) for _ in range(room))
        while (item := coming.popleft().result()) is not _END:
            coming.append(pool.submit(next, source, _END))
            yield item
    finally:
        pool.shutdown(cancel_futures=True)
        if isinstance(source, Generator):
            source.close()


class BackgroundTask(AbstractContextManager["BackgroundTask[T]"], Generic[T]):
    """Does *work* in a thread while the block goes on; a context manager.

    *work* is given a function to call every now and then, which ends it when nobody waits any more:
    the block was left, whatever the reason. Unless it is to be *apart*, it is done when its result
    is asked for.
    """

    def __init__(self, work: Callable[[Callable[[], None]], T], *, apart: bool = True) -> None:
        self._work, self._left = work, Event()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="beside")
        self._done = self._pool.submit(work, self._go_on) if apart else None

    def result(self) -> T:
        """Wait for what *work* returns.

        Raises:
            BaseException: what *work* raised.
        """
        return self._work(self._go_on) if self._done is None else self._done.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._pool.shutdown()

    def _go_on(self) -> None:
        if self._left.is_set():
            raise Cancelled


class WriteBehind(AbstractContextManager["WriteBehind[T]"], Generic[T]):
    """Hands items to *work* in a thread of its own, in order; a context manager.

    Leaving the block waits until all is done. What *work* raises is raised by a later call, or when
    the block is left; it gets no item after that. When the block itself raises, what waits is
    dropped. Without room there is no thread, and each item is worked on at once.
    """

    def __init__(self, work: Callable[[T], object], room: int = QUEUE_SIZE) -> None:
        self._work, self._room = work, room
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="behind")
        self._waiting: deque[Future[None]] = deque()
        self._failed = False

    def __call__(self, item: T) -> None:
        """Put *item* in line; wait while the line is full.

        Raises:
            BaseException: what *work* raised for an item before.
        """
        if not self._room:
            self._work(item)
            return
        while len(self._waiting) >= self._room:
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(self._do, item))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=error is not None)
        if error is None:
            for done in self._waiting:
                done.result()

    def _do(self, item: T) -> None:
        if not self._failed:
            self._failed = True
            self._work(item)
            self._failed = False
