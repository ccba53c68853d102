from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from lipwright.errors import JobNotFound, QueueUnavailable
from lipwright.jobs.model import JobProgress
from lipwright.server.http.events import HEARTBEAT, StreamTiming, parse_last_event_id, stream_events
from lipwright.server.runcomfy.wire import snapshot
from wire_jobs import DONE, FAILED, QUEUED, RUNNING

FAST = StreamTiming(poll=0.0, heartbeat=60.0)


def stream(states, *, closing=lambda: False, timing=FAST, last_id=0) -> list[bytes]:
    """Return the chunks of the stream while the job goes through *states*."""
    left = list(states)

    def poll():
        state = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(state, Exception):
            raise state
        return snapshot(*state)

    async def collect() -> list[bytes]:
        pieces = stream_events(poll, closing, last_id=last_id, timing=timing)
        return [piece async for piece in pieces]

    return asyncio.run(collect())


def events(pieces: list[bytes]) -> list[tuple[str, str, dict]]:
    found = []
    for piece in pieces:
        if piece.startswith(b"id: "):
            number, name, data = piece.decode().rstrip("\n").split("\n")
            found.append(
                (number[len("id: "):], name[len("event: "):], json.loads(data[len("data: "):]))
            )  # fmt: skip
    return found


def test_each_change_is_sent_once_and_the_final_state_ends_the_stream():
    further = replace(RUNNING, progress=JobProgress(stage="paint", done=9, fraction=0.9))
    states = [(QUEUED, 1), (QUEUED, 1), (QUEUED, 0), (RUNNING, None), (further, None),
               (further, None), (DONE, None)]  # fmt: skip
    seen = [
        (name, data["status"], data["queue_position"]) for _, name, data in events(stream(states))
    ]
    assert seen == [
        ("state", "in_queue", 1),
        ("progress", "in_queue", 0),
        ("state", "in_progress", None),
        ("progress", "in_progress", None),
        ("state", "succeeded", None),
    ]


def test_an_ended_job_is_one_event():
    (_, name, data), *more = events(stream([(FAILED, None)]))
    assert (name, more) == ("state", [])
    assert data["error"] == {"code": "no_face_found", "message": "none"}


def test_a_reconnecting_client_gets_the_present_state_with_rising_numbers():
    assert [number for number, _, _ in events(stream([(QUEUED, 0), (DONE, None)], last_id=41))] == [
        "42", "43"
    ]  # fmt: skip


def test_an_erased_job_ends_the_stream():
    assert len(events(stream([(QUEUED, 0), JobNotFound()]))) == 1


def test_the_stream_survives_an_unavailable_database():
    seen = events(stream([(QUEUED, 0), QueueUnavailable(), QueueUnavailable(), (DONE, None)]))
    assert [data["status"] for _, _, data in seen] == ["in_queue", "succeeded"]


def test_heartbeats_are_sent_while_nothing_changes():
    timing = StreamTiming(poll=0.0, heartbeat=0.0)
    pieces = stream([(QUEUED, 0), (QUEUED, 0), (QUEUED, 0), (DONE, None)], timing=timing)
    assert pieces.count(HEARTBEAT) >= 2


def test_a_closing_service_ends_its_streams():
    answers = iter([False, False, True])
    assert len(events(stream([(QUEUED, 0)], closing=lambda: next(answers)))) == 1


@pytest.mark.parametrize(
    ("header", "number"),
    [(None, 0), ("", 0), ("7", 7), ("-1", 0), ("1e9", 0), ("٣", 0), ("9" * 17, 0), ("x", 0),
     (str(2**53), 0)],
)  # fmt: skip
def test_a_malformed_last_event_id_counts_as_zero(header, number):
    assert parse_last_event_id(header) == number
