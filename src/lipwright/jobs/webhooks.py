"""Webhooks: tell a job's owner that it has ended, signed, until it is heard or a day has passed.

Every call has the headers of Standard Webhooks; those of ``sync_v2`` jobs ``Sync-Signature`` too.
A call is made at least once: a receiver tells repeats by their ``webhook-id``.
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
from lipwright.jobs.model import Deliveries, Delivery, Job, Ledger
from lipwright.net.address import parse_url
from lipwright.net.connect import Deadline, Guard, TryAgain
from lipwright.net.fetch import FetchRules
from lipwright.progress import CancelToken
from lipwright.storage.secret import SECRET_BYTES, keep_secret

if TYPE_CHECKING:
    from lipwright.settings import Settings

Payload = Callable[[Job], Mapping[str, Any]]  #: what a call says: the dialect's result object

SECRET_FILE = "webhook_secret"  # in the data folder
PREFIX = "whsec_"
SENDERS = 8  # calls that are made at once
POLL_SECONDS = 1.0
LEASE_SECONDS = 30.0  # more than a call may take
FIRST_DELAY = 5.0  # seconds after the first failure; it doubles
MAX_DELAY = 4 * 3600.0  # seconds
JITTER = 0.2  # at most so much of a delay is left out
GONE = 410  # the receiver wants no more
MAX_ERROR = 300  # characters that are kept of a reason

log = logging.getLogger(__name__)


def webhook_secret(data_dir: Path) -> str:
    """Return the secret of this installation, ``whsec_…``; made once.

    Raises:
        PublishFailed: it can be neither read nor made.
    """
    return keep_secret(data_dir / SECRET_FILE, _new_secret).decode("ascii").strip()


def standard_headers(secret: str, message_id: str, at: int, body: bytes) -> dict[str, str]:
    """Return the headers of Standard Webhooks for a body sent *at*, seconds since 1970."""
    signed = b".".join([message_id.encode(), str(at).encode(), body])
    digest = hmac.digest(base64.b64decode(secret.removeprefix(PREFIX)), signed, sha256)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(at),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def sync_headers(secret: str, at: int, body: bytes) -> dict[str, str]:
    """Return the header of the ``sync_v2`` dialect; its key is the text of the secret."""
    signature = hmac.new(secret.encode(), f"{at}.".encode() + body, sha256).hexdigest()
    return {"Sync-Signature": f"t={at},v1={signature}"}


def next_delay(attempts: int, left_seconds: float, luck: float = 0.0) -> float | None:
    """Return how long to wait after so many failed attempts, None to give up.

    The delays double; the last attempt comes when no time is left.

    Args:
        attempts: how many were made, 1 or more.
        left_seconds: until the call is given up.
        luck: 0 to 1; how much of the jitter is taken, so that receivers are not all called at once.
    """
    delay = min(FIRST_DELAY * 2.0 ** min(attempts - 1, 32), MAX_DELAY) * (1 - JITTER * luck)
    return min(delay, left_seconds) if left_seconds > 0 else None


@dataclass(frozen=True, kw_only=True)
class _Outcome:
    """What came of a call."""

    error: str | None = None  #: None: it was delivered
    final: bool = False  #: no further attempt can help
    delay: float | None = None  #: seconds until the next one, in place of the usual
    at_least: float = 0.0  #: seconds that the receiver asked for


class Sender:
    """Makes the calls that are due."""

    def __init__(
        self,
        *,
        deliveries: Deliveries,
        ledger: Ledger,
        payload: Payload,
        secret: str,
        guard: Guard,
        timeout_seconds: float = 15.0,
        give_up_seconds: float = 86_400.0,
        clock: Callable[[], float] = time.time,
        luck: Callable[[], float] = random.random,
    ) -> None:
        """Prepare to send.

        Args:
            deliveries: the calls.
            ledger: the jobs they are about.
            payload: makes the body.
            secret: of `webhook_secret`.
            guard: makes the connections, with the address checks of fetches.
            timeout_seconds: longest wait for an answer.
            give_up_seconds: from the end of the job to the last attempt.
            clock: seconds since 1970, for the signatures.
            luck: 0 to 1, for the jitter.
        """
        self._deliveries, self._ledger = deliveries, ledger
        self._payload, self._secret, self._guard = payload, secret, guard
        self._timeout, self._give_up = timeout_seconds, give_up_seconds
        self._clock, self._luck = clock, luck

    @classmethod
    def of(
        cls, settings: Settings, *, deliveries: Deliveries, ledger: Ledger, payload: Payload
    ) -> Sender:
        """Return the sender of a deployment.

        Raises:
            InvalidOptions: ``fetch_allow`` has an entry that is no host, address or network.
            PublishFailed: the secret can be neither read nor made.
        """
        return cls(
            deliveries=deliveries,
            ledger=ledger,
            payload=payload,
            secret=webhook_secret(settings.data_dir),
            guard=FetchRules.of(settings).guard(),
            timeout_seconds=settings.webhook_timeout_seconds,
            give_up_seconds=settings.webhook_give_up_seconds,
        )

    def run(self, stop: threading.Event) -> None:
        """Send what is due until *stop* is set; calls under way are then broken off and kept."""
        cancel = CancelToken()
        busy: set[Future[None]] = set()
        with ThreadPoolExecutor(SENDERS, "webhook") as pool:
            while not stop.is_set():
                busy = {call for call in busy if not call.done()}
                taken = self._due(SENDERS - len(busy))
                busy |= {pool.submit(self.deliver, delivery, cancel) for delivery in taken}
                if len(busy) == SENDERS:
                    wait(busy, POLL_SECONDS, FIRST_COMPLETED)
                elif not taken:
                    stop.wait(POLL_SECONDS)
            cancel.cancel()

    def send_due(self) -> int:
        """Make the calls that are due now, one after the other; return how many."""
        taken = self._due(SENDERS)
        for delivery in taken:
            self.deliver(delivery)
        return len(taken)

    def deliver(self, delivery: Delivery, cancel: CancelToken | None = None) -> None:
        """Make one call and note what came of it."""
        try:
            self._note(delivery, self._attempt(delivery, cancel))
        except QueueUnavailable as error:  # its lease runs out, and it is made again
            log.warning("webhook %s: its outcome is not noted: %s", delivery.id, error)
        except Exception:
            log.exception("webhook %s: its outcome is not noted", delivery.id)

    def _due(self, limit: int) -> Sequence[Delivery]:
        if limit <= 0:
            return []
        try:
            return self._deliveries.due(limit, self._timeout + LEASE_SECONDS)
        except QueueUnavailable as error:
            log.warning("webhooks wait: %s", error)
            return []

    def _attempt(self, delivery: Delivery, cancel: CancelToken | None) -> _Outcome:
        """Make the call; every way in which it can fail is an outcome."""
        try:
            job = self._ledger.get(delivery.job_id)
            return self._call(delivery, job, cancel)
        except JobNotFound:
            return _Outcome(error="the job was erased", final=True)
        except Cancelled:
            return _Outcome(error="the service stopped", delay=0.0)
        except (InputError, TryAgain) as error:
            return _Outcome(error=str(error))
        except QueueUnavailable:
            raise
        except Exception as error:  # a defect must not end the loop, nor the other calls
            log.exception("webhook %s of job %s", delivery.id, delivery.job_id)
            return _Outcome(error=f"a defect of the service: {type(error).__name__}")

    def _call(self, delivery: Delivery, job: Job, cancel: CancelToken | None) -> _Outcome:
        body = json.dumps(self._payload(job), ensure_ascii=False, separators=(",", ":")).encode()
        headers = dict(self._headers(delivery, job, body))
        deadline = Deadline(self._timeout, cancel)
        url = parse_url(delivery.url)
        with self._guard.request("POST", url, deadline, headers=headers, content=body) as answer:
            if 200 <= answer.status < 300:
                return _Outcome()
            error = f"{url.authority} answers {answer.status}"
            if 300 <= answer.status < 400:
                error += ": redirects are not followed, give the final address"
            asked = answer.retry_after or 0.0
            return _Outcome(error=error, final=answer.status == GONE, at_least=asked)

    def _headers(self, delivery: Delivery, job: Job, body: bytes) -> Iterator[tuple[str, str]]:
        at = int(self._clock())
        yield "Content-Type", "application/json"
        yield from standard_headers(self._secret, delivery.id, at, body).items()
        if job.ticket.dialect == "sync_v2":
            yield from sync_headers(self._secret, at, body).items()

    def _note(self, delivery: Delivery, outcome: _Outcome) -> None:
        if outcome.error is None:
            self._deliveries.delivered(delivery.id)
            return
        error = outcome.error[:MAX_ERROR]
        delay = outcome.delay
        if delay is None and not outcome.final:
            left = self._give_up - delivery.age_seconds
            delay = next_delay(delivery.attempts, left, self._luck())
        if delay is None:
            log.warning("webhook %s of job %s is given up: %s", delivery.id, delivery.job_id, error)
            self._deliveries.dead(delivery.id, error)
        else:
            pause = max(delay, min(outcome.at_least, MAX_DELAY))
            self._deliveries.again(delivery.id, error, pause)


def _new_secret() -> bytes:
    return PREFIX.encode() + base64.b64encode(token_bytes(SECRET_BYTES))
