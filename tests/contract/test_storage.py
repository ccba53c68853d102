"""The contract of storage; add new implementations to ``STORAGES``."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lipwright.errors import InvalidOptions, LimitExceeded
from lipwright.storage.base import Storage
from lipwright.storage.local import LocalStorage

STORAGES: dict[str, Callable[[Path], Storage]] = {
    "local": lambda folder: LocalStorage(folder / "blobs"),
}
NAME = "jobs/3f2a/video.mp4"
DATA = bytes(range(256)) * 5000  # more than one chunk


@pytest.fixture(params=STORAGES.values(), ids=STORAGES.keys())
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return request.param(tmp_path)


def content(storage: Storage, name: str = NAME) -> bytes:
    return b"".join(storage.read(name))


def put(storage: Storage, data: bytes = DATA, name: str = NAME, kind: str = "video/mp4"):
    return storage.put(name, [data[:1000], b"", data[1000:]], content_type=kind)


# ------------------------------------------------------------------------------------- writing
def test_a_stream_is_stored_byte_for_byte(storage):
    blob = put(storage)
    assert content(storage) == DATA
    assert (blob.name, blob.size, blob.content_type) == (NAME, len(DATA), "video/mp4")
    assert storage.stat(NAME) == blob
    assert abs(datetime.now(UTC) - blob.modified_at) < timedelta(minutes=1)


def test_a_file_is_moved_into_storage(storage, tmp_path):
    source = tmp_path / "out.mp4"
    source.write_bytes(DATA)
    blob = storage.put(NAME, source, content_type="video/mp4")
    assert content(storage) == DATA
    assert storage.stat(NAME) == blob
    assert not source.exists()


def test_an_empty_blob_can_be_stored(storage):
    assert put(storage, b"").size == 0
    assert content(storage) == b""


@pytest.mark.parametrize(
    "kind", ["video/mp4", "image/jpeg", "application/vnd.x+json", "text/plain; charset=utf-8"]
)
def test_the_content_type_is_stored(storage, kind):
    put(storage, kind=kind)
    assert storage.stat(NAME).content_type == kind


@pytest.mark.parametrize(
    "kind", ["", "video", "video/", "video/mp4\r\nSet-Cookie: x", "ü/x", "a/" + "b" * 500, "~/~"]
)
def test_an_invalid_content_type_is_refused(storage, kind):
    with pytest.raises(InvalidOptions, match="content type"):
        put(storage, kind=kind)
    assert storage.stat(NAME) is None


def test_the_entity_tag_changes_with_every_write(storage):
    first = put(storage)
    assert storage.stat(NAME).etag == first.etag
    second = put(storage, b"other")
    assert second.etag != first.etag
    assert all(tag.isascii() and tag.isalnum() for tag in (first.etag, second.etag))


@pytest.mark.parametrize(
    "name", ["a", "a/b/c/d/e", "a.b-c_d", "0", "a/b.mp4", "a" * 128, "jobs/a/b", "jobs/a"]
)
def test_plain_names_are_accepted(storage, name):
    put(storage, name=name)
    assert content(storage, name) == DATA


def test_a_name_may_be_a_prefix_of_another(storage):
    put(storage, b"one", "a/b")
    put(storage, b"two", "a/b/c")
    assert (content(storage, "a/b"), content(storage, "a/b/c")) == (b"one", b"two")
    assert storage.delete("a/b") == 1
    assert storage.stat("a/b") is None
    assert content(storage, "a/b/c") == b"two"


# --------------------------------------------------------------------------------- hostile names
HOSTILE = [
    "",
    "/",
    "//",
    ".",
    "..",
    "../secret",
    "a/../../secret",
    "a/..",
    "a/./b",
    "/etc/passwd",
    "a//b",
    "a/",
    ".hidden",
    "a/.hidden",
    "-a",
    "a\\b",
    "a\x00",
    "a\n",
    "a b",
    "a%2fb",
    "a~b",
    "ä",
    "a:b",
    "a" * 129,
    "/".join(["a" * 100] * 6),
    "\ud800",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_refused_by_every_method(storage, tmp_path, name):
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InvalidOptions):
        put(storage, name=name)
    with pytest.raises(InvalidOptions):
        storage.stat(name)
    with pytest.raises(InvalidOptions):
        storage.read(name)
    with pytest.raises(InvalidOptions):
        storage.local_path(name, tmp_path)
    if name != "a/":
        with pytest.raises(InvalidOptions):
            storage.delete(name)
    assert sorted(tmp_path.rglob("*")) == before


# --------------------------------------------------------------------------------------- reading
@pytest.mark.parametrize(
    ("start", "stop"),
    [
        (0, None),
        (0, 1),
        (5, 10),
        (1000, 900_000),
        (len(DATA) - 1, None),
        (0, len(DATA)),
        (10, len(DATA) + 100),
        (len(DATA), None),
        (len(DATA) + 5, None),
        (7, 7),
        (9, 3),
    ],
)
def test_a_range_is_read(storage, start, stop):
    put(storage)
    assert b"".join(storage.read(NAME, start, stop)) == DATA[start:stop]


def test_a_missing_blob_raises_at_once(storage, tmp_path):
    put(storage)
    for name in ("jobs/3f2a/video.mp", "jobs/3f2a", "other", "jobs/3f2a/video.mp4/x"):
        assert storage.stat(name) is None
        with pytest.raises(FileNotFoundError):
            storage.read(name)
        with pytest.raises(FileNotFoundError):
            storage.local_path(name, tmp_path)


def test_a_local_path_can_be_read_as_a_file(storage, tmp_path):
    put(storage)
    assert storage.local_path(NAME, tmp_path).read_bytes() == DATA


def test_a_reader_may_stop_early(storage):
    put(storage)
    pieces = storage.read(NAME)
    assert DATA.startswith(next(pieces))
    del pieces
    storage.read(NAME)  # and one that never started
    assert content(storage) == DATA


# --------------------------------------------------------------------------------- all or nothing
def test_a_write_is_invisible_until_complete(storage):
    put(storage, b"old")

    def slowly() -> Iterator[bytes]:
        yield DATA[:500_000]
        assert content(storage) == b"old"
        yield DATA[500_000:]
        assert content(storage) == b"old"

    storage.put(NAME, slowly(), content_type="video/mp4")
    assert content(storage) == DATA


@pytest.mark.parametrize("before", [None, b"old"])
def test_a_failing_stream_leaves_the_previous_blob(storage, tmp_path, before):
    if before is not None:
        put(storage, before)
    files = sorted(tmp_path.rglob("*"))

    def breaking() -> Iterator[bytes]:
        yield DATA
        raise LimitExceeded("too large")

    with pytest.raises(LimitExceeded, match="too large"):
        storage.put(NAME, breaking(), content_type="video/mp4")
    assert sorted(tmp_path.rglob("*")) == files
    assert storage.stat(NAME) is None if before is None else content(storage) == before


def test_an_error_of_the_stream_passes_through(storage):
    def breaking() -> Iterator[bytes]:
        yield b"x"
        raise ConnectionResetError("the client disconnected")

    with pytest.raises(ConnectionResetError):
        storage.put(NAME, breaking(), content_type="video/mp4")


def test_a_reader_keeps_the_version_it_opened(storage):
    put(storage)
    pieces = storage.read(NAME)
    put(storage, b"new")
    assert b"".join(pieces) == DATA
    pieces = storage.read(NAME)
    storage.delete(NAME)
    assert b"".join(pieces) == b"new"


def test_concurrent_readers_see_complete_versions(storage):
    versions = {bytes([65 + n]) * 50_000: f"text/v{n}" for n in range(8)}
    put(storage, b"A" * 50_000, kind="text/v0")
    done = threading.Event()

    def write(item: tuple[bytes, str]) -> None:
        for _ in range(5):
            put(storage, item[0], kind=item[1])

    def watch() -> int:
        seen = 0
        while not done.is_set() or not seen:
            blob, data = storage.stat(NAME), content(storage)
            assert blob is not None
            assert blob.size == len(data) == 50_000
            assert data in versions
            assert blob.content_type in versions.values()
            seen += 1
        return seen

    with ThreadPoolExecutor(12) as pool:
        watchers = [pool.submit(watch) for _ in range(2)]
        try:
            list(pool.map(write, versions.items()))
        finally:
            done.set()
        assert all(watcher.result() for watcher in watchers)
    assert versions[content(storage)] == storage.stat(NAME).content_type


# -------------------------------------------------------------------------------------- deleting
def test_one_blob_is_deleted(storage):
    put(storage, name="jobs/a/video.mp4")
    put(storage, name="jobs/a/video.mp4.txt")
    assert storage.delete("jobs/a/video.mp4") == 1
    assert storage.stat("jobs/a/video.mp4") is None
    assert storage.stat("jobs/a/video.mp4.txt")
    assert storage.delete("jobs/a/video.mp4") == 0


def test_a_prefix_deletes_only_what_is_below_it(storage):
    gone = ["jobs/a/video.mp4", "jobs/a/image.jpg", "jobs/a/deep/er/x"]
    kept = ["jobs/ab/video.mp4", "jobs/b/video.mp4", "jobs/a", "uploads/a"]
    for name in gone + kept:
        put(storage, name=name)
    assert storage.delete("jobs/a/") == len(gone)
    assert all(storage.stat(name) is None for name in gone)
    assert all(content(storage, name) == DATA for name in kept)
    assert storage.delete("jobs/a/") == 0
    assert storage.delete("nothing/there/") == 0


def test_a_name_can_be_used_again_after_it_was_deleted(storage):
    first = put(storage)
    storage.delete("jobs/3f2a/")
    assert put(storage, b"again").etag != first.etag
    assert content(storage) == b"again"


def test_a_write_after_a_concurrent_delete_survives(storage):
    def write(n: int) -> None:
        for _ in range(10):
            put(storage, b"x" * 100, f"jobs/a/{n}")

    def delete() -> None:
        while not done.is_set():
            storage.delete("jobs/a/")

    done = threading.Event()
    with ThreadPoolExecutor(6) as pool:
        deleter = pool.submit(delete)
        try:
            list(pool.map(write, range(4)))
        finally:
            done.set()
        deleter.result()
    put(storage, b"last")
    assert content(storage) == b"last"
