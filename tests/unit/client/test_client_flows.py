"""The flows without a client: pauses, retries and timeouts."""

from __future__ import annotations

from typing import Any

import pytest

from fake_service import ID, KEY, URL
from lipwright.client import flows
from lipwright.client.address import ServiceAddress
from lipwright.client.calls import ApiResponse
from lipwright.client.flows import (
    Effect,
    EmitValue,
    Flow,
    GetTime,
    OpenStream,
    ReadChunk,
    SendRequest,
    Sleep,
)
from lipwright.errors import JobNotFinished, ServiceUnavailable, TooManyRequests

SERVICE = ServiceAddress(url=URL, api_key=KEY)
RUNNING = ApiResponse(
    status=200, body=f'{{"request_id": "{ID}", "status": "in_progress"}}'.encode()
)
BUSY = ApiResponse(status=429, headers={"retry-after": "7"})
AWAY = ApiResponse(status=503)


def slept(flow: Flow[Any], answer: ApiResponse) -> list[float]:
    """Run a flow against a service that always says the same, on a clock of its own."""
    now, pauses = 100.0, []
    reply: Any = None
    try:
        while True:
            effect: Effect = flow.send(reply)
            reply = None
            match effect:
                case SendRequest() | OpenStream():
                    reply = answer
                case GetTime():
                    reply = now
                case Sleep(seconds=seconds):
                    pauses.append(seconds)
                    now += seconds
                case ReadChunk() | EmitValue():
                    pass
    except (JobNotFinished, ServiceUnavailable, TooManyRequests):
        return pauses


def test_the_pause_between_retries_grows_and_retries_end():
    call = flows.calls.status(SERVICE, ID)
    assert slept(flows.execute(call), AWAY) == [0.5, 1.0, 2.0]


def test_the_pause_follows_retry_after():
    call = flows.calls.status(SERVICE, ID)
    assert slept(flows.execute(call), BUSY) == [7.0, 7.0, 7.0]


def test_waiting_for_a_job_outlasts_a_restart():
    assert sum(slept(flows.wait(SERVICE, ID, None), AWAY)) > 55
    assert sum(slept(flows.follow(SERVICE, ID), AWAY)) > 55


def test_waiting_ends_at_the_timeout():
    pauses = slept(flows.wait(SERVICE, ID, 10.0), RUNNING)
    assert sum(pauses) == pytest.approx(10.0)
    assert pauses[0] == 0.25
    assert max(pauses) == 2.0


def test_an_unsafe_call_is_not_retried():
    assert slept(flows.execute(flows.calls.erase(SERVICE, ID)), AWAY) == []
