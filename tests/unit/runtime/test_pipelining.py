"""Stages side by side: order, bounded lead, and what goes wrong in one reaches the other."""

from __future__ import annotations

import threading

import pytest

from lipwright.errors import Cancelled
from lipwright.runtime.pipelining import BackgroundTask, WriteBehind, prefetch


def hand_over(work, items, queue_size=3, then=lambda: None):
    with WriteBehind(work, queue_size) as behind:
        for item in items:
            behind(item)
        then()


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
def test_all_items_come_in_order(count, queue_size):
    assert list(prefetch(numbers(count), queue_size)) == list(range(count))


def test_items_are_made_in_another_thread():
    threads = list(prefetch(threading.get_ident() for _ in range(3)))
    assert set(threads) != {threading.get_ident()}
    assert len(set(threads)) == 1


def test_the_lead_is_bounded():
    seen = []
    coming = prefetch(numbers(100, seen), queue_size=4)
    assert [next(coming) for _ in range(10)] == list(range(10))
    coming.close()
    assert len(seen) <= 14


def test_what_making_raises_comes_after_the_items_before_it():
    def failing():
        yield 1
        yield 2
        raise ValueError("broken")

    coming = prefetch(failing(), queue_size=5)
    assert [next(coming), next(coming)] == [1, 2]
    with pytest.raises(ValueError, match="broken"):
        next(coming)


def test_closing_early_closes_the_source_and_leaves_no_thread():
    closed, before = [], threading.active_count()
    coming = prefetch(numbers(100, closed=closed))
    next(coming)
    coming.close()
    assert closed == [True]
    assert threading.active_count() == before


@pytest.mark.parametrize("queue_size", [1, 3])
def test_work_is_done_behind_in_order(queue_size):
    done = []
    hand_over(done.append, range(20), queue_size)
    assert done == list(range(20))


def test_what_work_raises_reaches_the_caller_and_ends_the_work():
    done = []

    def work(k):
        if k == 2:
            raise OSError("disk full")
        done.append(k)

    with pytest.raises(OSError, match="disk full"):
        hand_over(work, range(100), queue_size=2)
    assert done == [0, 1]


def test_a_failure_of_the_last_item_is_raised_at_the_end():
    def work(k):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        hand_over(work, [1])


def test_what_waits_is_dropped_when_the_block_raises():
    began, go = threading.Event(), threading.Event()
    done = []

    def work(k):
        began.set()
        go.wait(5)
        done.append(k)

    def fail():
        began.wait(5)
        threading.Timer(0.01, go.set).start()
        raise KeyError

    with pytest.raises(KeyError):
        hand_over(work, range(3), then=fail)
    assert done == [0]


# ---------------------------------------------------------------------------------------- beside
def test_work_is_done_beside_the_block():
    gate = threading.Event()
    with BackgroundTask(lambda check: gate.wait(10) and threading.get_ident()) as beside:
        gate.set()
        assert beside.result() not in (False, threading.get_ident())


def test_what_work_raises_beside_is_raised_where_its_result_is_asked_for():
    def fail(check):
        raise ValueError("deaf")

    with BackgroundTask(fail) as beside:
        pass
    with pytest.raises(ValueError, match="deaf"):
        beside.result()


def test_leaving_the_block_ends_the_work_and_leaves_no_thread():
    rounds, before = threading.Semaphore(0), threading.active_count()

    def endless(check):
        while True:
            check()
            rounds.release()

    with BackgroundTask(endless) as beside:
        rounds.acquire()
    assert threading.active_count() == before
    with pytest.raises(Cancelled):
        beside.result()


# ------------------------------------------------------------------------------------ one by one
def test_without_room_everything_happens_in_one_thread():
    here, seen, closed = threading.get_ident(), [], []
    items = prefetch(numbers(5, seen, closed), 0)
    assert next(items) == 0
    assert seen == [0]
    items.close()
    assert closed == [True]
    hand_over(lambda _: seen.append(threading.get_ident()), [1], queue_size=0)
    assert seen[-1] == here
    with BackgroundTask(lambda check: threading.get_ident(), threaded=False) as beside:
        assert beside.result() == here
