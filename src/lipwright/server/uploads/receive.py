"""Writing an upload to disk while it comes in: whole in the end, or gone."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from starlette.concurrency import run_in_threadpool

from lipwright.errors import LimitExceeded, PublishFailed
from lipwright.server.errors import Fault, InvalidBody

GATHER_BYTES = 1 << 20  # written at a time
LEFTOVER_SECONDS = 86_400.0  # no upload takes longer; older files are of a process that died


@dataclass(frozen=True, kw_only=True)
class Received:
    """A file that has come in whole."""

    path: Path
    sha256: str


async def receive(pieces: AsyncIterator[bytes], path: Path, limit: int) -> Received:
    """Write *pieces* to the new file *path*; on any failure it goes again.

    Raises:
        LimitExceeded: they are longer than *limit* bytes.
        InvalidBody: they are empty.
        PublishFailed: the disk does not take them.
    """
    digest = hashlib.sha256()
    file = await run_in_threadpool(_open, path)
    size = 0
    waiting = bytearray()
    try:
        async for piece in pieces:
            size += len(piece)
            _check(size, limit)
            waiting += piece
            if len(waiting) >= GATHER_BYTES:
                await run_in_threadpool(_write, file, digest, bytes(waiting))
                waiting.clear()
        await run_in_threadpool(_write, file, digest, bytes(waiting))
        if not size:
            raise InvalidBody(Fault(loc=("body", "file"), message="the file is empty"))
    except BaseException:
        os.close(file)
        path.unlink(missing_ok=True)
        raise
    os.close(file)
    return Received(path=path, sha256=digest.hexdigest())


def clear_leftovers(folder: Path) -> int:
    """Remove files, and empty folders, that a process which died has left; return how many."""
    limit = time.time() - LEFTOVER_SECONDS
    old = [path for path in folder.rglob("*") if path.lstat().st_mtime < limit]
    files = [path for path in old if not path.is_dir()]
    for path in files:
        path.unlink(missing_ok=True)
    for path in sorted(set(old) - set(files), reverse=True):  # the deepest first
        with contextlib.suppress(OSError):  # something younger is in it
            path.rmdir()
    return len(files)


def _check(size: int, limit: int) -> None:
    if size > limit:
        raise LimitExceeded(
            f"the file is over the limit of {limit} bytes: shrink it, or have the operator raise "
            "max_upload_bytes"
        )


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except OSError as cause:
        raise _unwritable(cause) from cause


def _write(file: int, digest: hashlib._Hash, piece: bytes) -> None:
    digest.update(piece)
    view = memoryview(piece)
    try:
        while view:
            view = view[os.write(file, view) :]
    except OSError as cause:
        raise _unwritable(cause) from cause


def _unwritable(cause: OSError) -> PublishFailed:
    return PublishFailed(
        f"the upload cannot be stored here ({cause.strerror}): free space, then try again"
    )
