"""What the ledger, the work queue and their callers say to each other (pure).

The ledger is the single truth of a job's state::

    in_queue ──claim──▶ in_progress ──finish──▶ succeeded | failed
       │  ▲                 │
       │  └────retry────────┘
       └──cancel──▶ cancelled

A claim raises the job's *epoch*; whoever holds an older epoch can change nothing any more.

The ledger, not the work queue, decides who goes when. A queued job is either *released*, that is
enqueued as work, or it waits in the ledger: a key with a ``concurrency`` of n has at most n jobs
released or running, and whatever ends one of them releases the next in the same transaction. So
the queue needs no partitions, a claim is never refused for concurrency, and work in the queue
runs in the order of :attr:`Job.rank`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

PRIORITIES = range(1, 101)  # of a key; 1 goes first
RANKS = 21_000_000  # per priority: 101 * RANKS still fits a signed 32-bit integer


class State(StrEnum):
    """Where a job is."""

    IN_QUEUE = "in_queue"
    IN_PROGRESS = "in_progress"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether nothing follows."""
        return self in (State.SUCCEEDED, State.FAILED, State.CANCELLED)


@dataclass(frozen=True, kw_only=True)
class Key:
    """An API key, without its secret."""

    id: str  #: short, public
    name: str
    created_at: datetime
    revoked_at: datetime | None = None
    priority: int = 10  #: 1 goes first, 100 last
    concurrency: int | None = (
        None  #: jobs of this key that may run at once; None: as the settings say
    )
    submits_per_minute: int | None = None
    max_queued: int | None = None  #: jobs of this key that may wait

    @property
    def active(self) -> bool:
        """Whether it still opens the door."""
        return self.revoked_at is None


@dataclass(frozen=True, kw_only=True)
class Ticket:
    """What is asked for: fixed when the job is submitted."""

    id: str  #: the request id, on the wire too
    key_id: str  #: whose it is
    model_id: str  #: as asked for
    dialect: str  #: ``runcomfy`` or ``sync_v2``: how its webhooks speak
    engine: str  #: name of an installed engine
    input: Mapping[str, Any]  #: the wire's own input object, for answers
    #: what the worker does, JSON: ``video`` and ``audio`` (https URL, or ``file:ID`` of an upload),
    #: ``mode``, and optional ``speaker`` [x, y, seconds], ``seed``, … as in SyncOptions; or
    #: ``speaker_frame`` [x, y, frame]
    work: Mapping[str, Any]
    priority: int = 10
    webhook_url: str | None = None
    idempotency_key: str | None = None
    fingerprint: str = ""  #: SHA-256 of the canonical body, to tell same from other
    trace: str | None = None  #: W3C traceparent of the submitting call


@dataclass(frozen=True, kw_only=True)
class Stage:
    """How far a running job is."""

    stage: str = ""  #: ``fetch``, a stage of lipwright.progress.STAGES, or ``publish``
    done: int = 0  #: frames
    total: int | None = None
    fraction: float = 0.0  #: 0 to 1 over the whole job
    fps: float | None = None
    seconds_left: float | None = None


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a job failed."""

    code: str  #: of a LipwrightError
    message: str


@dataclass(frozen=True, kw_only=True)
class Job:
    """A row of the ledger."""

    ticket: Ticket
    sequence: int  #: order of arrival
    state: State
    epoch: int  #: how often it was claimed
    spared: int = 0  #: claims that do not count: its worker gave it back unharmed
    created_at: datetime  #: UTC, by the database's clock, as all times here
    started_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: datetime | None = None  #: then its row and files go
    stage: Stage = field(default_factory=Stage)
    worker: str | None = None  #: who has it
    #: names in storage: ``video``, ``image``; and facts of the result: ``seconds``, ``frames``, …
    output: Mapping[str, Any] = field(default_factory=dict)
    failure: Failure | None = None

    @property
    def id(self) -> str:
        """The request id."""
        return self.ticket.id

    @property
    def attempts(self) -> int:
        """How often it was tried, the present attempt included."""
        return self.epoch - self.spared

    @property
    def work_id(self) -> str:
        """Name of its present piece of work in the queue; another one after each claim."""
        return f"{self.id}:{self.epoch}"

    @property
    def rank(self) -> int:
        """Its place in the work queue, lowest first: priority, then arrival; fits 31 bits.

        The queue's own times are too coarse to order what arrives within one second.
        """
        return self.ticket.priority * RANKS + self.sequence % RANKS


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A file that a client has put here."""

    id: str
    key_id: str
    name: str  #: as the client called it, for display only
    size: int  #: bytes
    sha256: str
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class Space:
    """What the uploads of a key take up, or may take up."""

    files: int
    size: int  #: bytes


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """A webhook call that is due, was made, or was given up."""

    id: str  #: also its ``webhook-id``, the same on every attempt
    job_id: str
    url: str
    state: str  #: ``pending``, ``delivered`` or ``dead``
    attempts: int
    next_at: datetime | None  #: when it is due; while it is leased, when the lease ends
    last_error: str | None = None
    age_seconds: float = 0.0  #: since the job ended, by the database's clock


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one key may have; over it the ledger refuses."""

    max_queued: int
    submits_per_minute: int


class Ledger(Protocol):
    """Every state and every transition; each method is one transaction.

    Raises:
        QueueUnavailable: from any method, when the database stays locked or away; retryable.
    """

    # -- requests -------------------------------------------------------------------------------
    def submit(self, ticket: Ticket, limits: Limits) -> tuple[Job, bool]:
        """Write the row and enqueue the work, both or neither.

        Returns:
            The job, and whether it is new; not new when the idempotency key was seen within 24 h.

        Raises:
            IdempotencyConflict: the same idempotency key with another body.
            TooManyRequests: over a limit; has ``retry_after`` seconds.
        """
        ...

    def get(self, job_id: str, key_id: str | None = None) -> Job:
        """Return a job; with *key_id*, only one of that key.

        Raises:
            JobNotFound: there is none.
        """
        ...

    def position(self, job: Job) -> int:
        """Return how many queued jobs go before it, 0 for the next one."""
        ...

    def page(
        self,
        key_id: str,
        *,
        limit: int,
        before: int | None = None,
        states: Sequence[State] = (),
        ids: Sequence[str] = (),
    ) -> list[Job]:
        """Return jobs of a key, newest first, of sequences below *before*."""
        ...

    def cancel(self, job_id: str, key_id: str | None = None) -> tuple[Job, bool]:
        """Cancel a job if it is queued, never otherwise; return it and whether this call did so.

        Raises:
            JobNotFound: there is none.
        """
        ...

    def erase(self, job_id: str, key_id: str | None = None) -> Job:
        """Forget a job and return it as it was; its files are the caller's to delete afterwards.

        Nobody sees it any more, its webhooks are not sent, and what it said is overwritten at
        once. A trace stays until :meth:`forget`, so that the sweeper deletes the files of a
        caller that died in between. A queued job is cancelled by it.

        Raises:
            JobNotFound: there is none.
            JobNotFinished: it is running; it can be erased when it has ended.
        """
        ...

    # -- who carries it out ---------------------------------------------------------------------
    def claim(self, job_id: str, worker: str) -> Job | None:
        """Take a queued or abandoned job; None when it is cancelled, ended or gone.

        The caller vouches that a running job is abandoned: the queue gives a job to one worker.
        """
        ...

    def beat(self, job_id: str, epoch: int, stage: Stage) -> bool:
        """Note progress, and that the worker lives; False when the claim is lost."""
        ...

    def finish(
        self, job_id: str, epoch: int, *, output: Mapping[str, Any] | None, failure: Failure | None
    ) -> bool:
        """End a job well (*output*) or badly (*failure*); False when the claim is lost."""
        ...

    def retry(
        self,
        job_id: str,
        epoch: int,
        failure: Failure,
        delay_seconds: float,
        *,
        spared: bool = False,
    ) -> bool:
        """Put a job back into the queue, to be run after a delay; False when the claim is lost.

        *spared*: the attempt does not count, for nothing went wrong with the job.
        """
        ...

    def stale(self, lease_seconds: float, limit: int = 100) -> list[Job]:
        """Return running jobs without a heartbeat for so long, the longest first."""
        ...

    # -- what remains ---------------------------------------------------------------------------
    def expired(self, limit: int = 100) -> list[Job]:
        """Return ended jobs whose time is over, and erased ones: delete files, then forget."""
        ...

    def forget(self, job_id: str) -> None:
        """Delete the row of an expired or erased job; nothing happens to any other."""
        ...

    def release(self) -> int:
        """Enqueue waiting jobs that may run now, after limits have grown; return how many."""
        ...

    def counts(self) -> Mapping[str, Any]:
        """Return what ``/metrics`` shows.

        ``jobs``: waiting and running now, by state. ``ended``: ended ever, by state. ``failures``:
        failed ever, by code. ``retries``: put back ever, by code. ``seconds``: worker time ever
        spent on good jobs, by stage, from ``output["timings"]``. ``frames``: rendered ever, from
        ``output["frames"]``. ``deliveries``: webhook calls now, by state. ``oldest_seconds``: how
        long the first queued job has waited, 0 when none waits.
        """
        ...


class Keys(Protocol):
    """API keys; the secret is shown once and never stored, only its SHA-256."""

    def create(
        self,
        name: str,
        *,
        priority: int = 10,
        concurrency: int | None = None,
        submits_per_minute: int | None = None,
        max_queued: int | None = None,
    ) -> tuple[Key, str]:
        """Make a key and return it with its secret, ``lw_`` and 256 random bits.

        Raises:
            InvalidOptions: an active key has that name, or a number is out of range.
        """
        ...

    def list(self) -> Sequence[Key]:
        """Return all keys, revoked ones too, oldest first."""
        ...

    def revoke(self, id_or_name: str) -> Key:
        """Close a key for good; its queued jobs still run.

        Raises:
            KeyNotFound: no active key has that id or name.
        """
        ...

    def verify(self, secret: str) -> Key | None:
        """Return the active key of a secret, None for any other secret."""
        ...


class Uploads(Protocol):
    """Files that clients have put here; the bytes are in storage.

    A job that names an upload as ``file:ID`` holds it until the job has ended, however old it is.
    """

    def add(self, upload: Upload, most: Space | None = None) -> Upload:
        """Note a file and return it with its times by the database's clock, as long apart.

        Raises:
            QuotaExceeded: with it the uploads of its key would take up more than *most*.
        """
        ...

    def used(self, key_id: str) -> Space:
        """Return what the uploads of a key take up; expired ones count until they are dropped."""
        ...

    def get(self, file_id: str, key_id: str) -> Upload:
        """Return an upload of a key.

        Raises:
            SourceUnreachable: there is none, it is another key's, or it has expired.
        """
        ...

    def expired(self, limit: int = 100) -> Sequence[Upload]:
        """Return uploads that nobody can get or hold any more: delete the file, then drop."""
        ...

    def drop(self, file_id: str) -> None:
        """Delete the row of an upload that no job holds; nothing happens to a held one."""
        ...


class Deliveries(Protocol):
    """Webhook calls: made by the ledger in the transaction that ends a job."""

    def due(self, limit: int, lease_seconds: float) -> Sequence[Delivery]:
        """Take calls that are due, for so long: nobody else gets them. Counts an attempt."""
        ...

    def delivered(self, delivery_id: str) -> None:
        """Note that the receiver took it."""
        ...

    def again(self, delivery_id: str, error: str, delay_seconds: float) -> None:
        """Note why it failed, and try again after a delay."""
        ...

    def dead(self, delivery_id: str, error: str) -> None:
        """Give it up; it stays visible as long as its job."""
        ...

    def of_job(self, job_id: str) -> Sequence[Delivery]:
        """Return the calls of a job, whatever their state."""
        ...
