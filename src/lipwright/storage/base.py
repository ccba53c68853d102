"""The seam of storage: named blobs, written whole or not at all.

A name is a path of plain segments, such as ``jobs/<request id>/video.mp4`` or
``uploads/<file id>``; deleting a prefix deletes all below it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Blob:
    """What is known of a stored file."""

    name: str
    size: int  #: bytes
    etag: str  #: strong, without quotes
    content_type: str
    modified_at: datetime  #: UTC


class Storage(Protocol):
    """Blobs by name.

    Raises:
        PublishFailed: from any writing method, when it cannot be stored; retryable.
    """

    def put(self, name: str, source: Path | Iterable[bytes], *, content_type: str) -> Blob:
        """Store a file (moved here if it can be) or a stream; readers see all of it or nothing."""
        ...

    def stat(self, name: str) -> Blob | None:
        """Return what is known of a blob, None when it is not there."""
        ...

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from *start* up to *stop* (exclusive), in pieces.

        Raises:
            FileNotFoundError: there is no such blob.
        """
        ...

    def local(self, name: str, folder: Path) -> Path:
        """Return a path at which the blob can be read; copied into *folder* if it must be.

        Raises:
            FileNotFoundError: there is no such blob.
        """
        ...

    def delete(self, prefix: str) -> int:
        """Delete a blob, or all below a prefix that ends in ``/``; return how many went."""
        ...
