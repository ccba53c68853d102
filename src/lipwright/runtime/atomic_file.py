"""Writing a file atomically: to a temporary name first, renamed when it is complete."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lipwright.errors import LipwrightError, OutputUnwritable, StorageFull, is_disk_full


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a file that replaces *path* when the block ends without an error.

    Raises:
        OutputUnwritable: the file cannot be written.
        StorageFull: the disk is full.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
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
