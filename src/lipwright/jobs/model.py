"""The values that the ledger, the work queue and their callers exchange (pure).

The ledger is the single source of truth for a job's state::

    in_queue ──claim──▶ in_progress ──finish──▶ succeeded | failed
       │  ▲                 │
       │  └────retry────────┘
       └──cancel──▶ cancelled

A claim increments the job's *epoch*. A worker that holds an older epoch can no longer change the
job.

The ledger, not the work queue, decides which job runs next. A queued job is either *released*, that
is enqueued as work, or *held* in the ledger: a key with a ``concurrency`` of n has at most n jobs
released or running, and the transaction that ends one of them releases the next. So the queue needs
no partitions, a claim is never refused because of concurrency, and work in the queue runs in the
order of :attr:`Job.rank`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

PRIORITIES = range(1, 101)  # of an API key; 1 goes first
RANKS_PER_PRIORITY = 21_000_000  # 101 times this still fits a signed 32-bit integer


class State(StrEnum):
    """The state of a job."""

    IN_QUEUE = "in_queue"
    IN_PROGRESS = "in_progress"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether the job has ended."""
        return self in (State.SUCCEEDED, State.FAILED, State.CANCELLED)


@dataclass(frozen=True, kw_only=True)
class ApiKey:
    """An API key, without its secret."""

    id: str  #: short, public
    name: str
    created_at: datetime
    revoked_at: datetime | None = None
    priority: int = 10  #: 1 goes first, 100 last
    #: jobs of this key that may run at once; None: the setting's value
    concurrency: int | None = None
    submits_per_minute: int | None = None
    max_queued: int | None = None  #: jobs of this key that may be queued

    @property
    def active(self) -> bool:
        """Whether the key is accepted."""
        return self.revoked_at is None


@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """What a job is to do; fixed when it is submitted."""

    id: str  #: the job id; the wire calls it ``request_id``
    key_id: str  #: the API key that submitted it
    model_id: str  #: as given by the caller
    dialect: str  #: ``runcomfy`` or ``sync_v2``: the format of its webhooks
    engine: str  #: name of an installed engine
    input: Mapping[str, Any]  #: the ``input`` object of the request, to be repeated in responses
    payload: Mapping[str, Any]  #: a :class:`lipwright.jobs.payload.JobPayload` as JSON
    priority: int = 10
    webhook_url: str | None = None
    idempotency_key: str | None = None
    fingerprint: str = ""  #: SHA-256 of the canonical body, to detect a reused idempotency key
    trace: str | None = None  #: W3C traceparent of the submitting call


@dataclass(frozen=True, kw_only=True)
class JobProgress:
    """The progress of a running job."""

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

    spec: JobSpec
    sequence: int  #: order of arrival
    state: State
    epoch: int  #: how often it was claimed
    uncounted: int = 0  #: claims that are not attempts, because the worker gave the job back
    created_at: datetime  #: UTC, by the database's clock, like all times here
    started_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: datetime | None = None  #: from then on its row and files are deleted
    progress: JobProgress = field(default_factory=JobProgress)
    worker: str | None = None  #: name of the worker that claimed it
    #: names in storage: ``video``, ``image``; and facts of the result: ``seconds``, ``frames``, …
    output: Mapping[str, Any] = field(default_factory=dict)
    failure: Failure | None = None

    @property
    def id(self) -> str:
        """The job id."""
        return self.spec.id

    @property
    def attempts(self) -> int:
        """Number of attempts, including the current one."""
        return self.epoch - self.uncounted

    @property
    def work_id(self) -> str:
        """Id of its current work item in the queue; each claim leads to a new one."""
        return f"{self.id}:{self.epoch}"

    @property
    def rank(self) -> int:
        """Its order in the work queue, lowest first: priority, then arrival; fits 31 bits.

        The queue's own timestamps are too coarse to order jobs that arrive within one second.
        """
        return self.spec.priority * RANKS_PER_PRIORITY + self.sequence % RANKS_PER_PRIORITY


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A file uploaded by a client."""

    id: str
    key_id: str
    name: str  #: the client's file name, for display only
    size: int  #: bytes
    sha256: str
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class UploadUsage:
    """What the uploads of a key take up, or their quota."""

    files: int
    size: int  #: bytes


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """A webhook delivery: pending, delivered or given up."""

    id: str  #: also its ``webhook-id``, the same on every attempt
    job_id: str
    url: str
    state: str  #: ``pending``, ``delivered`` or ``dead``
    attempts: int
    next_at: datetime | None  #: when it is due; while it is leased, when the lease ends
    last_error: str | None = None
    age_seconds: float = 0.0  #: since the job ended, by the database's clock


@dataclass(frozen=True, kw_only=True)
class SubmitLimits:
    """SubmitLimits of one key; the ledger refuses submits over them."""

    max_queued: int
    submits_per_minute: int
