"""Secrets of an installation, each created once in a file that only its owner may read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from secrets import token_bytes, token_hex

from lipwright.errors import PublishFailed
from lipwright.storage.errors import storage_error

SECRET_BYTES = 32


def load_or_create_secret(
    path: Path, generate: Callable[[], bytes] = lambda: token_bytes(SECRET_BYTES)
) -> bytes:
    """Return the secret in *path*; the first caller, in any process, creates it.

    Raises:
        PublishFailed: it can be neither read nor created, or the file is truncated.
        StorageFull: it cannot be created because the disk is full.
    """
    try:
        if not path.exists():
            _create(path, generate())
        secret = path.read_bytes()
    except OSError as error:
        raise storage_error(
            error,
            f"cannot read or create the secret {path}",
            advice="check the folder's permissions",
        ) from error
    if len(secret) < SECRET_BYTES:
        raise PublishFailed(
            f"the secret {path} has {len(secret)} bytes, not at least {SECRET_BYTES}: restore it "
            "from a backup, or delete it to have a new one created"
        )
    return secret


def _create(path: Path, secret: bytes) -> None:
    """Write a temporary file and link it to *path*; if two processes do so, the first one wins."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{token_hex(4)}")
    handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with open(handle, "wb") as file:
            file.write(secret)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            return
    finally:
        temporary.unlink()
