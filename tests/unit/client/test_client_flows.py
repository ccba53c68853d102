"""The flows alone, without any client: what is slept, asked and given up."""

from __future__ import annotations

from typing import Any

import pytest

from fake_service import ID, KEY, URL
from lipwright.client import flows
from lipwright.client.address import Service
from lipwright.client.calls import Answer
from lipwright.client.flows import Effect, Emit, Flow, Now, Open, Read, Send, Sleep
from lipwright.errors import JobNotFinished, ServiceUnavailable, TooManyRequests

SERVICE = Service(url=URL, api_key=KEY)
RUNNING = Answer(status=200, body=f'{{"request_id": "{ID}", "status": "in_progress"}}'.encode())
BUSY = Answer(status=429, headers={"retry-after": "7"})
AWAY = Answer(status=503)


def slept(flow: Flow[Any], answer: Answer) -> list[float]:
    """Run a flow against a service that always says the same, on a clock of its own."""
    now, pauses = 100.0, []
    reply: Any = None
    try:
        while True:
            effect: Effect = flow.send(reply)
            reply = None
            match effect:
                case Send() | Open():
                    reply = answer
                case Now():
                    reply = now
                case Sleep(seconds=seconds):
                    pauses.append(seconds)
                    now += seconds
                case Read() | Emit():
                    pass
    except (JobNotFinished, ServiceUnavailable, TooManyRequests):
        return pauses


def test_a_pause_between_tries_grows_and_ends():
    call = flows.calls.status(SERVICE, ID)
    assert slept(flows.ask(call), AWAY) == [0.5, 1.0, 2.0]


def test_a_pause_is_as_long_as_the_service_wants():
    call = flows.calls.status(SERVICE, ID)
    assert slept(flows.ask(call), BUSY) == [7.0, 7.0, 7.0]


def test_who_waits_for_a_job_waits_out_a_restart():
    assert sum(slept(flows.wait(SERVICE, ID, None), AWAY)) > 55
    assert sum(slept(flows.follow(SERVICE, ID), AWAY)) > 55


def test_waiting_ends_when_it_should():
    pauses = slept(flows.wait(SERVICE, ID, 10.0), RUNNING)
    assert sum(pauses) == pytest.approx(10.0)
    assert pauses[0] == 0.25
    assert max(pauses) == 2.0


def test_a_call_that_is_not_safe_is_not_repeated():
    assert slept(flows.ask(flows.calls.erase(SERVICE, ID)), AWAY) == []
