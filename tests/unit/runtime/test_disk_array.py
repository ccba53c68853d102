"""Arrays on disk and arrays computed on access behave like NumPy arrays."""

from __future__ import annotations

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
def test_rows_are_indexed_like_numpy_arrays(kind, key):
    values = array()
    result, expected = kind(values)[key], values[key]
    assert result.shape == expected.shape
    assert result.dtype == expected.dtype
    assert np.array_equal(result, expected)


@pytest.mark.parametrize("kind", [on_disk, lazy])
def test_rows_convert_to_a_numpy_array(kind):
    values = array(30)
    rows = kind(values)
    assert rows.shape == values.shape
    assert rows.ndim == 3
    assert len(rows) == 30
    assert np.array_equal(np.asarray(rows), values)
    assert np.array_equal(np.stack(list(rows)), values)


@pytest.mark.parametrize("key", [COUNT, -COUNT - 1, np.array([0, COUNT])])
def test_index_out_of_range_raises_index_error(key):
    with pytest.raises(IndexError):
        on_disk(array())[key]


def test_empty_disk_array_has_no_rows():
    rows = DiskArray((4,), np.uint8)
    assert np.asarray(rows).shape == (0, 4)
    assert rows[:, 2].shape == (0,)


def test_rows_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="shape"):
        DiskArray((4,), np.uint8).append(np.zeros(3, np.uint8))


def test_changes_of_returned_rows_are_not_stored():
    values = array(4)
    rows = on_disk(values)
    rows[1:3][:] = 0
    assert np.array_equal(np.asarray(rows), values)


def test_chunks_cover_all_rows_once():
    parts = list(chunks(on_disk(array()), 100))
    assert [p.start for p, _ in parts] == list(range(0, COUNT, 100))
    assert np.array_equal(np.concatenate([part for _, part in parts]), array())


def test_gather_fills_rows_without_an_index():
    values = array(6)
    gathered = gather(on_disk(values), np.array([-1, 4, 0, -1]), np.nan)
    assert np.isnan(gathered[[0, 3]]).all()
    assert np.array_equal(gathered[1:3], values[[4, 0]])


def test_merge_where_takes_the_second_array_where_the_mask_is_set():
    first, second = array(6), array(7)[:6]
    mask = np.array([0, 1, 1, 0, 0, 1], bool)
    merged = merge_where(on_disk(first), second, mask)
    assert np.array_equal(np.asarray(merged), np.where(mask[:, None, None], second, first))


@given(st.integers(0, 5000), st.integers(1, 800), st.integers(1, 60))
def test_sample_consists_of_whole_runs_within_the_limit(count, limit, run):
    limit = max(limit, run)
    indices = sample_runs(count, limit, run)
    assert len(indices) == min(count, len(indices)) <= max(limit, 1)
    assert (np.diff(indices) > 0).all()
    if count <= limit:
        assert len(indices) == count
    else:
        assert indices[0] == 0
        lengths = np.diff([-1, *np.flatnonzero(np.diff(indices) > 1), len(indices) - 1])
        assert (lengths >= run).all()


def test_full_disk_raises_storage_full(monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    rows = on_disk(array(3))
    monkeypatch.setattr(module.os, "pwrite", full)
    with pytest.raises(StorageFull, match="TMPDIR"):
        rows.append(array(3)[0])


def test_missing_temporary_folder_raises_an_error_that_names_tmpdir(monkeypatch, tmp_path):
    monkeypatch.setattr(module.tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(EncodeFailed, match="TMPDIR"):
        DiskArray((2,), np.float32).append(np.zeros(2, np.float32))


def test_files_have_no_name_and_are_closed_with_the_array(monkeypatch, tmp_path):
    monkeypatch.setattr(module.tempfile, "tempdir", str(tmp_path))
    rows = on_disk(array(3))
    assert list(tmp_path.iterdir()) == []
    descriptor = rows._file.descriptor
    del rows
    with pytest.raises(OSError):  # noqa: PT011 - of the closed descriptor
        os.fstat(descriptor)


def test_reading_a_column_needs_memory_for_few_chunks():
    rows = DiskArray((478, 3), np.float32)
    for _ in range(12):
        rows.extend(np.zeros((CHUNK_ROWS, 478, 3), np.float32))
    chunk = rows[:CHUNK_ROWS].nbytes
    tracemalloc.start()
    try:
        rows[:, 0, 0]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * chunk
