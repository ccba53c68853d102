"""An incremental parser of server-sent events; no I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lipwright.errors import ServiceUnavailable

MAX_EVENT = 1_000_000  # bytes; ours have some hundred
LINE_END = re.compile(rb"\r\n|\n|\r")


@dataclass(frozen=True, kw_only=True)
class SseMessage:
    """One event of a stream."""

    event: str = "message"
    data: str = ""


class SseParser:
    """Parses the bytes of a stream into messages. Comments and unknown fields are ignored."""

    def __init__(self) -> None:
        self._waiting = b""
        self._event = ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> list[SseMessage]:
        """Return the messages that *chunk* completes.

        Raises:
            ServiceUnavailable: an event is too long or not UTF-8.
        """
        text, start, found = self._waiting + chunk, 0, []
        while (end := LINE_END.search(text, start)) is not None:
            if end[0] == b"\r" and end.end() == len(text):
                break  # its \n may come with the next chunk
            message = self._line(text[start : end.start()])
            start = end.end()
            if message is not None:
                found.append(message)
        self._waiting = text[start:]
        if len(self._waiting) + sum(map(len, self._data)) > MAX_EVENT:
            raise ServiceUnavailable("the service sends an event without an end: try again")
        return found

    def _line(self, line: bytes) -> SseMessage | None:
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

    def _dispatch(self) -> SseMessage | None:
        event, data = self._event or "message", self._data
        self._event, self._data = "", []
        return SseMessage(event=event, data="\n".join(data)) if data else None
