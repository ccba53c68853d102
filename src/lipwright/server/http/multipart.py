"""Reading a ``multipart/form-data`` body while it streams; nothing of a file is held."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from python_multipart.multipart import MultipartParser, parse_options_header

from lipwright.server.errors import Fault, InvalidBody, Loc, shown

FIELD = "file"
KIND = b"multipart/form-data"
MAX_BOUNDARY = 70  # bytes, as RFC 2046 has it


@dataclass(frozen=True, kw_only=True)
class Head:
    """The beginning of a part."""

    field: str
    filename: str | None  #: as the client calls it; None: it is no file


def boundary_of(content_type: str) -> bytes | None:
    """Return what stands between the parts, None when it is no form that can be read."""
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    return boundary if kind == KIND and 0 < len(boundary) <= MAX_BOUNDARY else None


class FormReader:
    """Takes the pieces of a body, gives the parts in it: a head, then its bytes, then the next."""

    def __init__(self, content_type: str, loc: Loc) -> None:
        """Read a form of that type; *loc* is the field that errors name."""
        self._loc = loc
        self._done = False
        self._header = b""
        self._value = b""
        self._head: Head | None = None  #: of the part that has begun
        self._found: list[Head | bytes] = []
        boundary = boundary_of(content_type)
        if boundary is None:
            raise self.bad(f"Content-Type {shown(content_type)!r} has no usable boundary")
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

    def feed(self, piece: bytes) -> list[Head | bytes]:
        """Take a piece of the body and return what is in it.

        Raises:
            InvalidBody: the body is damaged.
        """
        try:
            self._parser.write(piece)
        except InvalidBody:
            raise
        except ValueError as cause:
            raise self.bad(f"damaged multipart body: {shown(str(cause))}") from cause
        found, self._found = self._found, []
        return found

    def close(self) -> None:
        """Say that the body has ended.

        Raises:
            InvalidBody: it is cut short.
        """
        if not self._done:
            raise self.bad("the multipart body is cut short: send it again")

    def bad(self, message: str) -> InvalidBody:
        """Return the error of that message."""
        return InvalidBody(Fault(loc=self._loc, message=message))

    def _begin(self) -> None:
        self._head = None

    def _take_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _take_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            _, options = parse_options_header(self._value)
            name = options.get(b"filename")
            self._head = Head(
                field=options.get(b"name", b"").decode("utf-8", "replace"),
                filename=None if name is None else name.decode("utf-8", "replace"),
            )
        self._header = self._value = b""

    def _end_headers(self) -> None:
        if self._head is None:
            raise self.bad("a part without Content-Disposition: send form-data")
        self._found.append(self._head)

    def _take_data(self, data: bytes, start: int, end: int) -> None:
        self._found.append(data[start:end])

    def _end(self) -> None:
        self._done = True


class FilePart:
    """Takes the pieces of a body, gives the pieces of the file in it.

    Exactly one part is allowed: the file, in the field ``file``.
    """

    def __init__(self, content_type: str) -> None:
        self._form = FormReader(content_type, ("body", FIELD))
        self.name = ""  #: of the file, as the client called it; known with its first piece
        self.found = False  #: whether the file has begun

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Take a piece of the body and yield what of the file is in it.

        Raises:
            InvalidBody: the body is damaged, or holds anything but one file.
        """
        for event in self._form.feed(piece):
            if isinstance(event, bytes):
                yield event
            else:
                self._begin(event)

    def close(self) -> None:
        """Say that the body has ended.

        Raises:
            InvalidBody: it is cut short, or held no file.
        """
        self._form.close()
        if not self.found:
            raise self._form.bad(f"no file: send it in the field {FIELD!r}")

    def _begin(self, head: Head) -> None:
        if self.found:
            raise self._form.bad(f"more than one part: send one file, in the field {FIELD!r}")
        if head.field != FIELD:
            raise self._form.bad(f"unknown field {shown(head.field)!r}: send the file in {FIELD!r}")
        self.name, self.found = head.filename or "", True


async def file_in(part: FilePart, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the file in a multipart *body*.

    Raises:
        InvalidBody: the body is damaged, or holds anything but one file.
    """
    async for piece in body:
        for found in part.feed(piece):
            yield found
    part.close()


async def parts_in(
    form: FormReader, body: AsyncIterator[bytes]
) -> AsyncIterator[tuple[Head, AsyncIterator[bytes]]]:
    """Yield each part of a multipart *body* with its bytes, to be read before the next.

    Raises:
        InvalidBody: the body is damaged.
    """
    events = _events(form, body)
    first = await anext(events, None)
    waiting = first if isinstance(first, Head) else None

    async def contents() -> AsyncIterator[bytes]:
        nonlocal waiting
        waiting = None
        async for event in events:
            if isinstance(event, Head):
                waiting = event
                return
            yield event

    while waiting is not None:
        yield waiting, contents()


async def _events(form: FormReader, body: AsyncIterator[bytes]) -> AsyncIterator[Head | bytes]:
    async for piece in body:
        for event in form.feed(piece):
            yield event
    form.close()
