"""Webhook deliveries in a SQL database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from lipwright.jobs.ledger import rules
from lipwright.jobs.ledger.database import Database, optional_utc_datetime
from lipwright.jobs.ledger.rows import Row
from lipwright.jobs.ledger.schema import PENDING, deliveries
from lipwright.jobs.model import Delivery

_c = deliveries.c


class SqlDeliveries:
    """The :class:`lipwright.jobs.ledger.base.Deliveries` of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim_due(self, limit: int, lease_seconds: float) -> Sequence[Delivery]:
        """See Deliveries.claim_due."""
        if not self._has_due():  # usually none is; then no write transaction is needed
            return []
        with self._database.write() as tx:
            now = self._database.now(tx)
            due = sa.select(_c.id).where(PENDING, _c.next_at <= now).order_by(_c.next_at)
            due = due.limit(limit).with_for_update(skip_locked=True)
            update = deliveries.update().where(_c.id.in_(due.scalar_subquery()))
            lease = {
                "attempts": _c.attempts + 1,
                "next_at": now + rules.to_milliseconds(lease_seconds),
            }
            rows = tx.execute(update.values(lease).returning(deliveries)).all()
        return [
            _delivery_from_row(row, now) for row in sorted(rows, key=lambda row: row.created_at)
        ]

    def mark_delivered(self, delivery_id: str) -> None:
        """See Deliveries.mark_delivered."""
        self._update(delivery_id, state="delivered", next_at=None, last_error=None)

    def reschedule(self, delivery_id: str, error: str, delay_seconds: float) -> None:
        """See Deliveries.reschedule."""
        self._update(delivery_id, delay_seconds, last_error=error[: rules.MAX_DELIVERY_ERROR])

    def mark_dead(self, delivery_id: str, error: str) -> None:
        """See Deliveries.mark_dead."""
        self._update(
            delivery_id, state="dead", next_at=None, last_error=error[: rules.MAX_DELIVERY_ERROR]
        )

    def list_for_job(self, job_id: str) -> Sequence[Delivery]:
        """See Deliveries.list_for_job."""
        with self._database.read() as tx:
            now = self._database.now(tx)
            query = sa.select(deliveries).where(_c.job_id == job_id).order_by(_c.created_at)
            return [_delivery_from_row(row, now) for row in tx.execute(query)]

    def _has_due(self) -> bool:
        with self._database.read() as tx:
            due = sa.select(_c.id).where(PENDING, _c.next_at <= self._database.now(tx))
            return tx.execute(due.limit(1)).first() is not None

    def _update(self, delivery_id: str, delay_seconds: float | None = None, **values: Any) -> None:
        """Update a pending delivery; a delivered or dead one is final."""
        with self._database.write() as tx:
            if delay_seconds is not None:
                now = self._database.now(tx)
                values["next_at"] = now + rules.to_milliseconds(delay_seconds)
            tx.execute(deliveries.update().where(_c.id == delivery_id, PENDING).values(**values))


def _delivery_from_row(row: Row, now: int) -> Delivery:
    return Delivery(
        id=row.id,
        job_id=row.job_id,
        url=row.url,
        state=row.state,
        attempts=row.attempts,
        next_at=optional_utc_datetime(row.next_at),
        last_error=row.last_error,
        age_seconds=(now - row.created_at) / 1000,
    )
