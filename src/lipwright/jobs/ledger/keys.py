"""API keys in a SQL database."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

import sqlalchemy as sa

from lipwright.errors import InvalidOptions, KeyNotFound
from lipwright.jobs.ledger import rules
from lipwright.jobs.ledger.database import Database, optional_utc_datetime, utc_datetime
from lipwright.jobs.ledger.rows import Row
from lipwright.jobs.ledger.schema import keys
from lipwright.jobs.model import ApiKey

_BY_DIGEST = sa.select(keys).where(keys.c.digest == sa.bindparam("wanted_digest"))
_ACTIVE = keys.c.revoked_at.is_(None)


class SqlApiKeys:
    """The :class:`lipwright.jobs.ledger.base.ApiKeys` of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        name: str,
        *,
        priority: int = 10,
        concurrency: int | None = None,
        submits_per_minute: int | None = None,
        max_queued: int | None = None,
    ) -> tuple[ApiKey, str]:
        """See ApiKeys.create."""
        rules.check_key(name, priority, concurrency, submits_per_minute, max_queued)
        secret = rules.new_secret()
        with self._database.write(durable=True) as tx:
            if tx.execute(sa.select(keys.c.id).where(keys.c.name == name, _ACTIVE)).first():
                raise InvalidOptions(rules.name_taken_message(name))
            row = tx.execute(
                keys.insert().returning(keys),
                {
                    "id": rules.new_key_id(),
                    "name": name,
                    "digest": rules.hash_secret(secret),
                    "created_at": self._database.now(tx),
                    "priority": priority,
                    "concurrency": concurrency,
                    "submits_per_minute": submits_per_minute,
                    "max_queued": max_queued,
                },
            ).one()
        return _key_from_row(row), secret

    def list(self) -> Sequence[ApiKey]:
        """See ApiKeys.list."""
        with self._database.read() as tx:
            return [
                _key_from_row(row)
                for row in tx.execute(sa.select(keys).order_by(keys.c.created_at, keys.c.id))
            ]

    def revoke(self, id_or_name: str) -> ApiKey:
        """See ApiKeys.revoke."""
        matches = sa.or_(keys.c.id == id_or_name, keys.c.name == id_or_name)
        with self._database.write(durable=True) as tx:
            rows = tx.execute(sa.select(keys).where(matches, _ACTIVE)).all()
            if not rows:
                raise KeyNotFound(rules.key_not_found_message(id_or_name))
            chosen = max(rows, key=lambda row: row.id == id_or_name)  # an id takes precedence
            update = keys.update().where(keys.c.id == chosen.id)
            update = update.values(revoked_at=self._database.now(tx))
            return _key_from_row(tx.execute(update.returning(keys)).one())

    def verify(self, secret: str) -> ApiKey | None:
        """See ApiKeys.verify."""
        digest = rules.hash_secret(secret)
        with self._database.read() as tx:
            row = tx.execute(_BY_DIGEST, {"wanted_digest": digest}).first()
        # The index lookup compares digests, which reveal nothing of the secret; this comparison
        # also takes constant time.
        if row is None or not hmac.compare_digest(row.digest, digest):
            return None
        return _key_from_row(row) if row.revoked_at is None else None


def _key_from_row(row: Row) -> ApiKey:
    return ApiKey(
        id=row.id,
        name=row.name,
        created_at=utc_datetime(row.created_at),
        revoked_at=optional_utc_datetime(row.revoked_at),
        priority=row.priority,
        concurrency=row.concurrency,
        submits_per_minute=row.submits_per_minute,
        max_queued=row.max_queued,
    )
