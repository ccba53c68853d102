"""Uploads in a SQL database; the bytes are in storage."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from lipwright.errors import SourceUnreachable
from lipwright.jobs.ledger import rules
from lipwright.jobs.ledger.database import Database, utc_datetime
from lipwright.jobs.ledger.rows import Row
from lipwright.jobs.ledger.schema import job_uploads, uploads
from lipwright.jobs.model import Upload, UploadUsage

_c = uploads.c
_IN_USE = sa.exists().where(job_uploads.c.file_id == _c.id)


class SqlUploads:
    """The :class:`lipwright.jobs.ledger.base.Uploads` of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, upload: Upload, quota: UploadUsage | None = None) -> Upload:
        """See Uploads.add."""
        with self._database.write(durable=True) as tx:
            if quota:
                rules.check_quota(_usage(tx, upload.key_id), quota, upload.size)
            now = self._database.now(tx)
            values = {
                "id": upload.id,
                "key_id": upload.key_id,
                "name": upload.name,
                "size": upload.size,
                "sha256": upload.sha256,
                "created_at": now,
                "expires_at": now + rules.to_milliseconds(upload.expires_at - upload.created_at),
                "going": False,
            }
            return _upload_from_row(tx.execute(uploads.insert().returning(uploads), values).one())

    def usage(self, key_id: str) -> UploadUsage:
        """See Uploads.usage."""
        with self._database.read() as tx:
            return _usage(tx, key_id)

    def get(self, file_id: str, key_id: str) -> Upload:
        """See Uploads.get."""
        with self._database.read() as tx:
            usable = sa.or_(_c.expires_at > self._database.now(tx), _IN_USE)
            query = sa.select(uploads).where(_c.id == file_id, _c.key_id == key_id)
            row = tx.execute(query.where(usable, sa.not_(_c.going))).first()
        if row is None:
            raise SourceUnreachable(rules.upload_not_found_message(file_id))
        return _upload_from_row(row)

    def claim_expired(self, limit: int = 100) -> Sequence[Upload]:
        """See Uploads.claim_expired."""
        with self._database.write() as tx:
            expired = sa.and_(_c.expires_at <= self._database.now(tx), sa.not_(_IN_USE))
            first = sa.select(_c.id).where(expired).order_by(_c.expires_at).limit(limit)
            update = uploads.update().where(_c.id.in_(first.scalar_subquery()), expired)
            rows = tx.execute(update.values(going=True).returning(uploads)).all()
        return [_upload_from_row(row) for row in rows]

    def delete(self, file_id: str) -> None:
        """See Uploads.delete."""
        with self._database.write() as tx:
            tx.execute(uploads.delete().where(_c.id == file_id, sa.not_(_IN_USE)))


def _usage(tx: sa.Connection, key_id: str) -> UploadUsage:
    total = sa.func.coalesce(sa.func.sum(_c.size), 0)
    query = sa.select(sa.func.count(), total).where(_c.key_id == key_id)
    files, size = tx.execute(query).one()
    return UploadUsage(files=files, size=int(size))


def _upload_from_row(row: Row) -> Upload:
    return Upload(
        id=row.id,
        key_id=row.key_id,
        name=row.name,
        size=row.size,
        sha256=row.sha256,
        created_at=utc_datetime(row.created_at),
        expires_at=utc_datetime(row.expires_at),
    )
