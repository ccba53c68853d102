"""Long arrays, a row per frame, that do not lie in memory.

What is known of every frame of a video (landmarks, rasters) is some kilobytes: of an hour's frames
half a gigabyte, and each step that makes an array of the last one's would hold as much again. A
:class:`Reel` keeps rows in a temporary file instead; :class:`Made` rows are made when they are
asked for. Both are indexed as NumPy arrays are and give NumPy arrays, so that a function that
looks at some rows, or at a few columns of all, need not know.
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

from lipwright.errors import EncodeFailed
from lipwright.types import Ints

CHUNK_ROWS = 256  # rows in memory at a time


class VirtualArray(ABC):
    """An array of n rows, each of the same shape, read row by row."""

    def __init__(self, row: tuple[int, ...], dtype: DTypeLike) -> None:
        self._row = row
        self.dtype = np.dtype(dtype)

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of rows."""

    @abstractmethod
    def take(self, places: Ints) -> NDArray[Any]:
        """Return the rows at places (m,), each from 0 to n - 1, as an array (m, …) of its own."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and the shape of each."""
        return (len(self), *self._row)

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return 1 + len(self._row)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Return what NumPy returns for this key, as an array of its own.

        The first index may be a number, a slice, or an array of numbers or of truth values (n,);
        the others pick from each row.

        Raises:
            IndexError: there is no such row.
        """
        first, *rest = key if isinstance(key, tuple) else (key,)
        places = np.arange(len(self))[first]
        if np.ndim(places) == 0:
            row = self.take(np.array([places], np.int64))[0]
            return np.asarray(row[tuple(rest)])
        if not rest:
            return self.take(places)
        pick = (slice(None), *rest)
        parts = [  # copies: a view would hold its whole chunk until the end
            self.take(places[at : at + CHUNK_ROWS])[pick].copy()
            for at in range(0, max(len(places), 1), CHUNK_ROWS)
        ]
        return np.concatenate(parts)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """Return everything as one array in memory."""
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
        self._file: TempFile | None = None  # opened when there is something to keep

    def __len__(self) -> int:
        return self._count

    def append(self, row: NDArray[Any]) -> int:
        """Keep a row; return its place."""
        self.extend(row[None])
        return self._count - 1

    def extend(self, rows: NDArray[Any]) -> None:
        """Keep rows (m, …).

        Raises:
            ValueError: they are of another shape.
            EncodeFailed: the folder for temporary files is full.
        """
        if rows.shape[1:] != self._row:
            raise ValueError(f"cannot keep rows of shape {rows.shape[1:]}: these are {self._row}")
        self._file = self._file or TempFile()
        self._file.write(rows.astype(self.dtype, copy=False), self._count * self._size)
        self._count += len(rows)

    def take(self, places: Ints) -> NDArray[Any]:
        """Return the rows at places (m,); neighbours are read at once."""
        out = np.empty((len(places), *self._row), self.dtype)
        bounds = [0, *(np.flatnonzero(np.diff(places) != 1) + 1).tolist(), len(places)]
        for start, stop in pairwise(bounds):
            if self._file and start < stop:
                at = int(places[start]) * self._size
                out[start:stop] = self._file.read((stop - start, *self._row), self.dtype, at)
        return out


class LazyArray(VirtualArray):
    """Rows that a function makes of their places whenever they are asked for."""

    def __init__(
        self,
        count: int,
        row: tuple[int, ...],
        dtype: DTypeLike,
        make: Callable[[Ints], NDArray[Any]],
    ) -> None:
        """Take a function from places (m,) to rows (m, …)."""
        super().__init__(row, dtype)
        self._count, self._make = count, make

    def __len__(self) -> int:
        return self._count

    def take(self, places: Ints) -> NDArray[Any]:
        """Make the rows at places (m,)."""
        return np.asarray(self._make(places), self.dtype)


#: An array of rows in memory or elsewhere; both are indexed alike.
Array = NDArray[Any] | VirtualArray


def chunks(rows: Array, size: int = CHUNK_ROWS) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Yield parts of at most *size* rows: where each lies, and the part."""
    for start in range(0, len(rows), size):
        part = slice(start, min(start + size, len(rows)))
        yield part, rows[part]


def sample_runs(count: int, most: int, run: int) -> Ints:
    """Return which of *count* rows to look at, at most *most*: runs of *run*, evenly spread."""
    if count <= most:
        return np.arange(count)
    runs = max(1, most // run)
    starts = np.linspace(0, count - run, runs).astype(np.int64)
    return np.unique(starts[:, None] + np.arange(run))


def gather(rows: DiskArray, places: Ints, blank: Any) -> LazyArray:
    """Return rows (n,) of which the k-th is ``rows[places[k]]``, or *blank* where that is -1."""
    row = rows.shape[1:]

    def make(asked: Ints) -> NDArray[Any]:
        at = places[asked]
        out = np.full((len(asked), *row), blank, rows.dtype)
        known = at >= 0
        if known.any():
            out[known] = rows.take(at[known])
        return out

    return LazyArray(len(places), row, rows.dtype, make)


def merge_where(rows: Array, others: Array, added: NDArray[np.bool_]) -> LazyArray:
    """Return *rows* (n, …) with *others* instead where *added* (n,) is true."""

    def make(asked: Ints) -> NDArray[Any]:
        out, here = rows[asked].copy(), added[asked]
        if here.any():
            out[here] = others[asked[here]]
        return out

    return LazyArray(len(rows), rows.shape[1:], rows.dtype, make)


class TempFile:
    """A temporary file without a name: whatever ends the process, nothing is left of it."""

    def __init__(self, number: int | None = None) -> None:
        """Open it, or take one that another process has opened under a *number*.

        Raises:
            EncodeFailed: there is no room for one.
        """
        try:
            if number is None:
                number, path = tempfile.mkstemp(prefix="lipwright-")
                os.unlink(path)
        except OSError as error:
            raise storage_full("what is known of the frames", error) from error
        self.number = number  #: by which the system knows it
        weakref.finalize(self, os.close, number)

    def write(self, values: NDArray[Any], at: int) -> int:
        """Write an array at a place, in bytes; return where it ends.

        Raises:
            EncodeFailed: the disk is full.
        """
        data = np.ascontiguousarray(values).reshape(-1).view(np.uint8).data
        try:
            while data:
                done = os.pwrite(self.number, data, at)
                data, at = data[done:], at + done
        except OSError as error:
            raise storage_full("what is known of the frames", error) from error
        return at

    def read(self, shape: tuple[int, ...], dtype: DTypeLike, at: int) -> NDArray[Any]:
        """Return the array of that shape that was written at a place; it cannot be changed."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return np.frombuffer(os.pread(self.number, size, at), dtype).reshape(shape)


def storage_full(what: str, error: OSError) -> EncodeFailed:
    """Return the error to raise when temporary files have no room for something."""
    return EncodeFailed(
        f"cannot keep {what} ({error.strerror}): make room in the folder for temporary files, or "
        "set TMPDIR to another one"
    )
