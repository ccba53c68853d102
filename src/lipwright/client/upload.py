"""Streaming a file as the body of a request."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path

from lipwright.errors import SourceUnreachable

CHUNK_BYTES = 256 * 1024  # bytes

OnBytes = Callable[[int, int], None]  #: called with bytes done and bytes in total


@dataclass(frozen=True, kw_only=True)
class FileBody:
    """One file as ``multipart/form-data``; can be sent more than once."""

    path: Path
    size: int  #: of the file when the body was created, bytes
    boundary: str
    on_bytes: OnBytes | None = field(default=None, repr=False)

    @classmethod
    def from_path(cls, path: Path, boundary: str, on_bytes: OnBytes | None = None) -> FileBody:
        """Return the body that sends the file at *path*.

        Raises:
            SourceUnreachable: the file does not exist or is not a regular file.
        """
        try:
            facts = path.stat()
        except (OSError, ValueError) as cause:
            reason = getattr(cause, "strerror", None) or cause
            raise SourceUnreachable(f"cannot open {path}: {reason}") from cause
        if not stat.S_ISREG(facts.st_mode):
            raise SourceUnreachable(f"{path} is not a regular file: use one")
        return cls(path=path, size=facts.st_size, boundary=boundary, on_bytes=on_bytes)

    @property
    def content_type(self) -> str:
        """Value of the ``Content-Type`` header."""
        return f"multipart/form-data; boundary={self.boundary}"

    @property
    def length(self) -> int:
        """Length of the whole body, bytes."""
        return len(self._head) + self.size + len(self._tail)

    @property
    def _head(self) -> bytes:
        name = self.path.name
        for old, new in (('"', "%22"), ("\r", "%0D"), ("\n", "%0A")):  # as browsers do
            name = name.replace(old, new)
        text = (
            f"--{self.boundary}\r\n"
            f'Content-Disposition: form-data; name="file"; filename="{name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        return text.encode(errors="replace")

    @property
    def _tail(self) -> bytes:
        return f"\r\n--{self.boundary}--\r\n".encode()

    def chunks(self) -> Generator[bytes, None, None]:
        """Yield the body.

        Raises:
            SourceUnreachable: the file cannot be read, or became shorter.
        """
        yield self._head
        yield from self._contents()
        yield self._tail

    def _contents(self) -> Generator[bytes, None, None]:
        done = 0
        try:
            with self.path.open("rb") as file:
                while done < self.size:
                    chunk = file.read(min(CHUNK_BYTES, self.size - done))
                    if not chunk:
                        break
                    yield chunk
                    done += len(chunk)
                    if self.on_bytes is not None:
                        self.on_bytes(done, self.size)
        except OSError as cause:
            raise SourceUnreachable(
                f"cannot read {self.path}: {cause.strerror or os.strerror(cause.errno or 0)}"
            ) from cause
        if done < self.size:
            raise SourceUnreachable(f"{self.path} became shorter while it was sent: send it again")
