"""Storage in a folder of this machine.

A blob is a folder that holds its versions, of which the last one counts::

    jobs/3f2a/video.mp4/000000000001.<etag>.video~2fmp4

So bytes, entity tag and content type appear in one rename, an overwrite cannot mix two of them,
and a copy of the folder is a backup. Every step of a path is opened without following links.
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

from lipwright.errors import PublishFailed
from lipwright.storage.base import Blob, check_content_type, check_name

WRITING = ".writing"  # no segment of a name can be called so
PIECE = 1 << 18  # bytes read at a time
PATIENCE_SECONDS = 10.0  # with who deletes what is being written, however slow this machine is
TRIES = 100  # against others who write or delete the same name
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO must not hold us up
CREATE = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC

_VERSION = re.compile(r"([0-9]{12})\.([0-9a-f]{32})\.([A-Za-z0-9~-]+)")


@dataclass(frozen=True, kw_only=True, order=True)
class _Version:
    """What the name of a version says."""

    number: int
    etag: str
    content_type: str

    @classmethod
    def parse(cls, text: str) -> _Version | None:
        match = _VERSION.fullmatch(text)
        if match is None:
            return None
        kind = re.sub(r"~([0-9a-f]{2})", lambda m: chr(int(m[1], 16)), match[3])
        return cls(number=int(match[1]), etag=match[2], content_type=kind)

    @property
    def text(self) -> str:
        kind = re.sub(r"[^A-Za-z0-9-]", lambda m: f"~{ord(m[0]):02x}", self.content_type)
        return f"{self.number:012d}.{self.etag}.{kind}"


class LocalStorage:
    """Blobs below a folder; several processes may use it at once."""

    def __init__(self, root: Path) -> None:
        """Use *root*, made when it is missing.

        Raises:
            PublishFailed: it cannot be made.
        """
        self._tree = threading.Lock()  # so that who prunes folders cannot starve who writes
        self._root = root.absolute()
        with _failing(str(root)):
            (self._root / WRITING).mkdir(mode=0o700, parents=True, exist_ok=True)

    def put(self, name: str, source: Path | Iterable[bytes], *, content_type: str) -> Blob:
        """Store a file, moved, or a stream; see `lipwright.storage.base.Storage`."""
        segments, kind = check_name(name), check_content_type(content_type)
        if isinstance(source, Path):
            return self._put_file(name, segments, source, kind)
        with self._written(name, source) as beside:
            return self._publish(name, segments, beside, kind)

    def stat(self, name: str) -> Blob | None:
        """Return what is known of a blob; see `lipwright.storage.base.Storage`."""
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
        pieces = _pieces(self._open(name)[0], start, stop)
        next(pieces)  # from here on it closes the file, even when it is never read
        return pieces

    def local(self, name: str, folder: Path) -> Path:
        """Return where the blob lies; nothing is copied into *folder*."""
        handle, version = self._open(name)
        os.close(handle)
        return self._root / name / version.text

    def delete(self, prefix: str) -> int:
        """Delete a blob or all below a prefix; see `lipwright.storage.base.Storage`."""
        segments = check_name(prefix.removesuffix("/"))
        with _failing(prefix):
            try:
                with self._folder(segments) as folder:
                    below = prefix.endswith("/")
                    count = _clear(folder, blob=not below, below=below)
            except FileNotFoundError:
                return 0
            self._prune(segments)
        return count

    def _put_file(self, name: str, segments: list[str], source: Path, kind: str) -> Blob:
        """Move a file here, by renaming it if that can be done."""
        with _failing(name):
            handle = os.open(source, READ)
            try:
                if not stat.S_ISREG(os.fstat(handle).st_mode):
                    raise OSError(errno.EINVAL, "not a plain file")
                os.fchmod(handle, 0o600)
                os.utime(handle)
                os.fsync(handle)
                with contextlib.suppress(_OtherDevice):
                    return self._publish(name, segments, source, kind)
                with open(handle, "rb", closefd=False) as file:
                    pieces = iter(lambda: file.read(PIECE), b"")
                    with self._written(name, pieces) as beside:
                        blob = self._publish(name, segments, beside, kind)
            finally:
                os.close(handle)
            source.unlink()
            return blob

    def _publish(self, name: str, segments: list[str], source: Path, kind: str) -> Blob:
        """Rename *source*, which is on the disk, to be the last version of a blob."""
        with _failing(name):
            facts = os.stat(source, follow_symlinks=False)
            end = time.monotonic() + PATIENCE_SECONDS
            while time.monotonic() < end:
                # Any folder of the name may be deleted under our hands.
                with contextlib.suppress(FileNotFoundError):
                    with self._tree:
                        version = self._rename(source, segments, kind)
                    return _blob(name, version, facts)
            raise OSError(errno.EBUSY, "it is being deleted again and again")

    def _rename(self, source: Path, segments: list[str], kind: str) -> _Version:
        """Make *source* the last version of a blob, or raise FileNotFoundError and do nothing."""
        with self._folder(segments, create=True) as folder:
            last = max(_versions(folder), default=None)
            number = last.number + 1 if last else 1
            version = _Version(number=number, etag=token_hex(16), content_type=kind)
            os.rename(source, version.text, dst_dir_fd=folder)
            os.fsync(folder)
            with contextlib.suppress(FileNotFoundError):  # deleted already
                _drop(folder, sorted(_versions(folder))[:-1])
            return version

    @contextmanager
    def _written(self, name: str, pieces: Iterable[bytes]) -> Iterator[Path]:
        """Write a stream to a file that goes with the block, and bring it to the disk."""
        with _failing(name):
            self._sweep()
            handle, path = self._create()
        try:
            for piece in pieces:
                with _failing(name):
                    _write(handle, piece)
            with _failing(name):
                os.fsync(handle)
            yield path
        finally:
            path.unlink(missing_ok=True)
            os.close(handle)

    def _create(self) -> tuple[int, Path]:
        """Make a locked file: as long as its writer lives, nobody sweeps it away."""
        for _ in range(TRIES):
            path = self._root / WRITING / token_hex(8)
            handle = os.open(path, CREATE, 0o600)
            fcntl.flock(handle, fcntl.LOCK_EX)
            if os.fstat(handle).st_nlink:
                return handle, path
            os.close(handle)  # swept before it was locked
        raise OSError(errno.EBUSY, "no file can be made")

    def _sweep(self) -> None:
        """Remove what writers left that were killed."""
        for path in (self._root / WRITING).iterdir():
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
        """Open the last version of a blob.

        Raises:
            FileNotFoundError: there is none.
        """
        try:
            with self._folder(check_name(name)) as folder:
                for _ in range(TRIES):
                    if (last := max(_versions(folder), default=None)) is None:
                        break
                    with contextlib.suppress(FileNotFoundError):  # replaced since we looked
                        return os.open(last.text, READ, dir_fd=folder), last
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ELOOP, errno.ENOTDIR):  # a link: not ours
                raise
        raise FileNotFoundError(errno.ENOENT, "no such blob", name)

    @contextmanager
    def _folder(self, segments: list[str], *, create: bool = False) -> Iterator[int]:
        """Open a folder below the root, step by step; with *create*, make what is missing."""
        handle = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for segment in segments:
                if create:
                    _make(segment, handle)
                step = os.open(segment, FOLDER, dir_fd=handle)
                os.close(handle)
                handle = step
            yield handle
        finally:
            os.close(handle)

    def _prune(self, segments: list[str]) -> None:
        """Remove the folders of a name, deepest first, as far as they are empty."""
        for depth in range(len(segments), 0, -1):
            try:
                with self._tree, self._folder(segments[: depth - 1]) as parent:
                    os.rmdir(segments[depth - 1], dir_fd=parent)
            except FileNotFoundError:
                continue
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                return


class _OtherDevice(Exception):
    """A file cannot be renamed onto another file system."""


@contextmanager
def _failing(name: str) -> Iterator[None]:
    """Turn errors of the disk into ours."""
    try:
        yield
    except PublishFailed:
        raise
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise _OtherDevice from error
        raise PublishFailed(
            f"{name} could not be stored ({error.strerror}): nothing was left behind; free space "
            "or check the data folder, then try again"
        ) from error


def _make(segment: str, parent: int) -> None:
    with contextlib.suppress(FileExistsError):
        os.mkdir(segment, 0o700, dir_fd=parent)
        os.fsync(parent)


def _versions(folder: int) -> list[_Version]:
    return [found for name in os.listdir(folder) if (found := _Version.parse(name))]


def _drop(folder: int, versions: Iterable[_Version]) -> None:
    for version in versions:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(version.text, dir_fd=folder)


def _clear(folder: int, *, blob: bool, below: bool) -> int:
    """Remove the blob of a folder, or all folders in it; links are removed, never followed."""
    with os.scandir(folder) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    files = [name for name, is_folder in found if blob and not is_folder]
    for name in files:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)
    count = int(any(map(_Version.parse, files)))
    for name in (name for name, is_folder in found if below and is_folder):
        step = os.open(name, FOLDER, dir_fd=folder)
        try:
            count += _clear(step, blob=True, below=True)
        finally:
            os.close(step)
        with contextlib.suppress(OSError):  # somebody has just written into it
            os.rmdir(name, dir_fd=folder)
    return count


def _pieces(handle: int, start: int, stop: int | None) -> Iterator[bytes]:
    """Yield nothing once, then the bytes."""
    with open(handle, "rb", buffering=0) as file:
        yield b""
        file.seek(start)
        left = stop - start if stop is not None else None
        while left is None or left > 0:
            piece = file.read(PIECE if left is None else min(PIECE, left))
            if not piece:
                return
            left = None if left is None else left - len(piece)
            yield piece


def _write(handle: int, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[os.write(handle, view) :]


def _blob(name: str, version: _Version, facts: os.stat_result) -> Blob:
    return Blob(
        name=name,
        size=facts.st_size,
        etag=version.etag,
        content_type=version.content_type,
        modified_at=datetime.fromtimestamp(facts.st_mtime, UTC),
    )
