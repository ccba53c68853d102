"""Conversion between rows of the ledger's tables and values (pure)."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from lipwright.jobs.ledger.database import optional_utc_datetime, utc_datetime
from lipwright.jobs.ledger.rules import Account
from lipwright.jobs.model import Failure, Job, JobProgress, JobSpec, State

Row = sa.Row[Any]


def job_from_row(row: Row) -> Job:
    """Return the job of a row."""
    return Job(
        spec=_spec_from_row(row),
        sequence=row.sequence,
        state=State(row.state),
        epoch=row.epoch,
        uncounted=row.spared,
        created_at=utc_datetime(row.created_at),
        started_at=optional_utc_datetime(row.started_at),
        finished_at=optional_utc_datetime(row.finished_at),
        expires_at=optional_utc_datetime(row.expires_at),
        progress=JobProgress(**row.stage),
        worker=row.worker,
        output=row.output,
        failure=_failure_from_row(row),
    )


def new_job_row(spec: JobSpec, now: int, *, held: bool) -> dict[str, Any]:
    """Return the values of a new job's row; the database assigns the sequence."""
    fields = {name: value for name, value in vars(spec).items() if name != "payload"}
    return {
        **fields,
        "input": dict(spec.input),
        "work": dict(spec.payload),
        "state": State.IN_QUEUE,
        "parked": held,
        "erased": False,
        "epoch": 0,
        "spared": 0,
        "created_at": now,
        "stage": {},
        "output": {},
    }


def account_from_row(row: Row) -> Account:
    """Return the account of a row."""
    return Account(
        key_id=row.key_id, bucket_full_at=row.due, queued=row.queued, released=row.released
    )


def _spec_from_row(row: Row) -> JobSpec:
    return JobSpec(
        id=row.id,
        key_id=row.key_id,
        model_id=row.model_id,
        dialect=row.dialect,
        engine=row.engine,
        input=row.input,
        payload=row.work,
        priority=row.priority,
        webhook_url=row.webhook_url,
        idempotency_key=row.idempotency_key,
        fingerprint=row.fingerprint,
        trace=row.trace,
    )


def _failure_from_row(row: Row) -> Failure | None:
    if row.failure_code is None:
        return None
    return Failure(code=row.failure_code, message=row.failure_message)
