"""Uploads in a SQL database; the files themselves are in storage."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from lipwright.errors import SourceUnreachable
from lipwright.jobs.ledger import rules
from lipwright.jobs.ledger.database import Database, moment
from lipwright.jobs.ledger.rows import Row
from lipwright.jobs.ledger.schema import holds, uploads
from lipwright.jobs.model import Space, Upload

_c = uploads.c
_HELD = sa.exists().where(holds.c.file_id == _c.id)


class SqlUploads:
    """The :class:`lipwright.jobs.model.Uploads` of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, upload: Upload, most: Space | None = None) -> Upload:
        """See Uploads.add."""
        with self._database.write(durable=True) as tx:
            if most:
                rules.check_space(_used(tx, upload.key_id), most, upload.size)
            now = self._database.now(tx)
            values = {
                "id": upload.id,
                "key_id": upload.key_id,
                "name": upload.name,
                "size": upload.size,
                "sha256": upload.sha256,
                "created_at": now,
                "expires_at": now + rules.milliseconds(upload.expires_at - upload.created_at),
                "going": False,
            }
            return _upload_of(tx.execute(uploads.insert().returning(uploads), values).one())

    def used(self, key_id: str) -> Space:
        """See Uploads.used."""
        with self._database.read() as tx:
            return _used(tx, key_id)

    def get(self, file_id: str, key_id: str) -> Upload:
        """See Uploads.get."""
        with self._database.read() as tx:
            kept = sa.or_(_c.expires_at > self._database.now(tx), _HELD)
            wanted = sa.select(uploads).where(_c.id == file_id, _c.key_id == key_id)
            row = tx.execute(wanted.where(kept, sa.not_(_c.going))).first()
        if row is None:
            raise SourceUnreachable(rules.lost(file_id))
        return _upload_of(row)

    def expired(self, limit: int = 100) -> Sequence[Upload]:
        """See Uploads.expired. From here on no job can name them, so that none loses its file."""
        with self._database.write() as tx:
            over = sa.and_(_c.expires_at <= self._database.now(tx), sa.not_(_HELD))
            first = sa.select(_c.id).where(over).order_by(_c.expires_at).limit(limit)
            change = uploads.update().where(_c.id.in_(first.scalar_subquery()), over)
            rows = tx.execute(change.values(going=True).returning(uploads)).all()
        return [_upload_of(row) for row in rows]

    def drop(self, file_id: str) -> None:
        """See Uploads.drop."""
        with self._database.write() as tx:
            tx.execute(uploads.delete().where(_c.id == file_id, sa.not_(_HELD)))


def _used(tx: sa.Connection, key_id: str) -> Space:
    taken = sa.func.coalesce(sa.func.sum(_c.size), 0)
    wanted = sa.select(sa.func.count(), taken).where(_c.key_id == key_id)
    files, size = tx.execute(wanted).one()
    return Space(files=files, size=int(size))


def _upload_of(row: Row) -> Upload:
    return Upload(
        id=row.id,
        key_id=row.key_id,
        name=row.name,
        size=row.size,
        sha256=row.sha256,
        created_at=moment(row.created_at),
        expires_at=moment(row.expires_at),
    )
