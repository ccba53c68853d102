"""Storage in a local folder.

A blob is a folder of versions; the highest one is current::

    jobs/3f2a/video.mp4/000000000001.<etag>.video~2fmp4

So bytes, entity tag and content type change in one rename, an overwrite cannot mix two versions,
and a copy of the folder is a backup. Every component of a path is opened without following links.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex

from lipwright.errors import PublishFailed, StorageFull
from lipwright.storage.base import Blob, check_content_type, check_name
from lipwright.storage.errors import storage_error

PARTIAL_FOLDER = ".writing"  # not a valid segment of a name
CHUNK_SIZE = 1 << 18  # bytes
PUBLISH_SECONDS = 10.0  # to retry against concurrent deletes, on a slow machine too
MAX_TRIES = 100  # against others that write or delete the same name
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO must not block
CREATE = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC

_VERSION = re.compile(r"([0-9]{12})\.([0-9a-f]{32})\.([A-Za-z0-9~-]+)")


@dataclass(frozen=True, kw_only=True, order=True)
class _Version:
    """The parts of a version's file name."""

    number: int
    etag: str
    content_type: str

    @classmethod
    def parse(cls, file_name: str) -> _Version | None:
        match = _VERSION.fullmatch(file_name)
        if match is None:
            return None
        content_type = re.sub(r"~([0-9a-f]{2})", lambda m: chr(int(m[1], 16)), match[3])
        return cls(number=int(match[1]), etag=match[2], content_type=content_type)

    @property
    def file_name(self) -> str:
        escaped = re.sub(r"[^A-Za-z0-9-]", lambda m: f"~{ord(m[0]):02x}", self.content_type)
        return f"{self.number:012d}.{self.etag}.{escaped}"


class LocalStorage:
    """Blobs below a folder; several processes may use it at once."""

    def __init__(self, root: Path) -> None:
        """Use *root*; create it if it is missing.

        Raises:
            PublishFailed: it cannot be created.
            StorageFull: its disk is full.
        """
        self._tree_lock = threading.Lock()  # so that pruning cannot starve writers
        self._root = root.absolute()
        with _storage_errors(str(root)):
            (self._root / PARTIAL_FOLDER).mkdir(mode=0o700, parents=True, exist_ok=True)

    def put(self, name: str, source: Path | Iterable[bytes], *, content_type: str) -> Blob:
        """Store a file, moved, or a stream; see `lipwright.storage.base.Storage`."""
        segments, content_type = check_name(name), check_content_type(content_type)
        if isinstance(source, Path):
            return self._put_file(name, segments, source, content_type)
        with self._temporary_copy(name, source) as temporary:
            return self._publish(name, segments, temporary, content_type)

    def stat(self, name: str) -> Blob | None:
        """Return the metadata of a blob; see `lipwright.storage.base.Storage`."""
        try:
            handle, version = self._open(name)
        except FileNotFoundError:
            return None
        try:
            return _blob(name, version, os.fstat(handle))
        finally:
            os.close(handle)

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield bytes of a blob; see `lipwright.storage.base.Storage`."""
        chunks = _chunks(self._open(name)[0], start, stop)
        next(chunks)  # started, it closes the file even if it is never read
        return chunks

    def local_path(self, name: str, folder: Path) -> Path:
        """Return the path of the blob; nothing is copied into *folder*."""
        handle, version = self._open(name)
        os.close(handle)
        return self._root / name / version.file_name

    def delete(self, prefix: str) -> int:
        """Delete a blob or all below a prefix; see `lipwright.storage.base.Storage`."""
        segments = check_name(prefix.removesuffix("/"))
        with _storage_errors(prefix):
            try:
                with self._folder(segments) as folder:
                    below = prefix.endswith("/")
                    count = _delete_below(folder, blob=not below, below=below)
            except FileNotFoundError:
                return 0
            self._prune(segments)
        return count

    def _put_file(self, name: str, segments: list[str], source: Path, content_type: str) -> Blob:
        """Move a file into storage: rename it, or copy it from another file system."""
        with _storage_errors(name):
            handle = os.open(source, READ)
            try:
                if not stat.S_ISREG(os.fstat(handle).st_mode):
                    raise OSError(errno.EINVAL, "not a regular file")
                os.fchmod(handle, 0o600)
                os.utime(handle)
                os.fsync(handle)
                with contextlib.suppress(_OtherDevice):
                    return self._publish(name, segments, source, content_type)
                with open(handle, "rb", closefd=False) as file:
                    chunks = iter(lambda: file.read(CHUNK_SIZE), b"")
                    with self._temporary_copy(name, chunks) as temporary:
                        blob = self._publish(name, segments, temporary, content_type)
            finally:
                os.close(handle)
            source.unlink()
            return blob

    def _publish(self, name: str, segments: list[str], source: Path, content_type: str) -> Blob:
        """Rename *source*, which is already synced, to the newest version of a blob."""
        with _storage_errors(name):
            file_stat = os.stat(source, follow_symlinks=False)
            deadline = time.monotonic() + PUBLISH_SECONDS
            while time.monotonic() < deadline:
                # Another process may delete any folder of the name meanwhile.
                with contextlib.suppress(FileNotFoundError):
                    with self._tree_lock:
                        version = self._rename(source, segments, content_type)
                    return _blob(name, version, file_stat)
            raise OSError(errno.EBUSY, "it is deleted repeatedly by others")

    def _rename(self, source: Path, segments: list[str], content_type: str) -> _Version:
        """Make *source* the newest version of a blob, or raise FileNotFoundError and do nothing."""
        with self._folder(segments, create=True) as folder:
            last = max(_versions(folder), default=None)
            number = last.number + 1 if last else 1
            version = _Version(number=number, etag=token_hex(16), content_type=content_type)
            os.rename(source, version.file_name, dst_dir_fd=folder)
            os.fsync(folder)
            with contextlib.suppress(FileNotFoundError):  # already deleted
                _unlink_versions(folder, sorted(_versions(folder))[:-1])
            return version

    @contextmanager
    def _temporary_copy(self, name: str, chunks: Iterable[bytes]) -> Iterator[Path]:
        """Write a stream to a temporary file and sync it; the file is removed after the block."""
        with _storage_errors(name):
            self._remove_abandoned()
            handle, path = self._create_temporary()
        try:
            for chunk in chunks:
                with _storage_errors(name):
                    _write(handle, chunk)
            with _storage_errors(name):
                os.fsync(handle)
            yield path
        finally:
            path.unlink(missing_ok=True)
            os.close(handle)

    def _create_temporary(self) -> tuple[int, Path]:
        """Create a locked file; while its writer lives, `_remove_abandoned` skips it."""
        for _ in range(MAX_TRIES):
            path = self._root / PARTIAL_FOLDER / token_hex(8)
            handle = os.open(path, CREATE, 0o600)
            fcntl.flock(handle, fcntl.LOCK_EX)
            if os.fstat(handle).st_nlink:
                return handle, path
            os.close(handle)  # removed before it was locked
        raise OSError(errno.EBUSY, "cannot create a temporary file")

    def _remove_abandoned(self) -> None:
        """Remove the temporary files of killed writers."""
        for path in (self._root / PARTIAL_FOLDER).iterdir():
            try:
                handle = os.open(path, READ)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)
            except BlockingIOError:
                pass
            finally:
                os.close(handle)

    def _open(self, name: str) -> tuple[int, _Version]:
        """Open the newest version of a blob.

        Raises:
            FileNotFoundError: there is no such blob.
        """
        try:
            with self._folder(check_name(name)) as folder:
                for _ in range(MAX_TRIES):
                    if (last := max(_versions(folder), default=None)) is None:
                        break
                    with contextlib.suppress(FileNotFoundError):  # replaced since it was listed
                        return os.open(last.file_name, READ, dir_fd=folder), last
        except OSError as error:
            # A link is not a blob.
            if error.errno not in (errno.ENOENT, errno.ELOOP, errno.ENOTDIR):
                raise
        raise FileNotFoundError(errno.ENOENT, "no such blob", name)

    @contextmanager
    def _folder(self, segments: list[str], *, create: bool = False) -> Iterator[int]:
        """Open a folder below the root, segment by segment; with *create*, create missing ones."""
        handle = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for segment in segments:
                if create:
                    _create_folder(segment, handle)
                child = os.open(segment, FOLDER, dir_fd=handle)
                os.close(handle)
                handle = child
            yield handle
        finally:
            os.close(handle)

    def _prune(self, segments: list[str]) -> None:
        """Remove the empty folders of a name, deepest first."""
        for depth in range(len(segments), 0, -1):
            try:
                with self._tree_lock, self._folder(segments[: depth - 1]) as parent:
                    os.rmdir(segments[depth - 1], dir_fd=parent)
            except FileNotFoundError:
                continue
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                return


class _OtherDevice(Exception):
    """A file cannot be renamed to another file system."""


@contextmanager
def _storage_errors(name: str) -> Iterator[None]:
    """Translate errors of the operating system into storage errors."""
    try:
        yield
    except (PublishFailed, StorageFull):
        raise
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise _OtherDevice from error
        raise storage_error(error, f"cannot store {name}") from error


def _create_folder(segment: str, parent: int) -> None:
    with contextlib.suppress(FileExistsError):
        os.mkdir(segment, 0o700, dir_fd=parent)
        os.fsync(parent)


def _versions(folder: int) -> list[_Version]:
    return [version for name in os.listdir(folder) if (version := _Version.parse(name))]


def _unlink_versions(folder: int, versions: Iterable[_Version]) -> None:
    for version in versions:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(version.file_name, dir_fd=folder)


def _delete_below(folder: int, *, blob: bool, below: bool) -> int:
    """Delete the blob in a folder, or all folders in it; return how many blobs.

    Links are removed, never followed.
    """
    with os.scandir(folder) as entries:
        contents = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    files = [name for name, is_folder in contents if blob and not is_folder]
    for name in files:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)
    count = int(any(map(_Version.parse, files)))
    for name in (name for name, is_folder in contents if below and is_folder):
        child = os.open(name, FOLDER, dir_fd=folder)
        try:
            count += _delete_below(child, blob=True, below=True)
        finally:
            os.close(child)
        with contextlib.suppress(OSError):  # another process has just written into it
            os.rmdir(name, dir_fd=folder)
    return count


def _chunks(handle: int, start: int, stop: int | None) -> Iterator[bytes]:
    """Yield an empty chunk first, so that the generator can be started, then the bytes."""
    with open(handle, "rb", buffering=0) as file:
        yield b""
        file.seek(start)
        remaining = stop - start if stop is not None else None
        while remaining is None or remaining > 0:
            chunk = file.read(CHUNK_SIZE if remaining is None else min(CHUNK_SIZE, remaining))
            if not chunk:
                return
            remaining = None if remaining is None else remaining - len(chunk)
            yield chunk


def _write(handle: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(handle, view) :]


def _blob(name: str, version: _Version, file_stat: os.stat_result) -> Blob:
    return Blob(
        name=name,
        size=file_stat.st_size,
        etag=version.etag,
        content_type=version.content_type,
        modified_at=datetime.fromtimestamp(file_stat.st_mtime, UTC),
    )
