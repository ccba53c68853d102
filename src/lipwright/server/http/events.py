"""Server-sent events that report the changing state of something.

The event ``state`` comes first, at every change of state, and last; ``progress`` in between. Every
event holds the full snapshot, so a client that reconnects needs none of the events it missed;
``Last-Event-ID`` only keeps the numbers rising.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from lipwright.errors import JobNotFound, QueueUnavailable, TooManyRequests
from lipwright.jobs.model import ApiKey
from lipwright.server.deployment import Deployment

CONTENT_TYPE = "text/event-stream"
POLL_SECONDS = 0.25  # between two polls of the ledger
HEARTBEAT_SECONDS = 15.0  # proxies close connections that are silent for longer
HEARTBEAT = b": heartbeat\n\n"
RETRY = b"retry: 2000\n\n"  # milliseconds until a disconnected client reconnects
MAX_ID = 2**53


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The data of one event."""

    state: str
    final: bool  #: no event follows
    data: Mapping[str, Any]  #: JSON object


Poll = Callable[[], Snapshot]


@dataclass(frozen=True, kw_only=True)
class StreamTiming:
    """Intervals of a stream, seconds."""

    poll: float = POLL_SECONDS
    heartbeat: float = HEARTBEAT_SECONDS


async def stream_events(
    poll: Poll, closing: Callable[[], bool], *, last_id: int = 0, timing: StreamTiming | None = None
) -> AsyncGenerator[bytes, None]:
    """Yield an event for each changed snapshot until one is final or the service closes.

    Args:
        poll: returns the present snapshot, called in a thread. The stream ends when it raises
            JobNotFound, and tries again when it raises QueueUnavailable.
        closing: whether the service is shutting down.
        last_id: number of the last event that the client received.
        timing: intervals; for tests.
    """
    timing = timing or StreamTiming()
    yield RETRY
    previous: Snapshot | None = None
    sent_at = time.monotonic()
    while not closing():
        try:
            current = await run_in_threadpool(poll)
        except JobNotFound:  # erased; a client that reconnects receives 404
            return
        except QueueUnavailable:
            current = None
        if current is not None and (previous is None or current.data != previous.data):
            last_id += 1
            changed = previous is None or current.state != previous.state
            yield format_event(last_id, "state" if changed else "progress", current.data)
            previous, sent_at = current, time.monotonic()
            if current.final:
                return
        if time.monotonic() - sent_at >= timing.heartbeat:
            yield HEARTBEAT
            sent_at = time.monotonic()
        await asyncio.sleep(timing.poll)


class EventStreamResponse(StreamingResponse):
    """A stream of events that counts against the limits on open streams while it is sent.

    The limits are checked when sending starts: after a check in the route, other streams could
    start before this one.
    """

    def __init__(
        self, deployment: Deployment, key: ApiKey, events: AsyncGenerator[bytes, None]
    ) -> None:
        headers = {"X-Accel-Buffering": "no"}  # nginx must not buffer events
        super().__init__(events, media_type=CONTENT_TYPE, headers=headers)
        self._deployment, self._key, self._events = deployment, key, events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream.

        Raises:
            TooManyRequests: a limit on open streams is reached.
        """
        check_stream_limits(self._deployment, self._key)
        open_streams = self._deployment.open_streams
        open_streams[self._key.id] += 1
        try:
            async with aclosing(self._events):
                await super().__call__(scope, receive, send)
        finally:
            open_streams[self._key.id] -= 1


def check_stream_limits(deployment: Deployment, key: ApiKey) -> None:
    """Check that one more stream may be opened.

    Raises:
        TooManyRequests: the key, or all keys together, have reached their limit.
    """
    per_key, total = deployment.settings.streams_per_key, deployment.settings.max_streams
    if deployment.open_streams[key.id] >= per_key:
        raise TooManyRequests(
            f"this key has {per_key} event streams open: close one, or poll the status",
            retry_after=HEARTBEAT_SECONDS,
        )
    if deployment.open_streams.total() >= total:
        raise TooManyRequests(
            f"{total} event streams are open: poll the status", retry_after=HEARTBEAT_SECONDS
        )


def format_event(number: int, name: str, data: Mapping[str, Any]) -> bytes:
    """Return an event in the format of server-sent events."""
    return f"id: {number}\nevent: {name}\ndata: {json.dumps(data)}\n\n".encode()


def parse_last_event_id(header: str | None) -> int:
    """Return the number in ``Last-Event-ID``, 0 if it is not one of ours."""
    text = header or ""
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 17 else 0
    return number if number < MAX_ID else 0
