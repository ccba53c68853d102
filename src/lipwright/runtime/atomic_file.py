"""Writing a file atomically: to a temporary name first, renamed when it is complete."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lipwright.errors import LipwrightError, OutputUnwritable, StorageFull, is_disk_full

MAX_NAME = 60  # characters of the name in that of the partial file; file systems limit bytes


def link_target(path: Path) -> Path:
    """Return the path to write so that links in *path* stay: the target of the last one.

    The target of a link need not exist yet.

    Raises:
        OutputUnwritable: the links form a loop, or the target is no file, such as a pipe or device.
    """
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise OutputUnwritable(f"{path} is a link that leads back to itself: remove it first")
    if target.exists() and not (target.is_file() or target.is_dir()):
        raise OutputUnwritable(
            f"{path} is a pipe or a device: name a file, since results are written out of order"
        )
    return target


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a file that replaces *path* when the block ends without an error.

    If *path* is a link, it stays and its target is replaced.

    Raises:
        OutputUnwritable: the file cannot be written.
        StorageFull: the disk is full.
    """
    path = link_target(path)
    part = path.with_name(f".{path.name[:MAX_NAME]}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except LipwrightError:
        raise  # some are OSErrors, but not of this file
    except OSError as cause:
        kind = StorageFull if is_disk_full(cause) else OutputUnwritable
        raise kind(f"cannot write {path}: {cause.strerror or cause}") from cause
    finally:
        part.unlink(missing_ok=True)
