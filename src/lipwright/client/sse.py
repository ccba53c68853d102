"""Server-sent events, read piece by piece (pure): the part of the format that services use."""

from __future__ import annotations

import re
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

    def feed(self, piece: bytes) -> list[Message]:
        """Return the messages that *piece* completes.

        Raises:
            ServiceUnavailable: an event has no end, or is not UTF-8.
        """
        text, start, found = self._waiting + piece, 0, []
        while (end := LINE_END.search(text, start)) is not None:
            if end[0] == b"\r" and end.end() == len(text):
                break  # its \n may come with the next piece
            message = self._line(text[start : end.start()])
            start = end.end()
            if message is not None:
                found.append(message)
        self._waiting = text[start:]
        if len(self._waiting) + sum(map(len, self._data)) > MAX_EVENT:
            raise ServiceUnavailable("the service sends an event without an end: try again")
        return found

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
