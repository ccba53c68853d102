"""Server-sent events, read piece by piece (pure): the part of the format that services use."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lipwright.errors import ServiceUnavailable

MAX_EVENT = 1_000_000  # bytes; ours have some hundred
LINE_END = re.compile(rb"\r\n|\n|\r")


@dataclass(frozen=True, kw_only=True)
class Message:
    """One event."""

    event: str = "message"
    data: str = ""


class Parser:
    """Turns the bytes of a stream into messages; comments and unknown fields are skipped."""

    def __init__(self) -> None:
        self._waiting = b""
        self._event = ""
        self._data: list[str] = []

    def feed(self, piece: bytes) -> Iterator[Message]:
        """Yield the messages that *piece* completes.

        Raises:
            ServiceUnavailable: an event has no end, or is not UTF-8.
        """
        self._waiting += piece
        while (end := LINE_END.search(self._waiting)) is not None:
            if end[0] == b"\r" and end.end() == len(self._waiting):
                return  # its \n may come with the next piece
            line, self._waiting = self._waiting[: end.start()], self._waiting[end.end() :]
            if (message := self._line(line)) is not None:
                yield message
        if len(self._waiting) + sum(map(len, self._data)) > MAX_EVENT:
            raise ServiceUnavailable("the service sends an event without an end: try again")

    def _line(self, line: bytes) -> Message | None:
        if not line:
            return self._dispatch()
        try:
            name, _, value = line.decode().partition(":")
        except UnicodeDecodeError as cause:
            raise ServiceUnavailable("the service sends events that are not UTF-8") from cause
        value = value.removeprefix(" ")
        if name == "event":
            self._event = value
        elif name == "data":
            self._data.append(value)
        return None

    def _dispatch(self) -> Message | None:
        event, data = self._event or "message", self._data
        self._event, self._data = "", []
        return Message(event=event, data="\n".join(data)) if data else None
