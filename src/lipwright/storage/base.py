"""The seam of storage: named blobs, written whole or not at all.

A name is a path of plain segments, such as ``jobs/<request id>/video.mp4`` or
``uploads/<file id>``; deleting a prefix deletes all below it.
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
    """What is known of a stored file."""

    name: str
    size: int  #: bytes
    etag: str  #: strong, without quotes
    content_type: str
    modified_at: datetime  #: UTC


def check_name(name: str) -> list[str]:
    """Return the segments of a name.

    Raises:
        InvalidOptions: it is not made of plain segments: letters, digits, ``.``, ``_``, ``-``, the
            first of them a letter or a digit.
    """
    segments = name.split("/")
    if len(name) > MAX_NAME or not all(_SEGMENT.fullmatch(s) for s in segments):
        raise InvalidOptions(f"{name[:80]!r} is no name in storage: use plain segments, as jobs/a1")
    return segments


def check_content_type(content_type: str) -> str:
    """Return a content type that can be kept.

    Raises:
        InvalidOptions: it is none, or too long.
    """
    if len(content_type) > MAX_CONTENT_TYPE or not _TYPE.fullmatch(content_type):
        raise InvalidOptions(f"{content_type[:80]!r} is no content type: write one as video/mp4")
    return content_type


class Storage(Protocol):
    """Blobs by name.

    Raises:
        InvalidOptions: from any method, when a name is not made of plain segments.
        PublishFailed: from any writing method, when it cannot be stored; retryable. What was there
            before is there still.
    """

    def put(self, name: str, source: Path | Iterable[bytes], *, content_type: str) -> Blob:
        """Store a file or a stream; readers see all of it or nothing.

        A file is moved: when all went well it is no longer where it was. It must not be a link.
        """
        ...

    def stat(self, name: str) -> Blob | None:
        """Return what is known of a blob, None when it is not there."""
        ...

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from *start* up to *stop* (exclusive), in pieces.

        The blob is opened by this call: what is read is what was there then, whatever happens to
        the name meanwhile.

        Raises:
            FileNotFoundError: there is no such blob; at once, not at the first piece.
        """
        ...

    def local(self, name: str, folder: Path) -> Path:
        """Return a path at which the blob can be read; copied into *folder* if it must be.

        Raises:
            FileNotFoundError: there is no such blob.
        """
        ...

    def delete(self, prefix: str) -> int:
        """Delete a blob, or all below a prefix that ends in ``/``; return how many went.

        Nothing there is fine: 0 went.
        """
        ...
