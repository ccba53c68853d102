"""Webhooks: signed calls when a job has ended, retried until accepted or a day has passed.

Every call has the headers of Standard Webhooks; calls for ``sync_v2`` jobs also ``Sync-Signature``.
Delivery is at least once: receivers recognise repeated calls by their ``webhook-id``.
"""

from __future__ import annotations

import base64
import hmac
import json
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from secrets import token_bytes
from typing import TYPE_CHECKING, Any

from lipwright.errors import Cancelled, InputError, JobNotFound, QueueUnavailable
from lipwright.jobs.ledger.base import Deliveries, Ledger
from lipwright.jobs.model import Delivery, Job
from lipwright.net.address import parse_url
from lipwright.net.fetch import FetchRules
from lipwright.net.guard import Deadline, GuardedClient, TransientError
from lipwright.progress import CancelToken
from lipwright.storage.secrets import SECRET_BYTES, load_or_create_secret

if TYPE_CHECKING:
    from lipwright.settings import Settings

BuildBody = Callable[[Job], Mapping[str, Any]]  #: returns the result object of the job's dialect

SECRET_FILE = "webhook_secret"  # in the data folder
SECRET_PREFIX = "whsec_"
MAX_CONCURRENT_CALLS = 8
POLL_SECONDS = 1.0
LEASE_SECONDS = 30.0  # more than a call may take
FIRST_DELAY = 5.0  # seconds after the first failure; it doubles
MAX_DELAY = 4 * 3600.0  # seconds
JITTER = 0.2  # maximum fraction by which a delay is shortened
HTTP_GONE = 410  # the receiver wants no further calls
MAX_ERROR = 300  # characters kept of an error

_log = logging.getLogger(__name__)


def webhook_secret(data_dir: Path) -> str:
    """Return the webhook secret of this installation, ``whsec_…``; created on first use.

    Raises:
        PublishFailed: it can be neither read nor created.
    """
    return load_or_create_secret(data_dir / SECRET_FILE, _new_secret).decode("ascii").strip()


def standard_headers(secret: str, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the headers of Standard Webhooks; *timestamp* is in seconds since 1970."""
    signed = b".".join([message_id.encode(), str(timestamp).encode(), body])
    digest = hmac.digest(base64.b64decode(secret.removeprefix(SECRET_PREFIX)), signed, sha256)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def sync_headers(secret: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the header of the ``sync_v2`` dialect, signed with the secret's text as the key."""
    signature = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, sha256).hexdigest()
    return {"Sync-Signature": f"t={timestamp},v1={signature}"}


def next_delay(attempts: int, seconds_left: float, jitter: float = 0.0) -> float | None:
    """Return the delay in seconds before the next attempt, None to give up.

    The delays double; the last attempt is made when no time is left.

    Args:
        attempts: number of failed attempts, 1 or more.
        seconds_left: until the delivery is given up.
        jitter: 0 to 1; the share of `JITTER` to apply, so that retries do not coincide.
    """
    delay = min(FIRST_DELAY * 2.0 ** min(attempts - 1, 32), MAX_DELAY) * (1 - JITTER * jitter)
    return min(delay, seconds_left) if seconds_left > 0 else None


@dataclass(frozen=True, kw_only=True)
class _AttemptResult:
    """The result of one attempt."""

    error: str | None = None  #: None: the call was delivered
    final: bool = False  #: whether to give up
    delay: float | None = None  #: seconds until the next attempt, instead of the usual delay
    min_delay: float = 0.0  #: seconds that the receiver asked for in Retry-After


class WebhookSender:
    """Makes the webhook calls that are due."""

    def __init__(
        self,
        *,
        deliveries: Deliveries,
        ledger: Ledger,
        build_body: BuildBody,
        secret: str,
        client: GuardedClient,
        timeout_seconds: float = 15.0,
        give_up_seconds: float = 86_400.0,
        clock: Callable[[], float] = time.time,
        random_jitter: Callable[[], float] = random.random,
    ) -> None:
        """Create a sender.

        Args:
            deliveries: the deliveries to make.
            ledger: their jobs.
            build_body: returns the JSON body for a job.
            secret: the result of `webhook_secret`.
            client: opens connections, with the same address checks as fetches.
            timeout_seconds: maximum time for one call.
            give_up_seconds: from the end of the job to the last attempt.
            clock: returns seconds since 1970, for the signatures.
            random_jitter: returns a number from 0 to 1 for `next_delay`.
        """
        self._deliveries, self._ledger = deliveries, ledger
        self._build_body, self._secret, self._client = build_body, secret, client
        self._timeout, self._give_up = timeout_seconds, give_up_seconds
        self._clock, self._random_jitter = clock, random_jitter

    @classmethod
    def from_settings(
        cls, settings: Settings, *, deliveries: Deliveries, ledger: Ledger, build_body: BuildBody
    ) -> WebhookSender:
        """Return the sender of a deployment.

        Raises:
            InvalidOptions: ``fetch_allow`` has an entry that is not a host, address or network.
            PublishFailed: the secret can be neither read nor created.
        """
        return cls(
            deliveries=deliveries,
            ledger=ledger,
            build_body=build_body,
            secret=webhook_secret(settings.data_dir),
            client=FetchRules.from_settings(settings).create_client(),
            timeout_seconds=settings.webhook_timeout_seconds,
            give_up_seconds=settings.webhook_give_up_seconds,
        )

    def run(self, stop: threading.Event) -> None:
        """Make due calls until *stop* is set; open calls are then cancelled and rescheduled."""
        cancel = CancelToken()
        open_calls: set[Future[None]] = set()
        with ThreadPoolExecutor(MAX_CONCURRENT_CALLS, "webhook") as pool:
            while not stop.is_set():
                open_calls = {call for call in open_calls if not call.done()}
                due = self._claim_due(MAX_CONCURRENT_CALLS - len(open_calls))
                open_calls |= {pool.submit(self.deliver, delivery, cancel) for delivery in due}
                if len(open_calls) == MAX_CONCURRENT_CALLS:
                    wait(open_calls, POLL_SECONDS, FIRST_COMPLETED)
                elif not due:
                    stop.wait(POLL_SECONDS)
            cancel.cancel()

    def send_due(self) -> int:
        """Make the calls that are due now, one after the other; return how many."""
        due = self._claim_due(MAX_CONCURRENT_CALLS)
        for delivery in due:
            self.deliver(delivery)
        return len(due)

    def deliver(self, delivery: Delivery, cancel: CancelToken | None = None) -> None:
        """Make one call and record its result."""
        try:
            self._record(delivery, self._attempt(delivery, cancel))
        except QueueUnavailable as error:  # its lease will expire, and the call is repeated
            _log.warning("webhook %s: its result was not recorded: %s", delivery.id, error)
        except Exception:
            _log.exception("webhook %s: its result was not recorded", delivery.id)

    def _claim_due(self, limit: int) -> Sequence[Delivery]:
        if limit <= 0:
            return []
        try:
            return self._deliveries.claim_due(limit, self._timeout + LEASE_SECONDS)
        except QueueUnavailable as error:
            _log.warning("webhooks are delayed: %s", error)
            return []

    def _attempt(self, delivery: Delivery, cancel: CancelToken | None) -> _AttemptResult:
        """Make the call; every failure but that of the database becomes a result."""
        try:
            job = self._ledger.get(delivery.job_id)
            return self._call(delivery, job, cancel)
        except JobNotFound:
            return _AttemptResult(error="the job was erased", final=True)
        except Cancelled:
            return _AttemptResult(error="the service stopped", delay=0.0)
        except (InputError, TransientError) as error:
            return _AttemptResult(error=str(error))
        except QueueUnavailable:
            raise
        except Exception as error:  # a defect must not end the loop or affect other calls
            _log.exception("webhook %s failed", delivery.id, extra={"job_id": delivery.job_id})
            return _AttemptResult(error=f"internal error: {type(error).__name__}")

    def _call(self, delivery: Delivery, job: Job, cancel: CancelToken | None) -> _AttemptResult:
        body = json.dumps(self._build_body(job), ensure_ascii=False, separators=(",", ":")).encode()
        headers = dict(self._headers(delivery, job, body))
        deadline = Deadline(self._timeout, cancel)
        url = parse_url(delivery.url)
        with self._client.request("POST", url, deadline, headers=headers, content=body) as response:
            if 200 <= response.status < 300:
                return _AttemptResult()
            error = f"{url.authority} returned {response.status}"
            if 300 <= response.status < 400:
                error += ": redirects are not followed; register the final address"
            retry_after = response.retry_after or 0.0
            return _AttemptResult(
                error=error, final=response.status == HTTP_GONE, min_delay=retry_after
            )

    def _headers(self, delivery: Delivery, job: Job, body: bytes) -> Iterator[tuple[str, str]]:
        timestamp = int(self._clock())
        yield "Content-Type", "application/json"
        yield from standard_headers(self._secret, delivery.id, timestamp, body).items()
        if job.spec.dialect == "sync_v2":
            yield from sync_headers(self._secret, timestamp, body).items()

    def _record(self, delivery: Delivery, result: _AttemptResult) -> None:
        if result.error is None:
            self._deliveries.mark_delivered(delivery.id)
            return
        error = result.error[:MAX_ERROR]
        delay = result.delay
        if delay is None and not result.final:
            seconds_left = self._give_up - delivery.age_seconds
            delay = next_delay(delivery.attempts, seconds_left, self._random_jitter())
        if delay is None:
            extra = {"job_id": delivery.job_id}
            _log.warning("webhook %s is given up: %s", delivery.id, error, extra=extra)
            self._deliveries.mark_dead(delivery.id, error)
        else:
            delay = max(delay, min(result.min_delay, MAX_DELAY))
            self._deliveries.reschedule(delivery.id, error, delay)


def _new_secret() -> bytes:
    return SECRET_PREFIX.encode() + base64.b64encode(token_bytes(SECRET_BYTES))
