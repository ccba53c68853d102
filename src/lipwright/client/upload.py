"""A file as the body of a request, streamed."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path

from lipwright.errors import SourceUnreachable

PIECE = 256 * 1024  # bytes

OnBytes = Callable[[int, int], None]  #: called with bytes done and bytes in all


@dataclass(frozen=True, kw_only=True)
class FileBody:
    """One file as ``multipart/form-data``; may be sent more than once."""

    path: Path
    size: int  #: of the file when it was looked at, bytes
    boundary: str
    on_bytes: OnBytes | None = field(default=None, repr=False)

    @classmethod
    def of(cls, path: Path, boundary: str, on_bytes: OnBytes | None = None) -> FileBody:
        """Return the body that sends the file at *path*.

        Raises:
            SourceUnreachable: there is no such file, or it is no regular one.
        """
        try:
            facts = path.stat()
        except (OSError, ValueError) as cause:
            reason = getattr(cause, "strerror", None) or cause
            raise SourceUnreachable(f"cannot open {path}: {reason}") from cause
        if not stat.S_ISREG(facts.st_mode):
            raise SourceUnreachable(f"{path} is no regular file: give one")
        return cls(path=path, size=facts.st_size, boundary=boundary, on_bytes=on_bytes)

    @property
    def content_type(self) -> str:
        """Return the header that goes with it."""
        return f"multipart/form-data; boundary={self.boundary}"

    @property
    def length(self) -> int:
        """Bytes of the whole body."""
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

    def pieces(self) -> Generator[bytes, None, None]:
        """Yield the body.

        Raises:
            SourceUnreachable: the file cannot be read, or has become shorter.
        """
        yield self._head
        yield from self._contents()
        yield self._tail

    def _contents(self) -> Generator[bytes, None, None]:
        done = 0
        try:
            with self.path.open("rb") as file:
                while done < self.size:
                    piece = file.read(min(PIECE, self.size - done))
                    if not piece:
                        break
                    yield piece
                    done += len(piece)
                    if self.on_bytes is not None:
                        self.on_bytes(done, self.size)
        except OSError as cause:
            raise SourceUnreachable(
                f"cannot read {self.path}: {cause.strerror or os.strerror(cause.errno or 0)}"
            ) from cause
        if done < self.size:
            raise SourceUnreachable(f"{self.path} became shorter while it was sent: send it again")
