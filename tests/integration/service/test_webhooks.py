"""Webhook calls to real receivers on loopback: accepting, refusing, slow and hostile ones."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from replicate.webhook import Webhooks, WebhookSigningSecret

from hostile import HostileServer, RawConnection
from lipwright.errors import QueueUnavailable
from lipwright.jobs.ledger.memory import MemoryBackend
from lipwright.jobs.model import Delivery, Job, JobSpec, SubmitLimits
from lipwright.jobs.webhooks import FIRST_DELAY, MAX_DELAY, WebhookSender, webhook_secret
from lipwright.net.address import AllowList
from lipwright.net.guard import GuardedClient
from lipwright.settings import Settings

DAY = 86_400.0
SOON = 10.0  # seconds


class WebhookHarness:
    """A ledger in memory with its own clock, and a sender of its webhooks."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.now = datetime(2026, 1, 2, tzinfo=UTC)
        self.memory = MemoryBackend(clock=lambda: self.now)
        self.secret = webhook_secret(folder)
        self.sender = WebhookSender(
            **{
                "deliveries": self.memory.deliveries,
                "ledger": self.memory.ledger,
                "build_body": build_body,
                "secret": self.secret,
                "client": GuardedClient(allow_list=AllowList.parse(["127.0.0.1"])),
                "timeout_seconds": 5.0,
                "give_up_seconds": DAY,
                "random_jitter": lambda: 0.0,
                **options,
            }
        )
        self.count = 0

    def ended(self, url: str, dialect: str = "runcomfy") -> str:
        """Create a job with a webhook that has just ended, and return its id."""
        self.count += 1
        spec = JobSpec(
            id=f"job{self.count}",
            key_id="k1",
            model_id="m",
            dialect=dialect,
            engine="exemplar",
            input={},
            payload={},
            webhook_url=url,
        )
        ledger = self.memory.ledger
        ledger.submit(spec, SubmitLimits(max_queued=1000, submits_per_minute=1000))
        job = ledger.claim(spec.id, "w1")
        assert job is not None
        assert ledger.finish(job.id, job.epoch, output={"video": "v"}, failure=None)
        return job.id

    def call(self, job_id: str) -> Delivery:
        (delivery,) = self.memory.deliveries.list_for_job(job_id)
        return delivery

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def build_body(job: Job) -> Mapping[str, Any]:
    return {"request_id": job.id, "status": str(job.state), "name": "täke"}


@pytest.fixture
def harness(tmp_path: Path) -> WebhookHarness:
    return WebhookHarness(tmp_path)


@pytest.fixture
def server() -> Iterator[HostileServer]:
    with HostileServer() as server:
        server.on("/hook", lambda connection: connection.respond(b"ok"))
        yield server


# ------------------------------------------------------------------------------------ delivered
def test_a_finished_job_causes_one_signed_call(harness, server):
    job_id = harness.ended(server.url("/hook"))
    assert harness.sender.send_due() == 1
    (call,) = server.requests
    assert call.method == "POST"
    assert call.headers["content-type"] == "application/json"
    assert json.loads(call.body) == {
        "request_id": job_id,
        "status": "succeeded",
        "name": "täke",
    }
    Webhooks.validate(
        headers=call.headers,
        body=call.body.decode(),
        secret=WebhookSigningSecret(key=harness.secret),
        tolerance=60,
    )
    assert "sync-signature" not in call.headers
    assert harness.call(job_id).state == "delivered"
    harness.advance(DAY)
    assert harness.sender.send_due() == 0
    assert len(server.requests) == 1


def test_the_sync_dialect_has_its_own_signature_too(harness, server):
    harness.ended(server.url("/hook"), dialect="sync_v2")
    harness.sender.send_due()
    (call,) = server.requests
    at, signature = (part.partition("=")[2] for part in call.headers["sync-signature"].split(","))
    message = at.encode() + b"." + call.body
    assert signature == hmac.new(harness.secret.encode(), message, hashlib.sha256).hexdigest()
    assert at == call.headers["webhook-timestamp"]


def test_nothing_is_sent_when_nothing_is_due(harness):
    assert harness.sender.send_due() == 0


@pytest.mark.parametrize("status", ["200 OK", "201 Created", "202 Accepted", "204 No Content"])
def test_any_2xx_response_counts_as_delivered(harness, server, status):
    server.on("/hook", lambda connection: connection.send(f"HTTP/1.1 {status}\r\n\r\n".encode()))
    job_id = harness.ended(server.url("/hook"))
    harness.sender.send_due()
    assert harness.call(job_id).state == "delivered"


# -------------------------------------------------------------------------------------- retries
REFUSALS = ["301 Moved", "302 Found", "400 Bad", "401 Who", "404 Gone", "429 Slow", "500 Oops"]


@pytest.mark.parametrize("status", REFUSALS)
def test_any_other_response_is_retried_under_the_same_id(harness, server, status):
    def script(connection: RawConnection) -> None:
        connection.respond(status=status if connection.attempt < 3 else "200 OK")

    job_id = harness.ended(server.on("/hook", script))
    assert harness.sender.send_due() == 1
    for pause in (FIRST_DELAY, 2 * FIRST_DELAY):
        harness.advance(pause - 0.1)
        assert harness.sender.send_due() == 0
        harness.advance(0.1)
        assert harness.sender.send_due() == 1
    assert harness.call(job_id).state == "delivered"
    assert len({call.headers["webhook-id"] for call in server.requests}) == 1
    assert len(server.requests) == 3


def test_redirects_are_not_followed(harness, server):
    other = server.on("/other", lambda connection: connection.respond())
    server.on(
        "/hook",
        lambda connection: connection.respond(b"", f"Location: {other}", status="307 Other"),
    )
    job_id = harness.ended(server.url("/hook"))
    harness.sender.send_due()
    assert server.request_count("/other") == 0
    assert "307" in (harness.call(job_id).last_error or "")


def test_retry_after_is_respected_up_to_a_maximum(harness, server):
    server.on(
        "/hook", lambda connection: connection.respond(b"", "Retry-After: 600", status="429 Slow")
    )
    server.on(
        "/long",
        lambda connection: connection.respond(b"", "Retry-After: 999999999", status="503 Busy"),
    )
    calls = [harness.call(harness.ended(server.url(path))) for path in ("/hook", "/long")]
    harness.sender.send_due()
    pauses = [(harness.call(c.job_id).next_at - harness.now).total_seconds() for c in calls]
    assert pauses == [600.0, MAX_DELAY]


# --------------------------------------------------------------------------------------- given up
def test_a_410_response_ends_the_delivery(harness, server, caplog):
    job_id = harness.ended(
        server.on("/gone", lambda connection: connection.respond(status="410 Gone"))
    )
    with caplog.at_level(logging.WARNING):
        harness.sender.send_due()
    call = harness.call(job_id)
    assert (call.state, call.attempts) == ("dead", 1)
    assert "410" in (call.last_error or "")
    assert job_id in [record.job_id for record in caplog.records]
    harness.advance(DAY)
    assert harness.sender.send_due() == 0


def test_a_failing_delivery_is_given_up_after_a_day_and_stays_visible(harness, server):
    job_id = harness.ended(
        server.on("/hook", lambda connection: connection.respond(status="500 Oops"))
    )
    start = harness.now
    while (call := harness.call(job_id)).state == "pending":
        harness.now = max(harness.now, call.next_at)
        assert harness.sender.send_due() == 1
    assert call.state == "dead"
    assert "500" in (call.last_error or "")
    assert (harness.now - start).total_seconds() == pytest.approx(DAY, abs=1)
    assert call.attempts == len(server.requests) >= 10


def test_no_call_is_made_for_an_erased_job(harness, server):
    job_id = harness.ended(server.url("/hook"))
    (delivery,) = harness.memory.deliveries.claim_due(1, 60)
    harness.memory.ledger.erase(job_id)
    harness.sender.deliver(delivery)
    assert server.requests == []
    assert [call.state for call in harness.memory.deliveries.list_for_job(job_id)] != ["pending"]


# -------------------------------------------------------------------------------------- hostile
@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("https://10.0.0.1/hook", "not a public address"),
        ("https://169.254.169.254/latest/meta-data/", "not a public address"),
        ("https://[::ffff:10.0.0.1]/", "not a public address"),
        ("https://0x7f.1/", "four decimal numbers"),
        ("http://example.org/", "https://"),
        ("file:///etc/passwd", "file: URL"),
        ("https://user:hunter2@example.org/", "user name"),
        ("https://internal.example/", "none that is public"),
    ],
)
def test_addresses_are_checked_as_for_downloads(tmp_path, url, says):
    def never(address: str, port: int, seconds: float) -> Any:
        raise AssertionError(f"connected to {address}")

    harness = WebhookHarness(
        tmp_path, client=GuardedClient(resolve=lambda host, port: ["10.0.0.1"], connect=never)
    )
    job_id = harness.ended(url)
    harness.sender.send_due()
    call = harness.call(job_id)
    assert call.state == "pending"
    assert says in (call.last_error or "")
    assert "hunter2" not in (call.last_error or "")


def test_a_stalling_or_flooding_receiver_is_cut_off_at_the_timeout(tmp_path, server):
    def trickle(connection: RawConnection) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\n")
        connection.trickle(b"X", server.closed)

    def flood(connection: RawConnection) -> None:
        connection.send(b"HTTP/1.1 500 Oops\r\n\r\n")
        while connection.send(bytes(65536)):
            pass

    harness = WebhookHarness(tmp_path, timeout_seconds=0.5)
    jobs = [
        harness.ended(server.on(path, script))
        for path, script in (
            ("/a", trickle),
            ("/b", lambda connection: connection.stall()),
            ("/c", flood),
        )
    ]
    start = time.monotonic()
    harness.sender.send_due()
    assert time.monotonic() - start < SOON
    assert all(harness.call(job_id).state == "pending" for job_id in jobs)
    assert all(harness.call(job_id).last_error for job_id in jobs)


# --------------------------------------------------------------------------------------- the loop
class Loop:
    """`WebhookSender.run` in a thread."""

    def __init__(self, sender: WebhookSender) -> None:
        self.stop = threading.Event()
        self.thread = threading.Thread(target=sender.run, args=(self.stop,), daemon=True)

    def __enter__(self) -> Loop:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        self.stop.set()
        self.thread.join(SOON)
        assert not self.thread.is_alive()


def eventually(condition: Any) -> None:
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_slow_receiver_does_not_delay_others(harness, server):
    slow = [
        harness.ended(server.on("/slow", lambda connection: connection.stall())) for _ in range(3)
    ]
    quick = [harness.ended(server.url("/hook")) for _ in range(20)]
    with Loop(harness.sender):
        eventually(lambda: all(harness.call(job).state == "delivered" for job in quick))
        assert all(harness.call(job).state == "pending" for job in slow)


def test_a_stop_cancels_and_reschedules_open_calls(harness, server):
    job_id = harness.ended(server.on("/slow", lambda connection: connection.stall()))
    with Loop(harness.sender) as loop:
        eventually(lambda: server.request_count("/slow"))
        loop.end()
    call = harness.call(job_id)
    assert call.state == "pending"
    assert call.next_at <= harness.now  # due at once after the restart


def test_two_senders_do_not_make_the_same_call(harness, server, tmp_path):
    jobs = [harness.ended(server.url("/hook")) for _ in range(30)]
    other = WebhookSender(
        deliveries=harness.memory.deliveries,
        ledger=harness.memory.ledger,
        build_body=build_body,
        secret=harness.secret,
        client=GuardedClient(allow_list=AllowList.parse(["127.0.0.1"])),
    )
    with Loop(harness.sender), Loop(other):
        eventually(lambda: all(harness.call(job).state == "delivered" for job in jobs))
    assert sorted(json.loads(call.body)["request_id"] for call in server.requests) == sorted(jobs)


def test_an_error_in_one_body_does_not_affect_others(tmp_path, server, caplog):
    def fail_for_first_job(job: Job) -> Mapping[str, Any]:
        if job.id == "job1":
            raise ZeroDivisionError("a defect")
        return build_body(job)

    harness = WebhookHarness(tmp_path, build_body=fail_for_first_job)
    bad, good = (harness.ended(server.url("/hook")) for _ in range(2))
    harness.sender.send_due()
    assert "ZeroDivisionError" in (harness.call(bad).last_error or "")
    assert harness.call(bad).state == "pending"
    assert harness.call(good).state == "delivered"
    assert "a defect" in caplog.text


def test_an_unavailable_database_only_delays_calls(harness, server):
    class FlakyDeliveries:
        def __init__(self) -> None:
            self.failures = 3

        def claim_due(self, limit: int, lease_seconds: float) -> Sequence[Delivery]:
            return self._call("claim_due", limit, lease_seconds)

        def mark_delivered(self, delivery_id: str) -> None:
            self._call("mark_delivered", delivery_id)

        def _call(self, name: str, *arguments: Any) -> Any:
            if self.failures:
                self.failures -= 1
                raise QueueUnavailable
            return getattr(harness.memory.deliveries, name)(*arguments)

    flaky = FlakyDeliveries()
    sender = WebhookSender(
        deliveries=flaky,  # type: ignore[arg-type]
        ledger=harness.memory.ledger,
        build_body=build_body,
        secret=harness.secret,
        client=GuardedClient(allow_list=AllowList.parse(["127.0.0.1"])),
    )
    job_id = harness.ended(server.url("/hook"))
    assert [sender.send_due() for _ in range(3)] == [0, 0, 0]
    flaky.failures = 0
    (delivery,) = flaky.claim_due(1, 60)
    flaky.failures = 1
    sender.deliver(delivery)  # delivered, but the result cannot be recorded
    assert harness.call(job_id).state == "pending"
    harness.advance(61)
    assert sender.send_due() == 1
    assert harness.call(job_id).state == "delivered"
    assert len({call.headers["webhook-id"] for call in server.requests}) == 1


def test_a_sender_uses_the_settings_of_the_deployment(tmp_path, server):
    memory = MemoryBackend()
    settings = Settings(data_dir=tmp_path, fetch_allow=("127.0.0.1",), webhook_timeout_seconds=0.3)
    server.on("/slow", lambda connection: connection.stall())
    sender = WebhookSender.from_settings(
        settings, deliveries=memory.deliveries, ledger=memory.ledger, build_body=build_body
    )
    harness = WebhookHarness(tmp_path)
    harness.memory = memory
    job_id = harness.ended(server.url("/slow"))
    start = time.monotonic()
    assert sender.send_due() == 1
    assert time.monotonic() - start < SOON
    (call,) = memory.deliveries.list_for_job(job_id)
    assert "0.3 s" in (call.last_error or "")
