"""Arrays with a row per frame that are kept on disk or computed on access.

The data of one frame (landmarks, rasters) takes some kilobytes: that of an hour half a gigabyte,
and each stage that derives an array from it would need as much again. A :class:`DiskArray` keeps
its rows in a temporary file; a :class:`LazyArray` computes rows on access. Both are indexed like
NumPy arrays and return NumPy arrays, so functions that read some rows, or a few columns of all,
work with either.

They support indexing, iteration, ``len``, ``shape``, ``ndim``, ``dtype`` and conversion by
``np.asarray``. Unlike arrays they have no arithmetic, no assignment, no views and no methods such
as ``mean``, and each access reads or computes anew.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from lipwright.errors import EncodeFailed, OutputError, StorageFull, is_disk_full
from lipwright.types import Ints

CHUNK_ROWS = 256  # rows in memory at a time


class VirtualArray(ABC):
    """An array of n rows of equal shape that is read row by row."""

    def __init__(self, row: tuple[int, ...], dtype: DTypeLike) -> None:
        """Take the shape of one row."""
        self._row = row
        self.dtype = np.dtype(dtype)

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of rows."""

    @abstractmethod
    def take(self, indices: Ints) -> NDArray[Any]:
        """Return a copy of the rows at indices (m,), each from 0 to n - 1, as an array (m, …)."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of rows, then the shape of a row."""
        return (len(self), *self._row)

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return 1 + len(self._row)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Return what NumPy returns for this key, as a copy.

        The first index is an integer, a slice, or an array of integers or booleans (n,); further
        ones select from each row.

        Raises:
            IndexError: a row is out of range.
        """
        first, *rest = key if isinstance(key, tuple) else (key,)
        indices = np.arange(len(self))[first]
        if np.ndim(indices) == 0:
            row = self.take(np.array([indices], np.int64))[0]
            return np.asarray(row[tuple(rest)])
        if not rest:
            return self.take(indices)
        columns = (slice(None), *rest)
        parts = [  # copies: a view would keep its whole chunk alive
            self.take(indices[start : start + CHUNK_ROWS])[columns].copy()
            for start in range(0, max(len(indices), 1), CHUNK_ROWS)
        ]
        return np.concatenate(parts)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """Return all rows as one array in memory."""
        return np.asarray(self.take(np.arange(len(self))), dtype)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Yield the rows."""
        for _, part in chunks(self):
            yield from part


class DiskArray(VirtualArray):
    """Rows in a temporary file."""

    def __init__(self, row: tuple[int, ...], dtype: DTypeLike) -> None:
        super().__init__(row, dtype)
        self._size = int(np.prod(row)) * self.dtype.itemsize
        self._count = 0
        self._file: TempFile | None = None  # opened by the first write

    def __len__(self) -> int:
        return self._count

    def append(self, row: NDArray[Any]) -> int:
        """Add a row and return its index.

        Raises:
            ValueError: its shape differs.
            StorageFull: the disk of temporary files is full.
        """
        self.extend(row[None])
        return self._count - 1

    def extend(self, rows: NDArray[Any]) -> None:
        """Add rows (m, …).

        Raises:
            ValueError: their shape differs.
            StorageFull: the disk of temporary files is full.
        """
        if rows.shape[1:] != self._row:
            raise ValueError(f"cannot keep rows of shape {rows.shape[1:]}: these are {self._row}")
        self._file = self._file or TempFile()
        self._file.write(rows.astype(self.dtype, copy=False), self._count * self._size)
        self._count += len(rows)

    def take(self, indices: Ints) -> NDArray[Any]:
        """Return a copy of the rows at indices (m,); neighbours are read at once."""
        out = np.empty((len(indices), *self._row), self.dtype)
        bounds = [0, *(np.flatnonzero(np.diff(indices) != 1) + 1).tolist(), len(indices)]
        for start, stop in pairwise(bounds):
            if self._file and start < stop:
                offset = int(indices[start]) * self._size
                out[start:stop] = self._file.read((stop - start, *self._row), self.dtype, offset)
        return out


class LazyArray(VirtualArray):
    """Rows that a function computes on access."""

    def __init__(
        self,
        count: int,
        row: tuple[int, ...],
        dtype: DTypeLike,
        compute: Callable[[Ints], NDArray[Any]],
    ) -> None:
        """Take a function from indices (m,) to rows (m, …)."""
        super().__init__(row, dtype)
        self._count, self._compute = count, compute

    def __len__(self) -> int:
        return self._count

    def take(self, indices: Ints) -> NDArray[Any]:
        """Compute the rows at indices (m,)."""
        return np.asarray(self._compute(indices), self.dtype)


#: An array of rows in memory, on disk or computed on access; all are indexed alike.
Array = NDArray[Any] | VirtualArray


def chunks(rows: Array, size: int = CHUNK_ROWS) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Yield parts of at most *size* rows: the slice of each, and its rows."""
    for start in range(0, len(rows), size):
        part = slice(start, min(start + size, len(rows)))
        yield part, rows[part]


def sample_runs(count: int, limit: int, run: int) -> Ints:
    """Return indices of at most *limit* of *count* rows: runs of *run* rows, evenly spread."""
    if count <= limit:
        return np.arange(count)
    runs = max(1, limit // run)
    starts = np.linspace(0, count - run, runs).astype(np.int64)
    return np.unique(starts[:, None] + np.arange(run))


def gather(rows: DiskArray, indices: Ints, fill: Any) -> LazyArray:
    """Return rows (n,): the k-th is ``rows[indices[k]]``, or *fill* where that index is -1."""
    row = rows.shape[1:]

    def compute(wanted: Ints) -> NDArray[Any]:
        chosen = indices[wanted]
        out = np.full((len(wanted), *row), fill, rows.dtype)
        known = chosen >= 0
        if known.any():
            out[known] = rows.take(chosen[known])
        return out

    return LazyArray(len(indices), row, rows.dtype, compute)


def merge_where(rows: Array, others: Array, replaced: NDArray[np.bool_]) -> LazyArray:
    """Return *rows* (n, …) with those of *others* where *replaced* (n,) is true."""

    def compute(wanted: Ints) -> NDArray[Any]:
        out, here = rows[wanted].copy(), replaced[wanted]
        if here.any():
            out[here] = others[wanted[here]]
        return out

    return LazyArray(len(rows), rows.shape[1:], rows.dtype, compute)


class TempFile:
    """A temporary file without a name: however the process ends, no file remains."""

    def __init__(self, descriptor: int | None = None) -> None:
        """Open a new file, or take over one that another process has passed on.

        Raises:
            OutputError: it cannot be created; StorageFull if the disk is full.
        """
        try:
            if descriptor is None:
                descriptor, path = tempfile.mkstemp(prefix="lipwright-")
                os.unlink(path)
        except OSError as error:
            raise temp_file_error("the data of the frames", error) from error
        self.descriptor = descriptor  #: of the open file
        weakref.finalize(self, os.close, descriptor)

    def write(self, values: NDArray[Any], offset: int) -> int:
        """Write an array at an offset in bytes and return the offset of its end.

        Raises:
            OutputError: it cannot be written; StorageFull if the disk is full.
        """
        data = np.ascontiguousarray(values).reshape(-1).view(np.uint8).data
        try:
            while data:
                done = os.pwrite(self.descriptor, data, offset)
                data, offset = data[done:], offset + done
        except OSError as error:
            raise temp_file_error("the data of the frames", error) from error
        return offset

    def read(self, shape: tuple[int, ...], dtype: DTypeLike, offset: int) -> NDArray[Any]:
        """Return the array of that shape that was written at an offset; it is read-only."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return np.frombuffer(os.pread(self.descriptor, size, offset), dtype).reshape(shape)


def temp_file_error(content: str, error: OSError) -> OutputError:
    """Return the error to raise when *content* cannot be written to a temporary file."""
    kind = StorageFull if is_disk_full(error) else EncodeFailed
    return kind(
        f"cannot keep {content} ({error.strerror}): free space in the folder for temporary files, "
        "or set TMPDIR to another one"
    )
