"""Run the stages of a job side by side: each in a thread of its own, a few items apart.

Decoding, painting and encoding spend their time in native code that releases Python's lock, so a
thread each keeps two cores busy. Queues between them are short: memory does not grow with the
length of the clip.
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


def prefetch(items: Iterable[T], queue_size: int = QUEUE_SIZE) -> Generator[T]:
    """Yield *items*, which a thread computes up to *queue_size* ahead.

    With a size of 0 there is no thread, and each item is computed when it is requested.

    An exception of *items* is raised here, after the items before it. Closing the generator early
    waits for the item that is being computed, and closes *items* if that is a generator.
    """
    source = iter(items)
    if not queue_size:
        try:
            yield from source
        finally:
            if isinstance(source, Generator):
                source.close()
        return
    pool = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
    try:
        pending = deque(pool.submit(next, source, _END) for _ in range(queue_size))
        while (item := pending.popleft().result()) is not _END:
            pending.append(pool.submit(next, source, _END))
            yield item
    finally:
        pool.shutdown(cancel_futures=True)
        if isinstance(source, Generator):
            source.close()


class BackgroundTask(AbstractContextManager["BackgroundTask[T]"], Generic[T]):
    """Runs a function in a thread while the block runs; a context manager.

    The function receives a ``check`` callback and calls it now and then: it raises
    :class:`Cancelled` once the block has ended, for whatever reason.
    """

    def __init__(
        self, function: Callable[[Callable[[], None]], T], *, threaded: bool = True
    ) -> None:
        """Start *function*; without a thread it runs when its result is requested."""
        self._function, self._ended = function, Event()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="background")
        self._future = self._pool.submit(function, self._check) if threaded else None

    def result(self) -> T:
        """Wait for the return value of the function.

        Raises:
            BaseException: the exception of the function.
        """
        return self._function(self._check) if self._future is None else self._future.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._pool.shutdown()

    def _check(self) -> None:
        if self._ended.is_set():
            raise Cancelled


class WriteBehind(AbstractContextManager["WriteBehind[T]"], Generic[T]):
    """Passes items to a function in a thread of its own, in order; a context manager.

    Leaving the block waits for all items. An exception of the function is raised by a later call or
    when the block ends; no further items are passed to it. If the block itself raises, waiting
    items are dropped.
    """

    def __init__(self, function: Callable[[T], object], queue_size: int = QUEUE_SIZE) -> None:
        """Take the function; with a queue size of 0 there is no thread."""
        self._function, self._queue_size = function, queue_size
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="write-behind")
        self._waiting: deque[Future[None]] = deque()
        self._failed = False

    def __call__(self, item: T) -> None:
        """Queue *item*; block while the queue is full.

        Raises:
            BaseException: the exception of the function for an earlier item.
        """
        if not self._queue_size:
            self._function(item)
            return
        while len(self._waiting) >= self._queue_size:
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(self._run, item))

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
            for future in self._waiting:
                future.result()

    def _run(self, item: T) -> None:
        if not self._failed:
            self._failed = True
            self._function(item)
            self._failed = False
