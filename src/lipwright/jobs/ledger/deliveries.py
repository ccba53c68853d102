"""Webhook calls in a SQL database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from lipwright.jobs.ledger import rules
from lipwright.jobs.ledger.database import Database, optional_moment
from lipwright.jobs.ledger.rows import Row
from lipwright.jobs.ledger.schema import PENDING, deliveries
from lipwright.jobs.model import Delivery

_c = deliveries.c


class SqlDeliveries:
    """The :class:`lipwright.jobs.model.Deliveries` of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def due(self, limit: int, lease_seconds: float) -> Sequence[Delivery]:
        """See Deliveries.due."""
        if not self._any_due():  # most looks find nothing; they need not wait to write
            return []
        with self._database.write() as tx:
            now = self._database.now(tx)
            first = sa.select(_c.id).where(PENDING, _c.next_at <= now).order_by(_c.next_at)
            first = first.limit(limit).with_for_update(skip_locked=True)
            change = deliveries.update().where(_c.id.in_(first.scalar_subquery()))
            lease = {
                "attempts": _c.attempts + 1,
                "next_at": now + rules.milliseconds(lease_seconds),
            }
            rows = tx.execute(change.values(lease).returning(deliveries)).all()
        return [_delivery_of(row, now) for row in sorted(rows, key=lambda row: row.created_at)]

    def delivered(self, delivery_id: str) -> None:
        """See Deliveries.delivered."""
        self._note(delivery_id, state="delivered", next_at=None, last_error=None)

    def again(self, delivery_id: str, error: str, delay_seconds: float) -> None:
        """See Deliveries.again."""
        self._note(delivery_id, delay_seconds, last_error=error[: rules.MAX_ERROR])

    def dead(self, delivery_id: str, error: str) -> None:
        """See Deliveries.dead."""
        self._note(delivery_id, state="dead", next_at=None, last_error=error[: rules.MAX_ERROR])

    def of_job(self, job_id: str) -> Sequence[Delivery]:
        """See Deliveries.of_job."""
        with self._database.read() as tx:
            now = self._database.now(tx)
            wanted = sa.select(deliveries).where(_c.job_id == job_id).order_by(_c.created_at)
            return [_delivery_of(row, now) for row in tx.execute(wanted)]

    def _any_due(self) -> bool:
        with self._database.read() as tx:
            ready = sa.select(_c.id).where(PENDING, _c.next_at <= self._database.now(tx))
            return tx.execute(ready.limit(1)).first() is not None

    def _note(self, delivery_id: str, delay_seconds: float | None = None, **values: Any) -> None:
        """Change a pending call; one that is delivered or given up stays so."""
        with self._database.write() as tx:
            if delay_seconds is not None:
                now = self._database.now(tx)
                values["next_at"] = now + rules.milliseconds(delay_seconds)
            tx.execute(deliveries.update().where(_c.id == delivery_id, PENDING).values(**values))


def _delivery_of(row: Row, now: int) -> Delivery:
    return Delivery(
        id=row.id,
        job_id=row.job_id,
        url=row.url,
        state=row.state,
        attempts=row.attempts,
        next_at=optional_moment(row.next_at),
        last_error=row.last_error,
        age_seconds=(now - row.created_at) / 1000,
    )
