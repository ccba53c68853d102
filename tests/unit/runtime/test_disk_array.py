"""Rows that do not lie in memory."""

import errno
import os
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipwright.errors import EncodeFailed, StorageFull
from lipwright.runtime import disk_array as module
from lipwright.runtime.disk_array import (
    CHUNK_ROWS,
    DiskArray,
    LazyArray,
    chunks,
    gather,
    merge_where,
    sample_runs,
)

COUNT = 2 * CHUNK_ROWS + 40


def array(count=COUNT):
    return np.random.default_rng(count).normal(size=(count, 5, 3)).astype(np.float32)


def on_disk(values):
    rows = DiskArray(values.shape[1:], values.dtype)
    rows.append(values[0])
    for part in np.array_split(values[1:], 3):
        rows.extend(part)
    return rows


def lazy(values):
    return LazyArray(len(values), values.shape[1:], values.dtype, lambda indices: values[indices])


KEYS = [
    0,
    -1,
    COUNT - 1,
    slice(None),
    slice(3, 9),
    slice(CHUNK_ROWS - 2, None, 7),
    slice(None, None, -1),
    slice(5, 5),
    np.array([7, 2, 2, 300]),
    np.arange(COUNT) % 3 == 1,
    np.zeros(COUNT, bool),
    (slice(None), 0, 0),
    (slice(None), [4, 1]),
    (slice(2, 400), slice(1, 3), 2),
    (slice(None), np.eye(5, 3, dtype=bool)),
    (np.arange(COUNT) > 500, 1),
    (9, 1, 2),
]


@pytest.mark.parametrize("kind", [on_disk, lazy])
@pytest.mark.parametrize("key", KEYS, ids=str)
def test_rows_are_indexed_as_arrays_are(kind, key):
    values = array()
    found, expected = kind(values)[key], values[key]
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("kind", [on_disk, lazy])
def test_rows_become_an_array_in_memory(kind):
    values = array(30)
    rows = kind(values)
    assert rows.shape == values.shape
    assert rows.ndim == 3
    assert len(rows) == 30
    assert np.array_equal(np.asarray(rows), values)
    assert np.array_equal(np.stack(list(rows)), values)


@pytest.mark.parametrize("key", [COUNT, -COUNT - 1, np.array([0, COUNT])])
def test_no_row_is_found_beyond_the_last(key):
    with pytest.raises(IndexError):
        on_disk(array())[key]


def test_an_empty_reel_has_no_rows_and_no_file():
    rows = DiskArray((4,), np.uint8)
    assert np.asarray(rows).shape == (0, 4)
    assert rows[:, 2].shape == (0,)


def test_rows_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="shape"):
        DiskArray((4,), np.uint8).append(np.zeros(3, np.uint8))


def test_what_was_handed_out_is_the_caller_s_own():
    values = array(4)
    rows = on_disk(values)
    rows[1:3][:] = 0
    assert np.array_equal(np.asarray(rows), values)


def test_chunks_cover_all_rows_once():
    parts = list(chunks(on_disk(array()), 100))
    assert [p.start for p, _ in parts] == list(range(0, COUNT, 100))
    assert np.array_equal(np.concatenate([part for _, part in parts]), array())


def test_a_spread_reel_is_blank_where_there_is_no_row():
    values = array(6)
    laid = gather(on_disk(values), np.array([-1, 4, 0, -1]), np.nan)
    assert np.isnan(laid[[0, 3]]).all()
    assert np.array_equal(laid[1:3], values[[4, 0]])


def test_either_takes_the_others_where_they_are_added():
    one, two = array(6), array(7)[:6]
    added = np.array([0, 1, 1, 0, 0, 1], bool)
    mixed = merge_where(on_disk(one), two, added)
    assert np.array_equal(np.asarray(mixed), np.where(added[:, None, None], two, one))


@given(st.integers(0, 5000), st.integers(1, 800), st.integers(1, 60))
def test_a_sample_is_made_of_whole_runs_and_not_larger_than_asked(count, most, run):
    most = max(most, run)
    indices = sample_runs(count, most, run)
    assert len(indices) == min(count, len(indices)) <= max(most, 1)
    assert (np.diff(indices) > 0).all()
    if count <= most:
        assert len(indices) == count
    else:
        assert indices[0] == 0
        lengths = np.diff([-1, *np.flatnonzero(np.diff(indices) > 1), len(indices) - 1])
        assert (lengths >= run).all()


def test_a_full_disk_is_one_clear_error(monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    rows = on_disk(array(3))
    monkeypatch.setattr(module.os, "pwrite", full)
    with pytest.raises(StorageFull, match="TMPDIR"):
        rows.append(array(3)[0])


def test_no_folder_for_temporary_files_is_one_clear_error(monkeypatch, tmp_path):
    monkeypatch.setattr(module.tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(EncodeFailed, match="TMPDIR"):
        DiskArray((2,), np.float32).append(np.zeros(2, np.float32))


def test_files_are_closed_and_have_no_name(monkeypatch, tmp_path):
    monkeypatch.setattr(module.tempfile, "tempdir", str(tmp_path))
    rows = on_disk(array(3))
    assert list(tmp_path.iterdir()) == []
    number = rows._file.descriptor
    del rows
    with pytest.raises(OSError):  # noqa: PT011 - of the closed descriptor
        os.fstat(number)


def test_reading_a_column_holds_no_more_than_a_few_chunks():
    rows = DiskArray((478, 3), np.float32)
    for _ in range(12):
        rows.extend(np.zeros((CHUNK_ROWS, 478, 3), np.float32))
    chunk = rows[:CHUNK_ROWS].nbytes
    tracemalloc.start()
    try:
        rows[:, 0, 0]
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 4 * chunk
