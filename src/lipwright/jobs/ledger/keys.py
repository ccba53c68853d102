"""API keys in a SQL database."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

import sqlalchemy as sa

from lipwright.errors import InvalidOptions, KeyNotFound
from lipwright.jobs.ledger import rules
from lipwright.jobs.ledger.database import Database, moment, optional_moment
from lipwright.jobs.ledger.rows import Row
from lipwright.jobs.ledger.schema import keys
from lipwright.jobs.model import Key

_BY_DIGEST = sa.select(keys).where(keys.c.digest == sa.bindparam("wanted"))
_ACTIVE = keys.c.revoked_at.is_(None)


class SqlKeys:
    """The :class:`lipwright.jobs.model.Keys` of a database."""

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
    ) -> tuple[Key, str]:
        """See Keys.create."""
        rules.check_key(name, priority, concurrency, submits_per_minute, max_queued)
        secret = rules.new_secret()
        with self._database.write(durable=True) as tx:
            if tx.execute(sa.select(keys.c.id).where(keys.c.name == name, _ACTIVE)).first():
                raise InvalidOptions(rules.taken(name))
            row = tx.execute(
                keys.insert().returning(keys),
                {
                    "id": rules.new_key_id(),
                    "name": name,
                    "digest": rules.digest(secret),
                    "created_at": self._database.now(tx),
                    "priority": priority,
                    "concurrency": concurrency,
                    "submits_per_minute": submits_per_minute,
                    "max_queued": max_queued,
                },
            ).one()
        return _key_of(row), secret

    def list(self) -> Sequence[Key]:
        """See Keys.list."""
        with self._database.read() as tx:
            return [
                _key_of(row)
                for row in tx.execute(sa.select(keys).order_by(keys.c.created_at, keys.c.id))
            ]

    def revoke(self, id_or_name: str) -> Key:
        """See Keys.revoke."""
        named = sa.or_(keys.c.id == id_or_name, keys.c.name == id_or_name)
        with self._database.write(durable=True) as tx:
            found = tx.execute(sa.select(keys).where(named, _ACTIVE)).all()
            if not found:
                raise KeyNotFound(rules.unknown(id_or_name))
            chosen = max(found, key=lambda row: row.id == id_or_name)  # an id beats a name
            change = keys.update().where(keys.c.id == chosen.id)
            change = change.values(revoked_at=self._database.now(tx))
            return _key_of(tx.execute(change.returning(keys)).one())

    def verify(self, secret: str) -> Key | None:
        """See Keys.verify."""
        wanted = rules.digest(secret)
        with self._database.read() as tx:
            row = tx.execute(_BY_DIGEST, {"wanted": wanted}).first()
        # The index compares digests, which tell nothing of the secret; this one takes equal time.
        if row is None or not hmac.compare_digest(row.digest, wanted):
            return None
        return _key_of(row) if row.revoked_at is None else None


def _key_of(row: Row) -> Key:
    return Key(
        id=row.id,
        name=row.name,
        created_at=moment(row.created_at),
        revoked_at=optional_moment(row.revoked_at),
        priority=row.priority,
        concurrency=row.concurrency,
        submits_per_minute=row.submits_per_minute,
        max_queued=row.max_queued,
    )
