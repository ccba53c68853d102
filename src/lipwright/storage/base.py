"""The storage interface: named blobs that are written completely or not at all.

A name is a path of plain segments, such as ``jobs/<job id>/video.mp4`` or ``uploads/<file id>``;
deleting a prefix deletes everything below it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from lipwright.errors import InvalidOptions

MAX_NAME = 512  # characters
MAX_CONTENT_TYPE = 64  # characters
_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_TYPE = re.compile(r"[a-z0-9][\w.+-]*/[\w.+-]+(; ?[\x21-\x7e]+)*", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Blob:
    """The metadata of a stored file."""

    name: str
    size: int  #: bytes
    etag: str  #: strong, without quotes
    content_type: str
    modified_at: datetime  #: UTC


def check_name(name: str) -> list[str]:
    """Return the segments of a name.

    Raises:
        InvalidOptions: a segment has other characters than letters, digits, ``.``, ``_`` and ``-``,
            or does not start with a letter or a digit.
    """
    segments = name.split("/")
    if len(name) > MAX_NAME or not all(_SEGMENT.fullmatch(s) for s in segments):
        raise InvalidOptions(
            f"{name[:80]!r} is not a storage name: use plain segments such as jobs/a1"
        )
    return segments


def check_content_type(content_type: str) -> str:
    """Return *content_type* if it can be stored.

    Raises:
        InvalidOptions: it is malformed or too long.
    """
    if len(content_type) > MAX_CONTENT_TYPE or not _TYPE.fullmatch(content_type):
        raise InvalidOptions(
            f"{content_type[:80]!r} is not a content type: use one such as video/mp4"
        )
    return content_type


class Storage(Protocol):
    """Blobs by name.

    Raises:
        InvalidOptions: from any method, for a name that is not made of plain segments.
        PublishFailed: from any writing method, if the storage fails; retryable. The previous blob
            remains.
        StorageFull: likewise, if a disk is full.
    """

    def put(self, name: str, source: Path | Iterable[bytes], *, content_type: str) -> Blob:
        """Store a file or a stream; readers see all of it or nothing.

        A file is moved: after success it is no longer at *source*. It must not be a symbolic link.
        """
        ...

    def stat(self, name: str) -> Blob | None:
        """Return the metadata of a blob, None if it does not exist."""
        ...

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from *start* up to *stop* (exclusive), in chunks.

        This call opens the blob: later writes and deletes do not affect what is read.

        Raises:
            FileNotFoundError: there is no such blob; raised at once, not at the first chunk.
        """
        ...

    def local_path(self, name: str, folder: Path) -> Path:
        """Return a path at which the blob can be read; copied into *folder* if necessary.

        Raises:
            FileNotFoundError: there is no such blob.
        """
        ...

    def delete(self, prefix: str) -> int:
        """Delete a blob, or all blobs below a prefix that ends in ``/``; return how many.

        A missing blob is not an error.
        """
        ...
