"""Refuse MP4 files that declare more samples than they can hold.

FFmpeg builds an index entry of about 100 bytes for each declared sample when it opens a file. A
table of samples of constant size declares any number of them in 20 bytes, so that a small file
could take all memory. The boxes are those of ISO/IEC 14496-12, and QuickTime's ``cmov``.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from lipwright.errors import MediaUnreadable

MAX_SAMPLES = 16_000_000  # of a file of any size: 1.6 GB
MAX_MOVIE_BYTES = 256 << 20  # of a decompressed movie box
MOVIE_BYTES_PER_BOX = 256  # decompressing them takes as long as reading a box
MAX_TABLE_BYTES = 64 << 20  # read from one table
MAX_DEPTH = 16  # of nested boxes
MAX_BOXES = 1_000_000  # read from a file: two hours in fragments of 0.1 s
CHUNK_SAMPLES = 160  # fewest audio samples of an index entry where FFmpeg indexes chunks
# Boxes whose contents FFmpeg reads as boxes, wherever they are.
PARENTS = frozenset(
    b"moov trak mdia minf stbl dinf edts mvex moof traf udta wave tapt meta ipro sinf".split()
)
FIRST_BOXES = frozenset(b"ftyp styp moov moof mdat free skip wide pnot sidx uuid".split())
PROTECTED = {b"encv", b"enca", b"encs", b"drms", b"drmi"}  # formats of encrypted samples
SOUND_HANDLERS = {b"soun", b"alis", b"url ", b"mdir"}  # in the handler boxes of an audio track


@dataclass(frozen=True)
class _Box:
    kind: bytes
    start: int  # of its contents
    stop: int


@dataclass
class _SampleTable:
    """The boxes of one ``stbl`` that determine the length of FFmpeg's index."""

    samples: int = 0
    constant_size: bool = False
    one_tick: bool = False  # each sample lasts one tick, as in PCM
    runs: bytes = b""  # entries of stsc: first chunk, samples of a chunk, description
    chunks: int = 0

    def index_entries(self, *, sound: bool) -> int:
        if not (sound and self.constant_size and self.one_tick):
            return self.samples
        entries = struct.iter_unpack(">III", self.runs[: len(self.runs) // 12 * 12])
        runs = cast("list[tuple[int, int, int]]", [*entries])
        ends = [*(first for first, _, _ in runs[1:]), self.chunks + 1]
        spans = zip(runs, ends, strict=True)
        in_chunks = sum(max(0, end - first) * samples for (first, samples, _), end in spans)
        return self.chunks + in_chunks // CHUNK_SAMPLES


def check_sample_tables(path: Path) -> None:
    """Check the sample counts of a file of the MP4 family; other files pass.

    Raises:
        MediaUnreadable: The file declares more samples than it has bytes, or than `MAX_SAMPLES`,
            has more than `MAX_BOXES` boxes, or is encrypted.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            if file.read(8)[4:] not in FIRST_BOXES:
                return
            total, limit = 0, min(size, MAX_SAMPLES)
            try:
                for count in index_entries(file, size):
                    total += count
                    if total > limit:
                        break
                else:
                    return
            except _TooManyBoxes:
                pass
            except _Protected:
                raise MediaUnreadable(
                    f"{path} is protected against copying (DRM): use a file without protection"
                ) from None
    except OSError:
        return  # the next caller that opens it reports the error
    what = f"{total:,} samples or more" if total > limit else f"more than {MAX_BOXES:,} boxes"
    raise MediaUnreadable(
        f"{path} declares {what} in {size:,} bytes: it is damaged, or made to exhaust memory; "
        "re-encode it or get a fresh copy"
    )


def index_entries(file: BinaryIO, size: int) -> Iterator[int]:
    """Yield the entries of FFmpeg's index for each sample table and run of fragments.

    Args:
        file: of the MP4 family, seekable.
        size: of the file, bytes.
    """
    yield from _Boxes(file).entries(0, size, 0, sound=False)


class _Protected(Exception):
    """A track is encrypted."""


class _TooManyBoxes(Exception):
    """The file has more than MAX_BOXES boxes."""


class _Boxes:
    """Reads the boxes of a file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._left = file, MAX_BOXES

    def entries(self, start: int, stop: int, depth: int, *, sound: bool) -> Iterator[int]:
        """Yield the index entries of the boxes in a range; *sound*: of an audio track."""
        table = _SampleTable()
        for box in self._boxes(start, stop):
            if box.kind == b"trak":
                handlers = {*self._handlers(box.start, box.stop, depth)}
                sound = b"soun" in handlers and handlers <= SOUND_HANDLERS
            if box.kind in PARENTS and depth < MAX_DEPTH:
                yield from self.entries(box.start, box.stop, depth + 1, sound=sound)
            elif box.kind == b"cmov":
                yield from self._compressed_entries(box, depth)
            elif box.kind == b"trun":
                yield self._number(box.start + 4)
            else:
                self._read_table(box, table)
        yield table.index_entries(sound=sound)

    def _read_table(self, box: _Box, table: _SampleTable) -> None:
        """Add a box of a sample table to *table*; others are ignored."""
        if box.kind in (b"stsz", b"stz2"):
            table.samples = max(table.samples, self._number(box.start + 8))
            table.constant_size = box.kind == b"stsz" and self._number(box.start + 4) > 0
        elif box.kind == b"stts":
            single = self._number(box.start + 4) == 1
            table.one_tick = single and self._number(box.start + 12) == 1
        elif box.kind == b"stsc":
            count = min(12 * self._number(box.start + 4), box.stop - box.start, MAX_TABLE_BYTES)
            table.runs = self._read(box.start + 8, count)
        elif box.kind == b"stsd" and self._read(box.start + 12, 4) in PROTECTED:
            raise _Protected
        elif box.kind in (b"stco", b"co64"):
            table.chunks = self._number(box.start + 4)

    def _handlers(self, start: int, stop: int, depth: int) -> Iterator[bytes]:
        """Yield the subtypes of all handler boxes in a range."""
        for box in self._boxes(start, stop):
            if box.kind == b"hdlr":
                yield self._read(box.start + 8, 4)
            elif box.kind in PARENTS and depth < MAX_DEPTH:
                yield from self._handlers(box.start, box.stop, depth + 1)

    def _compressed_entries(self, box: _Box, depth: int) -> Iterator[int]:
        for part in self._boxes(box.start, box.stop):
            if part.kind != b"cmvd":
                continue
            coded = self._read(part.start + 4, min(part.stop - part.start, MAX_TABLE_BYTES))
            try:
                movie = zlib.decompressobj().decompress(coded, MAX_MOVIE_BYTES)
            except zlib.error:
                return
            self._left -= len(movie) // MOVIE_BYTES_PER_BOX
            inner = _Boxes(io.BytesIO(movie))
            yield from inner.entries(0, len(movie), depth + 1, sound=False)

    def _boxes(self, start: int, stop: int) -> Iterator[_Box]:
        """Yield the boxes in a range of the file."""
        while start + 8 <= stop:
            self._left -= 1
            if self._left < 0:
                raise _TooManyBoxes
            length, kind = struct.unpack(">I4s", self._read(start, 8).ljust(8, b"\0"))
            header = 8
            if length == 1:
                length, header = int.from_bytes(self._read(start + 8, 8), "big"), 16
            elif length == 0:
                length = stop - start
            if length < header:
                return
            # "meta" is a full box in MP4, and a plain one in QuickTime
            full = kind == b"meta" and self._number(start + header) == 0
            yield _Box(kind, start + header + 4 * full, min(start + length, stop))
            start += length

    def _number(self, start: int) -> int:
        return int.from_bytes(self._read(start, 4), "big")

    def _read(self, start: int, count: int) -> bytes:
        self._file.seek(start)
        return self._file.read(count)
