"""Rows of the ledger, and the values that they are (pure)."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from lipwright.jobs.ledger.database import moment, optional_moment
from lipwright.jobs.ledger.rules import Account
from lipwright.jobs.model import Failure, Job, Stage, State, Ticket

Row = sa.Row[Any]


def job_of(row: Row) -> Job:
    """Return the job of a row."""
    return Job(
        ticket=_ticket_of(row),
        sequence=row.sequence,
        state=State(row.state),
        epoch=row.epoch,
        spared=row.spared,
        created_at=moment(row.created_at),
        started_at=optional_moment(row.started_at),
        finished_at=optional_moment(row.finished_at),
        expires_at=optional_moment(row.expires_at),
        stage=Stage(**row.stage),
        worker=row.worker,
        output=row.output,
        failure=_failure_of(row),
    )


def row_of(ticket: Ticket, now: int, *, parked: bool) -> dict[str, Any]:
    """Return the first row of a job; its sequence is the database's to give."""
    return {
        **vars(ticket),
        "input": dict(ticket.input),
        "work": dict(ticket.work),
        "state": State.IN_QUEUE,
        "parked": parked,
        "erased": False,
        "epoch": 0,
        "spared": 0,
        "created_at": now,
        "stage": {},
        "output": {},
    }


def account_of(row: Row) -> Account:
    """Return the account of a row."""
    return Account(key_id=row.key_id, due=row.due, queued=row.queued, released=row.released)


def _ticket_of(row: Row) -> Ticket:
    return Ticket(
        id=row.id,
        key_id=row.key_id,
        model_id=row.model_id,
        dialect=row.dialect,
        engine=row.engine,
        input=row.input,
        work=row.work,
        priority=row.priority,
        webhook_url=row.webhook_url,
        idempotency_key=row.idempotency_key,
        fingerprint=row.fingerprint,
        trace=row.trace,
    )


def _failure_of(row: Row) -> Failure | None:
    if row.failure_code is None:
        return None
    return Failure(code=row.failure_code, message=row.failure_message)
