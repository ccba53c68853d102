from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from lipwright.errors import JobNotFound, QueueUnavailable
from lipwright.jobs.model import Stage
from lipwright.server.http.events import HEARTBEAT, Pace, last_id_of, stream
from wire_jobs import DONE, FAILED, QUEUED, RUNNING

FAST = Pace(look=0.0, heartbeat=60.0)


def told(moments, *, closing=lambda: False, pace=FAST, last_id=0) -> list[bytes]:
    """Return all that is streamed while the job goes through *moments*."""
    left = list(moments)

    def look():
        moment = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(moment, Exception):
            raise moment
        return moment

    async def collect() -> list[bytes]:
        pieces = stream(look, closing, last_id=last_id, pace=pace)
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


def test_each_change_is_told_once_and_the_end_ends_it():
    further = replace(RUNNING, stage=Stage(stage="paint", done=9, fraction=0.9))
    moments = [(QUEUED, 1), (QUEUED, 1), (QUEUED, 0), (RUNNING, None), (further, None),
               (further, None), (DONE, None)]  # fmt: skip
    seen = [
        (name, data["status"], data["queue_position"]) for _, name, data in events(told(moments))
    ]
    assert seen == [
        ("state", "in_queue", 1),
        ("progress", "in_queue", 0),
        ("state", "in_progress", None),
        ("progress", "in_progress", None),
        ("state", "succeeded", None),
    ]


def test_a_job_that_has_ended_is_told_in_one_event():
    (_, name, data), *more = events(told([(FAILED, None)]))
    assert (name, more) == ("state", [])
    assert data["error"] == {"code": "no_face_found", "message": "none"}


def test_who_comes_back_gets_the_present_with_rising_numbers():
    assert [number for number, _, _ in events(told([(QUEUED, 0), (DONE, None)], last_id=41))] == [
        "42", "43"
    ]  # fmt: skip


def test_an_erased_job_ends_the_stream():
    assert len(events(told([(QUEUED, 0), JobNotFound()]))) == 1


def test_a_database_that_is_away_is_waited_for():
    seen = events(told([(QUEUED, 0), QueueUnavailable(), QueueUnavailable(), (DONE, None)]))
    assert [data["status"] for _, _, data in seen] == ["in_queue", "succeeded"]


def test_silence_is_broken_by_comments():
    pace = Pace(look=0.0, heartbeat=0.0)
    pieces = told([(QUEUED, 0), (QUEUED, 0), (QUEUED, 0), (DONE, None)], pace=pace)
    assert pieces.count(HEARTBEAT) >= 2


def test_a_closing_service_ends_its_streams():
    looks = iter([False, False, True])
    assert len(events(told([(QUEUED, 0)], closing=lambda: next(looks)))) == 1


@pytest.mark.parametrize(
    ("header", "number"),
    [(None, 0), ("", 0), ("7", 7), ("-1", 0), ("1e9", 0), ("٣", 0), ("9" * 17, 0), ("x", 0),
     (str(2**53), 0)],
)  # fmt: skip
def test_any_last_event_id_is_tolerated(header, number):
    assert last_id_of(header) == number
