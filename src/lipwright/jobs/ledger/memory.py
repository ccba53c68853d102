"""The ledger, keys, uploads and deliveries in memory, for tests and as a readable reference.

They follow the same rules as the SQL implementations, within one process, until it ends.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from lipwright.errors import InvalidOptions, KeyNotFound, SourceUnreachable
from lipwright.jobs.ledger import rules
from lipwright.jobs.ledger.memory_database import (
    MemoryDatabase,
    is_available,
    is_in_use,
    truncate_to_milliseconds,
)
from lipwright.jobs.ledger.memory_ledger import MemoryLedger
from lipwright.jobs.model import ApiKey, Delivery, Upload, UploadUsage

__all__ = ["MemoryApiKeys", "MemoryBackend", "MemoryDeliveries", "MemoryLedger", "MemoryUploads"]

_PENDING = "pending"


class MemoryApiKeys:
    """The :class:`lipwright.jobs.ledger.base.ApiKeys` in memory."""

    def __init__(self, database: MemoryDatabase | None = None) -> None:
        self._database = database or MemoryDatabase()

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
        with self._database.transaction() as tables:
            if any(key.active and key.name == name for key, _ in tables.keys.values()):
                raise InvalidOptions(rules.name_taken_message(name))
            key = ApiKey(
                id=rules.new_key_id(),
                name=name,
                created_at=self._database.now(),
                priority=priority,
                concurrency=concurrency,
                submits_per_minute=submits_per_minute,
                max_queued=max_queued,
            )
            tables.keys[key.id] = (key, rules.hash_secret(secret))
        return key, secret

    def list(self) -> Sequence[ApiKey]:
        """See ApiKeys.list."""
        with self._database.read() as tables:
            return [key for key, _ in tables.keys.values()]

    def revoke(self, id_or_name: str) -> ApiKey:
        """See ApiKeys.revoke."""
        with self._database.transaction() as tables:
            active = [key for key, _ in tables.keys.values() if key.active]
            matching = [key for key in active if id_or_name in (key.id, key.name)]
            if not matching:
                raise KeyNotFound(rules.key_not_found_message(id_or_name))
            chosen = max(matching, key=lambda key: key.id == id_or_name)
            revoked = replace(chosen, revoked_at=self._database.now())
            tables.keys[revoked.id] = (revoked, tables.keys[revoked.id][1])
        return revoked

    def verify(self, secret: str) -> ApiKey | None:
        """See ApiKeys.verify."""
        wanted = rules.hash_secret(secret)
        with self._database.read() as tables:
            keys = list(tables.keys.values())
        matching = [key for key, stored in keys if hmac.compare_digest(stored, wanted)]
        return next((key for key in matching if key.active), None)


class MemoryUploads:
    """The :class:`lipwright.jobs.ledger.base.Uploads` in memory."""

    def __init__(self, database: MemoryDatabase | None = None) -> None:
        self._database = database or MemoryDatabase()

    def add(self, upload: Upload, quota: UploadUsage | None = None) -> Upload:
        """See Uploads.add."""
        with self._database.transaction() as tables:
            if quota:
                rules.check_quota(self.usage(upload.key_id), quota, upload.size)
            now = self._database.now()
            kept = upload.expires_at - upload.created_at
            stored = replace(
                upload, created_at=now, expires_at=truncate_to_milliseconds(now + kept)
            )
            tables.uploads[upload.id] = (stored, False)
        return stored

    def usage(self, key_id: str) -> UploadUsage:
        """See Uploads.usage."""
        with self._database.read() as tables:
            sizes = [up.size for up, _ in tables.uploads.values() if up.key_id == key_id]
        return UploadUsage(files=len(sizes), size=sum(sizes))

    def get(self, file_id: str, key_id: str) -> Upload:
        """See Uploads.get."""
        with self._database.read() as tables:
            now = None if is_in_use(tables, file_id) else self._database.now()
            if not is_available(tables, file_id, key_id, now):
                raise SourceUnreachable(rules.upload_not_found_message(file_id))
            return tables.uploads[file_id][0]

    def claim_expired(self, limit: int = 100) -> Sequence[Upload]:
        """See Uploads.claim_expired."""
        with self._database.transaction() as tables:
            now = self._database.now()
            expired = [
                upload
                for upload, _ in tables.uploads.values()
                if upload.expires_at <= now and not is_in_use(tables, upload.id)
            ]
            chosen = sorted(expired, key=lambda upload: upload.expires_at)[:limit]
            tables.uploads.update({upload.id: (upload, True) for upload in chosen})
        return chosen

    def delete(self, file_id: str) -> None:
        """See Uploads.delete."""
        with self._database.transaction() as tables:
            if not is_in_use(tables, file_id):
                tables.uploads.pop(file_id, None)


class MemoryDeliveries:
    """The :class:`lipwright.jobs.ledger.base.Deliveries` in memory."""

    def __init__(self, database: MemoryDatabase | None = None) -> None:
        self._database = database or MemoryDatabase()

    def claim_due(self, limit: int, lease_seconds: float) -> Sequence[Delivery]:
        """See Deliveries.claim_due."""
        with self._database.transaction() as tables:
            now = self._database.now()
            due = [
                (call.next_at, call, created_at)
                for call, created_at in tables.deliveries.values()
                if call.state == _PENDING and call.next_at is not None and call.next_at <= now
            ]
            chosen = sorted(due, key=lambda item: item[0])[:limit]
            lease_end = truncate_to_milliseconds(now + timedelta(seconds=lease_seconds))
            for _, call, created_at in chosen:
                leased = replace(call, attempts=call.attempts + 1, next_at=lease_end)
                tables.deliveries[call.id] = (leased, created_at)
            return [self._with_age(*tables.deliveries[call.id]) for _, call, _ in chosen]

    def mark_delivered(self, delivery_id: str) -> None:
        """See Deliveries.mark_delivered."""
        self._update(delivery_id, state="delivered", next_at=None, last_error=None)

    def reschedule(self, delivery_id: str, error: str, delay_seconds: float) -> None:
        """See Deliveries.reschedule."""
        next_at = truncate_to_milliseconds(self._database.now() + timedelta(seconds=delay_seconds))
        self._update(delivery_id, next_at=next_at, last_error=error[: rules.MAX_DELIVERY_ERROR])

    def mark_dead(self, delivery_id: str, error: str) -> None:
        """See Deliveries.mark_dead."""
        self._update(
            delivery_id, state="dead", next_at=None, last_error=error[: rules.MAX_DELIVERY_ERROR]
        )

    def list_for_job(self, job_id: str) -> Sequence[Delivery]:
        """See Deliveries.list_for_job."""
        with self._database.read() as tables:
            calls = list(tables.deliveries.values())
        return [self._with_age(*item) for item in calls if item[0].job_id == job_id]

    def _with_age(self, call: Delivery, created_at: datetime) -> Delivery:
        return replace(call, age_seconds=(self._database.now() - created_at).total_seconds())

    def _update(self, delivery_id: str, **values: Any) -> None:
        with self._database.transaction() as tables:
            call, created_at = tables.deliveries.get(delivery_id, (None, None))
            if call and created_at and call.state == _PENDING:
                tables.deliveries[delivery_id] = (replace(call, **values), created_at)


class MemoryBackend(MemoryDatabase):
    """All in-memory parts over one database; takes the arguments of `MemoryDatabase`."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.ledger = MemoryLedger(self)
        self.keys = MemoryApiKeys(self)
        self.uploads = MemoryUploads(self)
        self.deliveries = MemoryDeliveries(self)
