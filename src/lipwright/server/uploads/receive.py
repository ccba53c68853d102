"""Writing an upload to disk while it arrives; a partial file is removed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from starlette.concurrency import run_in_threadpool

from lipwright.errors import LimitExceeded, OutputError, PublishFailed, StorageFull, is_disk_full
from lipwright.server.errors import FieldError, InvalidBody

WRITE_BYTES = 1 << 20  # buffered before each write
LEFTOVER_SECONDS = 86_400.0  # no upload takes longer: older files belong to a dead process


@dataclass(frozen=True, kw_only=True)
class ReceivedFile:
    """A complete upload on disk."""

    path: Path
    sha256: str


async def receive_file(chunks: AsyncIterator[bytes], path: Path, limit: int) -> ReceivedFile:
    """Write *chunks* to the new file *path*; it is removed on any error.

    Raises:
        LimitExceeded: there are more than *limit* bytes.
        InvalidBody: there are none.
        StorageFull: the disk is full.
        PublishFailed: the file cannot be written for another reason.
    """
    digest = hashlib.sha256()
    file = await run_in_threadpool(_create, path)
    size = 0
    buffer = bytearray()
    try:
        async for chunk in chunks:
            size += len(chunk)
            _check_size(size, limit)
            buffer += chunk
            if len(buffer) >= WRITE_BYTES:
                await run_in_threadpool(_write, file, digest, bytes(buffer))
                buffer.clear()
        await run_in_threadpool(_write, file, digest, bytes(buffer))
        if not size:
            raise InvalidBody(FieldError(loc=("body", "file"), message="the file is empty"))
    except BaseException:
        os.close(file)
        path.unlink(missing_ok=True)
        raise
    os.close(file)
    return ReceivedFile(path=path, sha256=digest.hexdigest())


def remove_leftovers(folder: Path) -> int:
    """Remove old files and empty folders of dead processes; return the number of files."""
    limit = time.time() - LEFTOVER_SECONDS
    old = [path for path in folder.rglob("*") if path.lstat().st_mtime < limit]
    files = [path for path in old if not path.is_dir()]
    for path in files:
        path.unlink(missing_ok=True)
    for path in sorted(set(old) - set(files), reverse=True):  # the deepest first
        with contextlib.suppress(OSError):  # not empty
            path.rmdir()
    return len(files)


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise LimitExceeded(
            f"the file is over the limit of {limit} bytes: shrink it, or have the operator raise "
            "max_upload_bytes"
        )


def _create(path: Path) -> int:
    try:
        return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except OSError as cause:
        raise _storage_error(cause) from cause


def _write(file: int, digest: hashlib._Hash, chunk: bytes) -> None:
    digest.update(chunk)
    view = memoryview(chunk)
    try:
        while view:
            view = view[os.write(file, view) :]
    except OSError as cause:
        raise _storage_error(cause) from cause


def _storage_error(cause: OSError) -> OutputError:
    kind = StorageFull if is_disk_full(cause) else PublishFailed
    return kind(f"the upload cannot be stored here ({cause.strerror}): free space, then try again")
