"""Webhook calls to real receivers on loopback: heard, refused, slow, hostile."""

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


class Bench:
    """A ledger in memory with a clock of its own, and what sends its webhooks."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.now = datetime(2026, 1, 2, tzinfo=UTC)
        self.memory = MemoryBackend(clock=lambda: self.now)
        self.secret = webhook_secret(folder)
        self.sender = WebhookSender(
            **{
                "deliveries": self.memory.deliveries,
                "ledger": self.memory.ledger,
                "build_body": payload,
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
        """A job with a webhook that has just ended; return its id."""
        self.count += 1
        ticket = JobSpec(
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
        ledger.submit(ticket, SubmitLimits(max_queued=1000, submits_per_minute=1000))
        job = ledger.claim(ticket.id, "w1")
        assert job is not None
        assert ledger.finish(job.id, job.epoch, output={"video": "v"}, failure=None)
        return job.id

    def call(self, job_id: str) -> Delivery:
        (delivery,) = self.memory.deliveries.list_for_job(job_id)
        return delivery

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def payload(job: Job) -> Mapping[str, Any]:
    return {"request_id": job.id, "status": str(job.state), "name": "täke"}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def server() -> Iterator[HostileServer]:
    with HostileServer() as server:
        server.on("/hook", lambda connection: connection.respond(b"ok"))
        yield server


# ----------------------------------------------------------------------------------------- heard
def test_a_finished_job_causes_one_signed_call(bench, server):
    job_id = bench.ended(server.url("/hook"))
    assert bench.sender.send_due() == 1
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
        secret=WebhookSigningSecret(key=bench.secret),
        tolerance=60,
    )
    assert "sync-signature" not in call.headers
    assert bench.call(job_id).state == "delivered"
    bench.advance(DAY)
    assert bench.sender.send_due() == 0
    assert len(server.requests) == 1


def test_the_sync_dialect_has_its_own_signature_too(bench, server):
    bench.ended(server.url("/hook"), dialect="sync_v2")
    bench.sender.send_due()
    (call,) = server.requests
    at, signature = (part.partition("=")[2] for part in call.headers["sync-signature"].split(","))
    message = at.encode() + b"." + call.body
    assert signature == hmac.new(bench.secret.encode(), message, hashlib.sha256).hexdigest()
    assert at == call.headers["webhook-timestamp"]


def test_nothing_is_sent_when_nothing_is_due(bench):
    assert bench.sender.send_due() == 0


@pytest.mark.parametrize("status", ["200 OK", "201 Created", "202 Accepted", "204 No Content"])
def test_any_2xx_response_counts_as_delivered(bench, server, status):
    server.on("/hook", lambda connection: connection.send(f"HTTP/1.1 {status}\r\n\r\n".encode()))
    job_id = bench.ended(server.url("/hook"))
    bench.sender.send_due()
    assert bench.call(job_id).state == "delivered"


# ----------------------------------------------------------------------------------------- again
REFUSALS = ["301 Moved", "302 Found", "400 Bad", "401 Who", "404 Gone", "429 Slow", "500 Oops"]


@pytest.mark.parametrize("status", REFUSALS)
def test_any_other_response_is_retried_under_the_same_id(bench, server, status):
    def script(connection: RawConnection) -> None:
        connection.respond(status=status if connection.attempt < 3 else "200 OK")

    job_id = bench.ended(server.on("/hook", script))
    assert bench.sender.send_due() == 1
    for pause in (FIRST_DELAY, 2 * FIRST_DELAY):
        bench.advance(pause - 0.1)
        assert bench.sender.send_due() == 0
        bench.advance(0.1)
        assert bench.sender.send_due() == 1
    assert bench.call(job_id).state == "delivered"
    assert len({call.headers["webhook-id"] for call in server.requests}) == 1
    assert len(server.requests) == 3


def test_redirects_are_not_followed(bench, server):
    other = server.on("/other", lambda connection: connection.respond())
    server.on(
        "/hook",
        lambda connection: connection.respond(b"", f"Location: {other}", status="307 Other"),
    )
    job_id = bench.ended(server.url("/hook"))
    bench.sender.send_due()
    assert server.request_count("/other") == 0
    assert "307" in (bench.call(job_id).last_error or "")


def test_retry_after_is_respected_up_to_a_maximum(bench, server):
    server.on(
        "/hook", lambda connection: connection.respond(b"", "Retry-After: 600", status="429 Slow")
    )
    server.on(
        "/long",
        lambda connection: connection.respond(b"", "Retry-After: 999999999", status="503 Busy"),
    )
    calls = [bench.call(bench.ended(server.url(path))) for path in ("/hook", "/long")]
    bench.sender.send_due()
    pauses = [(bench.call(c.job_id).next_at - bench.now).total_seconds() for c in calls]
    assert pauses == [600.0, MAX_DELAY]


# --------------------------------------------------------------------------------------- given up
def test_a_410_response_ends_the_delivery(bench, server, caplog):
    job_id = bench.ended(
        server.on("/gone", lambda connection: connection.respond(status="410 Gone"))
    )
    with caplog.at_level(logging.WARNING):
        bench.sender.send_due()
    call = bench.call(job_id)
    assert (call.state, call.attempts) == ("dead", 1)
    assert "410" in (call.last_error or "")
    assert job_id in caplog.text
    bench.advance(DAY)
    assert bench.sender.send_due() == 0


def test_a_failing_delivery_is_given_up_after_a_day_and_stays_visible(bench, server):
    job_id = bench.ended(
        server.on("/hook", lambda connection: connection.respond(status="500 Oops"))
    )
    began = bench.now
    while (call := bench.call(job_id)).state == "pending":
        bench.now = max(bench.now, call.next_at)
        assert bench.sender.send_due() == 1
    assert call.state == "dead"
    assert "500" in (call.last_error or "")
    assert (bench.now - began).total_seconds() == pytest.approx(DAY, abs=1)
    assert call.attempts == len(server.requests) >= 10


def test_no_call_is_made_for_an_erased_job(bench, server):
    job_id = bench.ended(server.url("/hook"))
    (taken,) = bench.memory.deliveries.claim_due(1, 60)
    bench.memory.ledger.erase(job_id)
    bench.sender.deliver(taken)
    assert server.requests == []
    assert [call.state for call in bench.memory.deliveries.list_for_job(job_id)] != ["pending"]


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

    bench = Bench(
        tmp_path, client=GuardedClient(resolve=lambda host, port: ["10.0.0.1"], connect=never)
    )
    job_id = bench.ended(url)
    bench.sender.send_due()
    call = bench.call(job_id)
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

    bench = Bench(tmp_path, timeout_seconds=0.5)
    jobs = [
        bench.ended(server.on(path, script))
        for path, script in (
            ("/a", trickle),
            ("/b", lambda connection: connection.stall()),
            ("/c", flood),
        )
    ]
    began = time.monotonic()
    bench.sender.send_due()
    assert time.monotonic() - began < SOON
    assert all(bench.call(job_id).state == "pending" for job_id in jobs)
    assert all(bench.call(job_id).last_error for job_id in jobs)


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


def test_a_slow_receiver_does_not_delay_others(bench, server):
    slow = [
        bench.ended(server.on("/slow", lambda connection: connection.stall())) for _ in range(3)
    ]
    quick = [bench.ended(server.url("/hook")) for _ in range(20)]
    with Loop(bench.sender):
        eventually(lambda: all(bench.call(job).state == "delivered" for job in quick))
        assert all(bench.call(job).state == "pending" for job in slow)


def test_a_stop_cancels_and_reschedules_open_calls(bench, server):
    job_id = bench.ended(server.on("/slow", lambda connection: connection.stall()))
    with Loop(bench.sender) as loop:
        eventually(lambda: server.request_count("/slow"))
        loop.end()
    call = bench.call(job_id)
    assert call.state == "pending"
    assert call.next_at <= bench.now  # due at once after the restart


def test_two_senders_do_not_make_the_same_call(bench, server, tmp_path):
    jobs = [bench.ended(server.url("/hook")) for _ in range(30)]
    other = WebhookSender(
        deliveries=bench.memory.deliveries,
        ledger=bench.memory.ledger,
        build_body=payload,
        secret=bench.secret,
        client=GuardedClient(allow_list=AllowList.parse(["127.0.0.1"])),
    )
    with Loop(bench.sender), Loop(other):
        eventually(lambda: all(bench.call(job).state == "delivered" for job in jobs))
    assert sorted(json.loads(call.body)["request_id"] for call in server.requests) == sorted(jobs)


def test_an_error_in_one_body_does_not_affect_others(tmp_path, server, caplog):
    def sometimes(job: Job) -> Mapping[str, Any]:
        if job.id == "job1":
            raise ZeroDivisionError("a defect")
        return payload(job)

    bench = Bench(tmp_path, build_body=sometimes)
    bad, good = (bench.ended(server.url("/hook")) for _ in range(2))
    bench.sender.send_due()
    assert "ZeroDivisionError" in (bench.call(bad).last_error or "")
    assert bench.call(bad).state == "pending"
    assert bench.call(good).state == "delivered"
    assert "a defect" in caplog.text


def test_an_unavailable_database_only_delays_calls(bench, server):
    class Moody:
        def __init__(self) -> None:
            self.failures = 3

        def due(self, limit: int, lease_seconds: float) -> Sequence[Delivery]:
            return self._call("due", limit, lease_seconds)

        def delivered(self, delivery_id: str) -> None:
            self._call("delivered", delivery_id)

        def _call(self, name: str, *arguments: Any) -> Any:
            if self.failures:
                self.failures -= 1
                raise QueueUnavailable
            return getattr(bench.memory.deliveries, name)(*arguments)

    moody = Moody()
    sender = WebhookSender(
        deliveries=moody,  # type: ignore[arg-type]
        ledger=bench.memory.ledger,
        build_body=payload,
        secret=bench.secret,
        client=GuardedClient(allow_list=AllowList.parse(["127.0.0.1"])),
    )
    job_id = bench.ended(server.url("/hook"))
    assert [sender.send_due() for _ in range(3)] == [0, 0, 0]
    moody.failures = 0
    (taken,) = moody.due(1, 60)
    moody.failures = 1
    sender.deliver(taken)  # heard, but it cannot be noted
    assert bench.call(job_id).state == "pending"
    bench.advance(61)
    assert sender.send_due() == 1
    assert bench.call(job_id).state == "delivered"
    assert len({call.headers["webhook-id"] for call in server.requests}) == 1


def test_a_sender_uses_the_settings_of_the_deployment(tmp_path, server):
    memory = MemoryBackend()
    settings = Settings(data_dir=tmp_path, fetch_allow=("127.0.0.1",), webhook_timeout_seconds=0.3)
    server.on("/slow", lambda connection: connection.stall())
    sender = WebhookSender.from_settings(
        settings, deliveries=memory.deliveries, ledger=memory.ledger, build_body=payload
    )
    bench = Bench(tmp_path)
    bench.memory = memory
    job_id = bench.ended(server.url("/slow"))
    began = time.monotonic()
    assert sender.send_due() == 1
    assert time.monotonic() - began < SOON
    (call,) = memory.deliveries.list_for_job(job_id)
    assert "0.3 s" in (call.last_error or "")
