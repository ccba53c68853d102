"""Finding the one file in a ``multipart/form-data`` body while it streams."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from python_multipart.multipart import MultipartParser, parse_options_header

from lipwright.server.errors import Fault, InvalidBody, shown

FIELD = "file"


class FilePart:
    """Takes the pieces of a body, gives the pieces of the file in it.

    Exactly one part is allowed: the file, in the field ``file``.
    """

    def __init__(self, content_type: str) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not 0 < len(boundary) <= 70:
            raise _bad(f"Content-Type {shown(content_type)!r} has no usable boundary")
        self.name = ""  #: of the file, as the client called it; known with its first piece
        self.found = False  #: whether the file has begun
        self._done = False
        self._parts = 0
        self._header = b""
        self._value = b""
        self._pieces: list[bytes] = []
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._take_header,
                "on_header_value": self._take_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._end_headers,
                "on_part_data": self._take_data,
                "on_end": self._end,
            },
        )

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Take a piece of the body and yield what of the file is in it.

        Raises:
            InvalidBody: the body is damaged, or holds anything but one file.
        """
        try:
            self._parser.write(piece)
        except InvalidBody:
            raise
        except ValueError as cause:
            raise _bad(f"damaged multipart body: {shown(str(cause))}") from cause
        found, self._pieces = self._pieces, []
        yield from found

    def close(self) -> None:
        """Say that the body has ended.

        Raises:
            InvalidBody: it is cut short, or held no file.
        """
        if not self._done:
            raise _bad("the multipart body is cut short: send it again")
        if not self.found:
            raise _bad(f"no file: send it in the field {FIELD!r}")

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > 1:
            raise _bad(f"more than one part: send one file, in the field {FIELD!r}")

    def _take_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _take_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            _, options = parse_options_header(self._value)
            field = options.get(b"name", b"").decode("utf-8", "replace")
            if field != FIELD:
                raise _bad(f"unknown field {shown(field)!r}: send the file in {FIELD!r}")
            self.name = options.get(b"filename", b"").decode("utf-8", "replace")
            self.found = True
        self._header = self._value = b""

    def _end_headers(self) -> None:
        if not self.found:
            raise _bad(f"a part without Content-Disposition: send the file in {FIELD!r}")

    def _take_data(self, data: bytes, start: int, end: int) -> None:
        self._pieces.append(data[start:end])

    def _end(self) -> None:
        self._done = True


async def file_in(part: FilePart, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the file in a multipart *body*.

    Raises:
        InvalidBody: the body is damaged, or holds anything but one file.
    """
    async for piece in body:
        for found in part.feed(piece):
            yield found
    part.close()


def _bad(message: str) -> InvalidBody:
    return InvalidBody(Fault(loc=("body", FIELD), message=message))
