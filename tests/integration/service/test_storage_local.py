"""Local storage on disk: links, full disks, killed writers and leftover files."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lipwright.errors import PublishFailed, StorageFull
from lipwright.storage import local
from lipwright.storage.local import LocalStorage

NAME = "jobs/3f2a/video.mp4"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest.fixture
def storage(root: Path) -> LocalStorage:
    return LocalStorage(root)


def put(storage: LocalStorage, data: bytes = b"data", name: str = NAME) -> None:
    storage.put(name, [data], content_type="video/mp4")


def files(root: Path) -> list[Path]:
    return [path for path in sorted(root.rglob("*")) if path.is_symlink() or not path.is_dir()]


def test_an_overwrite_leaves_one_version(storage, root):
    for n in range(3):
        put(storage, b"%d" % n)
    (path,) = files(root)
    assert path.read_bytes() == b"2"
    assert path == storage.local_path(NAME, root)


def test_a_deletion_leaves_no_empty_folders(storage, root):
    put(storage)
    put(storage, name="jobs/other/video.mp4")
    storage.delete(NAME)
    assert not (root / "jobs/3f2a").exists()
    storage.delete("jobs/")
    assert files(root) == []
    assert [path.name for path in root.iterdir()] == [".writing"]


def test_files_are_accessible_to_the_owner_only(storage, root):
    put(storage)
    source = root.parent / "open.mp4"
    source.write_bytes(b"data")
    source.chmod(0o666)
    storage.put("jobs/a/video.mp4", source, content_type="video/mp4")
    assert all(path.stat().st_mode & 0o077 == 0 for path in root.rglob("*"))


def test_a_copy_of_the_folder_is_a_storage(storage, root, tmp_path):
    put(storage)
    blob = storage.stat(NAME)
    root.rename(tmp_path / "moved")
    assert LocalStorage(tmp_path / "moved").stat(NAME) == blob


# ----------------------------------------------------------------------------------------- links
@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that looks like a blob, outside of the storage."""
    folder = tmp_path / "outside"
    put(LocalStorage(folder), b"secret", "a")
    return folder / "a"


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_linked_folder_is_not_followed(storage, root, outside, depth):
    segments = NAME.split("/")
    link = root.joinpath(*segments[:depth])
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(outside)
    if depth < len(segments):
        put(LocalStorage(outside), b"secret", "/".join(segments[depth:]))
    before = files(outside)
    assert storage.stat(NAME) is None
    for read in (lambda: storage.read(NAME), lambda: storage.local_path(NAME, root)):
        with pytest.raises(FileNotFoundError):
            read()
    with pytest.raises(PublishFailed):
        put(storage)
    with pytest.raises(PublishFailed):
        storage.delete(NAME)
    assert files(outside) == before


def test_a_linked_version_is_not_read(storage, root, outside):
    put(storage)
    (version,) = files(root)
    version.unlink()
    version.symlink_to(files(outside)[0])
    with pytest.raises(FileNotFoundError):
        storage.read(NAME)


def test_links_are_deleted_and_not_followed(storage, root, outside):
    put(storage)
    (root / "jobs/3f2a/link").symlink_to(outside)
    (root / "jobs/link").symlink_to(outside)
    before = files(outside)
    assert storage.delete("jobs/") == 1
    assert files(outside) == before
    assert files(root) == [root / "jobs/link"]  # only what lies below the folders of the prefix


@pytest.mark.parametrize("make", [os.symlink, lambda a, b: os.mkfifo(b), lambda a, b: os.mkdir(b)])
def test_only_a_regular_file_can_be_stored(storage, root, tmp_path, make):
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    source = tmp_path / "source"
    make(secret, source)
    with pytest.raises(PublishFailed):
        storage.put(NAME, source, content_type="video/mp4")
    assert files(root) == []
    assert source.exists()
    assert secret.read_bytes() == b"secret"


# ---------------------------------------------------------------------------------- other devices
def test_a_file_on_another_device_is_copied_then_removed(storage, root, tmp_path, monkeypatch):
    source = tmp_path / "out.mp4"
    source.write_bytes(b"data" * 200_000)
    rename = os.rename

    def elsewhere(path: os.PathLike[str], *more: object, **named: int) -> None:
        if path == source:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        rename(path, *more, **named)

    monkeypatch.setattr(local.os, "rename", elsewhere)
    storage.put(NAME, source, content_type="video/mp4")
    assert b"".join(storage.read(NAME)) == b"data" * 200_000
    assert not source.exists()
    assert len(files(root)) == 1


# ------------------------------------------------------------------------------------- full disks
FULL_DISK = """
import resource, sys
from pathlib import Path
from lipwright.errors import PublishFailed, StorageFull
from lipwright.storage.local import LocalStorage
storage = LocalStorage(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))  # as a disk that has 4 KiB left
try:
    storage.put("jobs/3f2a/video.mp4", [bytes(1000)] * 10, content_type="video/mp4")
except StorageFull as error:
    print(error)
"""


def test_a_full_disk_leaves_no_partial_file(storage, root):
    put(storage, b"old")
    before = files(root)
    process = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(root)], capture_output=True, text=True, check=True
    )
    assert "free space" in process.stdout
    assert NAME in process.stdout
    assert files(root) == before
    assert b"".join(storage.read(NAME)) == b"old"


@pytest.mark.parametrize("call", ["write", "fsync", "rename", "mkdir"])
def test_a_failure_at_any_step_leaves_the_previous_blob(storage, root, monkeypatch, call):
    put(storage, b"old")
    before = files(root)

    def fails(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(local.os, call, fails)
        with pytest.raises(StorageFull, match="No space left") as raised:
            put(storage, b"new", NAME if call != "mkdir" else "jobs/new")
        assert raised.value.retryable
    assert files(root) == before
    assert b"".join(storage.read(NAME)) == b"old"


def test_a_file_that_cannot_be_moved_stays_where_it_is(storage, root, tmp_path, monkeypatch):
    source = tmp_path / "out.mp4"
    source.write_bytes(b"data")

    def fails(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(local.os, "rename", fails)
    with pytest.raises(StorageFull):
        storage.put(NAME, source, content_type="video/mp4")
    assert source.read_bytes() == b"data"
    assert files(root) == []


def test_a_root_that_cannot_be_created_is_reported(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(PublishFailed, match="data folder"):
        LocalStorage(tmp_path / "file" / "blobs")


# ---------------------------------------------------------------------------------- killed writers
WRITER = """
import sys
from pathlib import Path
from lipwright.storage.local import LocalStorage
def slowly():
    yield bytes(100_000)
    print("writing", flush=True)
    sys.stdin.read()
LocalStorage(Path(sys.argv[1])).put("jobs/3f2a/video.mp4", slowly(), content_type="video/mp4")
"""


@pytest.fixture
def writer(root: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        yield process
        process.kill()


def test_the_temporary_file_of_a_killed_writer_is_removed(storage, root, writer):
    assert len(files(root)) == 1
    writer.send_signal(signal.SIGKILL)
    writer.wait(30)
    assert storage.stat(NAME) is None
    put(storage, name="jobs/other")
    assert len(files(root)) == 1


def test_the_temporary_file_of_a_running_writer_is_kept(storage, root, writer):
    put(storage, name="jobs/other")
    assert writer.stdin is not None
    writer.stdin.close()
    assert writer.wait(30) == 0
    assert storage.stat(NAME).size == 100_000
    assert len(files(root)) == 2
