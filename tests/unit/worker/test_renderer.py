"""Threads and cores of a slot, and errors reported by the render process."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lipwright.errors import LipwrightError, MediaUnreadable
from lipwright.worker.renderer import error_from_code, slot_cores, threads_per_slot


def test_cores_are_shared_evenly_unless_a_number_is_given():
    assert threads_per_slot(0, slots=2, cores=8) == 4
    assert threads_per_slot(0, slots=3, cores=2) == 1
    assert threads_per_slot(5, slots=2, cores=8) == 5


def test_each_slot_has_cores_of_its_own_while_there_are_enough():
    available = [0, 1, 4, 5]
    assert [slot_cores(slot, 2, available) for slot in range(3)] == [[0, 1], [4, 5], [0, 1]]
    assert slot_cores(1, 9, available) == available


@given(
    st.integers(0, 20), st.integers(1, 20), st.lists(st.integers(0, 63), min_size=1, unique=True)
)
def test_a_slot_gets_only_available_cores(slot, threads, available):
    cores = slot_cores(slot, threads, available)
    assert set(cores) <= set(available)
    assert len(cores) == min(threads, len(available))


def test_an_error_is_restored_from_its_code():
    error = error_from_code("media_unreadable", "no pictures")
    assert isinstance(error, MediaUnreadable)
    assert str(error) == "no pictures"
    assert type(error_from_code("nothing we know", "x")) is LipwrightError
