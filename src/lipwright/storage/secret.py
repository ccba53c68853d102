"""Secrets of an installation: made once, kept in a file that only its owner may read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from secrets import token_bytes, token_hex

from lipwright.errors import PublishFailed

SECRET_BYTES = 32


def keep_secret(path: Path, make: Callable[[], bytes] = lambda: token_bytes(SECRET_BYTES)) -> bytes:
    """Return the secret in *path*; the first of all callers, in whatever process, makes it.

    Raises:
        PublishFailed: it can be neither read nor made, or the file is cut short.
    """
    try:
        if not path.exists():
            _make(path, make())
        secret = path.read_bytes()
    except OSError as error:
        raise PublishFailed(
            f"the secret {path} cannot be kept ({error.strerror}): check the folder's permissions"
        ) from error
    if len(secret) < SECRET_BYTES:
        raise PublishFailed(
            f"the secret {path} has {len(secret)} bytes, not at least {SECRET_BYTES}: restore it "
            "from a backup, or delete it to have a new one made"
        )
    return secret


def _make(path: Path, secret: bytes) -> None:
    """Write the file beside, then link it in: whoever comes second keeps the first's."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{token_hex(4)}")
    handle = os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with open(handle, "wb") as file:
            file.write(secret)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(beside, path)
        except FileExistsError:
            return
    finally:
        beside.unlink()
