"""Overlapping stages keep the order, a bounded queue, and pass errors on."""

from __future__ import annotations

import threading

import pytest

from lipwright.errors import Cancelled
from lipwright.runtime.pipelining import BackgroundTask, WriteBehind, prefetch


def write_all(work, items, queue_size=3, at_end=lambda: None):
    with WriteBehind(work, queue_size) as writer:
        for item in items:
            writer(item)
        at_end()


def numbers(count, seen=None, closed=None):
    try:
        for k in range(count):
            if seen is not None:
                seen.append(k)
            yield k
    finally:
        if closed is not None:
            closed.append(True)


@pytest.mark.parametrize("queue_size", [0, 1, 3, 50])
@pytest.mark.parametrize("count", [0, 1, 20])
def test_prefetch_yields_items_in_order(count, queue_size):
    assert list(prefetch(numbers(count), queue_size)) == list(range(count))


def test_prefetch_produces_items_in_one_other_thread():
    threads = list(prefetch(threading.get_ident() for _ in range(3)))
    assert set(threads) != {threading.get_ident()}
    assert len(set(threads)) == 1


def test_prefetch_runs_ahead_by_at_most_the_queue_size():
    seen = []
    items = prefetch(numbers(100, seen), queue_size=4)
    assert [next(items) for _ in range(10)] == list(range(10))
    items.close()
    assert len(seen) <= 14


def test_prefetch_raises_an_error_after_the_items_before_it():
    def failing():
        yield 1
        yield 2
        raise ValueError("broken")

    items = prefetch(failing(), queue_size=5)
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(ValueError, match="broken"):
        next(items)


def test_closing_prefetch_early_closes_the_source_and_ends_the_thread():
    closed, before = [], threading.active_count()
    items = prefetch(numbers(100, closed=closed))
    next(items)
    items.close()
    assert closed == [True]
    assert threading.active_count() == before


@pytest.mark.parametrize("queue_size", [1, 3])
def test_write_behind_processes_items_in_order(queue_size):
    done = []
    write_all(done.append, range(20), queue_size)
    assert done == list(range(20))


def test_write_behind_raises_an_error_and_drops_the_remaining_items():
    done = []

    def work(k):
        if k == 2:
            raise OSError("disk full")
        done.append(k)

    with pytest.raises(OSError, match="disk full"):
        write_all(work, range(100), queue_size=2)
    assert done == [0, 1]


def test_write_behind_raises_an_error_of_the_last_item_at_the_end():
    def work(k):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_all(work, [1])


def test_write_behind_drops_waiting_items_when_the_block_raises():
    started, proceed = threading.Event(), threading.Event()
    done = []

    def work(k):
        started.set()
        proceed.wait(5)
        done.append(k)

    def fail():
        started.wait(5)
        threading.Timer(0.01, proceed.set).start()
        raise KeyError

    with pytest.raises(KeyError):
        write_all(work, range(3), at_end=fail)
    assert done == [0]


# ------------------------------------------------------------------------------- background task
def test_background_task_runs_in_another_thread():
    gate = threading.Event()
    with BackgroundTask(lambda check: gate.wait(10) and threading.get_ident()) as task:
        gate.set()
        assert task.result() not in (False, threading.get_ident())


def test_background_task_raises_its_error_from_result():
    def fail(check):
        raise ValueError("broken")

    with BackgroundTask(fail) as task:
        pass
    with pytest.raises(ValueError, match="broken"):
        task.result()


def test_leaving_the_block_cancels_the_background_task_and_ends_its_thread():
    rounds, before = threading.Semaphore(0), threading.active_count()

    def endless(check):
        while True:
            check()
            rounds.release()

    with BackgroundTask(endless) as task:
        rounds.acquire()
    assert threading.active_count() == before
    with pytest.raises(Cancelled):
        task.result()


# ------------------------------------------------------------------------------- without threads
def test_queue_size_0_runs_everything_in_the_calling_thread():
    caller, seen, closed = threading.get_ident(), [], []
    items = prefetch(numbers(5, seen, closed), 0)
    assert next(items) == 0
    assert seen == [0]
    items.close()
    assert closed == [True]
    write_all(lambda _: seen.append(threading.get_ident()), [1], queue_size=0)
    assert seen[-1] == caller
    with BackgroundTask(lambda check: threading.get_ident(), threaded=False) as task:
        assert task.result() == caller
