"""Sample counts of MP4 files, checked before FFmpeg builds its index."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest

from lipwright.errors import MediaUnreadable
from lipwright.media.inspect import sample_tables
from lipwright.media.inspect.sample_tables import check_sample_tables

HUGE = 60_000_000


def box(kind: bytes, *contents: bytes) -> bytes:
    body = b"".join(contents)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def numbers(*values: int) -> bytes:
    return struct.pack(f">{len(values)}I", *values)


def track(
    samples: int,
    *,
    handler: bytes = b"vide",
    tick: int = 1024,
    per_chunk: int = 1,
    chunks: int = 4,
    size: int = 1,
    table: bytes = b"stsz",
) -> bytes:
    tables = box(
        b"stbl",
        box(b"stts", numbers(0, 1, samples, tick)),
        box(b"stsc", numbers(0, 1, 1, per_chunk, 1)),
        box(table, numbers(0, size, samples)),
        box(b"stco", numbers(0, chunks), numbers(*range(chunks))),
    )
    description = box(b"hdlr", numbers(0, 0), handler)
    return box(b"trak", box(b"mdia", description, box(b"minf", tables)))


def write(path: Path, *boxes: bytes) -> Path:
    path.write_bytes(box(b"ftyp", b"isom", numbers(0)) + b"".join(boxes))
    return path


def compressed(movie: bytes) -> bytes:
    data = box(b"cmvd", numbers(len(movie)), zlib.compress(movie))
    return box(b"moov", box(b"cmov", box(b"dcom", b"zlib"), data))


HUGE_MOVIES = {
    "a video track": box(b"moov", track(HUGE)),
    "an audio track": box(b"moov", track(HUGE, handler=b"soun")),
    "a compact table": box(b"moov", track(HUGE, table=b"stz2")),
    "many tracks": box(b"moov", *[track(900, size=0)] * 20),
    "a video track of one tick": box(b"moov", track(HUGE, tick=1)),
    "a track of two kinds": box(
        b"moov", box(b"trak", box(b"hdlr", numbers(0, 0), b"vide"), track(HUGE, handler=b"soun"))
    ),
    "audio chunks": box(b"moov", track(1, handler=b"soun", tick=1, per_chunk=1 << 31)),
    "a fragment": box(b"moof", box(b"traf", box(b"trun", numbers(0, HUGE)))),
    "a compressed movie": compressed(box(b"moov", track(HUGE))),
    "an unusual place": box(b"udta", box(b"moov", track(HUGE))),
}


@pytest.mark.parametrize("name", HUGE_MOVIES)
def test_more_samples_than_bytes_are_refused(tmp_path, name):
    path = write(tmp_path / "bomb.mp4", HUGE_MOVIES[name], box(b"mdat", bytes(2000)))
    with pytest.raises(MediaUnreadable, match=r"bomb\.mp4 declares [\d,]+ samples or more"):
        check_sample_tables(path)


def test_a_file_of_any_size_has_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(sample_tables, "MAX_SAMPLES", 100)
    path = write(tmp_path / "long.mp4", box(b"moov", track(101)), box(b"mdat", bytes(2000)))
    with pytest.raises(MediaUnreadable, match="101 samples"):
        check_sample_tables(path)


def test_so_has_the_number_of_boxes(tmp_path, monkeypatch):
    monkeypatch.setattr(sample_tables, "MAX_BOXES", 100)
    path = write(tmp_path / "many.mp4", box(b"free") * 101)
    with pytest.raises(MediaUnreadable, match="more than 100 boxes"):
        check_sample_tables(path)


@pytest.mark.parametrize(
    "movie",
    [
        box(b"moov", track(900), track(900, handler=b"soun")),
        # PCM: more samples than bytes are one entry for each chunk
        box(b"moov", track(16_000, handler=b"soun", tick=1, per_chunk=4_000)),
        box(b"moof", box(b"traf", box(b"trun", numbers(0, 900)))),
        compressed(box(b"moov", track(900))),
        box(b"moov")[:4] + b"trak",  # ends within a box
        struct.pack(">I4s", 4, b"moov"),  # a length that cannot be
    ],
)
def test_plausible_files_pass(tmp_path, movie):
    check_sample_tables(write(tmp_path / "talk.mp4", movie, box(b"mdat", bytes(2000))))


def test_other_files_are_not_read(tmp_path):
    path = tmp_path / "talk.mkv"
    path.write_bytes(b"\x1aE\xdf\xa3" + track(HUGE))
    check_sample_tables(path)
    check_sample_tables(tmp_path / "missing.mp4")
