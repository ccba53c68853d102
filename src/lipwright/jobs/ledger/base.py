"""The interfaces of the ledger and of the API keys, uploads and deliveries stored with it.

`sql` and its neighbours implement them on a database, `memory` in process memory; both pass the
contract tests in ``tests/contract``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from lipwright.jobs.model import (
    ApiKey,
    Delivery,
    Failure,
    Job,
    JobProgress,
    JobSpec,
    State,
    SubmitLimits,
    Upload,
    UploadUsage,
)


class Ledger(Protocol):
    """The states of all jobs and their transitions; each method is one transaction.

    Raises:
        QueueUnavailable: from any method, when the database is locked or unreachable; retryable.
    """

    # -- requests -------------------------------------------------------------------------------
    def submit(self, spec: JobSpec, limits: SubmitLimits) -> tuple[Job, bool]:
        """Write the job's row and enqueue its work, both or neither.

        Returns:
            The job, and whether it is new. It is not new if its idempotency key was used within
            the last 24 h.

        Raises:
            IdempotencyConflict: the idempotency key was used with another body.
            TooManyRequests: over a limit; carries ``retry_after`` seconds.
            SourceUnreachable: it names an upload that does not exist or has expired.
        """
        ...

    def get(self, job_id: str, key_id: str | None = None) -> Job:
        """Return a job; with *key_id*, only if it belongs to that key.

        Raises:
            JobNotFound: there is no such job.
        """
        ...

    def position(self, job: Job) -> int:
        """Return how many queued jobs are ahead of a job, 0 for the next one."""
        ...

    def list_jobs(
        self,
        key_id: str,
        *,
        limit: int,
        before: int | None = None,
        states: Sequence[State] = (),
        ids: Sequence[str] = (),
    ) -> list[Job]:
        """Return jobs of a key, newest first, with a sequence below *before*."""
        ...

    def cancel(self, job_id: str, key_id: str | None = None) -> tuple[Job, bool]:
        """Cancel a job if it is queued; return it and whether this call cancelled it.

        Raises:
            JobNotFound: there is no such job.
        """
        ...

    def erase(self, job_id: str, key_id: str | None = None) -> Job:
        """Erase a job and return it as it was. The caller deletes its files afterwards.

        The job is hidden, its webhooks are not sent, and its contents are overwritten at once. The
        blank row stays until `purge`, so that the sweeper deletes the files if the caller dies
        first. A queued job is cancelled.

        Raises:
            JobNotFound: there is no such job.
            JobNotFinished: it is running; it can be erased when it has ended.
        """
        ...

    # -- workers --------------------------------------------------------------------------------
    def claim(self, job_id: str, worker: str) -> Job | None:
        """Claim a queued or abandoned job; None if it was cancelled, has ended or is gone.

        The caller guarantees that a running job is abandoned: the queue gives a job to one worker.
        """
        ...

    def heartbeat(self, job_id: str, epoch: int, progress: JobProgress) -> bool:
        """Record progress and that the worker is alive; False if the claim is lost."""
        ...

    def finish(
        self, job_id: str, epoch: int, *, output: Mapping[str, Any] | None, failure: Failure | None
    ) -> bool:
        """End a job with an *output* or a *failure*; False if the claim is lost."""
        ...

    def retry(
        self,
        job_id: str,
        epoch: int,
        failure: Failure,
        delay_seconds: float,
        *,
        uncounted: bool = False,
    ) -> bool:
        """Put a job back into the queue after a delay; False if the claim is lost.

        Args:
            job_id: the job.
            epoch: of the caller's claim.
            failure: why the attempt ended.
            delay_seconds: until the job may run again.
            uncounted: do not count the attempt, because the job was not at fault.
        """
        ...

    def list_stale(self, lease_seconds: float, limit: int = 100) -> list[Job]:
        """Return running jobs without a heartbeat for *lease_seconds*, longest silence first."""
        ...

    # -- retention ------------------------------------------------------------------------------
    def list_expired(self, limit: int = 100) -> list[Job]:
        """Return expired and erased jobs: the caller deletes their files, then purges them."""
        ...

    def purge(self, job_id: str) -> None:
        """Delete the row of an expired or erased job; any other job is left alone."""
        ...

    def release_held(self) -> int:
        """Enqueue held jobs that may run now, after limits were raised; return how many."""
        ...

    def counts(self) -> Mapping[str, Any]:
        """Return the values behind ``/metrics``.

        ``jobs``: queued and running now, by state. ``ended``: ever ended, by state. ``failures``:
        ever failed, by code. ``retries``: ever put back, by code. ``seconds``: worker time ever
        spent on succeeded jobs, by stage, from ``output["timings"]``. ``frames``: ever rendered,
        from ``output["frames"]``. ``deliveries``: webhook deliveries now, by state.
        ``oldest_seconds``: age of the oldest queued job, 0 if none is queued.
        """
        ...


class ApiKeys(Protocol):
    """API keys; a secret is shown once, and only its SHA-256 is stored."""

    def create(
        self,
        name: str,
        *,
        priority: int = 10,
        concurrency: int | None = None,
        submits_per_minute: int | None = None,
        max_queued: int | None = None,
    ) -> tuple[ApiKey, str]:
        """Create a key and return it with its secret: ``lw_`` and 256 random bits.

        Raises:
            InvalidOptions: an active key has that name, or a number is out of range.
        """
        ...

    def list(self) -> Sequence[ApiKey]:
        """Return all keys, including revoked ones, oldest first."""
        ...

    def revoke(self, id_or_name: str) -> ApiKey:
        """Revoke a key for good; its queued jobs still run.

        Raises:
            KeyNotFound: no active key has that id or name.
        """
        ...

    def verify(self, secret: str) -> ApiKey | None:
        """Return the active key with this secret, None for any other secret."""
        ...


class Uploads(Protocol):
    """Records of uploaded files; the bytes are in storage.

    An upload that a job names as ``file:ID`` is in use until the job has ended, even past its
    expiry.
    """

    def add(self, upload: Upload, quota: UploadUsage | None = None) -> Upload:
        """Store an upload and return it with its times by the database's clock.

        The time from creation to expiry stays as given.

        Raises:
            QuotaExceeded: the uploads of its key would exceed *quota*.
        """
        ...

    def usage(self, key_id: str) -> UploadUsage:
        """Return what the uploads of a key take up; expired ones count until they are deleted."""
        ...

    def get(self, file_id: str, key_id: str) -> Upload:
        """Return an upload of a key.

        Raises:
            SourceUnreachable: it does not exist, belongs to another key or has expired.
        """
        ...

    def claim_expired(self, limit: int = 100) -> Sequence[Upload]:
        """Mark expired uploads that are not in use as being deleted, and return them.

        New jobs can no longer name them. The caller deletes each file, then calls `delete`.
        """
        ...

    def delete(self, file_id: str) -> None:
        """Delete the record of an upload; one that is in use is left alone."""
        ...


class Deliveries(Protocol):
    """Webhook deliveries; the ledger inserts them in the transaction that ends a job."""

    def claim_due(self, limit: int, lease_seconds: float) -> Sequence[Delivery]:
        """Lease due deliveries to the caller for *lease_seconds*, and count an attempt."""
        ...

    def mark_delivered(self, delivery_id: str) -> None:
        """Record that the receiver accepted the call."""
        ...

    def reschedule(self, delivery_id: str, error: str, delay_seconds: float) -> None:
        """Record why an attempt failed, and make the delivery due after a delay."""
        ...

    def mark_dead(self, delivery_id: str, error: str) -> None:
        """Give a delivery up; it stays visible as long as its job."""
        ...

    def list_for_job(self, job_id: str) -> Sequence[Delivery]:
        """Return the deliveries of a job, whatever their state."""
        ...
