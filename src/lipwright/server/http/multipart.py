"""Parsing a ``multipart/form-data`` body while it streams; files are never held in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from python_multipart.multipart import MultipartParser, parse_options_header

from lipwright.server.errors import FieldError, InvalidBody, Loc, truncate

FILE_FIELD = "file"
MULTIPART_TYPE = b"multipart/form-data"
MAX_BOUNDARY = 70  # bytes, by RFC 2046


@dataclass(frozen=True, kw_only=True)
class PartHeader:
    """The headers of a part."""

    field: str
    filename: str | None  #: as sent by the client; None: the part is a plain field


def parse_boundary(content_type: str) -> bytes | None:
    """Return the boundary, None if the type is not multipart or its boundary is unusable."""
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    return boundary if kind == MULTIPART_TYPE and 0 < len(boundary) <= MAX_BOUNDARY else None


class MultipartReader:
    """An incremental parser: returns the header of each part, then its bytes.

    Args:
        content_type: header of the request.
        loc: the field that error messages name.

    Raises:
        InvalidBody: the type has no usable boundary.
    """

    def __init__(self, content_type: str, loc: Loc) -> None:
        self._loc = loc
        self._done = False
        self._header = b""
        self._value = b""
        self._part: PartHeader | None = None  #: the part that is being parsed
        self._output: list[PartHeader | bytes] = []
        boundary = parse_boundary(content_type)
        if boundary is None:
            raise self.error(f"Content-Type {truncate(content_type)!r} has no usable boundary")
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

    def feed(self, chunk: bytes) -> list[PartHeader | bytes]:
        """Parse a chunk of the body and return the headers and bytes in it.

        Raises:
            InvalidBody: the body is malformed.
        """
        try:
            self._parser.write(chunk)
        except InvalidBody:
            raise
        except ValueError as cause:
            raise self.error(f"malformed multipart body: {truncate(str(cause))}") from cause
        output, self._output = self._output, []
        return output

    def close(self) -> None:
        """End the body.

        Raises:
            InvalidBody: it is truncated.
        """
        if not self._done:
            raise self.error("the multipart body is truncated: send it again")

    def error(self, message: str) -> InvalidBody:
        """Return an error that names the field of the form."""
        return InvalidBody(FieldError(loc=self._loc, message=message))

    def _begin(self) -> None:
        self._part = None

    def _take_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _take_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            _, options = parse_options_header(self._value)
            name = options.get(b"filename")
            self._part = PartHeader(
                field=options.get(b"name", b"").decode("utf-8", "replace"),
                filename=None if name is None else name.decode("utf-8", "replace"),
            )
        self._header = self._value = b""

    def _end_headers(self) -> None:
        if self._part is None:
            raise self.error("a part has no Content-Disposition: send form-data")
        self._output.append(self._part)

    def _take_data(self, data: bytes, start: int, end: int) -> None:
        self._output.append(data[start:end])

    def _end(self) -> None:
        self._done = True


class SingleFileReader:
    """An incremental parser of a form with exactly one part: a file in the field ``file``.

    Attributes:
        name: file name as sent by the client; set with the first bytes.
        started: whether the file has begun.
    """

    def __init__(self, content_type: str) -> None:
        self._form = MultipartReader(content_type, ("body", FILE_FIELD))
        self.name = ""
        self.started = False

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Parse a chunk of the body and yield the bytes of the file in it.

        Raises:
            InvalidBody: the body is malformed, or has other parts than one file.
        """
        for event in self._form.feed(chunk):
            if isinstance(event, bytes):
                yield event
            else:
                self._begin(event)

    def close(self) -> None:
        """End the body.

        Raises:
            InvalidBody: it is truncated, or had no file.
        """
        self._form.close()
        if not self.started:
            raise self._form.error(f"no file: send it in the field {FILE_FIELD!r}")

    def _begin(self, header: PartHeader) -> None:
        if self.started:
            raise self._form.error(
                f"more than one part: send one file, in the field {FILE_FIELD!r}"
            )
        if header.field != FILE_FIELD:
            raise self._form.error(
                f"unknown field {truncate(header.field)!r}: send the file in {FILE_FIELD!r}"
            )
        self.name, self.started = header.filename or "", True


async def iter_file_chunks(
    reader: SingleFileReader, body: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    """Yield the bytes of the file in a multipart *body*.

    Raises:
        InvalidBody: the body is malformed, or has other parts than one file.
    """
    async for chunk in body:
        for file_chunk in reader.feed(chunk):
            yield file_chunk
    reader.close()


async def iter_parts(
    reader: MultipartReader, body: AsyncIterator[bytes]
) -> AsyncIterator[tuple[PartHeader, AsyncIterator[bytes]]]:
    """Yield each part of a multipart *body* with its bytes, to be read before the next part.

    Raises:
        InvalidBody: the body is malformed.
    """
    events = _iter_events(reader, body)
    first = await anext(events, None)
    next_part = first if isinstance(first, PartHeader) else None

    async def contents() -> AsyncIterator[bytes]:
        nonlocal next_part
        next_part = None
        async for event in events:
            if isinstance(event, PartHeader):
                next_part = event
                return
            yield event

    while next_part is not None:
        yield next_part, contents()


async def _iter_events(
    reader: MultipartReader, body: AsyncIterator[bytes]
) -> AsyncIterator[PartHeader | bytes]:
    async for chunk in body:
        for event in reader.feed(chunk):
            yield event
    reader.close()
