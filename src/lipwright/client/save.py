"""A download lands beside its place and is renamed when it is whole."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lipwright.errors import LipwrightError, OutputUnwritable


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a file to write; it takes the place of *path* only when the block ends well.

    Raises:
        OutputUnwritable: it cannot be written there.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            yield file
        os.replace(part, path)
    except LipwrightError:
        raise  # some are OSErrors too, but not of this file
    except OSError as cause:
        raise OutputUnwritable(f"cannot write {path}: {cause.strerror or cause}") from cause
    finally:
        part.unlink(missing_ok=True)
