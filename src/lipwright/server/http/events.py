"""A job as a stream of server-sent events.

Each event's data is one moment of the job: ``{"request_id", "status", "queue_position", "stage",
"done", "total", "fraction", "fps", "seconds_left", "error"}``. The event ``state`` comes first,
at every change of state, and last; ``progress`` in between. Every event tells all, so a client
that comes back needs none of those it missed, and ``Last-Event-ID`` only keeps the numbers rising.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from lipwright.errors import JobNotFound, QueueUnavailable, TooManyRequests
from lipwright.jobs.model import Job, Key, State
from lipwright.server.deployment import Deployment
from lipwright.server.runcomfy.wire import progress

CONTENT_TYPE = "text/event-stream"
LOOK_SECONDS = 0.25  # how often the ledger is looked at
HEARTBEAT_SECONDS = 15.0  # proxies close connections that are silent for longer
HEARTBEAT = b": still here\n\n"
RETRY = b"retry: 2000\n\n"  # milliseconds until a client that lost the stream comes back
MAX_ID = 2**53

Look = Callable[[], tuple[Job, int | None]]


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How often things are done, seconds."""

    look: float = LOOK_SECONDS
    heartbeat: float = HEARTBEAT_SECONDS


def look_at(parts: Deployment, job_id: str, key: Key) -> tuple[Job, int | None]:
    """Return a job and its place in the queue.

    Raises:
        JobNotFound: there is none.
    """
    ledger = parts.services.ledger
    job = ledger.get(job_id, key.id)
    return job, ledger.position(job) if job.state is State.IN_QUEUE else None


async def stream(
    look: Look, closing: Callable[[], bool], *, last_id: int = 0, pace: Pace | None = None
) -> AsyncGenerator[bytes, None]:
    """Yield the events of a job until it has ended, is erased, or the service closes."""
    pace = pace or Pace()
    yield RETRY
    told: dict[str, Any] = {}
    spoke = time.monotonic()
    while not closing():
        try:
            job, position = await run_in_threadpool(look)
        except JobNotFound:  # erased; who comes back is told so
            return
        except QueueUnavailable:
            job = None
        if job is not None and (now := progress(job, position)) != told:
            last_id += 1
            yield event(last_id, "state" if changed(told, now) else "progress", now)
            told, spoke = now, time.monotonic()
            if job.state.final:
                return
        if time.monotonic() - spoke >= pace.heartbeat:
            yield HEARTBEAT
            spoke = time.monotonic()
        await asyncio.sleep(pace.look)


class Followed(StreamingResponse):
    """A stream that counts among those of its key from before it begins until it has ended.

    It is refused where it would begin: between a check in the call and here others could begin.
    """

    def __init__(self, parts: Deployment, key: Key, pieces: AsyncGenerator[bytes, None]) -> None:
        headers = {"X-Accel-Buffering": "no"}  # a proxy must pass events on as they come
        super().__init__(pieces, media_type=CONTENT_TYPE, headers=headers)
        self._parts, self._key, self._pieces = parts, key, pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream.

        Raises:
            TooManyRequests: the key, or all together, hold as many as they may.
        """
        check_room(self._parts, self._key)
        open_ones = self._parts.streams
        open_ones[self._key.id] += 1
        try:
            async with aclosing(self._pieces):
                await super().__call__(scope, receive, send)
        finally:
            open_ones[self._key.id] -= 1


def check_room(parts: Deployment, key: Key) -> None:
    """Refuse one more stream than a key, or all together, may hold open.

    Raises:
        TooManyRequests: it is one more.
    """
    most, of_all = parts.settings.streams_per_key, parts.settings.max_streams
    if parts.streams[key.id] >= most:
        raise TooManyRequests(
            f"this key holds {most} event streams open: close one, or ask for the status",
            retry_after=HEARTBEAT_SECONDS,
        )
    if parts.streams.total() >= of_all:
        raise TooManyRequests(
            f"{of_all} event streams are open: ask for the status", retry_after=HEARTBEAT_SECONDS
        )


def event(number: int, name: str, data: dict[str, Any]) -> bytes:
    """Write one event."""
    return f"id: {number}\nevent: {name}\ndata: {json.dumps(data)}\n\n".encode()


def changed(before: dict[str, Any], now: dict[str, Any]) -> bool:
    """Whether the state is another one."""
    return bool(before.get("status") != now["status"])


def last_id_of(header: str | None) -> int:
    """Return the number in ``Last-Event-ID``, 0 for anything that is no number of ours."""
    text = header or ""
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 17 else 0
    return number if number < MAX_ID else 0
